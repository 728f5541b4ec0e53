"""How a status is derived: from the Jobs observed and the conditions that hold. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from carillon_core.contract import Cause
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.resources.meta import Condition, ObjectMeta
from carillon_core.resources.scheduled_task import LastExecution, RunResult, ScheduledTaskStatus

MAX_MESSAGE = 1024


def condition_true(status: ScheduledTaskStatus, kind: str) -> bool:
    """Return whether the condition of that type is there and True."""
    return any(c.type == kind and c.status == "True" for c in status.conditions)


def with_condition(
    status: ScheduledTaskStatus,
    meta: ObjectMeta,
    kind: str,
    value: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    now: datetime,
) -> ScheduledTaskStatus:
    """Return the status with that condition set; its transition time moves only when its value changes."""
    changed = changed_conditions(status.conditions, meta, kind, value, reason, message, now)
    return status if changed is None else status.model_copy(update={"conditions": changed})


def changed_conditions(
    conditions: Sequence[Condition],
    meta: ObjectMeta,
    kind: str,
    value: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    now: datetime,
) -> list[Condition] | None:
    """Return the conditions with that one set, the summary first, or None if that changes nothing."""
    old = next((c for c in conditions if c.type == kind), None)
    since = old.last_transition_time if old is not None and old.status == value else now.replace(microsecond=0)
    new = Condition(
        type=kind,
        status=value,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=meta.generation,
    )
    if new == old:
        return None
    others = [c for c in conditions if c.type != kind]
    return sorted([*others, new], key=lambda c: (c.type != "Ready", c.type))


def with_observed_jobs(status: ScheduledTaskStatus, own: Sequence[ObservedJob]) -> ScheduledTaskStatus:
    """Return the status with what the task's Jobs, oldest slot first, say of its executions.

    What a Job said stays when the Job is gone. How an execution ended whose Job
    went unseen is not known here: the history has it.
    """
    waiting = sum(j.active and j.waiting for j in own)
    update: dict[str, object] = {"active": sum(j.active for j in own) - waiting, "waiting": waiting}
    slots = [job.slot for job in own if job.cause is Cause.SCHEDULE]
    if slots:
        known = [status.last_schedule_time] if status.last_schedule_time else []
        update["last_schedule_time"] = max([*slots, *known])
    last = status.last_execution
    if own and (last is None or own[-1].slot >= last.slot):
        last = _brief(own[-1])
    elif last is not None and last.result is RunResult.RUNNING and not any(j.name == last.job_name for j in own):
        message = "its Job is gone; the history has how it ended"
        last = last.model_copy(update={"result": RunResult.UNKNOWN, "message": message})
    update["last_execution"] = last
    finished = [j for j in own if not j.active]
    if finished:
        update["last_result"] = finished[-1].result
    elif last is not None and last.result not in {RunResult.RUNNING, RunResult.UNKNOWN}:
        update["last_result"] = last.result
    successes = [j.finished_at for j in own if j.result is RunResult.SUCCEEDED and j.finished_at]
    if successes:
        newest = max([*successes, *([status.last_successful_time] if status.last_successful_time else [])])
        update["last_successful_time"] = newest
    return status.model_copy(update=update)


def _brief(job: ObservedJob) -> LastExecution:
    message = job.hindrance
    if job.result not in {RunResult.RUNNING, RunResult.SUCCEEDED}:
        message = job.message or job.reason
    return LastExecution(
        id=job.execution_id,
        slot=job.slot,
        job_name=job.name,
        result=job.result,
        message=message[:MAX_MESSAGE],
    )
