"""Steps the clock of one operator: the zygote calls it in the child, so that the product needs no hook."""

import datetime as dt
import sys
import time
from datetime import datetime, timedelta, tzinfo

STEP_VARIABLE = "FAULTS_CLOCK_STEP"
"""The environment variable of the zygote's child with the step in seconds."""


class _LikeDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def step_clock(seconds: float) -> None:
    """Make ``datetime.now`` and ``time.time`` of this process wrong by so many seconds."""
    step, true_time = timedelta(seconds=seconds), time.time

    class Stepped(datetime, metaclass=_LikeDatetime):
        """``datetime`` with another ``now``; values are plain ones."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # a plain datetime
            """Return the time by the stepped clock."""
            return datetime.now(tz) + step

    time.time = lambda: true_time() + seconds
    for known in list(sys.modules.values()):
        if known.__name__.startswith("carillon_") and getattr(known, "datetime", None) is datetime:
            vars(known)["datetime"] = Stepped
    vars(dt)["datetime"] = Stepped
