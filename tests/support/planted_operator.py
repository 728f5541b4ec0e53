"""The operator with defects planted in its decision: a task's ``timeoutSeconds`` chooses one.

``python -m support.planted_operator`` is the operator in every other respect.
"""

from __future__ import annotations

import ctypes
import sys
import time
from typing import TYPE_CHECKING

from carillon_core.domain.decision.decide import decide
from carillon_operator import task_turn
from carillon_operator.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from carillon_core.domain.decision.plan import Plan
    from carillon_core.domain.observed.jobs import ObservedJob, ObservedTask
    from carillon_core.resources.pods import PodSettings


def loop() -> None:
    """Loop for ever."""
    while True:
        pass


def hold() -> None:
    """Call C code that does not return and lets no other thread run."""
    sum(range(10**15))


def crash() -> None:
    """End the process as a stack overflow in C does."""
    ctypes.string_at(0)


def recurse() -> None:
    """Overflow the stack of Python."""
    recurse()


def eat() -> None:
    """Take memory until somebody ends the process."""
    eaten = []
    while True:
        eaten.append(bytearray(b"x") * 10_000_000)
        time.sleep(0.01)


DEFECTS: dict[int, Callable[[], None]] = {1001: loop, 1002: hold, 1003: crash, 1004: recurse, 1005: eat}
"""By ``timeoutSeconds``."""


def planted(
    task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime, pod_defaults: PodSettings | None = None
) -> Plan:
    """Decide as the operator does, after the task's defect."""
    defect = DEFECTS.get(task.spec.timeout_seconds or 0) if task.spec is not None else None
    if defect is not None:
        defect()
    return decide(task, jobs, now, pod_defaults)


if __name__ == "__main__":
    task_turn.decide = planted  # type: ignore[attr-defined]  # that is the planting
    sys.exit(main())
