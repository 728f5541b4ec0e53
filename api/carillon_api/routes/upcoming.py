"""The next runs of one or several tasks."""

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
    summary="List a task's next runs",
    responses=problem_responses(Kind.FORBIDDEN, Kind.NOT_FOUND),
)
async def list_task_upcoming(
    ctx: Ctx, namespace: Namespace, name: TaskName, query: Annotated[UpcomingQuery, Query()]
) -> Upcoming:
    """Return the next times in UTC and in the task's time zone, or the reason why there are none."""
    return await upcoming_of_task(ctx, namespace, name, query)


@router.get(
    "/upcoming",
    operation_id="listUpcoming",
    summary="List the next runs",
    responses=LIST,
)
async def list_upcoming(ctx: Ctx, query: Annotated[AllUpcomingQuery, Query()]) -> UpcomingAll:
    """Return the next times of the tasks in all namespaces, or in one, earliest first.

    With `each=true`, return one time per task, and the reason for tasks that cannot run.

    The tasks may be up to two seconds out of date, except for changes made through this process of the API. Without a
    namespace, the caller needs permission in all namespaces.
    """
    return await upcoming_of_tasks(ctx, query.namespace, query)


@router.get(
    "/namespaces/{namespace}/upcoming",
    operation_id="listNamespacedUpcoming",
    summary="List the next runs in a namespace",
    responses=LIST,
)
async def list_namespaced_upcoming(
    ctx: Ctx, namespace: Namespace, query: Annotated[SelectedUpcomingQuery, Query()]
) -> UpcomingAll:
    """Return the next times of a namespace's tasks, earliest first.

    With `each=true`, return one time per task, and the reason for tasks that cannot run. The tasks may be up to two
    seconds out of date.
    """
    return await upcoming_of_tasks(ctx, namespace, query)
