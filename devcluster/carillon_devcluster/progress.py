"""How far a build is and how long it will still take; and telling it to a terminal or to a log."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

LINK_SHARE = 0.06
"""The last step, linking, is one step in the compiler's output but this share of the time."""

LINE_EVERY_PERCENT = 10
LINE_EVERY_SECONDS = 20.0
FIRST_ESTIMATE_AFTER = 10.0
"""Seconds before a first guess at the time left; before, it would jump about."""

ENOUGH_TO_GUESS = 0.02


@dataclasses.dataclass(frozen=True)
class Estimate:
    """How far a build is."""

    done: int
    total: int
    elapsed: float

    @property
    def fraction(self) -> float:
        """The share that is done, from 0 to 1. Measured: the number of packages is close to linear in time."""
        if self.total <= 0:
            return 0.0
        return min(self.done / self.total, 1.0) * (1 - LINK_SHARE)

    @property
    def left(self) -> float | None:
        """Seconds left, or nothing while that is a wild guess."""
        if self.elapsed < FIRST_ESTIMATE_AFTER or self.fraction < ENOUGH_TO_GUESS:
            return None
        return self.elapsed * (1 - self.fraction) / self.fraction

    def sentence(self) -> str:
        """Say it."""
        text = f"{self.done} of {self.total} packages, {int(self.fraction * 100)} %"
        return text if self.left is None else f"{text}, about {duration(self.left)} left"


def duration(seconds: float) -> str:
    """Say a length of time as one would: `40 s`, `4 min`."""
    if seconds < 55:  # noqa: PLR2004
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{max(1, round(seconds / 60))} min"


class Reporter:
    """Tells progress: one line that changes on a terminal, now and then a new one elsewhere."""

    def __init__(self, out: TextIO, title: str, now: Callable[[], float] = time.monotonic) -> None:
        """Begin counting the time."""
        self._out = out
        self._title = title
        self._now = now
        self._began = now()
        self._terminal = out.isatty()
        self._told_at = float("-inf")
        self._told_percent = 0
        self._width = 0

    def step(self, done: int, total: int) -> None:
        """Tell how far it is, if that is worth a line."""
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
        """Tell something else, at once."""
        if self._terminal:
            self._overwrite(f"{self._title}: {text}")
        else:
            self._line(f"{self._title}: {text}")

    def count(self, text: str) -> None:
        """Tell something that changes often: each time on a terminal, now and then elsewhere."""
        now = self._now()
        if self._terminal or now - self._told_at >= LINE_EVERY_SECONDS:
            self._told_at = now
            self.say(text)

    def finish(self, text: str) -> None:
        """End with a line that stays."""
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
