"""A timeline of past executions and planned slots, read with the caller's permissions; the work is bounded."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from carillon_api.schemas.reports.timeline import Timeline, TimelineMark, TimelineQuery
from carillon_api.services.context import Context
from carillon_api.services.reports.ranges import Range, range_of
from carillon_api.services.upcoming import entries_in
from carillon_api.views.reports.timeline import (
    MOST_MARKS,
    bucket_seconds,
    buckets_view,
    past_marks,
    planned_counts,
    planned_marks,
    planned_window,
)
from carillon_api.views.upcoming import Entry
from carillon_core.ports import ReportQuery

BEFORE, AFTER = timedelta(hours=12), timedelta(hours=6)
MOST_LENGTH = timedelta(days=31)


async def timeline(ctx: Context, namespace: str | None, query: TimelineQuery) -> Timeline:
    """Return the slots of a range, of a namespace or of all: marks, or buckets if there are too many.

    Raises:
        ForbiddenError: The caller may not list executions there, or not tasks if the range reaches into the future.
        InvalidResourceError: The range is empty or too long.

    """
    now = ctx.clock()
    span = range_of(query, now, BEFORE, AFTER, MOST_LENGTH)
    await ctx.authorize("list", namespace=namespace)
    entries = await _entries(ctx, namespace, query.task) if span.end > now else ()
    wanted = ReportQuery(since=span.start, until=span.end, namespace=namespace, task=query.task)
    marks = await _marks(ctx, wanted, entries, now)
    if marks is None:
        return await _bucketed(ctx, wanted, entries, now)
    return Timeline(
        from_=span.start,
        to=span.end,
        now=now,
        marks=marks,
        bucket_seconds=None,
        buckets=None,
        complete=True,
        planned_until=None,
    )


async def _entries(ctx: Context, namespace: str | None, task: str | None) -> Sequence[Entry]:
    entries = await entries_in(ctx, namespace)
    return entries if task is None else [entry for entry in entries if entry.name == task]


async def _marks(
    ctx: Context, wanted: ReportQuery, entries: Sequence[Entry], now: datetime
) -> list[TimelineMark] | None:
    """Return the marks of a range, earliest first; None if there are too many."""
    rows = await ctx.reports.marks(wanted, MOST_MARKS + 1)
    if len(rows) > MOST_MARKS:
        return None
    window = planned_window(wanted.since, wanted.until, now)
    async with ctx.backends.computing.of(ctx.caller.subject):
        planned = await asyncio.to_thread(planned_marks, entries, window, rows, MOST_MARKS - len(rows))
    return None if planned is None else past_marks(rows) + planned


async def _bucketed(ctx: Context, wanted: ReportQuery, entries: Sequence[Entry], now: datetime) -> Timeline:
    span = Range(wanted.since, wanted.until)
    seconds = bucket_seconds(span.end - span.start)
    counted = await ctx.reports.buckets(wanted, seconds)
    window = planned_window(span.start, span.end, now)
    async with ctx.backends.computing.of(ctx.caller.subject):
        planned = await asyncio.to_thread(planned_counts, entries, window, span.start, seconds)
    return Timeline(
        from_=span.start,
        to=span.end,
        now=now,
        marks=None,
        bucket_seconds=seconds,
        buckets=buckets_view(counted.items, planned, span.start, seconds),
        complete=counted.complete,
        planned_until=planned.until,
    )
