"""The work queue: one worker per key, no lost keys, and due times kept by one sleeper."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from carillon_operator.state.work_queue import WorkQueue
from support.operator import running

A, B = ("default", "a"), ("default", "b")


def clock() -> datetime:
    """Return the real time, with which due times are compared."""
    return datetime.now(UTC)


@pytest.fixture
def queue() -> WorkQueue:
    """An empty queue."""
    return WorkQueue(clock)


async def taken(queue: WorkQueue) -> tuple[str, str]:
    """Take a key, which must arrive within a second."""
    return await asyncio.wait_for(queue.take(), 1)


async def nothing_to_take(queue: WorkQueue) -> bool:
    """Return whether no key is ready."""
    try:
        await asyncio.wait_for(queue.take(), 0.02)
    except TimeoutError:
        return True
    return False


async def test_a_key_added_twice_comes_once(queue: WorkQueue) -> None:
    """A burst of changes is one turn."""
    queue.add(A)
    queue.add(A)
    assert await taken(queue) == A
    queue.done(A)
    assert await nothing_to_take(queue)


async def test_a_key_added_while_it_is_worked_on_comes_again(queue: WorkQueue) -> None:
    """It does not come before the worker is done with it."""
    queue.add(A)
    await taken(queue)
    queue.add(A)
    queue.add(A)
    assert await nothing_to_take(queue)
    queue.done(A)
    assert await taken(queue) == A
    queue.done(A)
    assert await nothing_to_take(queue)


async def test_a_due_time_is_kept(queue: WorkQueue) -> None:
    """The key comes at its time, not earlier."""
    due = clock() + timedelta(seconds=0.1)
    async with running(queue.run_sleeper()):
        queue.add_at(A, due)
        await taken(queue)
        assert clock() >= due


async def test_an_earlier_time_wakes_the_sleeper(queue: WorkQueue) -> None:
    """A task that is added while the sleeper waits for a later one is on time."""
    async with running(queue.run_sleeper()):
        queue.add_at(A, clock() + timedelta(hours=1))
        await asyncio.sleep(0)
        queue.add_at(B, clock())
        assert await taken(queue) == B


async def test_the_last_time_set_counts(queue: WorkQueue) -> None:
    """Each time replaces or clears the previous one."""
    async with running(queue.run_sleeper()):
        queue.add_at(A, clock() + timedelta(seconds=0.05))
        queue.add_at(A, clock() + timedelta(hours=1))
        queue.add_at(B, clock() + timedelta(seconds=0.05))
        queue.add_at(B, None)
        assert await nothing_to_take(queue)
        queue.add_after(A, 0.01)
        assert await taken(queue) == A


async def test_a_delay_does_not_put_off_an_earlier_time(queue: WorkQueue) -> None:
    """A retry never makes a due slot late."""
    async with running(queue.run_sleeper()):
        queue.add_at(A, clock() + timedelta(seconds=0.02))
        queue.add_after(A, 3600)
        assert await taken(queue) == A


async def test_the_sleeper_ends_though_it_is_woken_at_the_same_moment(queue: WorkQueue) -> None:
    """A busy operator also stops when it is told to."""
    sleeper = asyncio.ensure_future(queue.run_sleeper())
    await asyncio.sleep(0)
    queue.add_at(A, clock() + timedelta(hours=1))
    sleeper.cancel()
    await asyncio.wait({sleeper}, timeout=5)
    assert sleeper.cancelled()


async def test_a_closed_queue_gives_and_takes_nothing(queue: WorkQueue) -> None:
    """Waiting keys are forgotten, due or not; a reopened queue is empty."""
    queue.add(A)
    queue.add_at(B, clock())
    queue.close()
    queue.add(B)
    queue.add_at(A, clock())
    async with running(queue.run_sleeper()):
        assert await nothing_to_take(queue)
        queue.open()
        assert await nothing_to_take(queue)
        assert (queue.due_time(A), queue.due_time(B)) == (None, None)
        queue.add(A)
        assert await taken(queue) == A


async def test_it_is_at_rest_when_the_turns_that_have_begun_have_ended(queue: WorkQueue) -> None:
    """A key that was added again meanwhile does not come after the queue is closed."""
    queue.add(A)
    queue.add(B)
    for key in (await taken(queue), await taken(queue)):
        queue.add(key)
    queue.close()
    resting = asyncio.ensure_future(queue.rested())
    queue.done(A)
    assert await nothing_to_take(queue)
    assert not resting.done()
    queue.done(B)
    await asyncio.wait_for(resting, 1)
    assert await nothing_to_take(queue)
