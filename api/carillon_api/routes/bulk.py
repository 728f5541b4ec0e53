"""Changes of all tasks or executions that a filter matches."""

from typing import Annotated

from fastapi import APIRouter, Depends

from carillon_api.http.bodies import json_body
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.openapi_document.described import body_of
from carillon_api.routes.dependencies import Ctx, IdempotencyKey, Namespace
from carillon_api.schemas.changes.bulk import BulkResult, ExecutionBulk, TaskBulk
from carillon_api.services.changes.bulk_executions import bulk_executions
from carillon_api.services.changes.bulk_tasks import bulk_tasks
from carillon_core.ports import JSONObject

RESPONSES = problem_responses(
    Kind.MALFORMED, Kind.FORBIDDEN, Kind.COUNT_CHANGED, Kind.EXPIRED, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE
)
TASKS: JSONObject = {"action": "pause", "filter": {"labelSelector": "team=reporting"}, "expectedCount": 2}
EXECUTIONS: JSONObject = {
    "action": "retry",
    "filter": {"deadLetters": True, "since": "2027-01-07T00:00:00Z"},
    "expectedCount": 2,
}

router = APIRouter()


@router.post(
    "/namespaces/{namespace}/tasks/bulk",
    operation_id="changeNamespacedTasks",
    summary="Change several tasks in a namespace",
    tags=["tasks"],
    responses=RESPONSES,
    openapi_extra=body_of(TaskBulk, TASKS),
)
async def change_namespaced_tasks(
    ctx: Ctx,
    namespace: Namespace,
    body: Annotated[TaskBulk, Depends(json_body(TaskBulk))],
    key: IdempotencyKey = None,
) -> BulkResult:
    """Pause, resume, run or delete all tasks of a namespace that match: at most 1,000 per call.

    First send the request with dryRun=All and check what matches. Then send it with matched as expectedCount.
    """
    return await bulk_tasks(ctx, namespace, body, key)


@router.post(
    "/tasks/bulk",
    operation_id="changeTasks",
    summary="Change several tasks",
    tags=["tasks"],
    responses=RESPONSES,
    openapi_extra=body_of(TaskBulk, TASKS),
)
async def change_tasks(
    ctx: Ctx, body: Annotated[TaskBulk, Depends(json_body(TaskBulk))], key: IdempotencyKey = None
) -> BulkResult:
    """Pause, resume, run or delete all tasks that match, in all namespaces: at most 1,000 per call.

    Requires permission to list tasks in all namespaces. Tasks in namespaces where the caller may not make the change
    fail; the others are changed.
    """
    return await bulk_tasks(ctx, None, body, key)


@router.post(
    "/namespaces/{namespace}/executions/bulk",
    operation_id="changeNamespacedExecutions",
    summary="Change several executions in a namespace",
    tags=["executions"],
    responses=RESPONSES,
    openapi_extra=body_of(ExecutionBulk, EXECUTIONS),
)
async def change_namespaced_executions(
    ctx: Ctx, namespace: Namespace, body: Annotated[ExecutionBulk, Depends(json_body(ExecutionBulk))]
) -> BulkResult:
    """Retry or cancel all executions of a namespace that match, oldest first: at most 1,000 per call.

    First send the request with dryRun=All and check what matches. Then send it with matched as expectedCount.
    """
    return await bulk_executions(ctx, namespace, body)


@router.post(
    "/executions/bulk",
    operation_id="changeExecutions",
    summary="Change several executions",
    tags=["executions"],
    responses=RESPONSES,
    openapi_extra=body_of(ExecutionBulk, EXECUTIONS),
)
async def change_executions(ctx: Ctx, body: Annotated[ExecutionBulk, Depends(json_body(ExecutionBulk))]) -> BulkResult:
    """Retry or cancel all executions that match, in all namespaces, oldest first: at most 1,000 per call.

    Requires permission to list executions in all namespaces.
    """
    return await bulk_executions(ctx, None, body)
