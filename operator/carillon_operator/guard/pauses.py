"""Keeps short what Python itself takes from the operator's loop: full collections of garbage, turns of other threads.

A full collection looks at every object that may be in a cycle: with ten
thousand tasks and as many requests for a second and longer. What is kept is in
no cycle and is freed without it. So each full collection is the last one for
what survives it (``gc.freeze``), and the next looks at what came since then.
"""

import gc
import sys
from typing import Literal

SWITCH_SECONDS = 0.001
"""How long another thread may run while the loop has work. A turn that sends ten requests may wait for it ten times:
Python's own 5 ms would be 50 ms."""
OFTEN = (700, 10, 2)
"""Python's thresholds, but for the last: a full collection has some twenty thousand objects to look at."""
MANY = 20_000
"""Fewer survivors are looked at again: among them may be what is about to become a cycle of garbage."""
THOROUGH_AFTER = 2000
"""After this many times, the next full collection looks at everything: what kopf is working on when survivors are left
out may become garbage later, about 15 kB each time. With ten thousand tasks an hour that is once a day, for a second or
two."""
_OLDEST = 2
"""The generation of a full collection."""


class Survivors:
    """Leaves what survives a full collection out of the next ones."""

    def __init__(self, thorough_after: int = THOROUGH_AFTER) -> None:
        """Take after how many times everything is looked at again."""
        self._thorough_after = thorough_after
        self._times = 0

    def __call__(self, phase: Literal["start", "stop"], info: dict[str, int]) -> None:
        """Take what ``gc.callbacks`` tell."""
        if phase != "stop" or info["generation"] != _OLDEST or len(gc.get_objects(_OLDEST)) < MANY:
            return
        self._times += 1
        if self._times % self._thorough_after:
            gc.freeze()
        else:
            gc.unfreeze()


def shorten_pauses(survivors: Survivors | None = None) -> None:
    """Have survivors of a full collection left out of the next ones, from now on, and threads switched more often."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*OFTEN)
    gc.callbacks.append(survivors or Survivors())
    gc.collect()
    gc.collect()  # Python skips full collections until a quarter of what the last one found has come: now of nothing
