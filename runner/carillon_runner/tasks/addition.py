"""The task type ``sum``."""

import math
from collections.abc import Mapping
from typing import Any

from carillon_runner.outcome import Execution, TaskFailedError


def run(execution: Execution) -> Mapping[str, Any]:
    """Add ``a`` and ``b``, and return ``{"sum": …}``; two whole numbers give a whole number.

    Raises:
        TaskFailedError: The sum is too large for a floating-point number (``Overflow``).

    """
    a, b = execution.spec["a"], execution.spec["b"]
    try:
        total = a + b
        finite = isinstance(total, int) or math.isfinite(total)
    except OverflowError:  # a whole number beyond the floats, plus a float
        finite = False
    if not finite:
        raise TaskFailedError("Overflow", "the sum is too large for a floating-point number")
    return {"sum": total}
