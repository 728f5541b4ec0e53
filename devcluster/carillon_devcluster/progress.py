"""The progress of a build and its estimated end, shown on a terminal or in a log."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

LINK_SHARE = 0.06
"""The share of the time that linking takes, which is a single step in the compiler's output."""

LINE_EVERY_PERCENT = 10
LINE_EVERY_SECONDS = 20.0
FIRST_ESTIMATE_AFTER = 10.0
"""Seconds before the first estimate of the remaining time; earlier estimates would vary too much."""

ENOUGH_TO_GUESS = 0.02


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The progress of a build."""

    done: int
    total: int
    elapsed: float

    @property
    def fraction(self) -> float:
        """The finished share, from 0 to 1. By measurement, the number of packages is nearly linear in time."""
        if self.total <= 0:
            return 0.0
        return min(self.done / self.total, 1.0) * (1 - LINK_SHARE)

    @property
    def left(self) -> float | None:
        """The estimated remaining seconds; None while there is no good estimate."""
        if self.elapsed < FIRST_ESTIMATE_AFTER or self.fraction < ENOUGH_TO_GUESS:
            return None
        return self.elapsed * (1 - self.fraction) / self.fraction

    def sentence(self) -> str:
        """Say it."""
        text = f"{self.done} of {self.total} packages, {int(self.fraction * 100)} %"
        return text if self.left is None else f"{text}, about {duration(self.left)} left"


def duration(seconds: float) -> str:
    """Return a rounded duration: `40 s`, `4 min`."""
    if seconds < 55:  # noqa: PLR2004
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{max(1, round(seconds / 60))} min"


class Reporter:
    """Shows progress: on a terminal one line that changes, otherwise a new line from time to time."""

    def __init__(self, out: TextIO, title: str, now: Callable[[], float] = time.monotonic) -> None:
        """Start the clock."""
        self._out = out
        self._title = title
        self._now = now
        self._began = now()
        self._terminal = out.isatty()
        self._told_at = float("-inf")
        self._told_percent = 0
        self._width = 0

    def step(self, done: int, total: int) -> None:
        """Show the progress, if it is time for a line."""
        now = self._now()
        estimate = Estimate(done, total, now - self._began)
        percent = int(estimate.fraction * 100)
        if self._terminal:
            if now - self._told_at >= 0.1 or done == total:  # noqa: PLR2004
                self._told_at = now
                self._overwrite(f"{self._title}: {estimate.sentence()}")
        elif percent >= self._told_percent + LINE_EVERY_PERCENT or now - self._told_at >= LINE_EVERY_SECONDS:
            self._told_at, self._told_percent = now, percent
            self._line(f"{self._title}: {estimate.sentence()}")

    def say(self, text: str) -> None:
        """Show another message at once."""
        if self._terminal:
            self._overwrite(f"{self._title}: {text}")
        else:
            self._line(f"{self._title}: {text}")

    def count(self, text: str) -> None:
        """Show a message that changes often: each time on a terminal, otherwise from time to time."""
        now = self._now()
        if self._terminal or now - self._told_at >= LINE_EVERY_SECONDS:
            self._told_at = now
            self.say(text)

    def finish(self, text: str) -> None:
        """End with a permanent line."""
        if self._terminal:
            self._overwrite(text)
            self._out.write("\n")
            self._out.flush()
        else:
            self._line(text)

    def _overwrite(self, text: str) -> None:
        self._out.write("\r" + text.ljust(self._width))
        self._out.flush()
        self._width = len(text)

    def _line(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()
