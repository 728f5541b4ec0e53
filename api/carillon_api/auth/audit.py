"""The audit: the changes that callers make, logged at once and written to Postgres. ``Context.record_change`` adds one.

When an event is recorded, the cluster has already made the change; the audit
must neither fail nor delay the response. So each event is logged first, and
then waits in a bounded queue for Postgres. If the queue is full, its oldest
event is dropped and remains in the log only.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from carillon_api.auth.access import Origin
from carillon_api.auth.authentication import Caller
from carillon_core.domain.access.masking import masked_spec
from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import AuditEvent, AuditLog, JSONObject

MOST_WAITING = 10_000
MOST_CHARACTERS = 64 * 1024 * 1024
"""The maximum size of the specs in the queue, as JSON: an object may have a megabyte, and an event has it twice."""
BATCH = 200
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 15.0
FLUSH_SECONDS = 5.0
"""How long shutdown waits for Postgres; a kubelet waits 30 seconds, of which requests in progress take up to 20."""

log = get_logger(__name__)
audit_log = get_logger("carillon_api.audit")


def audit_event(
    caller: Caller,
    origin: Origin,
    at: datetime,
    action: str,
    resource: str,
    change: tuple[JSONObject | None, JSONObject | None],
) -> AuditEvent:
    """Return the event of a change; pure except for its random id.

    Args:
        caller: Who made the change.
        origin: Where the request came from.
        at: When the change was made.
        action: ``create``, ``update``, …
        resource: The plural of the kind.
        change: The raw object before and after; one of them may be None.

    """
    before, after = change
    metadata = _object((after or before or {}).get("metadata"))
    return AuditEvent(
        id=uuid4(),
        at=at,
        subject=caller.subject.name,
        credential=caller.credential,
        source=origin.source,
        user_agent=origin.user_agent,
        request_id=origin.request_id,
        action=action,
        resource=resource,
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
        before=_recorded(before),
        after=_recorded(after),
    )


def _recorded(raw: JSONObject | None) -> JSONObject | None:
    """Return what the audit stores of an object: which generation it is, labels and the masked spec."""
    if raw is None:
        return None
    metadata = _object(raw.get("metadata"))
    return {
        **{name: metadata[name] for name in ("uid", "generation") if name in metadata},
        "labels": _object(metadata.get("labels")),
        "spec": masked_spec(_object(raw.get("spec"))),
    }


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


class AuditTrail:
    """A queue of events; an async context manager that writes them while it is open.

    Attributes:
        log: Where events are written and read.

    """

    def __init__(
        self, log: AuditLog, *, most_waiting: int = MOST_WAITING, first_retry_seconds: float = FIRST_RETRY_SECONDS
    ) -> None:
        """Create an empty queue.

        Args:
            log: Where events are written.
            most_waiting: The maximum length of the queue.
            first_retry_seconds: How long to wait after the first failure; each further wait is twice as long.

        """
        self.log = log
        self._first_retry = first_retry_seconds
        self._waiting: deque[AuditEvent] = deque()
        self._sizes: deque[int] = deque()
        """The size of each event in the queue, in characters."""
        self._under_way: list[AuditEvent] = []
        """Taken out of the queue, so that an event that may have been written is not dropped."""
        self._most_waiting = most_waiting
        self._pushed_out = 0
        self._added = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start to write."""
        self._writer = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the remaining events, for at most ``FLUSH_SECONDS``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.drained()
        if not self._empty.is_set():
            log.error(
                "audit events not written to the database at shutdown, they are in this log only", events=len(self)
            )
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer

    def __len__(self) -> int:
        """Return the number of events that are not written."""
        return len(self._waiting) + len(self._under_way)

    @property
    def pushed_out(self) -> int:
        """How many events have been dropped since the start; they are in the log only."""
        return self._pushed_out

    def record(self, event: AuditEvent) -> None:
        """Log an event and put it into the queue; return at once."""
        audit_log.info("change", **_fields(event))
        size = len(json.dumps([event.before, event.after], default=str))
        while self._waiting and not self._has_room(size):
            self._taken()
            self._pushed_out += 1
            log.error("audit queue full, its oldest event is in this log only", pushed_out=self._pushed_out)
        self._waiting.append(event)
        self._sizes.append(size)
        self._empty.clear()
        self._added.set()

    def _has_room(self, size: int) -> bool:
        return len(self._waiting) < self._most_waiting and sum(self._sizes) + size <= MOST_CHARACTERS

    def _taken(self) -> AuditEvent:
        self._sizes.popleft()
        return self._waiting.popleft()

    async def drained(self) -> None:
        """Wait until all events are written."""
        await self._empty.wait()

    async def _write(self) -> None:
        retry = 0.0
        while True:
            await self._added.wait()
            while self._waiting and len(self._under_way) < BATCH:
                self._under_way.append(self._taken())
            try:
                await self._write_under_way()
            except UnavailableError as error:
                if not retry:
                    log.warning("database unavailable, audit events are queued", why=str(error))
                retry = min(max(self._first_retry, retry * 2), LAST_RETRY_SECONDS)
                await asyncio.sleep(retry)
                continue
            if retry:
                log.info("database available, audit events are written again", events_left=len(self._waiting))
                retry = 0.0
            if not self._waiting:
                self._added.clear()
                self._empty.set()

    async def _write_under_way(self) -> None:
        try:
            await self.log.write(self._under_way)
            self._under_way.clear()
        except UnavailableError:
            raise
        except Exception:
            # one event that the database can never store must not block the others
            log.exception("batch of audit events rejected by the database, they are written one by one")
            while self._under_way:
                await self._write_first()

    async def _write_first(self) -> None:
        try:
            await self.log.write(self._under_way[:1])
        except UnavailableError:
            raise
        except Exception:
            log.exception("audit event rejected by the database, it is in this log only", id=str(self._under_way[0].id))
        del self._under_way[0]


def _fields(event: AuditEvent) -> dict[str, Any]:
    return {**asdict(event), "id": str(event.id), "at": event.at.isoformat()}
