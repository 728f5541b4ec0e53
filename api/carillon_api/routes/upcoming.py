"""What will run next."""

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
    summary="When a task will run next",
    responses=problem_responses(Kind.FORBIDDEN, Kind.NOT_FOUND),
)
async def list_task_upcoming(
    ctx: Ctx, namespace: Namespace, name: TaskName, query: Annotated[UpcomingQuery, Query()]
) -> Upcoming:
    """Return the next times, in UTC and on the clock of the task's zone; or the reason why there are none."""
    return await upcoming_of_task(ctx, namespace, name, query)


@router.get(
    "/upcoming",
    operation_id="listUpcoming",
    summary="What will run next, of all tasks",
    responses=LIST,
)
async def list_upcoming(ctx: Ctx, query: Annotated[AllUpcomingQuery, Query()]) -> UpcomingAll:
    """Return the next times among the tasks of all namespaces, or of one, soonest first.

    Of the tasks as they were at most two seconds ago, the caller's own changes through this process included. The
    caller's permission decides: who may not list the tasks of all namespaces names one.
    """
    return await upcoming_of_tasks(ctx, query.namespace, query)


@router.get(
    "/namespaces/{namespace}/upcoming",
    operation_id="listNamespacedUpcoming",
    summary="What will run next, of a namespace",
    responses=LIST,
)
async def list_namespaced_upcoming(
    ctx: Ctx, namespace: Namespace, query: Annotated[SelectedUpcomingQuery, Query()]
) -> UpcomingAll:
    """Return the next times among the tasks of a namespace, soonest first; as they were two seconds ago at most."""
    return await upcoming_of_tasks(ctx, namespace, query)
