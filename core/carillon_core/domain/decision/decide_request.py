"""Decides what to do about one RunRequest. Pure; the reconciler calls it after ``decide`` has decided about its task.

A request is launched once, with a Job name derived from its uid, or refused
with a reason; both are final. Its own concurrencyPolicy applies, else its
task's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.gates import REQUEST_GATES, DueRequest, UnlaunchedStatus, Verdict, first_verdict
from carillon_core.domain.decision.plan import DeleteJob, Launch, Notice, Reason, RecordUnlaunched, RequestPlan
from carillon_core.domain.decision.settle import Settlement, replaced
from carillon_core.domain.decision.status import (
    JOB_GONE,
    Statement,
    condition_true,
    end_notice,
    reason_of,
    with_condition,
)
from carillon_core.domain.decision.stuck import no_room_notices, stuck_executions
from carillon_core.domain.execution import execution_id, request_job_name
from carillon_core.domain.observed.endings import exit_code, failure_message
from carillon_core.domain.observed.jobs import ObservedJob, ObservedRequest, ObservedTask
from carillon_core.domain.validity.parameters import requested_task
from carillon_core.resources.base import MAX_MESSAGE, rfc3339
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import RunRequestSpec, RunRequestStatus
from carillon_core.resources.scheduled_task import ConcurrencyPolicy, RunResult, ScheduledTaskStatus

DEFAULT_TTL_SECONDS = 3600
"""How long a finished request with an invalid spec is kept."""
TASK_GRACE = timedelta(seconds=10)
"""How long a request waits for a task that does not exist: both may have been applied at the same time."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """The input of a decision about a request."""

    request: ObservedRequest
    task: ObservedTask | None
    """The task that it names, if there is one."""
    jobs: Sequence[ObservedJob]
    """The Jobs of that task, or of the request if it has a task of its own."""
    now: datetime
    pod_defaults: PodSettings | None = None

    def saying(self, status: RunRequestStatus, said: Statement) -> RunRequestStatus:
        """Return a status with this condition set."""
        return with_condition(status, self.request.meta, said, self.now)

    def waiting(self, status: RunRequestStatus, message: str) -> RunRequestStatus:
        """Return the status of a request that waits to be launched."""
        said = Statement("Accepted", "Unknown", Reason.WAITING, message)
        return self.saying(status, said).model_copy(update={"reason": Reason.WAITING, "message": message})

    @property
    def second(self) -> datetime:
        """The current time in whole seconds, as a status stores it."""
        return self.now.replace(microsecond=0)

    @property
    def execution_id(self) -> UUID:
        """The id of the request's execution."""
        return execution_id(self.request.meta.uid, self.request.slot, Cause.MANUAL)


def decide_request(
    request: ObservedRequest,
    task: ObservedTask | None,
    jobs: Sequence[ObservedJob],
    now: datetime,
    pod_defaults: PodSettings | None = None,
) -> RequestPlan:
    """Return what to do about a request.

    Args:
        request: The request as the cluster shows it.
        task: The task that it names, if there is one.
        jobs: The Jobs of that task, or of the request if it has a task of its own.
        now: The current time.
        pod_defaults: The operator's pod settings; None if they are not known here.

    """
    if request.meta.deletion_timestamp is not None:
        return RequestPlan(request.status)
    turn = _Turn(request, task, jobs, now, pod_defaults)
    status = request.status.model_copy(update={"observed_generation": request.meta.generation, "slot": request.slot})
    own = next((job for job in jobs if job.cause is Cause.MANUAL and job.origin == request.meta.uid), None)
    if own is not None:
        return _with_job(turn, status, own)
    if status.finished_at is not None:
        return _finished(turn, status)
    if condition_true(status, "Accepted"):
        return _with_job_gone(turn, status)
    if request.spec is None:
        reason = Reason.QUARANTINED if request.quarantined else Reason.INVALID_SPEC
        message = request.quarantined or "; ".join(str(p) for p in request.problems)
        return _refused(turn, status, Verdict(ExecutionStatus.FAILED, reason, message))
    return _decide_new(turn, request.spec, status)


