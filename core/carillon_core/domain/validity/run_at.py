"""A ``runAt`` that has passed: one rule and one wording for the API, the webhook, the CLI and ``decide``. Pure."""

from datetime import datetime

from carillon_core.errors import FieldProblem
from carillon_core.resources.base import rfc3339

PATH = "spec.runAt"


def run_at_problem(run_at: datetime | None, now: datetime, path: str = PATH) -> FieldProblem | None:
    """Return the problem of a ``runAt`` that has passed, or None.

    Args:
        run_at: The time, if one is set.
        now: The current time.
        path: The field that has the time.

    """
    if run_at is None or run_at > now:
        return None
    return FieldProblem(path, f"must be in the future (got {rfc3339(run_at)}, now {rfc3339(now)})")


def passed_over(run_at: datetime) -> str:
    """Return why a task never runs: its only slot had passed when its calendar took effect.

    A condition says this, so it does not contain the current time.
    """
    return f"{PATH}: was in the past when the task was created, edited or resumed (got {rfc3339(run_at)})"
