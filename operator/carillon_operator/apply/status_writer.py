"""Writes statuses: the latest one of each object, at most once a second per object, and only if it differs.

Each write is for the version of the object that the status was decided on. If
the object has changed since, because a user edited its spec or another operator
wrote its status, it is read and decided again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from carillon_core.domain.observed.jobs import own_key_name
from carillon_core.errors import CarillonError, ConflictError, NotFoundError, RefusedError
from carillon_core.logs import get_logger
from carillon_core.ports import ObjectSource, StatusPatcher
from carillon_core.resources.meta import ObjectMeta
from carillon_operator.state.observed_store import WithStatus
from carillon_operator.state.shelf import Status
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key, WorkQueue

log = get_logger(__name__)

SPACING = timedelta(seconds=1)
RETRY = timedelta(seconds=2)
REFUSED_RETRY = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class _Wanted:
    kind: WithStatus
    meta: ObjectMeta
    status: Status


class StatusWriter:
    """The queue of statuses and the processes that write them."""

    def __init__(
        self,
        reader: ObjectSource,
        writer: StatusPatcher,
        clock: Callable[[], datetime],
        view: View,
    ) -> None:
        """Take where to read and write, the clock that spaces the writes, and the view that learns the results."""
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._view = view
        self._writing: dict[Key, _Wanted] = {}
        self._changed = asyncio.Event()
        self._wanted: dict[Key, _Wanted] = {}
        self._last: OrderedDict[Key, datetime] = OrderedDict()
        self._queue = WorkQueue(clock)

    def put(self, kind: WithStatus, meta: ObjectMeta, status: Status, stored: Status) -> None:
        """Write a status later, unless the object already has it.

        Args:
            kind: The object's kind.
            meta: The object's metadata, as of the decision; the write is for this uid and version alone.
            status: The status that the object should have.
            stored: The status that the API server has, as far as is known.

        """
        key = _writers_key(kind, meta)
        wanted = _Wanted(kind, meta, status)
        if key in self._wanted:
            self._wanted[key] = wanted
            return
        writing = self._writing.get(key)
        if status == (writing.status if writing is not None else stored):
            return
        self._wanted[key] = wanted
        last = self._last.get(key)
        now = self._clock()
        # no later than a second from now, even if the clock was set back
        self._queue.add_at(key, now if last is None else min(max(now, last + SPACING), now + SPACING))

    def forget(self, kind: WithStatus, namespace: str, name: str) -> None:
        """Forget an object that is gone."""
        key = (namespace, own_key_name(name) if kind == "RunRequest" else name)
        self._wanted.pop(key, None)
        self._last.pop(key, None)
        self._queue.add_at(key, None)
        self._wake_waiters()

    async def flush(self) -> None:
        """Write all waiting statuses now."""
        for key in list(self._wanted):
            self._queue.add_at(key, None)
            await self._write(key)

    def hurry(self) -> None:
        """Make all waiting statuses due now: the operator is about to stop."""
        for key in self._wanted:
            self._queue.add_at(key, self._clock())

    async def drained(self) -> None:
        """Wait until no status waits to be written."""
        while self._wanted or self._writing:
            await self._changed.wait()

    def processes(self, workers: int) -> list[Coroutine[None, None, None]]:
        """Return the coroutines that write the statuses, for ever; run them together."""
        return [self._queue.run_sleeper(), *(self._run_worker() for _ in range(workers))]

    async def _run_worker(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await self._write(key)
            except Exception:  # a bug with one status must not stop the others
                log.exception("status not written", object="/".join(key))
            finally:
                self._queue.done(key)

    async def _write(self, key: Key) -> None:
        wanted = self._wanted.pop(key, None)
        if wanted is None:
            return
        kind, meta = wanted.kind, wanted.meta
        name = (meta.namespace, meta.name)
        self._remember(key, self._clock())
        self._writing[key] = wanted
        shelf = self._view.store.status_shelf(kind)
        shelf.sending(name, wanted.status)
        try:
            raw = await self._writer.patch_status(meta, status_body(wanted.status), kind)
        except NotFoundError:
            self.forget(kind, *name)
            self._view.drop(kind, name, meta.uid)
        except ConflictError:
            await self._read_again(key, wanted)
        except CarillonError as error:
            self._put_off(key, wanted, error)
        else:
            self._view.enqueue(shelf.sent(raw))
            self._follow(key, wanted, raw["metadata"]["resourceVersion"])
        finally:
            self._writing.pop(key, None)
            self._wake_waiters()

    def _remember(self, key: Key, now: datetime) -> None:
        """Remember when a status was written, and forget times that are too old to delay a write."""
        self._last[key] = now
        self._last.move_to_end(key)
        while not now - SPACING < next(iter(self._last.values())) <= now:
            self._last.popitem(last=False)

    async def _read_again(self, key: Key, wanted: _Wanted) -> None:
        """Read the object again and drop the status that was decided on its old version."""
        kind, name = wanted.kind, (wanted.meta.namespace, wanted.meta.name)
        try:
            raw = await self._reader.get_object(kind, *name)
        except NotFoundError:
            self.forget(kind, *name)
            self._view.drop(kind, name, wanted.meta.uid)
        except CarillonError as error:
            self._put_off(key, wanted, error)
        else:
            log.info("object changed meanwhile, deciding its status again", object="/".join(name))
            self._wanted.pop(key, None)
            self._view.enqueue(self._view.store.status_shelf(kind).adopt(raw))

    def _put_off(self, key: Key, wanted: _Wanted, error: CarillonError) -> None:
        """Try a status again later; much later if the API server rejects it."""
        wait = REFUSED_RETRY if isinstance(error, RefusedError) else RETRY
        log.warning("status not written, trying again", object="/".join(key), why=str(error))
        self._wanted.setdefault(key, wanted)
        self._queue.add_at(key, self._clock() + wait)

    def _follow(self, key: Key, written: _Wanted, version: str) -> None:
        """Make a status that was put meanwhile apply to the version that this write created."""
        waiting = self._wanted.get(key)
        if waiting is not None and waiting.meta.resource_version == written.meta.resource_version:
            meta = waiting.meta.model_copy(update={"resource_version": version})
            self._wanted[key] = replace(waiting, meta=meta)

    def _wake_waiters(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _writers_key(kind: WithStatus, meta: ObjectMeta) -> Key:
    return meta.namespace, own_key_name(meta.name) if kind == "RunRequest" else meta.name


def status_body(status: Status) -> dict[str, object]:
    """Return a status as JSON; unset fields are null and are not stored."""
    return status.model_dump(mode="json")
