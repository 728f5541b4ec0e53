"""Writes statuses: the latest one of each task, at most once a second for a task, and only when it differs."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from carillon_core.errors import CarillonError, NotFoundError
from carillon_core.ports import Cluster
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.scheduled_task import ScheduledTaskStatus
from carillon_operator.work_queue import Key, WorkQueue

log = logging.getLogger(__name__)

SPACING = timedelta(seconds=1)
RETRY = timedelta(seconds=2)


class StatusWriter:
    """The statuses to be written, and the processes that write them."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime], on_gone: Callable[[Key, str], None]) -> None:
        """Take the cluster to write to, the clock that spaces the writes, and whom to tell of a task that is gone."""
        self._cluster = cluster
        self._clock = clock
        self._on_gone = on_gone
        self._writing = 0
        self._changed = asyncio.Event()
        self._wanted: dict[Key, tuple[ObjectMeta, ScheduledTaskStatus]] = {}
        self._written: dict[Key, tuple[str, ScheduledTaskStatus]] = {}
        self._last: dict[Key, datetime] = {}
        self._queue = WorkQueue(clock)

    def put(self, key: Key, meta: ObjectMeta, status: ScheduledTaskStatus, stored: ScheduledTaskStatus) -> None:
        """Have a status written, unless the object says it already.

        Args:
            key: The task's key.
            meta: The task's metadata; the write is for this uid alone.
            status: The status that the task should have.
            stored: The status that it was last seen or decided with.

        """
        if key in self._wanted:
            self._wanted[key] = (meta, status)
            return
        known = self._written.get(key)
        current = known[1] if known and known[0] == meta.uid else stored
        if current == status:
            return
        self._wanted[key] = (meta, status)
        last = self._last.get(key)
        now = self._clock()
        # no later than a second from now, whatever a clock that was stepped back makes of the last time
        self._queue.add_at(key, now if last is None else min(max(now, last + SPACING), now + SPACING))

    def forget(self, key: Key) -> None:
        """Drop what is kept of a task that is gone."""
        self._wanted.pop(key, None)
        self._written.pop(key, None)
        self._last.pop(key, None)
        self._queue.add_at(key, None)
        self._wake_waiters()

    async def drained(self) -> None:
        """Wait until no status waits to be written."""
        while self._wanted or self._writing:
            await self._changed.wait()

    async def run(self, workers: int) -> None:
        """Write what is put, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run_sleeper())
            for _ in range(workers):
                group.create_task(self._run_worker())

    async def _run_worker(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                await self._write(key)
            except Exception:  # a defect met by one status must not end the others' writing
                log.exception("status not written", extra={"fields": {"task": "/".join(key)}})
            finally:
                self._queue.done(key)

    async def _write(self, key: Key) -> None:
        wanted = self._wanted.pop(key, None)
        if wanted is None:
            return
        meta, status = wanted
        self._last[key] = self._clock()
        self._writing += 1
        try:
            await self._cluster.patch_status(meta, status_body(status))
        except NotFoundError:
            self.forget(key)
            self._on_gone(key, meta.uid)
        except CarillonError as error:
            fields = {"task": "/".join(key), "why": str(error)}
            log.warning("status not written, will try again", extra={"fields": fields})
            self._wanted.setdefault(key, wanted)
            self._queue.add_at(key, self._clock() + RETRY)
        else:
            self._written[key] = (meta.uid, status)
        finally:
            self._writing -= 1
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def status_body(status: ScheduledTaskStatus) -> dict[str, object]:
    """Return a status as JSON; what is unset is null, and so is not stored."""
    return status.model_dump(mode="json")
