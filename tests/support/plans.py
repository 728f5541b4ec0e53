"""What a plan does, in a few words for each action, and policies for a task."""

from carillon_core.domain.decision.plan import DeleteJob, EndExecution, Launch, Plan, RecordUnlaunched
from carillon_core.resources import RunResult
from support.builders import make_job

SUCCEEDED, FAILED, CANCELLED = RunResult.SUCCEEDED, RunResult.FAILED, RunResult.CANCELLED
ALL = {"missedRunPolicy": "All"}
ALLOW = {"concurrencyPolicy": "Allow"}
REPLACE = {"concurrencyPolicy": "Replace"}
TARGET = {"url": "http://shop.example/"}


def did(plan: Plan) -> list[str]:
    """Return what a plan does, in a few words for each action."""
    words = []
    for a in plan.actions:
        match a:
            case Launch():
                words.append(f"launch {a.slot:%H:%M:%S}")
            case RecordUnlaunched():
                first = f"{a.first_slot:%H:%M:%S}.." if a.first_slot else ""
                words.append(f"{a.status.value} {first}{a.slot:%H:%M:%S} {a.reason.value}")
            case EndExecution():
                words.append(f"{a.status.value} {a.job_name} {a.reason}")
            case DeleteJob():
                words.append(f"delete {a.job_name}")
    return words


def ready(plan: Plan) -> tuple[str, str]:
    """Return status and reason of the Ready condition."""
    (condition,) = (c for c in plan.status.conditions if c.type == "Ready")
    return condition.status, condition.reason


def completed(plan: Plan) -> bool:
    """Return whether the Completed condition is True."""
    return any(c.type == "Completed" and c.status == "True" for c in plan.status.conditions)


def job_name(slot: str) -> str:
    """Return the name of a slot's Job."""
    return make_job(slot).name
