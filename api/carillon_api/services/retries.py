"""Retry an execution: which executions may be retried, with which parameters, and by which RunRequest.

The RunRequest's name consists of the execution's id and the number of its
retries so far. So a call that is repeated, by a double click or by a client
that got no response, finds the existing request and creates no second one.
"""

from typing import Any

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.schemas import RetryAccepted
from carillon_api.services.changes.dry_runs import created_run
from carillon_api.services.context import Context
from carillon_api.services.run_requests import make_known
from carillon_api.views.runs import run_execution_id
from carillon_core.contract import OPEN_STATUSES, Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, earliest_repeat, request_job_name
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.validity.parameters import requested_task
from carillon_core.errors import AlreadyExistsError, FieldProblem, InvalidResourceError, NotFoundError
from carillon_core.ports import ExecutionQuery, JSONObject
from carillon_core.resources import API_VERSION
from carillon_core.resources.names import KIND_REQUEST
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.tasks import Task

MAX_RETRIES = 100
"""The maximum number of retries of one execution."""


def wrong_state(detail: str) -> RequestRefusedError:
    """Return the error for an operation that the execution's state does not allow."""
    return RequestRefusedError(Kind.WRONG_STATE, detail)


async def retried_by(ctx: Context, record: ExecutionRecord) -> list[ExecutionRecord]:
    """Return the retries of an execution, newest first, without their attempts."""
    since = earliest_repeat(record.slot)
    query = ExecutionQuery(namespace=record.namespace, retry_of=record.id, since=since, limit=MAX_RETRIES)
    return list((await ctx.executions.list(query)).items)


async def retry(ctx: Context, record: ExecutionRecord, parameters: JSONObject | None) -> tuple[RetryAccepted, str]:
    """Create a RunRequest that retries an execution, as the caller; return the response and the request's path.

    Args:
        ctx: The caller's.
        record: The execution; the caller may read it.
        parameters: The parameters of the new run; None means those of the execution.

    Raises:
        RequestRefusedError: As 409, if the execution has not ended or has succeeded, if a retry is running, if the
            task is gone, or if the parameters are no longer known.
        InvalidResourceError: The parameters do not match the task.
        ForbiddenError: The caller may not read the task, or may not create RunRequests.

    """
    _check_ended_badly(record)
    earlier = await retried_by(ctx, record)
    _check_not_under_way(earlier)
    task = await _task_of(ctx, record)
    if parameters is None:
        parameters = await _parameters_of(ctx, record)
    spec: JSONObject = {"taskRef": {"name": record.task}, "retryOf": str(record.id)}
    if parameters:
        spec["parameters"] = parameters
    _check_parameters(spec, task)
    name = f"retry-{record.id.hex}-{len(earlier) + 1}"
    stored = await _created(ctx, record.namespace, name, spec)
    accepted = RetryAccepted(
        id=run_execution_id(stored),
        retry_of=record.id,
        namespace=record.namespace,
        task=record.task,
        run=name,
        parameters=parameters,
        dry_run=created_run(stored) if ctx.dry_run else None,
    )
    return accepted, f"/api/v1/namespaces/{record.namespace}/runs/{name}"


def _check_ended_badly(record: ExecutionRecord) -> None:
    if record.status in OPEN_STATUSES:
        raise wrong_state("the execution is still running: wait until it ends, or cancel it first")
    if record.status is ExecutionStatus.SUCCEEDED:
        raise wrong_state("the execution succeeded: to run the task again, request a new run")


def _check_not_under_way(earlier: list[ExecutionRecord]) -> None:
    running = next((row for row in earlier if row.status in OPEN_STATUSES), None)
    if running is not None:
        raise wrong_state(f"a retry is already running: wait until the execution {running.id} ends")
    if len(earlier) >= MAX_RETRIES:
        raise wrong_state(f"the execution has been retried {MAX_RETRIES} times: retry one of those, or fix the task")


async def _task_of(ctx: Context, record: ExecutionRecord) -> JSONObject:
    """Return the execution's ScheduledTask."""
    if record.cause is Cause.MANUAL and record.origin in {None, record.task_uid}:
        raise wrong_state("the execution belongs to a run with its own task, which is not stored: request a new run")
    try:
        task = await ctx.tasks.get(record.namespace, record.task)
    except NotFoundError:
        raise wrong_state(
            f"the ScheduledTask {record.namespace}/{record.task} has been deleted: create it again"
        ) from None
    if task["metadata"]["uid"] != record.task_uid:
        detail = "has been deleted and created again since: to run the new one, request a run"
        raise wrong_state(f"the ScheduledTask {record.namespace}/{record.task} {detail}")
    return task


async def _parameters_of(ctx: Context, record: ExecutionRecord) -> JSONObject:
    """Return the parameters of an execution: none for a slot, and for a request those of its RunRequest."""
    if record.cause is not Cause.MANUAL:
        return {}
    origin = record.origin or ""
    suffix = request_job_name("", origin)
    if record.job_name is not None and record.job_name.endswith(suffix):
        try:
            request = await ctx.requests.get(record.namespace, record.job_name.removesuffix(suffix))
        except NotFoundError:
            request = None
        if request is not None and request["metadata"]["uid"] == origin:
            return dict((request.get("spec") or {}).get("parameters") or {})
    remedy = 'send the parameters in the body, as {"parameters": {…}}, or {"parameters": {}} for none'
    raise wrong_state(f"the execution's parameters are unknown, because its RunRequest has been deleted: {remedy}")


def _check_parameters(spec: JSONObject, task: JSONObject) -> None:
    """Reject a request that the operator would reject a moment later."""
    checked = parse_request_spec(spec, strict=False)
    observed = ObservedTask.from_object(task)
    if observed.spec is None:
        raise wrong_state(f"the ScheduledTask is invalid: {'; '.join(str(p) for p in observed.problems)}")
    wanted = requested_task(checked, observed)
    if not isinstance(wanted, Task):
        raise InvalidResourceError([FieldProblem(p.path.removeprefix("spec."), p.message) for p in wanted])


async def _created(ctx: Context, namespace: str, name: str, spec: JSONObject) -> JSONObject:
    """Return the RunRequest with this name: a new one, or the existing one if it requests the same."""
    metadata = {"name": name, "namespace": namespace}
    body: JSONObject = {"apiVersion": API_VERSION, "kind": KIND_REQUEST, "metadata": metadata, "spec": spec}
    try:
        stored = await ctx.requests.create(namespace, body)
    except AlreadyExistsError:
        there = await ctx.requests.get(namespace, name)
        if _asked(there.get("spec") or {}) != _asked(spec):
            raise wrong_state(
                f"the RunRequest {name} already retries the execution with other parameters: wait until it ends"
            ) from None
        return there
    if not ctx.dry_run:
        await ctx.record_change("retry", "runrequests", None, stored)
        await make_known(ctx, stored)
    return stored


def _asked(spec: JSONObject) -> tuple[Any, ...]:
    """Return the parts of a spec that a caller determines."""
    return spec.get("taskRef"), spec.get("retryOf"), spec.get("parameters") or {}
