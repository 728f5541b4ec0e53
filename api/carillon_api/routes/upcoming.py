"""What will run next."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from carillon_api.http.problems import Kind, problem_responses
from carillon_api.routes.dependencies import Ctx, Namespace, TaskName
from carillon_api.schemas import AllUpcomingQuery, SelectedUpcomingQuery, Upcoming, UpcomingAll, UpcomingQuery
from carillon_api.schemas.checks import selector_problems
from carillon_api.services.context import Context
from carillon_api.views.listings import ListingKey
from carillon_api.views.tasks import refuse
from carillon_api.views.upcoming import Entry, entries_of, upcoming, upcoming_of_all, window_of

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
    window = window_of(query, ctx.clock())
    raw = await ctx.tasks.get(namespace, name)
    return await asyncio.to_thread(upcoming, raw, window, ctx.backends.timetables)


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
    return await _of_all(ctx, query.namespace, query)


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
    return await _of_all(ctx, namespace, query)


async def _of_all(ctx: Context, namespace: str | None, query: SelectedUpcomingQuery) -> UpcomingAll:
    window = window_of(query, ctx.clock())
    refuse(selector_problems(query.label_selector))

    async def fetch() -> Sequence[Entry]:
        raws = await ctx.tasks.list(namespace, query.label_selector)
        # Of ten thousand tasks this is a while of reading: not in the loop that serves everybody.
        return await asyncio.to_thread(entries_of, raws, ctx.backends.timetables)

    key = ListingKey(ctx.caller.subject, namespace, query.label_selector)
    entries = await ctx.backends.listings.of(key, window.now, fetch)
    return await asyncio.to_thread(upcoming_of_all, entries, window)
