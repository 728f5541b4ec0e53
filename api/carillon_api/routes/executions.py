"""Executions: list and read the history, read logs, cancel and retry."""

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
    """List executions, newest slot first, including those of deleted tasks with this name."""
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
    """List executions, newest slot first. Without a namespace, this requires permission to list in all namespaces."""
    return await execution_page(ctx, query, query.namespace, query.task)


@router.get(
    "/executions/{id}",
    operation_id="getExecution",
    summary="Read an execution",
    responses=problem_responses(Kind.NOT_FOUND),
)
async def get_execution(ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)]) -> ExecutionDetail:
    """Return an execution with its attempts, the execution that it retries, and its retries.

    The response is 404 if the caller may not read the execution, so that it does not reveal that it exists.
    """
    record = await readable(ctx, uid)
    return execution_detail(record, [row.id for row in await retried_by(ctx, record)])


@router.post(
    "/executions/{id}/retry",
    operation_id="retryExecution",
    summary="Retry an execution",
    status_code=202,
    responses=accepted("The retry is requested; Location points to its run") | problem_responses(*CHANGE, *BODY),
    openapi_extra=optional_body_of(RetryBody, {"parameters": {"a": 1}}),
)
async def retry_execution(
    ctx: Ctx,
    response: Response,
    uid: Annotated[UUID, Path(alias="id", description=ID)],
    body: Annotated[RetryBody, Depends(optional_json_body(RetryBody))],
) -> RetryAccepted:
    """Create a RunRequest that retries an execution which failed, timed out, was cancelled, skipped or missed.

    It runs the current task with the parameters of the execution, unless the body has others. Until the retry ends,
    the same call returns the same response, and a call with other parameters returns 409.
    """
    view, location = await retry(ctx, await readable(ctx, uid), body.parameters)
    response.headers["Location"] = location
    return view


@router.post(
    "/executions/{id}/cancel",
    operation_id="cancelExecution",
    summary="Cancel a running execution",
    status_code=202,
    responses=problem_responses(*CHANGE),
)
async def cancel_execution(ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)]) -> CancelAccepted:
    """Delete the execution's Job. Requires permission to delete Jobs; the end is recorded a moment later."""
    return await cancel(ctx, await readable(ctx, uid))


@router.get(
    "/executions/{id}/logs",
    operation_id="getExecutionLogs",
    summary="Read an execution's logs",
    response_class=PlainTextResponse,
    responses=plain_text("The log of the pod") | problem_responses(*CHANGE, Kind.LOGS_GONE),
)
async def get_execution_logs(
    ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description=ID)], query: Annotated[LogsQuery, Query()]
) -> PlainTextResponse:
    """Return the logs of the execution's newest pod, or of the given pod, while the pod exists."""
    return PlainTextResponse(await logs(ctx, await readable(ctx, uid), query))
