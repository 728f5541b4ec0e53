"""Several operators over one cluster in memory, in real time: standby, leadership and shards."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.leases import MemoryLeases
from carillon_core.adapters.memory.runner_keys import MemoryRunnerKeys
from carillon_core.adapters.memory.world import Kind
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.shard import Shard
from carillon_core.errors import UnavailableError
from carillon_core.ports import EventSeries, JobEvent, JSONObject
from carillon_core.resources.names import LABEL_TASK
from carillon_core.resources.scheduled_task import parse_meta
from carillon_operator.application import Application
from carillon_operator.gather.handlers import feed
from carillon_operator.leadership.election import Elector
from carillon_operator.leadership.fence import FencedWriter
from carillon_operator.lease_settings import LeaseSettings
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue
from carillon_operator.term import Outside
from support.builders import at
from support.operator import SETTINGS, term_of
from support.waiting import eventually

WHERE = ("carillon", "operator")


class View(MemoryCluster):
    """The shared cluster as one operator uses it; its own creations are recorded separately."""

    def __init__(self, seen: MemoryCluster) -> None:
        super().__init__()
        self.__dict__ |= {**seen.__dict__, "created": []}


class Deaf(View):
    """A cluster whose watch of Jobs is silently dead: only a new list shows changes."""

    async def watch_jobs(self, kind: Kind, namespace: str | None = None) -> AsyncIterator[JobEvent]:
        listing = True
        async for event in super().watch_jobs(kind, namespace):
            if listing:
                yield event
            if event.type == "SYNCED":
                listing = False


class World:
    """The shared cluster and history, and the operators."""

    def __init__(self, folder: Path) -> None:
        self.cluster = MemoryCluster()
        self.history = MemoryHistory()
        self.leases = MemoryLeases()
        self.folder = folder
        self._stores: list[tuple[ObservedStore, WorkQueue]] = []

    @asynccontextmanager
    async def operator(
        self,
        name: str,
        shard: Shard | None = None,
        cluster: MemoryCluster | None = None,
        *,
        elected: bool = True,
        lease_seconds: int = 1,
    ) -> AsyncIterator[tuple[Application, Elector]]:
        """Run an operator until the block ends, then stop it like a signal."""
        lease = LeaseSettings(*WHERE, name, lease_seconds)
        settings = replace(SETTINGS, workers=2, ready_file=self.folder / name, shard=shard or Shard(), lease=lease)
        elector, stop = Elector(self.leases, lease, now), asyncio.Event()
        view = cluster or self.cluster
        app = Application(
            settings,
            Outside(reader=view, writer=view, history=self.history, keys=MemoryRunnerKeys()),
            self._observe,
            now,
            elector if elected else None,
        )
        running = asyncio.ensure_future(app.run(stop))
        try:
            await eventually((self.folder / name).exists)
            yield app, elector
        finally:
            stop.set()
            await asyncio.wait_for(running, 10)

    async def _observe(self, store: ObservedStore, queue: WorkQueue, stop: asyncio.Event) -> None:
        for raw in await self.cluster.tasks.list(None):
            feed(store, queue, "ScheduledTask", None, raw)
        self._stores.append((store, queue))
        await stop.wait()

    async def create(self, name: str, **spec: object) -> JSONObject:
        """Create a task, and notify every operator."""
        body = {"metadata": {"name": name}, "spec": {"task": {"counter": {}}, **spec}}
        raw = await self.cluster.tasks.create("default", body)
        for store, queue in self._stores:
            feed(store, queue, "ScheduledTask", "ADDED", raw)
        return raw

    async def change(self, name: str, **spec: object) -> None:
        """Change a task, and notify every operator."""
        raw = await self.cluster.tasks.patch("default", name, {"spec": spec})
        for store, queue in self._stores:
            feed(store, queue, "ScheduledTask", "MODIFIED", raw)

    async def request(self, name: str, task: str) -> None:
        """Create a RunRequest for a task, and notify every operator."""
        raw = self.cluster.put_object(
            "RunRequest", "default", name, {"taskRef": {"name": task}, "concurrencyPolicy": "Allow"}
        )
        for store, queue in self._stores:
            feed(store, queue, "RunRequest", "ADDED", raw)


def now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give an empty cluster."""
    return World(tmp_path)


