"""How an execution is repeated: which may be, with what, and by which RunRequest. The routes of executions call it.

The RunRequest's name is made of the execution's id and of the number of its
repetitions so far. So a call that is repeated, by a double click or by a
client that had no answer, finds the request that is there and makes no
second one.
"""

from typing import Any

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.schemas import RetryAccepted
from carillon_api.services.context import Context
from carillon_api.services.run_requests import label
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
"""So many repetitions of one execution are told, and may be made."""


def wrong_state(detail: str) -> RequestRefusedError:
    """Return the error for what an execution is in no state for."""
    return RequestRefusedError(Kind.WRONG_STATE, detail)


async def retried_by(ctx: Context, record: ExecutionRecord) -> list[ExecutionRecord]:
    """Return the executions that repeat one, newest first, without their attempts."""
    since = earliest_repeat(record.slot)
    query = ExecutionQuery(namespace=record.namespace, retry_of=record.id, since=since, limit=MAX_RETRIES)
    return list((await ctx.executions.list(query)).items)


async def retry(ctx: Context, record: ExecutionRecord, parameters: JSONObject | None) -> tuple[RetryAccepted, str]:
    """Request a run that repeats an execution, as the caller; return what was accepted and the request's path.

    Args:
        ctx: The caller's.
        record: The execution; the caller may read it.
        parameters: The new run's; those of the execution if None.

    Raises:
        RequestRefusedError: As 409: it has not ended, or well; it is being repeated; its task is gone; or its
            parameters are not known any more.
        InvalidResourceError: The task has no such parameters.
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
    )
    return accepted, f"/api/v1/namespaces/{record.namespace}/runs/{name}"


def _check_ended_badly(record: ExecutionRecord) -> None:
    if record.status in OPEN_STATUSES:
        raise wrong_state("it still runs: wait for its end, or cancel it first")
    if record.status is ExecutionStatus.SUCCEEDED:
        raise wrong_state("it succeeded, so there is nothing to repeat: request a run of the task for another one")


def _check_not_under_way(earlier: list[ExecutionRecord]) -> None:
    running = next((row for row in earlier if row.status in OPEN_STATUSES), None)
    if running is not None:
        raise wrong_state(f"the execution {running.id} repeats it just now: wait for its end")
    if len(earlier) >= MAX_RETRIES:
        raise wrong_state(f"it was repeated {MAX_RETRIES} times: retry one of those, or mend the task")


async def _task_of(ctx: Context, record: ExecutionRecord) -> JSONObject:
    """Return the ScheduledTask that the execution was of."""
    if record.cause is Cause.MANUAL and record.origin in {None, record.task_uid}:
        raise wrong_state("it was a run of a task of its own, which nothing but its request knew: request it anew")
    try:
        task = await ctx.tasks.get(record.namespace, record.task)
    except NotFoundError:
        raise wrong_state(f"its ScheduledTask {record.namespace}/{record.task} is gone: create it anew") from None
    if task["metadata"]["uid"] != record.task_uid:
        detail = "is another one than it was of: request a run of that one if it is meant"
        raise wrong_state(f"the ScheduledTask {record.namespace}/{record.task} {detail}")
    return task


async def _parameters_of(ctx: Context, record: ExecutionRecord) -> JSONObject:
    """Return the parameters that an execution had: a slot's none, a request's as long as the request is there."""
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
    mend = 'send the body {"parameters": {…}} with those that it shall have, {} for none'
    raise wrong_state(f"its RunRequest is gone, and with it the parameters that it ran with: {mend}")


def _check_parameters(spec: JSONObject, task: JSONObject) -> None:
    """Refuse here what the operator would refuse a moment later."""
    checked = parse_request_spec(spec, strict=False)
    observed = ObservedTask.from_object(task)
    if observed.spec is None:
        raise wrong_state(f"its ScheduledTask is invalid: {'; '.join(str(p) for p in observed.problems)}")
    wanted = requested_task(checked, observed)
    if not isinstance(wanted, Task):
        raise InvalidResourceError([FieldProblem(p.path.removeprefix("spec."), p.message) for p in wanted])


async def _created(ctx: Context, namespace: str, name: str, spec: JSONObject) -> JSONObject:
    """Return the RunRequest of that name: a new one, or the one that is there if it says the same."""
    metadata = {"name": name, "namespace": namespace}
    body: JSONObject = {"apiVersion": API_VERSION, "kind": KIND_REQUEST, "metadata": metadata, "spec": spec}
    try:
        stored = await ctx.requests.create(namespace, body)
    except AlreadyExistsError:
        there = await ctx.requests.get(namespace, name)
        if _asked(there.get("spec") or {}) != _asked(spec):
            raise wrong_state(f"the RunRequest {name} repeats it with other parameters just now") from None
        return there
    await ctx.record_change("retry", "runrequests", None, stored)
    await label(ctx, stored)
    return stored


def _asked(spec: JSONObject) -> tuple[Any, ...]:
    """Return what a caller has a say in."""
    return spec.get("taskRef"), spec.get("retryOf"), spec.get("parameters") or {}
