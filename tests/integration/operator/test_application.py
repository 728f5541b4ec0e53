"""The operator as a whole over the memory adapters, in real time: the connections between its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.runner_keys import MemoryRunnerKeys
from carillon_operator.application import Application
from carillon_operator.gather.handlers import feed
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue
from carillon_operator.term import Outside
from support.operator import SETTINGS
from support.waiting import eventually

KEY = ("default", "tick")


class Running:
    """A running application, and its world."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.history = MemoryHistory()
        self.keys = MemoryRunnerKeys()
        self.stop = asyncio.Event()
        self.stumble = asyncio.Event()
        self.observations = 0
        self.maintained = asyncio.Event()
        self.app = Application(
            replace(SETTINGS, workers=2),
            Outside(
                reader=self.cluster,
                writer=self.cluster,
                history=self.history,
                keys=self.keys,
                maintain=self._maintain,
            ),
            self._observe,
            lambda: datetime.now(UTC),
        )

    async def _maintain(self) -> None:
        self.maintained.set()
        raise OSError("the disk is full")

    async def _observe(self, store: ObservedStore, queue: WorkQueue, stop: asyncio.Event) -> None:
        self.observations += 1
        for raw in await self.cluster.tasks.list(None):
            feed(store, queue, "ScheduledTask", None, raw)
        ends = [asyncio.ensure_future(event.wait()) for event in (stop, self.stumble)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if self.stumble.is_set():
            self.stumble.clear()
            raise OSError("the API server stumbles")

    async def create(self, **spec: object) -> None:
        body = {"metadata": {"name": KEY[1]}, "spec": {"task": {"counter": {}}, **spec}}
        raw = await self.cluster.tasks.create(KEY[0], body)
        feed(self.app.store, self.app.queue, "ScheduledTask", "ADDED", raw)

    async def delete(self) -> None:
        raw = await self.cluster.tasks.get(*KEY)
        await self.cluster.tasks.delete(*KEY)
        feed(self.app.store, self.app.queue, "ScheduledTask", "DELETED", raw)


@asynccontextmanager
async def running_operator() -> AsyncIterator[Running]:
    """Run the application until the block ends, then stop it like a signal."""
    running = Running()
    task = asyncio.ensure_future(running.app.run(running.stop))
    try:
        yield running
    finally:
        running.stop.set()
        await asyncio.wait_for(task, 5)


async def test_the_history_is_maintained_and_its_failure_ends_nothing() -> None:
    """It is maintained from the start, concurrently with everything else."""
    async with running_operator() as it:
        await asyncio.wait_for(it.maintained.wait(), 5)
        await it.create(intervalSeconds=1)
        await eventually(lambda: len(it.cluster.jobs) == 1)


async def test_a_task_is_launched_each_second_and_its_status_says_so() -> None:
    """Observing, deciding, launching and writing work together."""
    async with running_operator() as it:
        await it.create(intervalSeconds=1)
        await eventually(lambda: len(it.cluster.jobs) == 1)
        (name,) = (key[1] for key in it.cluster.jobs)
        it.cluster.finish_pod(KEY[0], name)

        async def succeeded() -> bool:
            status = (await it.cluster.tasks.get(*KEY)).get("status") or {}
            return status.get("lastResult") == "Succeeded"

        await eventually(succeeded)
        await eventually(lambda: len(it.cluster.jobs) == 2)
        await eventually(lambda: any(each.notice.reason == "Launched" for each in it.cluster.events.values()))


async def test_a_pod_that_is_refused_ends_its_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch shows the Job, the missing pod is investigated, and the operator decides about the result."""
    for name, seconds in {"YOUNG": 0.0, "PATIENCE": 1.0, "LOOK_AGAIN": 0.1, "LOOK_AGAIN_AT_LAST": 0.1}.items():
        monkeypatch.setattr(f"carillon_core.domain.decision.stuck.{name}", timedelta(seconds=seconds))
    monkeypatch.setattr("carillon_operator.gather.refused_pods.LOOK_AGAIN", timedelta(seconds=0.1))
    async with running_operator() as it:
        await it.create(intervalSeconds=1)
        await eventually(lambda: len(it.cluster.jobs) == 1)
        (name,) = (key[1] for key in it.cluster.jobs)
        it.cluster.refuse_pod(KEY[0], name, 'serviceaccount "absent" not found')
        await eventually(lambda: any(row.reason == "FailedCreate" for row in it.history.rows.values()))
        await eventually(lambda: len(it.cluster.created) == 2)


async def test_a_deleted_task_is_launched_no_more() -> None:
    """Its due time is dropped."""
    async with running_operator() as it:
        await it.create(intervalSeconds=1)
        await eventually(lambda: len(it.cluster.created) == 1)
        await it.delete()
        await eventually(lambda: it.app.store.tasks.get(KEY) is None)
        await eventually(lambda: it.app.queue.due_time(KEY) is None)


async def test_a_defect_met_by_one_task_stops_no_other() -> None:
    """Even an object without a creation time does no harm."""
    async with running_operator() as it:
        hostile = {
            "metadata": {"name": "x", "namespace": "default", "uid": "u"},
            "spec": {"intervalSeconds": 1, "task": {"counter": {}}},
        }
        feed(it.app.store, it.app.queue, "ScheduledTask", "ADDED", hostile)
        await it.create(intervalSeconds=1)
        await eventually(lambda: len(it.cluster.created) == 1)


async def test_a_job_that_disappears_in_a_relist_is_noticed() -> None:
    """A Job that is missing from a list is gone, and its execution is closed."""
    async with running_operator() as it:
        await it.create(intervalSeconds=1)
        await eventually(lambda: len(it.cluster.jobs) == 1)
        ((namespace, name),) = it.cluster.jobs
        it.cluster.jobs.clear()
        it.cluster.relist()
        await eventually(lambda: any(row.job_name == name for row in it.history.rows.values()))
        await eventually(lambda: (job := it.app.store.jobs.get(namespace, name)) is not None and not job.active)


async def test_an_observer_that_ends_by_mistake_begins_again() -> None:
    """An outage of the API server that ends kopf does not end the operator."""
    async with running_operator() as it:
        await eventually(lambda: it.observations == 1)
        it.stumble.set()
        await eventually(lambda: it.observations == 2)
        await it.create(intervalSeconds=1)
        await eventually(lambda: len(it.cluster.created) == 1)
