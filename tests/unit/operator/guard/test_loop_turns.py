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
    clock = Clock()
    turns = LoopTurns(clock)

    def pass_time(ended: int) -> None:
        while sum(turns.counts) == ended:  # the loop is not waiting yet
            time.sleep(0.001)
        clock.now += 100

    async def work() -> None:
        await asyncio.to_thread(pass_time, sum(turns.counts))
        clock.now += 0.02  # here it holds the loop
        await asyncio.to_thread(pass_time, sum(turns.counts))

    with asyncio.Runner(loop_factory=turns.new_loop) as runner:
        runner.run(work())
    assert clock.now == pytest.approx(200.02)
    assert [turns.longest, turns.seconds] == pytest.approx([0.02, 0.02])
    assert sum(turns.counts) >= 3


def test_a_long_turn_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """It says for how long."""
    clock = Clock()
    turns = LoopTurns(clock)
    for seconds in (0.1, 0.6, 0.7):
        turn(turns, clock, seconds)
    assert [record.getMessage() for record in caplog.records] == ["the operator's loop was held"]
