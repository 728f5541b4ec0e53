"""Derives a status from the observed Jobs and the current conditions. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.domain.observed.endings import duration_seconds, ending, exit_code, failure_message, how_ended
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.resources.base import MAX_MESSAGE, MAX_REASON
from carillon_core.resources.meta import Condition, ObjectMeta
from carillon_core.resources.run_request import RunRequestStatus
from carillon_core.resources.scheduled_task import LastExecution, RunResult, ScheduledTaskStatus

JOB_GONE = "its Job is gone; see the execution history for its result"


@dataclass(frozen=True, slots=True)
class Statement:
    """The content of a condition; ``with_condition`` adds the transition time."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


_Status = TypeVar("_Status", ScheduledTaskStatus, RunRequestStatus)


def condition_true(status: ScheduledTaskStatus | RunRequestStatus, kind: str) -> bool:
    """Return whether the status has this condition with the value True."""
    return any(c.type == kind and c.status == "True" for c in status.conditions)


def with_condition(status: _Status, meta: ObjectMeta, said: Statement, now: datetime) -> _Status:
    """Return the status with this condition set; Ready, the summary, comes first.

    The transition time changes only when the condition's value changes.
    """
    old = next((c for c in status.conditions if c.type == said.type), None)
    new = Condition(
        type=said.type,
        status=said.status,
        reason=said.reason,
        message=said.message,
        last_transition_time=(
            old.last_transition_time if old is not None and old.status == said.status else now.replace(microsecond=0)
        ),
        observed_generation=meta.generation,
    )
    if new == old:
        return status
    others: list[Condition] = [c for c in status.conditions if c.type != said.type]
    ordered = sorted([*others, new], key=lambda c: (c.type != "Ready", c.type))
    return status.model_copy(update={"conditions": ordered})


def with_observed_jobs(status: ScheduledTaskStatus, own: Sequence[ObservedJob]) -> ScheduledTaskStatus:
    """Return the status with the executions that the task's Jobs (oldest slot first) show.

    It keeps the result of a Job that is gone. If the operator did not see a Job
    end, the result is Unknown here; the history has it.
    """
    waiting = sum(j.active and j.waiting for j in own)
    update: dict[str, object] = {"active": sum(j.active for j in own) - waiting, "waiting": waiting}
    slots = [job.slot for job in own if job.cause is Cause.SCHEDULE]
    if slots:
        known = [status.last_schedule_time] if status.last_schedule_time else []
        update["last_schedule_time"] = max([*slots, *known])
    runs = (status.last_run_time, status.last_schedule_time, *(job.slot for job in own))
    update["last_run_time"] = max((time for time in runs if time is not None), default=None)
    last = status.last_execution
    if own and (last is None or own[-1].slot >= last.slot):
        last = _brief(own[-1])
    elif last is not None and last.result is RunResult.RUNNING and not any(j.name == last.job_name for j in own):
        last = last.model_copy(update={"result": RunResult.UNKNOWN, "reason": Reason.JOB_DELETED, "message": JOB_GONE})
    update["last_execution"] = last
    finished = [j for j in own if not j.active]
    if finished:
        update["last_result"] = finished[-1].result
        update["last_duration_seconds"] = duration_seconds(finished[-1])
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
        message = failure_message(job)
    return LastExecution(
        id=job.execution_id,
        slot=job.slot,
        job_name=job.name,
        result=job.result,
        reason=reason_of(job),
        exit_code=exit_code(job),
        message=message[:MAX_MESSAGE],
    )


def end_notice(job: ObservedJob) -> Notice:
    """Return the Event about the end of an execution."""
    if job.result is RunResult.SUCCEEDED:
        return Notice("Normal", Reason.SUCCEEDED, ending(job), "execution succeeded")
    happened = f"execution {how_ended(job).removeprefix('was ')}"
    return Notice("Warning", Reason.FAILED, ending(job), happened, reason_of(job))


def reason_of(job: ObservedJob) -> str:
    """Return why an execution failed or does not start, in one word; empty if it runs or has succeeded."""
    if job.active:
        return Reason.WAITING if job.waiting else job.trouble.reason if job.trouble is not None else ""
    return "" if job.result is RunResult.SUCCEEDED else job.reason[:MAX_REASON] or Reason.FAILED
