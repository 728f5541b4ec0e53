"""Follows the cluster: its Jobs and pods by a list and then a watch, for ever; ScheduledTasks by a watch alone.

``KubeJobWatch`` and the operator use the first, without a gap; the API's stream
of changes uses the second, and tells its readers of gaps.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from carillon_core.adapters.decoding import decoded
from carillon_core.adapters.kube.connection import KubeConnection
from carillon_core.adapters.kube.failures import API_SERVER, as_ourselves, failure
from carillon_core.adapters.kube.objects import object_path
from carillon_core.adapters.kube.pages import listed
from carillon_core.backoff import Backoff, Tries
from carillon_core.errors import CarillonError, ExpiredError, ForbiddenError, OwnAccountError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import MOST_PAGE_BYTES, JobEvent, TaskChange

log = get_logger(__name__)

_HTTP_ERROR = 400
RETRIES = Backoff(first=0.5, longest=10.0)
_CHANGES = ("ADDED", "MODIFIED", "DELETED")


@dataclass(frozen=True, slots=True)
class Pace:
    """The timeouts and waits of a watch, in seconds."""

    server: float = 60.0
    """When the server ends a watch by itself; it is then continued from there."""
    idle: float = 75.0
    """When a silent connection counts as dead; longer than ``server``, since a watch may be quiet."""
    retries: Backoff = RETRIES
    """The waits after failures."""


@dataclass(slots=True)
class Watch:
    """One endless watch of one kind, in one namespace or in all."""

    connection: KubeConnection
    path: str
    kind: Literal["Job", "Pod"]
    label_selector: str
    pace: Pace = field(default_factory=Pace)
    namespace: str | None = None
    """The namespace of the path; None means all."""
    version: str | None = None
    """The resource version to continue from; None means to list first."""
    _tries: Tries = field(init=False)

    def __post_init__(self) -> None:
        """Start without failures."""
        self._tries = Tries(self.pace.retries)

    async def events(self) -> AsyncGenerator[JobEvent]:
        """Yield events for ever, starting with a list; retry after failures, and log each outage once.

        Raises:
            ForbiddenError: The one namespace may not be read.

        """
        while True:
            try:
                if self.version is None:
                    async with aclosing(self._list()) as listing:
                        async for event in listing:
                            yield event
                async with aclosing(self._follow()) as changes:
                    async for event in changes:
                        yield event
            except ExpiredError as error:
                self.version = None
                log.info("watch too far behind, listing again", **self._fields(why=str(error)))
            except CarillonError as error:
                if (
                    self.namespace is not None
                    and isinstance(error, ForbiddenError)
                    and not isinstance(error, OwnAccountError)
                ):
                    raise
                await self._back_off(error)

    async def _list(self) -> AsyncGenerator[JobEvent]:
        yield JobEvent("LISTING", self.kind, {}, self.namespace)
        async for page in listed(self.connection, self.path, self.label_selector):
            for item in page.items:
                yield JobEvent("ADDED", self.kind, item)
            version = page.resource_version
        self.version = version
        self._works_again()
        yield JobEvent("SYNCED", self.kind, {}, self.namespace)

    async def _follow(self) -> AsyncGenerator[JobEvent]:
        """Watch from the version on until the server ends it, in order or not."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.version or "",
            "labelSelector": self.label_selector,
            "timeoutSeconds": str(max(1, round(self.pace.server))),
        }
        begun = asyncio.get_running_loop().time()
        heard = False
        async with self.connection.stream(self.path, params, self.pace.idle) as lines:
            async for line in lines:
                if not line:
                    continue
                event = self._event(line)
                heard = True
                self._works_again()
                if event is not None:
                    yield event
        log.debug("watch ended by the server, continuing", **self._fields())
        if not heard and asyncio.get_running_loop().time() - begun < self.pace.retries.first:
            # otherwise a server or proxy that does this would be asked in a tight loop
            raise UnavailableError(API_SERVER, f"{self.path}: the watch ended immediately")

    def _event(self, line: bytes) -> JobEvent | None:
        """Return the event of a line, or None for a bookmark."""
        change, item = _said(line, self.path)
        self.version = item["metadata"]["resourceVersion"]
        return JobEvent(change, self.kind, item) if change in _CHANGES else None

    async def _back_off(self, error: CarillonError) -> None:
        if not self._tries.failures:
            log.warning("watch interrupted, trying again", **self._fields(why=str(error)))
        await asyncio.sleep(self._tries.failed())

    def _works_again(self) -> None:
        if self._tries.succeeded():
            log.info("watch works again", **self._fields())

    def _fields(self, **more: str) -> dict[str, str]:
        """Return the log fields of this watch."""
        place = {} if self.namespace is None else {"namespace": self.namespace}
        return {"kind": self.kind, **place, **more}


class KubeChangedTasks:
    """``ChangedTasks`` over a connection, with our own account."""

    def __init__(self, connection: KubeConnection, pace: Pace | None = None) -> None:
        """Take the connection; the caller closes it."""
        self._connection = connection
        self._pace = pace or Pace()

    def watch(self, namespace: str | None) -> "KubeTaskWatch":
        """Return a watch of a namespace, or of all."""
        return KubeTaskWatch(self._connection, object_path("ScheduledTask", namespace), self._pace)


@dataclass(slots=True)
class KubeTaskWatch:
    """``TaskWatch`` that reads the metadata of tasks alone: specs may be large, and are not needed."""

    connection: KubeConnection
    path: str
    pace: Pace
    version: str = ""
    """The resource version to continue from."""

    async def begin(self) -> None:
        """Take the current resource version from a list of one object."""
        with as_ourselves():
            answer, _ = await self.connection.part(self.path, {"limit": "1"}, None, MOST_PAGE_BYTES, metadata_only=True)
        self.version = answer["metadata"]["resourceVersion"]

    async def changes(self) -> AsyncGenerator[TaskChange | None]:
        """Yield None once connected, then changes; the server ends the watch after ``pace.server`` seconds."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.version,
            "timeoutSeconds": str(max(1, round(self.pace.server))),
        }
        with as_ourselves():
            async with self.connection.stream(self.path, params, self.pace.idle, metadata_only=True) as lines:
                yield None
                async for line in lines:
                    if not line:
                        continue
                    change, item = _said(line, self.path)
                    meta = item["metadata"]
                    self.version = meta["resourceVersion"]
                    if change in _CHANGES:
                        yield _task_change(meta, deleted=change == "DELETED")


def _task_change(meta: Mapping[str, Any], *, deleted: bool) -> TaskChange:
    return TaskChange(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        deleted=deleted,
    )


def _said(line: bytes, path: str) -> tuple[Any, Mapping[str, Any]]:
    """Return what a line of a watch says: the kind of change, and the object.

    Raises:
        CarillonError: It says that the watch has failed, or is cut off.

    """
    try:
        said: Mapping[str, Any] = decoded(line)
    except orjson.JSONDecodeError as error:
        raise UnavailableError(API_SERVER, f"{path}: the watch ended in the middle of a line") from error
    if said["type"] == "ERROR":
        raise _watch_error(said["object"], path)
    return said["type"], said["object"]


def _watch_error(said: Mapping[str, Any], path: str) -> CarillonError:
    """Return the error in a watch's stream: expired history, or else a failure to retry."""
    code = int(said.get("code") or 0)
    error = failure(code if code >= _HTTP_ERROR else 500, orjson.dumps(said), f"GET {path}")
    return error if isinstance(error, ExpiredError) else UnavailableError(API_SERVER, str(error))
