"""However much is observed at once, it is taken in slices, and others have their turns in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.domain.scope import Scope
from carillon_core.domain.shard import Shard
from carillon_core.ports import JobEvent
from carillon_operator.gather.inbox import Inbox
from carillon_operator.gather.watching import Watching
from carillon_operator.guard.slices import SLICE_SECONDS, Slices
from carillon_operator.leadership.endings import end
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.ownership import Ownership
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import WorkQueue
from support.builders import CREATED
from support.jobs import raw_job
from support.waiting import eventually

COUNT = 300


class Work:
    """Takes events, each for half a slice."""

    def __init__(self) -> None:
        self.now = 0.0
        self.taken: list[object] = []
        self.slices = Slices(lambda: self.now)

    def take(self, event: object) -> None:
        self.taken.append(event)
        self.now += SLICE_SECONDS / 2


@asynccontextmanager
async def turns() -> AsyncIterator[list[None]]:
    """Count the turns of the loop."""
    counted: list[None] = []

    async def count() -> None:
        while True:
            counted.append(None)
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    yield counted
    counting.cancel()


async def test_a_list_of_jobs_is_taken_in_slices() -> None:
    """A watch that begins with thousands of Jobs does not hold the loop."""
    cluster, work, store = MemoryCluster(), Work(), ObservedStore()
    for number in range(COUNT):
        job = raw_job(f"team-{number}")
        cluster.jobs[job["metadata"]["namespace"], job["metadata"]["name"]] = job
    view = View(store, Ownership(Shard(), store), WorkQueue(lambda: CREATED))
    watching = Watching(cluster, view, Scope(), work.take, work.slices)
    async with turns() as counted:
        watching.start()
        await watching.synced()
        assert len(counted) > COUNT / 4
    await watching.stop()
    assert sum(isinstance(event, JobEvent) and event.type == "ADDED" for event in work.taken) == COUNT


async def test_events_of_another_thread_are_taken_in_slices() -> None:
    """They keep their order."""
    work = Work()
    inbox = Inbox[object](asyncio.get_running_loop(), work.take, work.slices)
    async with turns() as counted:
        for number in range(COUNT):
            inbox.put(number)
        await eventually(lambda: len(work.taken) == COUNT)
        assert len(counted) > COUNT / 4
    assert work.taken == list(range(COUNT))


async def test_keys_are_taken_in_slices() -> None:
    """However many workers wait, one turn of the loop has few turns of tasks; a key that becomes due goes first."""
    work, late = Work(), ("slots", "due")
    queue = WorkQueue(lambda: CREATED, work.slices)

    async def run_worker() -> None:
        while True:
            key = await queue.take()
            if not work.taken:
                queue.add(late, due=True)
            work.take(key)
            queue.done(key)

    async with turns() as counted:
        workers = [asyncio.ensure_future(run_worker()) for _ in range(32)]
        await asyncio.sleep(0)
        for number in range(COUNT):
            queue.add(("crowd", str(number)))
        await eventually(lambda: len(work.taken) == COUNT + 1)
        assert len(counted) > COUNT / 4
        await end(workers)
    assert work.taken.index(late) == 1


async def test_an_event_that_cannot_be_taken_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""
    taken: list[int] = []

    def take(event: int) -> None:
        if event == 1:
            raise ValueError(event)
        taken.append(event)

    inbox = Inbox[int](asyncio.get_running_loop(), take)
    for number in range(3):
        inbox.put(number)
    await eventually(lambda: taken == [0, 2])
    assert [record.getMessage() for record in caplog.records] == ["an event was not taken"]
