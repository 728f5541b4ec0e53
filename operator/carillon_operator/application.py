"""The operator as one thing: its processes, in the order in which they may begin."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Literal

from carillon_core.ports import Cluster, HistoryRecorder
from carillon_operator.announcer import Announcer
from carillon_operator.closer import Closer
from carillon_operator.observed_store import ObservedStore
from carillon_operator.outbox import Outbox
from carillon_operator.reconciler import Reconciler, Writers
from carillon_operator.runner_secret import RunnerSecret
from carillon_operator.settings import Settings
from carillon_operator.status_writer import StatusWriter
from carillon_operator.work_queue import WorkQueue

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""How long a stopping operator tries to write what the history still lacks."""
STATUS_WRITERS = 8

Observer = Callable[[ObservedStore, WorkQueue, asyncio.Event], Coroutine[None, None, None]]
"""Feeds the ScheduledTasks to the store and their keys to the queue until the event is set: kopf, for life."""


class Application:
    """Composed of its ports; runs until ``stop`` is set."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        history: HistoryRecorder,
        observe: Observer,
        clock: Callable[[], datetime],
    ) -> None:
        """Connect the parts with each other; nothing runs yet."""
        self._settings = settings
        self._cluster = cluster
        self._observe = observe
        self.store = ObservedStore()
        self.queue = WorkQueue(clock)
        self.outbox = Outbox(history)
        self._statuses = StatusWriter(cluster, clock)
        self._announcer = Announcer(cluster)
        self._secret = RunnerSecret(cluster, settings.runner.secret_name, settings.runner_database_url)
        self.reconciler = Reconciler(
            cluster=cluster,
            store=self.store,
            queue=self.queue,
            writers=Writers(self.outbox, self._statuses, self._announcer, self._secret),
            template=settings.runner,
            clock=clock,
        )
        self.closer = Closer(
            history=history, store=self.store, outbox=self.outbox, announcer=self._announcer, clock=clock
        )
        self._synced = {"Job": asyncio.Event(), "Pod": asyncio.Event()}

    async def run(self, stop: asyncio.Event) -> None:
        """Run every process until ``stop`` is set or one of them fails."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._watch("Job")),
                group.create_task(self._watch("Pod")),
                group.create_task(self.outbox.run()),
                group.create_task(self._statuses.run(STATUS_WRITERS)),
                group.create_task(self._announcer.run()),
                group.create_task(self._run_observer(stop)),
                # No decision before the Jobs are known: Forbid would not see what is active.
                group.create_task(self._decide_when_synced()),
            ]
            await stop.wait()
            log.info("stopping")
            await self._drain()
            for task in background:
                task.cancel()

    async def _drain(self) -> None:
        try:
            await asyncio.wait_for(self.outbox.drained(), DRAIN_SECONDS)
        except TimeoutError:
            log.warning("stopped with records unwritten", extra={"fields": {"records": len(self.outbox)}})

    async def _run_observer(self, stop: asyncio.Event) -> None:
        await self._observe(self.store, self.queue, stop)
        stop.set()  # kopf takes the signals for itself, and returns

    async def _watch(self, kind: Literal["Job", "Pod"]) -> None:
        async for event in self._cluster.watch_jobs(kind):
            for change in self.store.changes(event):
                self.closer.job_changed(change)
                self.queue.add(change.key)
            if event.type == "SYNCED":
                self._synced[kind].set()

    async def _decide_when_synced(self) -> None:
        await asyncio.gather(*(event.wait() for event in self._synced.values()))
        log.info("ready")
        async with asyncio.TaskGroup() as group:
            group.create_task(self.queue.run_sleeper())
            group.create_task(self.closer.run_sweeps(self._settings.sweep_seconds, self._secret))
            for _ in range(self._settings.workers):
                group.create_task(self.reconciler.run_worker())
