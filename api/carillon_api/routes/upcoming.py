"""What will run next."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.dependencies import Ctx, Namespace, TaskName
from carillon_api.problems import Kind, problem_responses
from carillon_api.schemas import Upcoming, UpcomingAll, UpcomingQuery
from carillon_api.upcoming import upcoming, upcoming_of_all

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
    raw = await ctx.tasks.get(namespace, name)
    return await asyncio.to_thread(upcoming, raw, ctx.clock(), query.count)


@router.get(
    "/upcoming",
    operation_id="listUpcoming",
    summary="What will run next, of all tasks",
    responses=problem_responses(Kind.FORBIDDEN),
)
async def list_upcoming(ctx: Ctx, query: Annotated[UpcomingQuery, Query()]) -> UpcomingAll:
    """Return the next times among the tasks of all namespaces, soonest first."""
    raws = await ctx.tasks.list(None)
    # Of ten thousand tasks this is a second of arithmetic: not in the loop that serves everybody.
    return await asyncio.to_thread(upcoming_of_all, raws, ctx.clock(), query.count)
