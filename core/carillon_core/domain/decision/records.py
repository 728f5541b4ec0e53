"""Makes the rows and closings that the operator writes to the history. Pure.

A runner writes its own row. The operator writes all others: those of slots and
requests that were not launched, of executions of user containers, and of
executions whose runner could not record the end.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from carillon_core.contract import TIMEOUT, Cause, ExecutionStatus
from carillon_core.domain.decision.decide_request import refusal_of, refusal_status
from carillon_core.domain.decision.plan import EndExecution, Reason
from carillon_core.domain.decision.unrecorded import unrecorded_id
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord, execution_id
from carillon_core.domain.observed.endings import begun_at, failure_message
from carillon_core.domain.observed.job_reading import DEADLINE_EXCEEDED, decisive_end, execution_began
from carillon_core.domain.observed.jobs import ActiveJob, JobResult, ObservedJob, ObservedRequest, ObservedTask
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.resources.base import MAX_MESSAGE
from carillon_core.resources.scheduled_task import RunResult, UnrecordedSlot

DELETED_WHILE_ACTIVE = "its Job was deleted while it was active"
END_UNRECORDED = "its Job no longer exists and its end was not recorded"
MOST_ATTEMPTS = 22
"""The pods of an execution that are recorded, at most: as many as a container with the most retries may have."""
UNKNOWN_TYPE = "unknown"
"""The task type in a row of a task whose spec is invalid."""
_STATUS_OF_RESULT = {
    RunResult.SUCCEEDED: ExecutionStatus.SUCCEEDED,
    RunResult.FAILED: ExecutionStatus.FAILED,
    RunResult.TIMED_OUT: ExecutionStatus.TIMED_OUT,
    RunResult.CANCELLED: ExecutionStatus.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class End:
    """How an execution ended."""

    status: ExecutionStatus
    reason: str | None = None
    message: str | None = None
    result: dict[str, Any] | None = None
    """The exit code and the termination message of a user's container; with several, each one's exit code.

    Of one that failed, also the end of its log: see ``with_log``.
    """
    expected: bool = False
    """See ``Closing``."""
    explains: bool = False
    """See ``Closing``."""

    @property
    def error(self) -> str | None:
        """The message, unless the execution succeeded."""
        return None if self.status is ExecutionStatus.SUCCEEDED else self.message


def end_of(job: ObservedJob) -> End | None:
    """Return how the execution of a Job ended, or None if it is active or its result is unknown."""
    status = _STATUS_OF_RESULT.get(job.result)
    if status is None:
        return None
    result = container_result(job, succeeded=job.result is RunResult.SUCCEEDED)
    if status is ExecutionStatus.SUCCEEDED:
        return End(status, result=result, expected=job.container)
    # a runner that was cancelled knows only that it was terminated
    cancelled = bool(job.cancelled_by) and job.reason == Reason.JOB_DELETED and not job.container
    expected = job.container or cancelled
    return End(status, job.reason or Reason.FAILED, failure_message(job), result, expected, explains=cancelled)


def container_result(job: ObservedJob, *, succeeded: bool) -> dict[str, Any] | None:
    """Return the result of a user's container; None if none has ended, or if a runner ran the task."""
    pod = decisive_end(job, succeeded=succeeded) if job.container else None
    if pod is None:
        return None
    codes = {"exitCodes": dict(pod.exit_codes)} if pod.exit_codes else {}
    return {"exitCode": pod.exit_code, "message": pod.message, **codes}


def speaker(job: ObservedJob, end: End) -> PodEnd | None:
    """Return the pod whose container's log explains an end; None if the end needs no explanation, or has none."""
    if not job.container or end.status not in {ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT}:
        return None
    pod = decisive_end(job, succeeded=False)
    return pod if pod is not None and pod.container else None


def with_log(end: End, log: str) -> End:
    """Return the end with the end of the container's log in its result, if there is any."""
    return replace(end, result={**(end.result or {}), "log": log}) if log else end


