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

_OLDEST = 2
"""The generation of a full collection."""


def shorten_pauses() -> None:
    """Have survivors of a full collection left out of the next ones, from now on, and threads switched more often."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.callbacks.append(_leave_survivors)
    gc.collect()


def _leave_survivors(phase: Literal["start", "stop"], info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == _OLDEST:
        gc.freeze()
