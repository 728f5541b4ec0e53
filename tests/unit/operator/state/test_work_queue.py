"""The work queue: one worker per key, no lost keys, and due times kept by one sleeper."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from carillon_operator.state.work_queue import WorkQueue
from support.operator import running
from support.waiting import eventually

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


async def test_what_is_due_comes_before_what_has_only_changed() -> None:
    """However much has changed before; a key that becomes due while it waits moves up, and comes once."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    queue = WorkQueue(lambda: now)
    changed = [("default", str(number)) for number in range(100)]
    for key in changed:
        queue.add(key)
    queue.add_at(A, now)
    queue.add_at(changed[50], now)
    async with running(queue.run_sleeper()):
        await eventually(lambda: queue.due_time(A) is None)
    order = [await taken(queue) for _ in range(101)]
    assert set(order[:2]) == {A, changed[50]}
    assert order[2:] == [*changed[:50], *changed[51:]]
    for key in order:
        queue.done(key)
    assert await nothing_to_take(queue)


async def test_a_key_that_becomes_due_in_its_turn_goes_first_when_it_ends(queue: WorkQueue) -> None:
    """It does not queue up behind everything that has changed since."""
    queue.add(A)
    await taken(queue)
    for number in range(10):
        queue.add(("default", str(number)))
    queue.add(A, due=True)
    queue.add(A)
    queue.done(A)
    assert await taken(queue) == A


async def test_the_namespaces_take_turns(queue: WorkQueue) -> None:
    """One with ten thousand changes delays a key of another by one turn."""
    for number in range(10_000):
        queue.add(("loud", str(number)))
    queue.add(("quiet", "a"))
    queue.add(("quiet", "b"))
    order = [await taken(queue) for _ in range(4)]
    assert [key[0] for key in order] == ["loud", "quiet", "loud", "quiet"]
    assert order[1:4:2] == [("quiet", "a"), ("quiet", "b")]


async def test_a_due_time_that_is_set_again_and_again_takes_no_memory(queue: WorkQueue) -> None:
    """As each turn of a task does whose slot is far away."""
    far = clock() + timedelta(days=365)
    for number in range(20_000):
        queue.add_at(A, far + timedelta(seconds=number))
        queue.add_at(B, far - timedelta(seconds=number))
    assert len(queue._heap) < 2_000  # noqa: SLF001  # nothing else shows it
    assert queue.due_time(B) == far - timedelta(seconds=19_999)


async def test_a_closed_queue_wakes_nobody_for_what_it_forgot(queue: WorkQueue) -> None:
    """Whoever waits gets the next key that is added after it was opened again."""
    for number in range(5):
        queue.add(("default", str(number)))
    queue.close()
    queue.open()
    assert await nothing_to_take(queue)
    queue.add(A)
    assert await taken(queue) == A