def _decide_new(turn: _Turn, spec: RunRequestSpec, status: RunRequestStatus) -> RequestPlan:
    """Wait until the request is due, then launch it or refuse it."""
    request, task, now = turn.request, turn.task, turn.now
    if now < request.slot:
        return RequestPlan(turn.waiting(status, f"waiting until {rfc3339(request.slot)}"), requeue_at=request.slot)
    if spec.task_ref is not None and task is None and now < request.slot + TASK_GRACE:
        message = f"waiting for ScheduledTask {spec.task_ref.name}, which does not exist yet"
        return RequestPlan(turn.waiting(status, message), requeue_at=request.slot + TASK_GRACE)
    due = _due_request(turn, spec)
    verdict = first_verdict(due, REQUEST_GATES)
    if verdict is not None:
        return _refused(turn, status, verdict)
    if due.active and due.policy is ConcurrencyPolicy.REPLACE:
        ends = replaced(Settlement(ScheduledTaskStatus()), due.active, f"by RunRequest {request.meta.name}")
        return RequestPlan(turn.waiting(status, "waiting for the active execution to end"), ends.actions, ends.notices)
    name = request_job_name(request.meta.name, request.meta.uid)
    status = turn.saying(status, Statement("Accepted", "True", Reason.ACCEPTED, f"launched as Job {name}"))
    status = status.model_copy(
        update={
            "execution_id": str(turn.execution_id),
            "job_name": name,
            "task_uid": task.meta.uid if task else None,
            "result": RunResult.RUNNING,
            "reason": Reason.LAUNCHED,
            "message": "",
        }
    )
    return RequestPlan(status, (Launch(request.slot, turn.execution_id, Cause.MANUAL),))


def _due_request(turn: _Turn, spec: RunRequestSpec) -> DueRequest:
    """Return a request in the form that its gates take."""
    task = turn.task
    base = task.spec if task is not None else None
    asked = turn.request if turn.request.target_name is not None else task
    return DueRequest(
        subject="the request",
        due_at=turn.request.slot,
        now=turn.now,
        deadline_seconds=spec.starting_deadline_seconds,
        policy=spec.concurrency_policy or (base.concurrency_policy if base else ConcurrencyPolicy.FORBID),
        active=[job for job in turn.jobs if job.active],
        target_name=asked.target_name if asked else None,
        target=asked.target if asked else None,
        spec=spec,
        task=task,
        wanted=requested_task(spec, task),
        pod_defaults=turn.pod_defaults,
    )


def _refused(turn: _Turn, status: RunRequestStatus, refusal: Verdict) -> RequestPlan:
    message = refusal.message[:MAX_MESSAGE]
    status = turn.saying(status, Statement("Accepted", "False", refusal.reason, message))
    status = status.model_copy(
        update={
            "execution_id": str(turn.execution_id),
            "task_uid": turn.task.meta.uid if turn.task else None,
            "reason": refusal.reason,
            "message": message,
            "finished_at": turn.second,
        }
    )
    record = RecordUnlaunched(
        turn.request.slot, turn.execution_id, refusal.status, refusal.reason, message, Cause.MANUAL
    )
    ended = _finished(turn, status)
    return replace(ended, actions=(record,), notices=(Notice("Warning", refusal.reason, message, "request refused"),))


