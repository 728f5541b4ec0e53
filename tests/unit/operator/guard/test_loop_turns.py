"""The times of the loop's turns."""

import asyncio
import time

import pytest

from carillon_operator.guard.loop_turns import LoopTurns


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def turn(turns: LoopTurns, clock: Clock, seconds: float) -> None:
    """Take a turn of a length."""
    turns.begin()
    clock.now += seconds
    turns.end()


def test_the_longest_turn_is_that_of_the_last_minute_or_two() -> None:
    """Later it is forgotten; the sum is kept."""
    clock = Clock()
    turns = LoopTurns(clock)
    for seconds in (0.1, 0.4, 0.2):
        turn(turns, clock, seconds)
    assert turns.longest == pytest.approx(0.4)
    assert (sum(turns.counts), round(turns.seconds, 3)) == (3, 0.7)
    clock.now += 60
    turn(turns, clock, 0.1)
    assert turns.longest == pytest.approx(0.4)
    clock.now += 60
    turn(turns, clock, 0.1)
    assert turns.longest == pytest.approx(0.1)


def test_time_that_the_loop_waits_is_no_turn() -> None:
    """Only what its callbacks take."""
    turns = LoopTurns()

    async def work() -> None:
        await asyncio.sleep(0.2)  # the wait that must not count
        time.sleep(0.02)  # noqa: ASYNC251  # it holds the loop on purpose
        await asyncio.sleep(0.2)

    with asyncio.Runner(loop_factory=turns.new_loop) as runner:
        runner.run(work())
    assert 0.02 <= turns.longest <= turns.seconds < 0.4
    assert sum(turns.counts) >= 3


def test_a_long_turn_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """It says for how long."""
    clock = Clock()
    turns = LoopTurns(clock)
    for seconds in (0.1, 0.6, 0.7):
        turn(turns, clock, seconds)
    assert [record.getMessage() for record in caplog.records] == ["the operator's loop was held"]