def decided_end(job: ObservedJob, end: EndExecution) -> End:
    """Return the end that the operator decided on; a runner may have recorded its termination first.

    If it is that no other attempt follows, the result is that of the attempt that failed.
    """
    cancelled = end.status is ExecutionStatus.CANCELLED
    has_failed = not cancelled and isinstance(job, ActiveJob) and job.retry_at is not None
    result = container_result(job, succeeded=False) if has_failed else None
    return End(end.status, end.reason, end.message, result, expected=True, explains=cancelled)


def result_of_deleted(end: EndExecution | None, cancelled_by: str = "") -> tuple[JobResult, str, str]:
    """Return the result, the reason and the message of a Job that was deleted while it was active.

    Args:
        end: The end that the operator decided on, or None if somebody else deleted the Job.
        cancelled_by: The user who cancelled it through the REST API; empty otherwise.

    """
    if end is None:
        message = cancellation(cancelled_by) if cancelled_by else DELETED_WHILE_ACTIVE
        return RunResult.CANCELLED, Reason.JOB_DELETED, message
    failed = end.status is ExecutionStatus.FAILED
    return RunResult.FAILED if failed else RunResult.CANCELLED, end.reason, end.message


def cancellation(user: str) -> str:
    """Return the message of an execution that a user cancelled by the REST API."""
    return f"cancelled by {user}"


def cancelled_end(job: ObservedJob) -> EndExecution:
    """Return the end of an execution whose Job a user is deleting by the REST API."""
    message = cancellation(job.cancelled_by)
    return EndExecution(
        job.name, job.uid, UUID(job.execution_id), ExecutionStatus.CANCELLED, Reason.JOB_DELETED, message
    )


def ended_rows(job: ObservedJob, end: End, seen: datetime) -> tuple[ExecutionRecord, Closing]:
    """Return the row of an execution that ended, for the case that it has none, and the closing of an open row.

    Args:
        job: The Job.
        end: How it ended.
        seen: When that was seen.

    """
    at = max(_seen_within(job.finished_at, seen) or seen, job.slot)
    last = decisive_end(job, succeeded=end.status is ExecutionStatus.SUCCEEDED)
    row = replace(
        _open_row(job, seen),
        attempts=_attempts(job, seen) if job.container else (),
        status=end.status,
        reason=end.reason,
        message=end.message,
        error=end.error,
        pod_name=(job.pod_name if last is None else last.pod_name) or None,
        finished_at=at,
        result=end.result,
    )
    return row, closing(row, end, at)


def retried_row(job: ActiveJob, now: datetime) -> ExecutionRecord:
    """Return the row of an execution that goes on after these attempts: an open row gets those that it lacks."""
    return replace(_open_row(job, now), started_at=execution_began(job))


def _open_row(job: ObservedJob, now: datetime) -> ExecutionRecord:
    return ExecutionRecord(
        id=UUID(job.execution_id),
        task_uid=job.task_uid,
        origin=job.origin or job.task_uid,
        namespace=job.namespace,
        task=job.task_name,
        task_type=job.task_type,
        slot=job.slot,
        cause=job.cause,
        status=ExecutionStatus.RUNNING,
        job_name=job.first_name or job.name,
        created_at=now,
        started_at=begun_at(job) if job.container else None,
        retry_of=job.retry_of,
        attempts=_attempts(job, None) if job.container else (),
    )


def closing(row: ExecutionRecord, end: End, at: datetime) -> Closing:
    """Return the closing of an open row."""
    return Closing(
        id=row.id,
        namespace=row.namespace,
        task=row.task,
        slot=row.slot,
        status=end.status,
        reason=end.reason,
        message=end.message,
        finished_at=at,
        result=end.result,
        pod_name=row.pod_name,
        expected=end.expected,
        explains=end.explains,
    )


def lost_closing(row: ExecutionRecord, now: datetime) -> Closing:
    """Return the closing of an open row whose Job is gone and whose end is unknown."""
    return closing(row, End(ExecutionStatus.FAILED, Reason.JOB_DELETED, END_UNRECORDED), now)