def _with_job(turn: _Turn, status: RunRequestStatus, job: ObservedJob) -> RequestPlan:
    """Return what to do about a request whose Job exists."""
    request = turn.request
    status = status.model_copy(
        update={"execution_id": job.execution_id, "job_name": job.name, "result": job.result, "task_uid": job.task_uid}
    )
    if not condition_true(status, "Accepted"):  # the status that said so was lost
        status = turn.saying(status, Statement("Accepted", "True", Reason.ACCEPTED, f"launched as Job {job.name}"))
    if job.active:
        news = no_room_notices(job, request.status.message)
        reason = reason_of(job) or Reason.LAUNCHED
        status = status.model_copy(update={"reason": reason, "message": job.hindrance[:MAX_MESSAGE]})
        stuck, look_again = stuck_executions([job], turn.now)
        return RequestPlan(status, tuple(stuck), news, requeue_at=look_again)
    succeeded = job.result is RunResult.SUCCEEDED
    message = job.message[:MAX_MESSAGE] if succeeded else failure_message(job)
    update = {
        "finished_at": job.finished_at or status.finished_at or turn.second,
        "reason": reason_of(job) or Reason.SUCCEEDED,
        "exit_code": exit_code(job),
        "message": message,
    }
    finished = _finished(turn, _with_finish(turn, status.model_copy(update=update), job.result, message))
    if request.status.finished_at is None:
        finished = replace(finished, notices=(end_notice(job),))
    if job.taken_back and request.stored.finished_at is not None and not job.ending:
        return replace(finished, actions=(DeleteJob(job.name, job.uid),))
    return finished


def _with_job_gone(turn: _Turn, status: RunRequestStatus) -> RequestPlan:
    """Return the plan for a request whose Job disappeared while no operator watched."""
    update = {"reason": Reason.JOB_DELETED, "message": JOB_GONE, "finished_at": turn.second}
    unknown = status.model_copy(update={"result": RunResult.UNKNOWN, **update})
    finished = _finished(turn, _with_finish(turn, unknown, RunResult.UNKNOWN, JOB_GONE))
    return replace(finished, notices=(Notice("Warning", Reason.JOB_DELETED, JOB_GONE, "Job of a request deleted"),))


def _with_finish(turn: _Turn, status: RunRequestStatus, result: RunResult, message: str) -> RunRequestStatus:
    text = f"{result}: {message}" if message else str(result)
    return turn.saying(status, Statement("Finished", "True", Reason.FINISHED, text[:MAX_MESSAGE]))


def _finished(turn: _Turn, status: RunRequestStatus) -> RequestPlan:
    """Return the plan for a finished request, which is deleted when its time to live has passed."""
    spec = turn.request.spec
    ttl = spec.ttl_seconds_after_finished if spec else DEFAULT_TTL_SECONDS
    gone_at = (status.finished_at or turn.now) + timedelta(seconds=ttl)
    # users must be able to see the end: it has to be stored first
    if turn.now >= gone_at and turn.request.stored.finished_at is not None:
        return RequestPlan(status, delete=True)
    return RequestPlan(status, requeue_at=max(gone_at, turn.now + timedelta(seconds=1)))


def refusal_status(reason: str) -> UnlaunchedStatus:
    """Return the status in the row of a request that was refused for this reason."""
    if reason == Reason.STILL_ACTIVE:
        return ExecutionStatus.SKIPPED
    missed = {Reason.DEADLINE_EXCEEDED, Reason.LAUNCH_REFUSED, Reason.NAME_TAKEN, Reason.SECRET_NOT_ALLOWED}
    if reason in missed:
        return ExecutionStatus.MISSED
    return ExecutionStatus.FAILED


def refused_launch(
    request: ObservedRequest, task: ObservedTask | None, reason: Reason, message: str, now: datetime
) -> RequestPlan:
    """Return the plan for a request whose launch the API server refused permanently."""
    turn = _Turn(request, task, (), now)
    return _refused(turn, request.status, Verdict(refusal_status(reason), reason, message))


def refusal_of(request: ObservedRequest) -> tuple[str, str] | None:
    """Return the reason and the message of a refusal from the stored status; None if the request is not refused."""
    found = next((c for c in request.stored.conditions if c.type == "Accepted" and c.status == "False"), None)
    return (found.reason, found.message) if found else None
