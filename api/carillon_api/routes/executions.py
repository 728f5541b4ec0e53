"""The history: executions, their logs, retries and cancellation."""

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

ID = "The execution's ID."

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
    """List executions, newest slot first. The executions of a deleted task are included."""
    return await execution_page(ctx, query, namespace, name)


@router.get(
    "/namespaces/{namespace}/executions",
    operation_id="listNamespacedExecutions",
    summary="List executions in a namespace",
    responses=LIST,
)
async def list_namespaced_executions(
    ctx: Ctx, namespace: Namespace, query: Annotated[NamespaceExecutionsQuery, Query()]
) -> ExecutionList:
    """List the executions of all tasks in a namespace, newest slot first."""
    return await execution_page(ctx, query, namespace, query.task)


@router.get("/executions", operation_id="listExecutions", summary="List executions", responses=LIST)
async def list_executions(ctx: Ctx, query: Annotated[ExecutionsQuery, Query()]) -> ExecutionList:
    """List executions, newest slot first. Without a namespace, the caller needs permission in all namespaces."""
    return await execution_page(ctx, query, query.namespace, query.task)


@router.get(
    "/executions/{id}",
    operation_id="getExecution",
    summary="Get an execution",
    responses=problem_responses(Kind.NOT_FOUND),
)
async def get_execution(ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)]) -> ExecutionDetail:
    """Return an execution with its attempts, the execution that it retries, and its own retries.

    If the caller may not read the execution, the response is 404, so that it does not reveal that the execution exists.
    """
    record = await readable(ctx, uid)
    return execution_detail(record, [row.id for row in await retried_by(ctx, record)])


@router.post(
    "/executions/{id}/retry",
    operation_id="retryExecution",
    summary="Retry an execution",
    status_code=202,
    responses=accepted("A run was requested; Location is its URL") | problem_responses(*CHANGE, *BODY),
    openapi_extra=optional_body_of(RetryBody, {"parameters": {"a": 1}}),
)
async def retry_execution(
    ctx: Ctx,
    response: Response,
    uid: Annotated[UUID, Path(alias="id", description=ID)],
    body: Annotated[RetryBody, Depends(optional_json_body(RetryBody))],
) -> RetryAccepted:
    """Create a RunRequest that retries an execution which failed, timed out, was cancelled, skipped or missed.

    The run uses the task's current spec and the execution's parameters. Until the run has ended, another retry of the
    same execution gets the same response, or 409.
    """
    view, location = await retry(ctx, await readable(ctx, uid), body.parameters)
    if not ctx.dry_run:
        response.headers["Location"] = location
    return view


@router.post(
    "/executions/{id}/cancel",
    operation_id="cancelExecution",
    summary="Cancel an execution",
    status_code=202,
    responses=problem_responses(*CHANGE),
)
async def cancel_execution(ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)]) -> CancelAccepted:
    """Delete the execution's Job, which the caller must be allowed to do. The end is recorded shortly after."""
    return await cancel(ctx, await readable(ctx, uid))


@router.get(
    "/executions/{id}/logs",
    operation_id="getExecutionLogs",
    summary="Get an execution's logs",
    response_class=PlainTextResponse,
    responses=plain_text("The pod's logs") | problem_responses(*CHANGE, Kind.LOGS_GONE),
)
async def get_execution_logs(
    ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)], query: Annotated[LogsQuery, Query()]
) -> PlainTextResponse:
    """Return the logs of the execution's newest pod, or of the given pod, while the pod exists in the cluster."""
    return PlainTextResponse(await logs(ctx, await readable(ctx, uid), query))
