"""What is to be done about one RunRequest now. Pure; the reconciler calls it after ``decide``, task by task.

A request is launched once, under a name made of its own uid, or refused with
a reason; either is final. It obeys its task's concurrencyPolicy, or its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.gates import target_problem
from carillon_core.domain.decision.plan import Action, DeleteJob, Launch, Notice, Reason, RecordUnlaunched, RequestPlan
from carillon_core.domain.decision.settle import Settlement, replaced
from carillon_core.domain.decision.status import changed_conditions
from carillon_core.domain.decision.stuck import no_room_notices, stuck_executions
from carillon_core.domain.execution import execution_id, request_job_name
from carillon_core.domain.observed.jobs import ObservedJob, ObservedRequest, ObservedTarget, ObservedTask
from carillon_core.domain.validity.pod_validity import task_pod_problems
from carillon_core.errors import FieldProblem
from carillon_core.resources.base import rfc3339
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import RunRequestSpec, RunRequestStatus
from carillon_core.resources.scheduled_task import (
    ConcurrencyPolicy,
    RunResult,
    ScheduledTaskStatus,
    field_problems,
)
from carillon_core.resources.tasks import Task

TASK_GRACE = timedelta(seconds=10)
"""How long a request waits for a task that is not there: both may have been applied at once."""
OVERRIDABLE: Mapping[str, frozenset[str]] = {
    "sum": frozenset({"a", "b"}),
    "sleep": frozenset({"durationSeconds"}),
    "counter": frozenset(),
}
"""The fields of a task type that a request's parameters may set; http, container and plugin take any parameter."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a request is not launched."""

    status: Literal[ExecutionStatus.SKIPPED, ExecutionStatus.MISSED, ExecutionStatus.FAILED]
    reason: Reason
    message: str


def decide_request(
    request: ObservedRequest,
    task: ObservedTask | None,
    jobs: Sequence[ObservedJob],
    now: datetime,
    pod_defaults: PodSettings | None = None,
) -> RequestPlan:
    """Return what is to be done about a request.

    Args:
        request: The request as the cluster shows it.
        task: The task that it names, if there is one.
        jobs: The Jobs of that task, or of the request if it has a task of its own.
        now: This instant, read once at the edge.
        pod_defaults: What the operator says of pods whose tasks say no more; None if that is not known here.

    """
    if request.meta.deletion_timestamp is not None:
        return RequestPlan(request.status)
    status = request.status.model_copy(update={"observed_generation": request.meta.generation, "slot": request.slot})
    own = next((job for job in jobs if job.cause is Cause.MANUAL and job.origin == request.meta.uid), None)
    if own is not None:
        return _with_job(request, status, own, now)
    if status.finished_at is not None:
        return _finished(request, status, now)
    if _accepted(status):
        unknown = status.model_copy(update={"result": RunResult.UNKNOWN, "finished_at": _second(now), "message": _GONE})
        return _finished(request, _with_finish(request, unknown, RunResult.UNKNOWN, _GONE, now), now)
    if request.spec is None:
        message = "; ".join(str(p) for p in request.problems)
        return _refused(request, status, _Refusal(ExecutionStatus.FAILED, Reason.INVALID_SPEC, message), task, now)
    return _decide_new(request, request.spec, task, jobs, status, now, pod_defaults)


_GONE = "its Job is gone; the history has how it ended"


def _decide_new(
    request: ObservedRequest,
    spec: RunRequestSpec,
    task: ObservedTask | None,
    jobs: Sequence[ObservedJob],
    status: RunRequestStatus,
    now: datetime,
    pod_defaults: PodSettings | None,
) -> RequestPlan:
    if now < request.slot:
        message = f"waits for {rfc3339(request.slot)}"
        waiting = _with_condition(request, status, "Accepted", "Unknown", Reason.WAITING, message, now)
        return RequestPlan(waiting, requeue_at=request.slot)
    if spec.task_ref is not None and task is None and now < request.slot + TASK_GRACE:
        return RequestPlan(status, requeue_at=request.slot + TASK_GRACE)
    refusal = _refusal(request, spec, task, jobs, now, pod_defaults)
    if refusal is not None:
        return _refused(request, status, refusal, task, now)
    active = [job for job in jobs if job.active]
    if active and _policy(spec, task) is ConcurrencyPolicy.REPLACE:
        ends = replaced(Settlement(ScheduledTaskStatus()), active, f"by RunRequest {request.meta.name}")
        waiting = _with_condition(
            request, status, "Accepted", "Unknown", Reason.WAITING, "ends what is active first", now
        )
        return RequestPlan(waiting, ends.actions, ends.notices)
    uid = execution_id(request.meta.uid, request.slot, Cause.MANUAL)
    name = request_job_name(request.meta.name, request.meta.uid)
    status = _with_condition(request, status, "Accepted", "True", Reason.ACCEPTED, f"launched as Job {name}", now)
    status = status.model_copy(
        update={
            "execution_id": str(uid),
            "job_name": name,
            "task_uid": task.meta.uid if task else None,
            "result": RunResult.RUNNING,
        }
    )
    return RequestPlan(status, (Launch(request.slot, uid, Cause.MANUAL),))


