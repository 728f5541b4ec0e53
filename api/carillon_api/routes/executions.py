"""The history: what ran, what did not, and why."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from carillon_api.dependencies import Context, Ctx, Namespace, TaskName
from carillon_api.mapping import execution_view
from carillon_api.problems import Kind, problem_responses
from carillon_api.schemas import ExecutionList, ExecutionsQuery, ExecutionView, TaskExecutionsQuery
from carillon_core.ports import ExecutionQuery

router = APIRouter(tags=["executions"])


@router.get(
    "/namespaces/{namespace}/tasks/{name}/executions",
    operation_id="listTaskExecutions",
    summary="List a task's executions",
    responses=problem_responses(),
)
async def list_task_executions(
    ctx: Ctx, namespace: Namespace, name: TaskName, query: Annotated[TaskExecutionsQuery, Query()]
) -> ExecutionList:
    """List executions, newest slot first; those of a deleted task are still there."""
    return await _page(ctx, query, namespace, name)


@router.get(
    "/executions", operation_id="listExecutions", summary="List executions of all tasks", responses=problem_responses()
)
async def list_executions(ctx: Ctx, query: Annotated[ExecutionsQuery, Query()]) -> ExecutionList:
    """List executions, newest slot first."""
    return await _page(ctx, query, query.namespace, query.task)


@router.get(
    "/executions/{id}",
    operation_id="getExecution",
    summary="Read an execution",
    responses=problem_responses(Kind.NOT_FOUND),
)
async def get_execution(
    ctx: Ctx, uid: Annotated[UUID, Path(alias="id", description="The execution's id.")]
) -> ExecutionView:
    """Return what became of one slot of a task."""
    return execution_view(await ctx.executions.get(uid))


async def _page(ctx: Context, query: TaskExecutionsQuery, namespace: str | None, task: str | None) -> ExecutionList:
    page = await ctx.executions.list(
        ExecutionQuery(namespace=namespace, task=task, status=query.status, limit=query.limit, cursor=query.cursor)
    )
    return ExecutionList(items=[execution_view(r) for r in page.items], next_cursor=page.next_cursor)
