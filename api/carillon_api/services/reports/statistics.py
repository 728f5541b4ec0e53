"""A task's statistics, read from the history with the caller's permissions."""

from datetime import timedelta

from carillon_api.schemas.reports.statistics import StatisticsQuery, TaskStatistics
from carillon_api.services.context import Context
from carillon_api.services.reports.ranges import range_of
from carillon_api.views.reports.statistics import statistics_view
from carillon_core.ports import ReportQuery

DEFAULT_LENGTH = timedelta(days=7)
MOST_LENGTH = timedelta(days=31)
NONE = timedelta(0)


async def task_statistics(ctx: Context, namespace: str, name: str, query: StatisticsQuery) -> TaskStatistics:
    """Return a task's statistics; those of a deleted task are included.

    Raises:
        ForbiddenError: The caller may not list executions there.
        InvalidResourceError: The range is empty or too long.

    """
    span = range_of(query, ctx.clock(), DEFAULT_LENGTH, NONE, MOST_LENGTH)
    await ctx.authorize("list", namespace=namespace)
    wanted = ReportQuery(since=span.start, until=span.end, namespace=namespace, task=name)
    return statistics_view(wanted, await ctx.reports.statistics(wanted, query.results))
