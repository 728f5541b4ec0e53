"""The history: what ran, what did not, and why; and what can be done about it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from starlette.responses import PlainTextResponse

from carillon_api.http.bodies import optional_json_body
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.described import accepted, optional_body_of, plain_text
from carillon_api.routes.dependencies import Ctx, Namespace, TaskName
from carillon_api.schemas import (
    CancelAccepted,
    ExecutionDetail,
    ExecutionList,
    ExecutionsQuery,
    LogsQuery,
    NamespaceExecutionsQuery,
    RetryAccepted,
    RetryBody,
    TaskExecutionsQuery,
)
from carillon_api.services.history import execution_page, readable
from carillon_api.services.retries import retried_by, retry
from carillon_api.services.running import cancel, logs
from carillon_api.views.executions import execution_detail

LIST = problem_responses(Kind.FORBIDDEN)
CHANGE = (Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.WRONG_STATE)
BODY = (Kind.MALFORMED, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.REFUSED)

ID = "The execution's id."

router = APIRouter(tags=["executions"])


@router.get(
    "/namespaces/{namespace}/tasks/{name}/executions",
    operation_id="listTaskExecutions",
    summary="List a task's executions",
    responses=LIST,
)
async def list_task_executions(
    ctx: Ctx, namespace: Namespace, name: TaskName, query: Annotated[TaskExecutionsQuery, Query()]
) -> ExecutionList:
    """List executions, newest slot first; those of a deleted task are still there."""
    return await execution_page(ctx, query, namespace, name)


@router.get(
    "/namespaces/{namespace}/executions",
    operation_id="listNamespacedExecutions",
    summary="List executions of a namespace",
    responses=LIST,
)
async def list_namespaced_executions(
    ctx: Ctx, namespace: Namespace, query: Annotated[NamespaceExecutionsQuery, Query()]
) -> ExecutionList:
    """List executions of all tasks of a namespace, newest slot first."""
    return await execution_page(ctx, query, namespace, query.task)


@router.get("/executions", operation_id="listExecutions", summary="List executions of all tasks", responses=LIST)
async def list_executions(ctx: Ctx, query: Annotated[ExecutionsQuery, Query()]) -> ExecutionList:
    """List executions, newest slot first; without a namespace, the caller must be allowed to read those of all."""
    return await execution_page(ctx, query, query.namespace, query.task)


@router.get(
    "/executions/{id}",
    operation_id="getExecution",
    summary="Read an execution",
    responses=problem_responses(Kind.NOT_FOUND),
)
async def get_execution(ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)]) -> ExecutionDetail:
    """Return what became of one slot of a task, its attempts, what it repeats and what repeats it.

    One that the caller may not read is not found: that it exists, and where, is nobody else's business.
    """
    record = await readable(ctx, uid)
    return execution_detail(record, [row.id for row in await retried_by(ctx, record)])


@router.post(
    "/executions/{id}/retry",
    operation_id="retryExecution",
    summary="Run an execution that did not succeed again",
    status_code=202,
    responses=accepted("A run was requested; Location is where it stands") | problem_responses(*CHANGE, *BODY),
    openapi_extra=optional_body_of(RetryBody, {"parameters": {"a": 1}}),
)
async def retry_execution(
    ctx: Ctx,
    response: Response,
    uid: Annotated[UUID, Path(alias="id", description=ID)],
    body: Annotated[RetryBody, Depends(optional_json_body(RetryBody))],
) -> RetryAccepted:
    """Create a RunRequest that repeats an execution which failed, timed out, was cancelled, skipped or missed.

    It runs the task as it is now, with the parameters of then. While that run has not ended, the same answer is given
    to whoever asks again, or 409.
    """
    view, location = await retry(ctx, await readable(ctx, uid), body.parameters)
    response.headers["Location"] = location
    return view


@router.post(
    "/executions/{id}/cancel",
    operation_id="cancelExecution",
    summary="End an execution that runs",
    status_code=202,
    responses=problem_responses(*CHANGE),
)
async def cancel_execution(ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)]) -> CancelAccepted:
    """Delete the execution's Job, for which the caller needs the right to; its end is recorded a moment later."""
    return await cancel(ctx, await readable(ctx, uid))


@router.get(
    "/executions/{id}/logs",
    operation_id="getExecutionLogs",
    summary="Read an execution's logs",
    response_class=PlainTextResponse,
    responses=plain_text("What the pod has said") | problem_responses(*CHANGE, Kind.LOGS_GONE),
)
async def get_execution_logs(
    ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)], query: Annotated[LogsQuery, Query()]
) -> PlainTextResponse:
    """Return the logs of the execution's newest pod, or of the one that is named, as long as the cluster has it."""
    return PlainTextResponse(await logs(ctx, await readable(ctx, uid), query))
