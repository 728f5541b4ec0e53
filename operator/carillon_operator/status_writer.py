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

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime]) -> None:
        """Take the cluster to write to and the clock that spaces the writes."""
        self._cluster = cluster
        self._clock = clock
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
        self._queue.add_at(key, now if last is None else max(now, last + SPACING))

    def forget(self, key: Key) -> None:
        """Drop what is kept of a task that is gone."""
        self._wanted.pop(key, None)
        self._written.pop(key, None)
        self._last.pop(key, None)
        self._queue.add_at(key, None)

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
            finally:
                self._queue.done(key)

    async def _write(self, key: Key) -> None:
        wanted = self._wanted.pop(key, None)
        if wanted is None:
            return
        meta, status = wanted
        self._last[key] = self._clock()
        try:
            await self._cluster.patch_status(meta, status_body(status))
        except NotFoundError:
            self.forget(key)
        except CarillonError as error:
            fields = {"task": "/".join(key), "why": str(error)}
            log.warning("status not written, will try again", extra={"fields": fields})
            self._wanted.setdefault(key, wanted)
            self._queue.add_at(key, self._clock() + RETRY)
        else:
            self._written[key] = (meta.uid, status)


def status_body(status: ScheduledTaskStatus) -> dict[str, object]:
    """Return a status as JSON; what is unset is null, and so is not stored."""
    return status.model_dump(mode="json")
