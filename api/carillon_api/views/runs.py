"""The mapping between REST and RunRequests, and the output of runs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from carillon_api.schemas import RunQuery, RunView, TaskOutput, TaskRun
from carillon_api.schemas.run_task import AnyRun, RunCounter, RunOptions
from carillon_api.views.objects import as_object, spec_object, view_fields
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, execution_id
from carillon_core.domain.observed.jobs import ObservedRequest, ObservedTask
from carillon_core.domain.validity.future import future_problem
from carillon_core.domain.validity.parameters import requested_task
from carillon_core.domain.validity.problems import request_problems
from carillon_core.errors import FieldProblem
from carillon_core.ports import JSONObject
from carillon_core.resources.run_request import RunRequestSpec, parse_request_spec
from carillon_core.resources.tasks import Task


def run_execution_id(raw: Mapping[str, Any]) -> UUID:
    """Return the id of a stored RunRequest's execution, computed as by the operator."""
    request = ObservedRequest.from_object(raw)
    return execution_id(request.meta.uid, request.slot, Cause.MANUAL)


def run_view(raw: Mapping[str, Any]) -> RunView:
    """Return the view of a RunRequest from the API server; this does not fail on an invalid spec."""
    request = ObservedRequest.from_object(raw)
    status = request.status
    accepted = next((c for c in status.conditions if c.type == "Accepted"), None)
    return RunView(
        **view_fields(raw),
        task=request.task_name,
        spec=as_object(raw.get("spec")),
        execution_id=run_execution_id(raw),
        slot=request.slot,
        accepted={"True": True, "False": False}.get(accepted.status) if accepted else None,
        reason=accepted.reason if accepted else None,
        message=status.message or (accepted.message if accepted else None),
        result=status.result,
        job_name=status.job_name,
        finished_at=status.finished_at,
    )


def is_wanted_run(raw: Mapping[str, Any], query: RunQuery) -> bool:
    """Return whether a RunRequest matches the filters of a list that the API server does not know."""
    spec, status = as_object(raw.get("spec")), as_object(raw.get("status"))
    return (query.task is None or as_object(spec.get("taskRef")).get("name") == query.task) and (
        query.finished is None or (status.get("finishedAt") is not None) is query.finished
    )


def task_run_spec(task: str, body: TaskRun) -> JSONObject:
    """Return the spec of a RunRequest that runs a ScheduledTask."""
    return {"taskRef": {"name": task}, **spec_object(body)}


def task_run_problems(spec: JSONObject, task: JSONObject | None, now: datetime) -> list[FieldProblem]:
    """Return the problems of a run of a ScheduledTask for which the operator would reject it.

    Args:
        spec: The RunRequest's.
        task: The ScheduledTask, if the caller may read it; without it, the parameters are not checked.
        now: The current time.

    """
    wanted = parse_request_spec(spec, strict=True)
    past = future_problem(wanted.run_at, now, "runAt")
    problems = [] if past is None else [past]
    if task is not None and (observed := ObservedTask.from_object(task)).spec is not None:
        found = requested_task(wanted, observed)
        if not isinstance(found, Task):
            problems += (_without("spec.", p) for p in found)
    return problems


def own_run_spec(body: AnyRun) -> JSONObject:
    """Return the spec of a RunRequest with its own task."""
    written = spec_object(body)
    kind = written.pop("task_name")
    options = {field: written.pop(field) for field in RUN_OPTIONS if field in written}
    if isinstance(body, RunCounter):
        written["name"] = body.name  # the custom resource's default is the request's name, which callers do not know
    return {"task": {kind: written}, **options}


RUN_OPTIONS = frozenset(str(field.alias) for field in RunOptions.model_fields.values())


def own_run_problems(spec: JSONObject, now: datetime) -> list[FieldProblem]:
    """Return the problems of a run's own task that its schema cannot express: those of its templates."""
    wanted = parse_request_spec(spec, strict=True)
    kind = wanted.task.type if wanted.task else ""
    return [_without(f"spec.task.{kind}.", p) for p in request_problems(wanted, now)]


def same_request(stored: Mapping[str, Any], spec: JSONObject) -> bool:
    """Return whether a stored RunRequest and a spec request the same, with all defaults filled in."""
    there = parse_request_spec(stored.get("spec"), strict=False)
    return _filled(there) == _filled(parse_request_spec(spec, strict=True))


def _filled(spec: RunRequestSpec) -> JSONObject:
    return spec.model_dump(mode="json")


def _without(prefix: str, problem: FieldProblem) -> FieldProblem:
    return FieldProblem(problem.path.removeprefix(prefix), problem.message)


REQUEST_DELETED = "RunRequestDeleted"


@dataclass(frozen=True, slots=True)
class AcceptedRun:
    """A run that was requested."""

    namespace: str
    run: str
    """The name of its RunRequest."""
    task_name: str | None
    """The type of its own task; None if it names a ScheduledTask."""
    at: datetime
    """When it was requested."""


Standing = Literal["pending", "running", "completed", "failed"]
_STANDINGS: Mapping[ExecutionStatus, Standing] = {
    ExecutionStatus.RUNNING: "running",
    ExecutionStatus.SUCCEEDED: "completed",
}
"""Every other status of a row means that the run failed."""


def recorded_output(record: ExecutionRecord) -> TaskOutput:
    """Return the output of a run that has a row in the history."""
    standing = _STANDINGS.get(record.status, "failed")
    why = record.error or record.message or record.reason
    return TaskOutput(
        id=record.id,
        namespace=record.namespace,
        status=standing,
        task_name=record.task_type,
        output=record.result,
        error=(why or f"it is {record.status.word}") if standing == "failed" else None,
        reason=record.reason,
        execution_status=record.status,
        started_at=_utc(record.started_at),
        finished_at=_utc(record.finished_at),
    )


def unrecorded_output(raw: Mapping[str, Any]) -> TaskOutput:
    """Return the output of a run that has no row in the history yet."""
    view = run_view(raw)
    task = as_object(view.spec.get("task"))
    failed = view.accepted is False
    return TaskOutput(
        id=view.execution_id,
        namespace=view.namespace,
        status="failed" if failed else "running" if view.finished_at else "pending",
        task_name=next(iter(task), None),
        error=view.message if failed else None,
        reason=view.reason if failed else None,
    )


def accepted_output(uid: UUID, accepted: AcceptedRun, *, deleted: bool = False, is_over: bool = False) -> TaskOutput:
    """Return the output of a run of which only its acceptance is known.

    Args:
        uid: Its execution's id.
        accepted: The run.
        deleted: Whether its RunRequest has been deleted.
        is_over: Whether nothing more is expected of it.

    """
    return TaskOutput(
        id=uid,
        namespace=accepted.namespace,
        status="failed" if is_over else "pending",
        task_name=accepted.task_name,
        error="its RunRequest was deleted before the run was recorded" if is_over else None,
        reason=REQUEST_DELETED if deleted else None,
    )


def _utc(when: datetime | None) -> datetime | None:
    return when.astimezone(UTC) if when is not None else None
