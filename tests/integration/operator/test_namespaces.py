"""The operator with a list of namespaces, over the memory adapters: it ignores others, and one blocks no other."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.leases import MemoryLeases
from carillon_core.adapters.memory.runner_keys import MemoryRunnerKeys
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, execution_id
from carillon_core.domain.scope import Scope
from carillon_operator.application import Application
from carillon_operator.gather.handlers import feed
from carillon_operator.leadership.election import Elector
from carillon_operator.lease_settings import LeaseSettings
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue
from carillon_operator.term import Outside
from support.operator import SETTINGS, term_of
from support.waiting import eventually

OURS = ("team-a", "team-b")
THEIRS = "team-c"
COUNT = {"intervalSeconds": 1, "task": {"counter": {}}}
UID = "11111111-8b86-4011-b42d-00c04fc964ff"


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


class World:
    """A cluster with tasks in three namespaces, and operators for some of them."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.history = MemoryHistory()
        self.leases = MemoryLeases()

    async def create(self, *namespaces: str) -> None:
        for namespace in namespaces:
            await self.cluster.tasks.create(namespace, {"metadata": {"name": "tick"}, "spec": COUNT})

    def launched(self) -> set[str]:
        """Return the namespaces in which a Job was created."""
        return {job["metadata"]["namespace"] for job in self.cluster.created}

    def launches_of(self, namespace: str) -> int:
        """Return the number of Jobs created in a namespace."""
        return sum(job["metadata"]["namespace"] == namespace for job in self.cluster.created)

    @asynccontextmanager
    async def operator(
        self, *namespaces: str, ready: Path, blind: Sequence[str] = (), elected: bool = False
    ) -> AsyncIterator[Application]:
        """Run an operator whose observer sees the namespaces as kopf would, except some of them."""

        async def observe(store: ObservedStore, queue: WorkQueue, stop: asyncio.Event) -> None:
            for raw in await self.cluster.tasks.list(None):
                if raw["metadata"]["namespace"] in set(namespaces) - {*blind}:
                    feed(store, queue, "ScheduledTask", None, raw)
            await stop.wait()

        stop, lease = asyncio.Event(), LeaseSettings("home", f"operator-{namespaces[0]}", namespaces[0], 3)
        scope = Scope(tuple(sorted(namespaces)))
        settings = replace(SETTINGS, workers=2, scope=scope, sweep_seconds=1, ready_file=ready)
        elector = Elector(self.leases, lease, now) if elected else None
        keys = MemoryRunnerKeys()
        outside = Outside(reader=self.cluster, writer=self.cluster, history=self.history, keys=keys)
        app = Application(settings, outside, observe, now, elector)
        running = asyncio.ensure_future(app.run(stop))
        try:
            yield app
        finally:
            stop.set()
            await asyncio.wait_for(running, 10)


@pytest.fixture
def world() -> World:
    """Give a world without tasks."""
    return World()


async def test_each_operator_has_its_own_namespaces(world: World, tmp_path: Path) -> None:
    """Two operators with disjoint lists run all tasks, each its own."""
    await world.create(*OURS, THEIRS)
    async with world.operator(*OURS, ready=tmp_path / "a") as ours:
        await eventually(lambda: world.launched() == {*OURS}, 40)
        async with world.operator(THEIRS, ready=tmp_path / "b", elected=True) as theirs:
            await eventually(lambda: world.launched() == {*OURS, THEIRS})
            jobs = list(world.cluster.jobs)
            await eventually(lambda: all(ours.store.jobs.get(*job) for job in jobs if job[0] in OURS))
            await eventually(lambda: all(theirs.store.jobs.get(*job) for job in jobs if job[0] == THEIRS))
            assert not any(ours.store.jobs.get(*job) for job in jobs if job[0] == THEIRS)
            assert not any(theirs.store.jobs.get(*job) for job in jobs if job[0] in OURS)


def open_row(namespace: str) -> ExecutionRecord:
    """Return an execution that has been running for a long time, and whose Job is gone."""
    slot = now().replace(microsecond=0) - timedelta(hours=1)
    return ExecutionRecord(
        id=execution_id(UID, slot, Cause.SCHEDULE) if namespace in OURS else execution_id(UID, slot, Cause.MANUAL),
        task_uid=UID,
        origin=UID,
        namespace=namespace,
        task="tick",
        task_type="counter",
        slot=slot,
        cause=Cause.SCHEDULE if namespace in OURS else Cause.MANUAL,
        status=ExecutionStatus.RUNNING,
        job_name="tick-0",
        created_at=slot,
        started_at=slot,
    )


async def test_the_sweep_closes_no_row_of_another_namespace(world: World, tmp_path: Path) -> None:
    """Another release may serve it, whose Jobs this one may not read."""
    rows = [open_row("team-a"), open_row(THEIRS)]
    await world.history.record(rows)
    world.cluster.forbidden.add(THEIRS)
    async with world.operator(*OURS, ready=tmp_path / "a") as app:
        await eventually(lambda: world.history.rows[rows[0].id].status is ExecutionStatus.FAILED)
        await term_of(app).sweep()
        await asyncio.wait_for(term_of(app).outbox.drained(), 5)
    assert world.history.rows[rows[1].id].status is ExecutionStatus.RUNNING


@pytest.mark.parametrize("elected", [False, True])
async def test_a_namespace_that_may_not_be_read_holds_up_no_other(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, elected: bool
) -> None:
    """It is logged once, with the fix; when it can be read again, its tasks are observed and run."""
    caplog.set_level(logging.INFO)
    await world.create(*OURS)
    row = open_row("team-b")
    await world.history.record([row])
    world.cluster.forbidden.add("team-b")
    async with world.operator(*OURS, ready=tmp_path / "a", elected=elected) as app:
        await eventually(lambda: world.launched() == {"team-a"})
        for _ in range(2):
            await term_of(app).sweep()
        assert world.launched() == {"team-a"}
        assert world.history.rows[row.id].status is ExecutionStatus.RUNNING
        said = [r for r in caplog.records if "namespace unreadable" in r.message]
        assert [r.__dict__["fields"]["namespace"] for r in said] == ["team-b"]
        assert "watch.namespaces" in said[0].__dict__["fields"]["hint"]
        world.cluster.forbidden.clear()
        await eventually(lambda: world.launched() == {*OURS}, 40)
        await eventually(lambda: world.history.rows[row.id].status is ExecutionStatus.FAILED)


async def test_a_namespace_that_is_lost_later_is_decided_about_no_more(world: World, tmp_path: Path) -> None:
    """The known state may be outdated; decisions continue when it can be read again."""
    await world.create(*OURS)
    async with world.operator(*OURS, ready=tmp_path / "a", elected=True) as app:
        await eventually(lambda: world.launched() == {*OURS}, 40)
        world.cluster.forbidden.add("team-b")
        await term_of(app).sweep()
        before = world.launches_of("team-b")
        for namespace, name in list(world.cluster.jobs):
            world.cluster.finish_pod(namespace, name)
        await eventually(lambda: world.launches_of("team-a") > 1)
        assert world.launches_of("team-b") == before
        world.cluster.forbidden.clear()
        await eventually(lambda: world.launches_of("team-b") > before)
