"""The task type ``sleep``."""

import time
from collections.abc import Mapping
from typing import Any

from carillon_runner.interrupts import Stopped
from carillon_runner.outcome import Execution

PART_SECONDS = 0.5


def run(execution: Execution) -> Mapping[str, Any]:
    """Sleep and return the measured time as ``{"sleptSeconds": …}``, with milliseconds, also if interrupted."""
    began = time.monotonic()
    try:
        # in parts: a signal that arrives just before the system call would only be handled after all of it
        while (left := execution.spec["durationSeconds"] - (time.monotonic() - began)) > 0:
            time.sleep(min(left, PART_SECONDS))
    except Stopped as stopped:
        stopped.result = _slept(began)
        raise
    return _slept(began)


def _slept(began: float) -> dict[str, Any]:
    return {"sleptSeconds": round(time.monotonic() - began, 3)}
