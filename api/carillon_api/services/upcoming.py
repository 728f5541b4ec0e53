"""What will run next: the tasks as the caller sees them, and the calculus over them in a thread of its own."""

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
        InvalidResourceError: If the window is wrong.
        NotFoundError: There is no such task.
        ForbiddenError: The caller may not read it.

    """
    window = window_of(query, ctx.clock())
    raw = await ctx.tasks.get(namespace, name)
    return await asyncio.to_thread(upcoming, raw, window, ctx.backends.timetables)


async def upcoming_of_tasks(ctx: Context, namespace: str | None, query: SelectedUpcomingQuery) -> UpcomingAll:
    """Return the next times among the tasks of a namespace, or of all, soonest first.

    Raises:
        InvalidResourceError: If the selector or the window is wrong.
        ForbiddenError: The caller may not list tasks there.

    """
    window = window_of(query, ctx.clock())
    refuse(selector_problems(query.label_selector))

    async def fetch() -> Sequence[Entry]:
        raws = await ctx.tasks.list(namespace, query.label_selector)
        # Of ten thousand tasks this is a while of reading: not in the loop that serves everybody.
        return await asyncio.to_thread(entries_of, raws, ctx.backends.timetables)

    key = ListingKey(ctx.caller.subject, namespace, query.label_selector)
    entries = await ctx.backends.listings.of(key, window.now, fetch)
    return await asyncio.to_thread(upcoming_of_all, entries, window)