async def test_who_stands_by_sees_everything_and_writes_nothing(world: World) -> None:
    """This holds even if an active Job is deleted; its memory does not grow."""
    async with (
        world.operator("one", lease_seconds=30) as (_, leader),
        world.operator("two", lease_seconds=30) as (standby, other),
    ):
        assert leader.leads()
        await world.create("tick", intervalSeconds=1)
        await eventually(lambda: len(world.cluster.jobs) == 1)
        ((namespace, name),) = world.cluster.jobs
        await eventually(lambda: standby.store.jobs.get(namespace, name) is not None)
        world.cluster.remove_job(namespace, name)
        await eventually(lambda: standby.store.jobs.get(namespace, name) is None)
        await eventually(lambda: any(row.job_name == name for row in world.history.rows.values()))
        assert not other.leads()
        assert (standby.term, standby.queue.due_time(("default", "tick"))) == (None, None)


async def test_the_next_launches_the_next_slots(world: World) -> None:
    """The leader stops, the other continues, and no slot has two Jobs."""
    async with world.operator("two") as (_, next_one):
        await eventually(next_one.leads)
    async with world.operator("one") as (_, first):
        await eventually(first.leads)
        await world.create("tick", intervalSeconds=1, concurrencyPolicy="Allow")
        await eventually(lambda: len(world.cluster.created) >= 1)
        async with world.operator("two") as (_, second):
            world.leases.leases[WHERE]["spec"]["holderIdentity"] = "nobody who renews it"
            await eventually(lambda: not first.leads())
            before = len(world.cluster.created)
            await eventually(lambda: first.leads() or second.leads())
            await eventually(lambda: len(world.cluster.created) >= before + 2)
    names = [job["metadata"]["name"] for job in world.cluster.created]
    assert len(names) == len({*names})


@pytest.mark.parametrize("deleted", [False, True])
async def test_the_next_sees_what_the_former_launched_though_its_watch_is_dead(
    world: World,
    deleted: bool,  # noqa: FBT001  # a parameter of the table
) -> None:
    """Otherwise, a Forbid task would run twice at once, also next to a pod whose Job has been deleted."""
    async with world.operator("two", cluster=Deaf(world.cluster)) as (standby, second):
        world.leases.outage = "the test keeps it from leading"
        await eventually(lambda: not second.leads())
        async with world.operator("one", elected=False):
            await world.create("slow", intervalSeconds=3600, concurrencyPolicy="Forbid")
            for count, name in enumerate(("long", "short"), 1):
                await world.request(name, "slow")
                await eventually(lambda count=count: len(world.cluster.created) == count)  # type: ignore[misc]
            (namespace, long), (_, short) = world.cluster.jobs
            world.cluster.finish_pod(namespace, short)
            world.cluster.finish_job(namespace, short)

            async def told() -> bool:
                status = (await world.cluster.tasks.get("default", "slow")).get("status") or {}
                return (status.get("lastExecution") or {}).get("result") == "Succeeded"

            # the status does not show the execution that is still active
            await eventually(told)
        if deleted:
            world.cluster.start_pod(namespace, long)
            world.cluster.delete_job_first(namespace, long)
        assert not standby.store.jobs.under(("default", "slow")), "its watch is dead"
        await world.change("slow", intervalSeconds=1)
        world.leases.outage = None
        await eventually(second.leads)
        await eventually(lambda: any(row.task == "slow" for row in world.history.rows.values()))
        assert {row.reason for row in world.history.rows.values()} == {"StillActive"}
        assert len(world.cluster.jobs) == (1 if deleted else 2)


async def test_the_next_sees_tasks_that_no_event_has_shown(world: World) -> None:
    """It also forgets those that are gone, even if its watch has missed that."""
    async with world.operator("one") as (app, elector):
        await eventually(elector.leads)
        await world.create("old", intervalSeconds=3600)
        world.leases.outage = "the test keeps it from leading"
        await eventually(lambda: not elector.leads())
        await world.cluster.tasks.delete("default", "old")
        await world.cluster.tasks.create(
            "default", {"metadata": {"name": "new"}, "spec": {"intervalSeconds": 1, "task": {"counter": {}}}}
        )
        world.leases.outage = None
        await eventually(lambda: len(world.cluster.created) == 1)
        assert app.store.tasks.get(("default", "old")) is None


