"""Times that must be in the future: one rule and one message for the API, the CLI and ``decide``. Pure."""

from datetime import datetime

from carillon_core.errors import FieldProblem
from carillon_core.resources.base import rfc3339

PATH = "spec.runAt"


def future_problem(when: datetime | None, now: datetime, path: str = PATH) -> FieldProblem | None:
    """Return the problem of a time that has passed, or None.

    Args:
        when: The time, if one is set.
        now: The current time.
        path: The field that has the time.

    """
    if when is None or when > now:
        return None
    return FieldProblem(path, f"must be in the future (got {rfc3339(when)}, now {rfc3339(now)})")


def passed_over(run_at: datetime) -> str:
    """Return why a task never runs: its only slot had passed when its calendar took effect.

    A condition says this, so it does not contain the current time.
    """
    return f"{PATH}: was in the past when the task was created, edited or resumed (got {rfc3339(run_at)})"
