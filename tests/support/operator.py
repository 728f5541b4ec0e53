"""The operator over the memory adapters, turn by turn, with a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.runner_keys import MemoryRunnerKeys
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate
from carillon_core.ports import JobEvent
from carillon_operator.application import Application
from carillon_operator.settings import Settings
from carillon_operator.term import Outside, Term
from support.builders import CREATED, at

if TYPE_CHECKING:
    from carillon_operator.state.observed_store import ObservedStore
    from carillon_operator.state.work_queue import WorkQueue

KEY = ("default", "backup")
TEMPLATE = RunnerTemplate("runner:1", TokenKey(b"operators of tests".ljust(32)))
SETTINGS = Settings(database_url="memory", runner_database_url="postgresql://runner", runner=TEMPLATE)


class Operator:
    """An operator whose turns the test triggers."""

    def __init__(self) -> None:
        self.now = CREATED
        self.cluster = MemoryCluster(clock=lambda: self.now)
        self.history = MemoryHistory()
        self.keys = MemoryRunnerKeys()
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not in the cluster or the history, like a new process."""
        outside = Outside(reader=self.cluster, writer=self.cluster, history=self.history, keys=self.keys)
        self.app = Application(SETTINGS, outside, _observe_nothing, lambda: self.now)

    @property
    def term(self) -> Term:
        """The current term; without a Lease, it is always the same."""
        return term_of(self.app)

    async def create_task(self, **spec: Any) -> None:
        body = {"metadata": {"name": KEY[1]}, "spec": {"task": {"counter": {}}, **spec}}
        await self.cluster.tasks.create(KEY[0], body)

    async def turn(self, when: str | datetime) -> None:
        """Set the clock, observe the cluster, reconcile, and make all writes, including those that follow from them."""
        self.now = at(when) if isinstance(when, str) else when
        await self.see()
        await self.term.reconciler.reconcile(KEY)
        await self.settle()

    async def settle(self) -> None:
        """Make all writes: the status, the record of what it settles, and the status without it."""
        for _ in range(3):
            await self.write()
            await self.term.reconciler.reconcile(KEY)
        await self.write()

    async def see(self) -> None:
        """Read the tasks, Jobs and pods from fresh lists."""
        for raw in await self.cluster.tasks.list(None):
            self.app.store.tasks.put(raw)
        for raw in list(self.cluster.objects["HTTPTarget"].values()):
            self.app.store.targets.put(raw)
        for raw in list(self.cluster.objects["RunRequest"].values()):
            self.app.store.requests.put(raw)
        self._take(JobEvent("LISTING", "Job", {}))
        for job in list(self.cluster.jobs.values()):
            self._take(JobEvent("ADDED", "Job", job))
        for pod in list(self.cluster.pods.values()):
            self._take(JobEvent("ADDED", "Pod", pod))
        self._take(JobEvent("SYNCED", "Job", {}))

    def _take(self, event: JobEvent) -> None:
        for change in self.app.store.jobs.changes(event):
            self.term.closer.job_changed(change)

    async def write(self) -> None:
        """Write all statuses without waiting, and run the outbox and the janitor until they are empty."""
        await self.term.statuses.flush()
        async with running(self.term.outbox.run()):
            await asyncio.wait_for(self.term.outbox.drained(), 5)
        await self.term.janitor.drained()

    def job_names(self) -> list[str]:
        return [job["metadata"]["name"] for job in self.cluster.created]

    def rows(self) -> list[tuple[str, str, str | None]]:
        """Return the slot, status and reason of every row, oldest first."""
        rows = sorted(self.history.rows.values(), key=lambda r: r.slot)
        return [(f"{r.slot:%H:%M:%S}", r.status.value, r.reason) for r in rows]


def term_of(app: Application) -> Term:
    """Return the current term of an application that leads."""
    assert app.term is not None
    return app.term


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    """Run a coroutine in the background until the block ends."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _observe_nothing(_store: ObservedStore, _queue: WorkQueue, stop: asyncio.Event) -> None:
    await stop.wait()
