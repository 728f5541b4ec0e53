"""Divides long work on the operator's loop, so that between its slices others have their turns: launches, renewals."""

import asyncio
import time
from collections.abc import Callable

SLICE_SECONDS = 0.002


class Slices:
    """The slices of one kind of work: at most one in each turn of the loop, however many tasks do it."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Take the clock, in seconds."""
        self._clock = clock
        self._until: float | None = None
        """When the slice of this turn is over; None before it begins."""

    def begin(self) -> None:
        """Begin a slice."""
        self._until = self._clock() + SLICE_SECONDS

    @property
    def over(self) -> bool:
        """Whether the slice is over."""
        return self._until is not None and self._clock() >= self._until

    async def rest(self) -> None:
        """Let others have a turn if the slice is over. The first caller in a turn always continues."""
        while self.over:  # noqa: ASYNC110  # it ends with the turn of the loop, which is no event
            await asyncio.sleep(0)
        if self._until is None:
            self.begin()
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._until = None
