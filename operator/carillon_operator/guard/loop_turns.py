"""Measures the turns of the event loop, in each of which nothing else happens: no launch, no renewal of the Lease.

A loop waits in its selector between turns, so a selector that looks at the clock measures exactly the time in between,
for a microsecond a turn.
"""

import asyncio
import selectors
import time
from bisect import bisect_left
from collections.abc import Callable
from selectors import SelectorKey

from carillon_core.logs import get_logger

log = get_logger(__name__)

WINDOW_SECONDS = 60.0
"""The longest turn is that of the last one to two windows."""
LONG_SECONDS = 0.5
"""A turn that takes longer is logged, at most once a window."""
BOUNDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 2.0)
"""The bounds by which turns are counted, in seconds."""


class LoopTurns:
    """The times of the turns."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Take the clock, in seconds."""
        self._clock = clock
        self._began: float | None = None
        self._window_began = clock()
        self._longest = self._longest_before = 0.0
        self.counts = [0] * (len(BOUNDS) + 1)
        """The number of turns up to each bound that are longer than the bound before, and of those beyond the last."""
        self.seconds = 0.0
        """The time that they took in all."""

    def begin(self) -> None:
        """Note that a turn begins."""
        self._began = self._clock()

    def end(self) -> None:
        """Note that a turn ends."""
        if self._began is None:
            return
        now = self._clock()
        took = now - self._began
        self._began = None
        self.counts[bisect_left(BOUNDS, took)] += 1
        self.seconds += took
        if now - self._window_began >= WINDOW_SECONDS:
            self._window_began, self._longest_before, self._longest = now, self._longest, 0.0
        if took > self._longest:
            if took >= LONG_SECONDS > self._longest:
                log.warning("the operator's loop was held", milliseconds=round(took * 1000))
            self._longest = took

    @property
    def longest(self) -> float:
        """The longest turn of the last minute or two, in seconds."""
        return max(self._longest, self._longest_before)

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return an event loop whose turns are measured."""
        return asyncio.SelectorEventLoop(_TimedSelector(self))


class _TimedSelector(selectors.DefaultSelector):
    """The platform's selector, between two looks at the clock."""

    def __init__(self, turns: LoopTurns) -> None:
        super().__init__()
        self._turns = turns

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        self._turns.end()
        ready = super().select(timeout)
        self._turns.begin()
        return ready
