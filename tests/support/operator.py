"""An operator over the memory adapters, turn by turn, on a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.revisions import MemoryRevisions
from carillon_core.adapters.memory.runner_keys import MemoryRunnerKeys
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate
from carillon_core.ports import JobEvent
from carillon_operator.application import Application
from carillon_operator.settings import Settings
from carillon_operator.term import Outside, Term
from support.builders import CREATED, FIRST, at

if TYPE_CHECKING:
    from carillon_operator.state.observed_store import ObservedStore
    from carillon_operator.state.work_queue import WorkQueue

KEY = ("default", "backup")
TEMPLATE = RunnerTemplate("runner:1", TokenKey(b"operators of tests".ljust(32)))
SETTINGS = Settings(database_url="memory", runner_database_url="postgresql://runner", runner=TEMPLATE)


class Operator:
    """An operator that acts only when the test calls it."""

    def __init__(self) -> None:
        self.now = CREATED
        self.cluster = MemoryCluster(clock=lambda: self.now)
        self.history = MemoryHistory()
        self.revisions = MemoryRevisions(self.history)
        self.keys = MemoryRunnerKeys()
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not in the cluster or the history, as a new process does."""
        outside = Outside(
            reader=self.cluster,
            writer=self.cluster,
            history=self.history,
            keys=self.keys,
            revisions=self.revisions,
        )
        self.app = Application(SETTINGS, outside, _observe_nothing, lambda: self.now)

    @property
    def term(self) -> Term:
        """The current term: without a Lease, always the same."""
        return term_of(self.app)

    async def create_task(self, **spec: Any) -> None:
        body = {"metadata": {"name": KEY[1]}, "spec": {"task": {"counter": {}}, **spec}}
        await self.cluster.tasks.create(KEY[0], body)

    async def turn(self, when: str | datetime) -> None:
        """Set the clock, list the cluster, reconcile, and complete all writes and what follows from them."""
        self.now = at(when) if isinstance(when, str) else when
        await self.see()
        await self.term.reconciler.reconcile(KEY)
        await self.settle()

    async def settle(self) -> None:
        """Complete all writes: the status, the rows of settled slots, and the status without them."""
        for _ in range(3):
            await self.write()
            await self.term.reconciler.reconcile(KEY)
        await self.write()

    async def see(self) -> None:
        """List the tasks, Jobs and pods."""
        for raw in await self.cluster.tasks.list(None):
            self.app.store.tasks.put(raw)
        for raw in list(self.cluster.objects["HTTPTarget"].values()):
            self.app.store.targets.put(raw)
        for raw in list(self.cluster.objects["RunRequest"].values()):
            self.app.store.requests.put(raw)
        self.take(JobEvent("LISTING", "Job", {}))
        for job in list(self.cluster.jobs.values()):
            self.take(JobEvent("ADDED", "Job", job))
        self.take(JobEvent("SYNCED", "Job", {}))
        self.take(JobEvent("LISTING", "Pod", {}))
        for pod in list(self.cluster.pods.values()):
            self.take(JobEvent("ADDED", "Pod", pod))
        self.take(JobEvent("SYNCED", "Pod", {}))

    def take(self, event: JobEvent) -> None:
        """Take what a watch shows."""
        for change in self.app.store.jobs.changes(event):
            self.term.closer.job_changed(change)

    async def write(self) -> None:
        """Write all statuses and empty the outbox and the janitor's queue."""
        await self.term.statuses.flush()
        async with running(self.term.outbox.run()), running(together(self.term.failed_logs.processes)):
            await asyncio.wait_for(self.term.failed_logs.drained(), 5)
            await asyncio.wait_for(self.term.outbox.drained(), 5)
        await self.term.janitor.drained()

    async def events(self) -> list[tuple[str, str, str, int]]:
        """Post all Events; return the kind of object, the type, the reason and the count of each, sorted."""
        await self.term.announcer.flush()
        found = self.cluster.events.values()
        return sorted((e.kind, e.notice.type, str(e.notice.reason), e.count) for e in found)

    def job_names(self) -> list[str]:
        return [job["metadata"]["name"] for job in self.cluster.created]

    def rows(self) -> list[tuple[str, str, str | None]]:
        """Return the slot, status and reason of every row, oldest first."""
        rows = sorted(self.history.rows.values(), key=lambda r: r.slot)
        return [(f"{r.slot:%H:%M:%S}", r.status.value, r.reason) for r in rows]


@pytest.fixture
def operator() -> Operator:
    """Return an operator that has not seen anything yet."""
    return Operator()


async def finish(operator: Operator, when: str, name: str, exit_code: int = 0, message: str = "") -> None:
    """End a Job's pod and let the operator see it."""
    operator.now = at(when)
    operator.cluster.finish_pod(KEY[0], name, exit_code, message)
    await operator.turn(when)


async def running_row(operator: Operator) -> ExecutionRecord:
    """Write the row that a runner writes when it claims its execution."""
    raw = (await operator.cluster.tasks.list(None))[0]
    slot = at("00:00:30")
    row = ExecutionRecord(
        id=execution_id(raw["metadata"]["uid"], slot, Cause.SCHEDULE),
        task_uid=raw["metadata"]["uid"],
        namespace=KEY[0],
        task=KEY[1],
        task_type="counter",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.RUNNING,
        job_name=FIRST,
        started_at=slot,
    )
    await operator.history.record([row])
    return row


def term_of(app: Application) -> Term:
    """Return the current term of an application that leads."""
    assert app.term is not None
    return app.term


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    """Run something in the background during the block."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def together(works: Callable[[], Iterable[Coroutine[None, None, None]]]) -> None:
    """Run several things at once; they are made when they run, as none may be left that never did."""
    async with asyncio.TaskGroup() as group:
        for work in works():
            group.create_task(work)


async def _observe_nothing(_store: ObservedStore, _queue: WorkQueue, stop: asyncio.Event) -> None:
    await stop.wait()
