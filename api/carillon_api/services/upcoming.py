"""The next times of the tasks that the caller may list, computed in a separate thread."""

import asyncio
from collections.abc import Sequence

from carillon_api.schemas import SelectedUpcomingQuery, Upcoming, UpcomingAll, UpcomingQuery
from carillon_api.schemas.checks import selector_problems
from carillon_api.services.context import Context
from carillon_api.views.listings import ListingKey
from carillon_api.views.objects import refuse
from carillon_api.views.upcoming import Entry, entries_of, upcoming, upcoming_of_all, window_of


async def upcoming_of_task(ctx: Context, namespace: str, name: str, query: UpcomingQuery) -> Upcoming:
    """Return the next times of a task, or the reason why there are none.

    Raises:
        InvalidResourceError: If the window is invalid.
        NotFoundError: The task does not exist.
        ForbiddenError: The caller may not read the task.

    """
    window = window_of(query, ctx.clock())
    raw = await ctx.tasks.get(namespace, name)
    return await asyncio.to_thread(upcoming, raw, window, ctx.backends.timetables)


async def upcoming_of_tasks(ctx: Context, namespace: str | None, query: SelectedUpcomingQuery) -> UpcomingAll:
    """Return the next times among the tasks of a namespace, or of all, soonest first.

    Raises:
        InvalidResourceError: If the selector or the window is invalid.
        ForbiddenError: The caller may not list tasks there.

    """
    window = window_of(query, ctx.clock())
    refuse(selector_problems(query.label_selector))

    async def fetch() -> Sequence[Entry]:
        raws = await ctx.tasks.list(namespace, query.label_selector)
        # With ten thousand tasks, parsing takes a while and would block the event loop.
        return await asyncio.to_thread(entries_of, raws, ctx.backends.timetables)

    key = ListingKey(ctx.caller.subject, namespace, query.label_selector)
    entries = await ctx.backends.listings.of(key, window.now, fetch)
    return await asyncio.to_thread(upcoming_of_all, entries, window)