def _policy(spec: RunRequestSpec, task: ObservedTask | None) -> ConcurrencyPolicy:
    if spec.concurrency_policy is not None:
        return spec.concurrency_policy
    return task.spec.concurrency_policy if task and task.spec else ConcurrencyPolicy.FORBID


def _refusal(
    request: ObservedRequest,
    spec: RunRequestSpec,
    task: ObservedTask | None,
    jobs: Sequence[ObservedJob],
    now: datetime,
    pod_defaults: PodSettings | None,
) -> _Refusal | None:
    """Return why a request that is due is not launched, or None."""
    missing = _missing_task(spec, task)
    if missing is not None:
        return missing
    deadline = spec.starting_deadline_seconds
    if deadline is not None and now > request.slot + timedelta(seconds=deadline):
        late = int((now - request.slot).total_seconds())
        message = f"was seen {late} s late, past startingDeadlineSeconds={deadline}"
        return _Refusal(ExecutionStatus.MISSED, Reason.DEADLINE_EXCEEDED, message)
    wanted = requested_task(spec, task)
    if not isinstance(wanted, Task):
        message = "; ".join(str(p) for p in wanted)
        return _Refusal(ExecutionStatus.FAILED, Reason.INVALID_PARAMETERS, message)
    unfit = _unfit_pod(spec, task, wanted, pod_defaults) or target_problem(*_target(request, task))
    if unfit is not None:
        return _Refusal(ExecutionStatus.FAILED, *unfit)
    active = [job for job in jobs if job.active]
    if active and _policy(spec, task) is ConcurrencyPolicy.FORBID:
        message = f"{active[0].name} is still active and concurrencyPolicy is Forbid"
        return _Refusal(ExecutionStatus.SKIPPED, Reason.STILL_ACTIVE, message)
    return None


def _unfit_pod(
    spec: RunRequestSpec, task: ObservedTask | None, wanted: Task, defaults: PodSettings | None
) -> tuple[Reason, str] | None:
    """Return why the API server would refuse the pods, if it would: by the request's settings or by its task's."""
    pod = spec.pod or (task.spec.pod if task and task.spec else PodSettings())
    message = "; ".join(str(p) for p in task_pod_problems(wanted, pod, defaults))
    if not message:
        return None
    if task is None or (spec.pod is not None and wanted.container is None):
        return Reason.INVALID_SPEC, message
    return Reason.TASK_INVALID, f"ScheduledTask {task.meta.name} is invalid: {message}"


def _missing_task(spec: RunRequestSpec, task: ObservedTask | None) -> _Refusal | None:
    if spec.task_ref is None:
        return None
    if task is None:
        message = f"there is no ScheduledTask {spec.task_ref.name} in its namespace"
        return _Refusal(ExecutionStatus.FAILED, Reason.TASK_NOT_FOUND, message)
    if task.spec is None:
        message = f"ScheduledTask {task.meta.name} is invalid: {'; '.join(str(p) for p in task.problems)}"
        return _Refusal(ExecutionStatus.FAILED, Reason.TASK_INVALID, message)
    return None


def _target(request: ObservedRequest, task: ObservedTask | None) -> tuple[str | None, ObservedTarget | None]:
    if request.target_name is not None:
        return request.target_name, request.target
    return (task.target_name, task.target) if task else (None, None)


def requested_task(spec: RunRequestSpec, task: ObservedTask | None) -> Task | tuple[FieldProblem, ...]:
    """Return what a request runs: the task named or its own, with its parameters; or what is wrong with these."""
    base = spec.task or (task.spec.task if task and task.spec else None)
    if base is None:
        return (FieldProblem("spec.taskRef", "names no task that can be run"),)
    allowed = OVERRIDABLE.get(base.type)
    if allowed is not None:
        listed = f"only {' and '.join(sorted(allowed))}" if allowed else "none"
        problems = tuple(
            FieldProblem(f"spec.parameters.{name}", f"is no parameter of the task type {base.type}, which has {listed}")
            for name in spec.parameters
            if name not in allowed
        )
        if problems:
            return problems
    if not spec.parameters or base.type == "http":
        return base  # the templates of an http task read them
    raw: dict[str, Any] = base.model_dump(mode="json", exclude_none=True)
    part = raw[base.type]
    if base.type == "container":
        if problems := _unfit_for_environment(spec.parameters):
            return problems
        given = [{"name": name, "value": _text(value)} for name, value in spec.parameters.items()]
        part["env"] = [e for e in part.get("env", []) if e["name"] not in spec.parameters] + given
    elif base.type == "plugin":
        part["parameters"] = {**part.get("parameters", {}), **spec.parameters}
    else:
        part |= spec.parameters
    try:
        return Task.model_validate(raw)
    except ValidationError as error:
        found = field_problems(error, "spec.parameters")
        return tuple(FieldProblem(p.path.replace(f".{base.type}", "", 1), p.message) for p in found)


