"""A task's statistics."""

from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.routes.dependencies import Ctx, Namespace, TaskName
from carillon_api.schemas.reports.statistics import StatisticsQuery, TaskStatistics
from carillon_api.services.reports.statistics import task_statistics

router = APIRouter(tags=["reports"])


@router.get(
    "/namespaces/{namespace}/tasks/{name}/stats",
    operation_id="getTaskStatistics",
    summary="Get a task's statistics",
    responses=problem_responses(Kind.FORBIDDEN),
)
async def get_task_statistics(
    ctx: Ctx, namespace: Namespace, name: TaskName, query: Annotated[StatisticsQuery, Query()]
) -> TaskStatistics:
    """Return counts by status, the success rate, percentiles of duration and latency, and the latest executions.

    The executions of a deleted task are included. Requires permission to list executions in the namespace.
    """
    return await task_statistics(ctx, namespace, name, query)
