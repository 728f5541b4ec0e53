"""Divides long work on the operator's loop, so that between its slices others have their turns: launches, renewals."""

import asyncio
import time
from collections.abc import Callable

SLICE_SECONDS = 0.002


class Slices:
    """The slices of one piece of work."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Take the clock, in seconds; the first slice begins now."""
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Begin a slice."""
        self._until = self._clock() + SLICE_SECONDS

    @property
    def over(self) -> bool:
        """Whether the slice is over."""
        return self._clock() >= self._until

    async def rest(self) -> None:
        """Let others have a turn, if the slice is over."""
        if self.over:
            await asyncio.sleep(0)
            self.begin()
