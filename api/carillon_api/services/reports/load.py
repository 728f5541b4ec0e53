"""The expected load, from the tasks that the caller may list; the work is bounded."""

import asyncio
from datetime import UTC, datetime, timedelta

from carillon_api.schemas.reports.load import Load, LoadQuery
from carillon_api.services.context import Context
from carillon_api.services.reports.ranges import Range, range_of
from carillon_api.services.upcoming import entries_in
from carillon_api.views.reports.load import MINUTE, Means, launches_of, load_view
from carillon_api.views.reports.timeline import planned_window
from carillon_core.domain.validity.future import future_problem
from carillon_core.errors import ForbiddenError, InvalidResourceError, UnavailableError
from carillon_core.ports import ReportQuery

AFTER = timedelta(hours=24)
MOST_LENGTH = timedelta(days=7)
MEASURED = timedelta(days=7)
"""How far back executions are measured."""
NONE = timedelta(0)


async def load(ctx: Context, namespace: str | None, query: LoadQuery) -> Load:
    """Return the planned launches, by minute, of the tasks of a namespace or of all.

    Raises:
        ForbiddenError: The caller may not list tasks there.
        InvalidResourceError: The range is empty, past or too long.

    """
    now = ctx.clock()
    if past := future_problem(query.to, now, "to"):
        raise InvalidResourceError([past])
    span = range_of(query, now, NONE, AFTER, MOST_LENGTH)
    whole = Range(max(span.start, now.astimezone(UTC)).replace(second=0, microsecond=0), span.end)
    minutes = -((whole.start - whole.end) // MINUTE)
    entries = await entries_in(ctx, namespace)
    means, missing = await _means(ctx, namespace, now)
    window = planned_window(span.start, span.end, now)
    async with ctx.backends.computing.of(ctx.caller.subject):
        launches = await asyncio.to_thread(launches_of, entries, window, whole.start, minutes)
        return await asyncio.to_thread(load_view, launches, whole.start, minutes, means, missing)


async def _means(ctx: Context, namespace: str | None, now: datetime) -> tuple[Means | None, str | None]:
    """Return the mean durations of tasks, or why they cannot be read."""
    try:
        await ctx.authorize("list", namespace=namespace)
        query = ReportQuery(since=now - MEASURED, until=now, namespace=namespace)
        return await ctx.reports.mean_seconds(query), None
    except ForbiddenError:
        return None, "Forbidden"
    except UnavailableError:  # the schedules are known without the history
        return None, "Unavailable"
