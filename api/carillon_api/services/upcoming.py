"""The next times of the tasks that the caller may list, computed in a separate thread."""

import asyncio
from collections.abc import Sequence

from carillon_api.schemas import SelectedUpcomingQuery, Upcoming, UpcomingAll, UpcomingQuery
from carillon_api.schemas.checks import selector_problems
from carillon_api.services.context import Context
from carillon_api.views.each_next import next_of_each
from carillon_api.views.listings import ListingKey
from carillon_api.views.objects import refuse
from carillon_api.views.upcoming import Entry, entries_of, upcoming, upcoming_of_all, window_of
from carillon_core.errors import ExpiredError

PAGE = 500
LIST_TRIES = 3


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


async def _fetched(ctx: Context, namespace: str | None, label_selector: str) -> Sequence[Entry]:
    """Return what is needed of all tasks, page by page: the tasks themselves may be large."""
    entries: list[Entry] = []
    token = None
    while True:
        page = await ctx.tasks.page(namespace, limit=PAGE, label_selector=label_selector, continue_token=token)
        # With many tasks, parsing takes a while and would block the event loop.
        entries += await asyncio.to_thread(entries_of, page.items, ctx.backends.timetables)
        token = page.continue_token
        if token is None:
            return entries


async def entries_in(ctx: Context, namespace: str | None, label_selector: str = "") -> Sequence[Entry]:
    """Return the tasks of a namespace, or of all, at most two seconds old.

    Raises:
        InvalidResourceError: If the selector is invalid.
        ForbiddenError: The caller may not list tasks there.

    """
    refuse(selector_problems(label_selector))

    async def fetch() -> Sequence[Entry]:
        for tries_left in reversed(range(LIST_TRIES)):
            try:
                return await _fetched(ctx, namespace, label_selector)
            except ExpiredError:  # the list took too long
                if not tries_left:
                    raise
        raise AssertionError  # the last try returned or raised

    key = ListingKey(ctx.caller.subject, namespace, label_selector)
    return await ctx.backends.listings.of(key, ctx.clock(), fetch)


async def upcoming_of_tasks(ctx: Context, namespace: str | None, query: SelectedUpcomingQuery) -> UpcomingAll:
    """Return the next times among the tasks of a namespace, or of all, soonest first; or the next one of each task.

    Raises:
        InvalidResourceError: If the selector or the window is invalid.
        ForbiddenError: The caller may not list tasks there.
        RequestRefusedError: As 429, if another report of the caller is being computed.
        UnavailableError: The reports of others took too long.

    """
    window = window_of(query, ctx.clock())
    entries = await entries_in(ctx, namespace, query.label_selector)
    if not query.each:
        return await asyncio.to_thread(upcoming_of_all, entries, window)
    async with ctx.backends.computing.of(ctx.caller.subject):
        return await asyncio.to_thread(next_of_each, entries, window)
