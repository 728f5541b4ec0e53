"""A breaker: what hangs is given up, then refused at once, and tried again by one call at a time."""

import asyncio
from dataclasses import dataclass

import pytest

from carillon_core.adapters.breaker import OPEN_SECONDS, Breaker
from carillon_core.errors import NoAnswerError, NotFoundError, UnavailableError


@dataclass
class Time:
    """A clock that stands."""

    now: float = 100.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


@pytest.fixture
def time() -> Time:
    """A clock."""
    return Time()


@pytest.fixture
def breaker(time: Time) -> Breaker:
    """A closed breaker with little patience."""
    return Breaker("database", 0.01, time)


async def hang(breaker: Breaker) -> None:
    """Make a call that gets no answer."""
    with pytest.raises(NoAnswerError, match=r"database is unavailable: no answer within 0.01 s"):
        async with breaker.call():
            await asyncio.Event().wait()


async def answer(breaker: Breaker) -> None:
    """Make a call that is answered."""
    async with breaker.call():
        pass


async def refused(breaker: Breaker) -> bool:
    """Return whether a call is refused without being made."""
    try:
        await answer(breaker)
    except NoAnswerError:
        raise
    except UnavailableError:
        return True
    return False


async def test_after_a_call_without_an_answer_calls_are_refused(breaker: Breaker, time: Time) -> None:
    """For two seconds; then one call on trial closes it."""
    await hang(breaker)
    assert await refused(breaker)
    time.now += OPEN_SECONDS - 0.1
    assert await refused(breaker)
    time.now += 0.1
    assert not await refused(breaker)
    assert not await refused(breaker)


async def test_a_trial_without_an_answer_opens_it_again(breaker: Breaker, time: Time) -> None:
    """The two seconds begin anew."""
    await hang(breaker)
    time.now += OPEN_SECONDS
    await hang(breaker)
    assert await refused(breaker)
    time.now += OPEN_SECONDS
    assert not await refused(breaker)


async def test_only_one_call_is_on_trial(breaker: Breaker, time: Time) -> None:
    """The others are refused until it has ended."""
    await hang(breaker)
    time.now += OPEN_SECONDS
    async with breaker.call(60):
        assert await refused(breaker)
    assert not await refused(breaker)


async def test_a_cancelled_trial_makes_room_for_another(breaker: Breaker, time: Time) -> None:
    """Its caller has gone, which says nothing of what is called."""
    await hang(breaker)
    time.now += OPEN_SECONDS
    begun = asyncio.Event()

    async def trying() -> None:
        async with breaker.call(60):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(trying())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not await refused(breaker)


async def test_one_slow_call_among_others_opens_nothing(breaker: Breaker, time: Time) -> None:
    """While it waited, another was answered."""
    slow = asyncio.create_task(hang(breaker))
    await asyncio.sleep(0)  # begins it
    time.now += 1
    await answer(breaker)
    await slow
    assert not await refused(breaker)


@pytest.mark.parametrize("error", [NotFoundError("x"), UnavailableError("database", "refused"), ValueError()])
async def test_a_refusal_is_an_answer(breaker: Breaker, time: Time, error: Exception) -> None:
    """What refuses at once costs no time."""
    with pytest.raises(type(error)):
        async with breaker.call():
            raise error
    assert not await refused(breaker)
    await hang(breaker)
    time.now += OPEN_SECONDS
    with pytest.raises(type(error)):
        async with breaker.call():
            raise error
    assert not await refused(breaker)


async def test_what_an_adapter_gives_up_counts_as_well(breaker: Breaker) -> None:
    """A driver has time limits of its own; a time limit of the caller is none."""
    with pytest.raises(TimeoutError):
        async with breaker.call(60):
            raise TimeoutError
    assert not await refused(breaker)
    with pytest.raises(NoAnswerError):
        async with breaker.call(60):
            raise NoAnswerError("database", "connection timeout expired")
    assert await refused(breaker)