def _unfit_for_environment(parameters: Mapping[str, Any]) -> tuple[FieldProblem, ...]:
    return tuple(
        FieldProblem(f"spec.parameters.{name}", "must be a text, a number or a boolean: it becomes an env variable")
        for name, value in parameters.items()
        if not isinstance(value, str | int | float | bool)
    )


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _refused(
    request: ObservedRequest, status: RunRequestStatus, refusal: _Refusal, task: ObservedTask | None, now: datetime
) -> RequestPlan:
    uid = execution_id(request.meta.uid, request.slot, Cause.MANUAL)
    message = refusal.message[:1024]
    status = _with_condition(request, status, "Accepted", "False", refusal.reason, message, now)
    status = status.model_copy(
        update={
            "execution_id": str(uid),
            "task_uid": task.meta.uid if task else None,
            "message": message,
            "finished_at": _second(now),
        }
    )
    record = RecordUnlaunched(request.slot, uid, refusal.status, refusal.reason, message, Cause.MANUAL)
    ended = _finished(request, status, now)
    return replace(ended, actions=(record,), notices=(Notice("Warning", refusal.reason, message),))


def _with_job(request: ObservedRequest, status: RunRequestStatus, job: ObservedJob, now: datetime) -> RequestPlan:
    status = status.model_copy(
        update={"execution_id": job.execution_id, "job_name": job.name, "result": job.result, "task_uid": job.task_uid}
    )
    if not _accepted(status):  # the status that said so was lost
        message = f"launched as Job {job.name}"
        status = _with_condition(request, status, "Accepted", "True", Reason.ACCEPTED, message, now)
    if job.active:
        news = no_room_notices(job, request.status.message)
        status = status.model_copy(update={"message": job.hindrance[:1024]})
        stuck, look_again = stuck_executions([job], now)
        actions: tuple[Action, ...] = tuple(stuck)
        return RequestPlan(status, actions, news, requeue_at=look_again)
    message = (job.message or ("" if job.result is RunResult.SUCCEEDED else job.reason))[:1024]
    update = {"finished_at": job.finished_at or status.finished_at or _second(now), "message": message}
    status = status.model_copy(update=update)
    finished = _finished(request, _with_finish(request, status, job.result, message, now), now)
    if job.taken_back and request.stored.finished_at is not None and not job.ending:
        return replace(finished, actions=(DeleteJob(job.name, job.uid),))
    return finished


def _with_finish(
    request: ObservedRequest, status: RunRequestStatus, result: RunResult, message: str, now: datetime
) -> RunRequestStatus:
    text = f"{result}: {message}" if message else str(result)
    return _with_condition(request, status, "Finished", "True", Reason.FINISHED, text[:1024], now)


def _finished(request: ObservedRequest, status: RunRequestStatus, now: datetime) -> RequestPlan:
    ttl = request.spec.ttl_seconds_after_finished if request.spec else 3600
    gone_at = (status.finished_at or now) + timedelta(seconds=ttl)
    # what is not stored was told to nobody yet
    if now >= gone_at and request.stored.finished_at is not None:
        return RequestPlan(status, delete=True)
    return RequestPlan(status, requeue_at=max(gone_at, now + timedelta(seconds=1)))


def _accepted(status: RunRequestStatus) -> bool:
    return any(c.type == "Accepted" and c.status == "True" for c in status.conditions)


def _with_condition(
    request: ObservedRequest,
    status: RunRequestStatus,
    kind: str,
    value: Literal["True", "False", "Unknown"],
    reason: str,
    message: str,
    now: datetime,
) -> RunRequestStatus:
    changed = changed_conditions(status.conditions, request.meta, kind, value, reason, message, now)
    return status if changed is None else status.model_copy(update={"conditions": changed})


def _second(now: datetime) -> datetime:
    return now.replace(microsecond=0)


def refusal_status(
    reason: str,
) -> Literal[ExecutionStatus.SKIPPED, ExecutionStatus.MISSED, ExecutionStatus.FAILED]:
    """Return the status of the row of a request that was refused for a reason."""
    if reason == Reason.STILL_ACTIVE:
        return ExecutionStatus.SKIPPED
    if reason in {Reason.DEADLINE_EXCEEDED, Reason.LAUNCH_REFUSED, Reason.NAME_TAKEN}:
        return ExecutionStatus.MISSED
    return ExecutionStatus.FAILED


def refused_launch(
    request: ObservedRequest, task: ObservedTask | None, reason: Reason, message: str, now: datetime
) -> RequestPlan:
    """Return the plan of a request whose launch the API server refused for good."""
    return _refused(request, request.status, _Refusal(refusal_status(reason), reason, message), task, now)


def refusal_of(request: ObservedRequest) -> tuple[str, str] | None:
    """Return the reason and the message with which a request was refused, as the API server has it; None if not."""
    found = next((c for c in request.stored.conditions if c.type == "Accepted" and c.status == "False"), None)
    return (found.reason, found.message) if found else None
