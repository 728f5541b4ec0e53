"""The task type ``sleep``."""

import time
from collections.abc import Mapping
from typing import Any

from carillon_runner.interrupts import Stopped
from carillon_runner.outcome import Execution


def run(execution: Execution) -> Mapping[str, Any]:
    """Sleep and return the measured time as ``{"sleptSeconds": …}``, with milliseconds, also if interrupted."""
    began = time.monotonic()
    try:
        time.sleep(execution.spec["durationSeconds"])
    except Stopped as stopped:
        stopped.result = _slept(began)
        raise
    return _slept(began)


def _slept(began: float) -> dict[str, Any]:
    return {"sleptSeconds": round(time.monotonic() - began, 3)}