def settled_row(task: ObservedTask, entry: UnrecordedSlot, now: datetime) -> ExecutionRecord:
    """Return the row of a slot, or of a series of slots, that was settled without a launch."""
    status = ExecutionStatus(entry.status)
    return ExecutionRecord(
        id=unrecorded_id(task.meta.uid, entry),
        task_uid=task.meta.uid,
        namespace=task.meta.namespace,
        task=task.meta.name,
        task_type=task.spec.task.type if task.spec else UNKNOWN_TYPE,
        slot=entry.slot,
        first_slot=entry.first_slot,
        cause=Cause.SCHEDULE,
        status=status,
        reason=entry.reason,
        message=entry.message,
        error=_error(status, entry.message),
        created_at=now,
        finished_at=max(now, entry.slot),
    )


def refused_row(request: ObservedRequest, task: ObservedTask | None, now: datetime) -> ExecutionRecord | None:
    """Return the row of a request that was refused by its stored status, or None if it was not refused.

    Args:
        request: The request; its stored status says why it was refused.
        task: The task that it names, if there is one.
        now: The current time.

    """
    refusal = refusal_of(request)
    if refusal is None or request.stored.execution_id is None:
        return None
    slot = request.stored.slot or request.slot
    reason, message = refusal
    status = refusal_status(reason)
    return ExecutionRecord(
        # derived, not read: who may write statuses must not choose another execution's id
        id=execution_id(request.meta.uid, slot, Cause.MANUAL),
        task_uid=request.stored.task_uid or request.meta.uid,
        origin=request.meta.uid,
        namespace=request.meta.namespace,
        task=request.task_name or request.meta.name,
        task_type=_requested_type(request, task),
        slot=slot,
        cause=Cause.MANUAL,
        status=status,
        reason=reason,
        message=message,
        error=_error(status, message),
        created_at=now,
        finished_at=max(now, slot),
        retry_of=request.spec.retry_of if request.spec else None,
    )


def _requested_type(request: ObservedRequest, task: ObservedTask | None) -> str:
    if request.spec is not None and request.spec.task is not None:
        return request.spec.task.type
    return task.spec.task.type if task and task.spec else UNKNOWN_TYPE


def _error(status: ExecutionStatus, message: str) -> str | None:
    """Return the message if the slot or request failed; a skip or a miss is not an error."""
    return message if status is ExecutionStatus.FAILED else None


def _seen_within(second: datetime | None, now: datetime) -> datetime | None:
    """Return when a container ended: now, if this is the second in which it did, as its end is seen now.

    Kubernetes' times are whole seconds: a container that ran from 5.2 to 5.7 would seem to have ended before it began.
    """
    return now if second is not None and second <= now < second + timedelta(seconds=1) else second


def _attempts(job: ObservedJob, seen: datetime | None) -> tuple[Attempt, ...]:
    """Return the last pods of a Job; a whole Job may have had thousands.

    Args:
        job: The Job.
        seen: When the end of the last was seen. None: its time stays a whole second, as that at which the next began.

    """
    first = max(0, len(job.attempts) - MOST_ATTEMPTS)
    before = job.earlier_pods + first
    found = [_attempt(before + k, pod) for k, pod in enumerate(job.attempts[first:], 1)]
    if found and seen is not None:
        found[-1] = replace(found[-1], finished_at=_seen_within(found[-1].finished_at, seen))
    return tuple(found)


def _attempt(number: int, pod: PodEnd) -> Attempt:
    status, reason = ExecutionStatus.SUCCEEDED if pod.succeeded else ExecutionStatus.FAILED, pod.reason
    if reason == DEADLINE_EXCEEDED:
        status, reason = ExecutionStatus.TIMED_OUT, TIMEOUT
    by_code = f"the container exited with code {pod.exit_code}" if pod.exit_code else ""
    return Attempt(
        number=number,
        status=status,
        reason=None if pod.succeeded else (reason or Reason.FAILED),
        error=None if pod.succeeded else (pod.message or by_code)[:MAX_MESSAGE],
        pod_name=pod.pod_name,
        started_at=pod.started_at,
        finished_at=pod.finished_at,
    )
