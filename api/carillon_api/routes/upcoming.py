"""Upcoming times of tasks."""

from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.routes.dependencies import Ctx, Namespace, TaskName
from carillon_api.schemas import AllUpcomingQuery, SelectedUpcomingQuery, Upcoming, UpcomingAll, UpcomingQuery
from carillon_api.services.upcoming import upcoming_of_task, upcoming_of_tasks

LIST = problem_responses(Kind.FORBIDDEN)

router = APIRouter(tags=["upcoming"])


@router.get(
    "/namespaces/{namespace}/tasks/{name}/upcoming",
    operation_id="listTaskUpcoming",
    summary="List a task's next times",
    responses=problem_responses(Kind.FORBIDDEN, Kind.NOT_FOUND),
)
async def list_task_upcoming(
    ctx: Ctx, namespace: Namespace, name: TaskName, query: Annotated[UpcomingQuery, Query()]
) -> Upcoming:
    """Return the next times of a task, in UTC and in the task's time zone, or the reason why there are none."""
    return await upcoming_of_task(ctx, namespace, name, query)


@router.get(
    "/upcoming",
    operation_id="listUpcoming",
    summary="List the next times of all tasks",
    responses=LIST,
)
async def list_upcoming(ctx: Ctx, query: Annotated[AllUpcomingQuery, Query()]) -> UpcomingAll:
    """Return the next times among the tasks of all namespaces, or of one, soonest first.

    The tasks are at most two seconds old, and include the caller's own changes through this replica. Without a
    namespace, this requires permission to list tasks in all namespaces.
    """
    return await upcoming_of_tasks(ctx, query.namespace, query)


@router.get(
    "/namespaces/{namespace}/upcoming",
    operation_id="listNamespacedUpcoming",
    summary="List the next times of a namespace",
    responses=LIST,
)
async def list_namespaced_upcoming(
    ctx: Ctx, namespace: Namespace, query: Annotated[SelectedUpcomingQuery, Query()]
) -> UpcomingAll:
    """Return the next times among the tasks of a namespace, soonest first. The tasks are at most two seconds old."""
    return await upcoming_of_tasks(ctx, namespace, query)