async def test_the_next_closes_at_once_what_the_former_left_open(world: World) -> None:
    """Its first sweep is immediate, because a standby does not sweep, and another minute would be too long."""
    async with world.operator("one") as (_, first):
        await eventually(first.leads)
        async with world.operator("two"):
            began = now() - timedelta(minutes=10)
            row = ExecutionRecord(
                id=uuid4(),
                task_uid=str(uuid4()),
                namespace="default",
                task="gone",
                task_type="counter",
                slot=began,
                cause=Cause.SCHEDULE,
                status=ExecutionStatus.RUNNING,
                job_name="gone-1",
                created_at=began,
                started_at=began,
            )
            world.history.rows[row.id] = row
            world.leases.leases[WHERE]["spec"]["holderIdentity"] = "nobody who renews it"
            await eventually(lambda: world.history.rows[row.id].status is not ExecutionStatus.RUNNING)
    assert SETTINGS.sweep_seconds == 60


async def test_what_was_decided_and_not_written_counts_no_more_after_a_loss(world: World) -> None:
    """It starts from the stored statuses, like a new process."""
    async with world.operator("one") as (app, elector):
        await eventually(elector.leads)
        await world.create("tick", intervalSeconds=1)
        await eventually(lambda: len(world.cluster.created) >= 1)
        world.cluster.outage = "the test says so"
        world.leases.outage = "the test says so"
        await eventually(lambda: not elector.leads())

        def forgotten() -> bool:
            task = app.store.tasks.get(("default", "tick"))
            return task is not None and task.status == task.stored and app.queue.due_time(("default", "tick")) is None

        await eventually(forgotten)
        world.cluster.outage = world.leases.outage = None
        before = len(world.cluster.created)
        ((namespace, name),) = world.cluster.jobs
        world.cluster.finish_pod(namespace, name)
        await eventually(lambda: len(world.cluster.created) > before)


async def test_two_shards_launch_each_task_once(world: World) -> None:
    """Each has its own tasks, and records only their executions."""
    shards, views = [Shard(index, 2) for index in range(2)], [View(world.cluster), View(world.cluster)]
    async with (
        world.operator("zero", shards[0], views[0], elected=False) as (zero, _),
        world.operator("one", shards[1], views[1], elected=False) as (one, _),
    ):
        owners: dict[str, Application] = {}
        for number in range(8):
            raw = await world.create(f"task{number}", intervalSeconds=2)
            owners[f"task{number}"] = zero if shards[0].owns(raw["metadata"]["uid"]) else one
        assert {id(app) for app in owners.values()} == {id(zero), id(one)}
        await eventually(lambda: len(world.cluster.jobs) == len(owners))
        for app, view in zip((zero, one), views, strict=True):
            launched = {job["metadata"]["labels"][LABEL_TASK] for job in view.created}
            assert launched == {task for task, owner in owners.items() if owner is app}
        for namespace, name in list(world.cluster.jobs):
            world.cluster.remove_job(namespace, name)

        def cancelled() -> list[ExecutionRecord]:
            return [row for row in world.history.rows.values() if row.status == "cancelled"]

        await eventually(lambda: {row.task for row in cancelled()} == {*owners})
        for row in cancelled():
            theirs = zero if owners[row.task] is one else one
            assert term_of(owners[row.task]).outbox.wrote(row.id)
            assert not term_of(theirs).outbox.wrote(row.id)


SERIES = EventSeries(
    parse_meta({"namespace": "default", "name": "x", "uid": "u"}),
    "ScheduledTask",
    Notice("Normal", Reason.LAUNCHED, "launched"),
    at("00:00"),
    at("00:00"),
)
WRITES: dict[str, Callable[[FencedWriter], object]] = {
    "a Job": lambda it: it.create_job({"metadata": {"namespace": "default", "name": "x"}}),
    "a Job's deletion": lambda it: it.delete_job("default", "x", "u"),
    "a status": lambda it: it.patch_status(parse_meta({"namespace": "default", "name": "x", "uid": "u"}), {}),
    "a request's deletion": lambda it: it.delete_request(parse_meta({"namespace": "d", "name": "x", "uid": "u"})),
    "an Event": lambda it: it.post_event(SERIES),
    "an Event's count": lambda it: it.update_event(SERIES, "x"),
    "a Secret": lambda it: it.ensure_runner_secret("default", "x", {}),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
async def test_who_has_lost_writes_nothing(write: Callable[[FencedWriter], object]) -> None:
    """It checks its clock before each write."""
    cluster = MemoryCluster()
    fenced = FencedWriter(cluster, lambda: False)
    with pytest.raises(UnavailableError, match="another operator may be leading"):
        await write(fenced)  # type: ignore[misc]  # all are awaitable, with different results
    assert (cluster.jobs, cluster.secrets, cluster.events) == ({}, {}, {})
