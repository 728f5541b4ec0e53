"""Aggregates over the history in memory, for tests; they meet the same contract as those in Postgres."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.contract import Cause
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.ports import (
    MOST_COUNTED,
    MOST_SAMPLED,
    BucketCounts,
    Mark,
    Percentiles,
    ReportQuery,
    Statistics,
    StatusCount,
)

DIGITS = 6


class MemoryReports:
    """``HistoryReports`` over the rows of a history in memory."""

    def __init__(self, history: MemoryHistory) -> None:
        """Take the history."""
        self._history = history

    async def statistics(self, query: ReportQuery, latest: int) -> Statistics:
        """Return the figures of a range, and its newest executions."""
        rows = await self._newest(query, MOST_COUNTED)
        started = [(row.started_at - row.slot) for row in rows if row.started_at and row.cause is Cause.SCHEDULE]
        return Statistics(
            by_status=Counter(row.status for row in rows),
            durations=_percentiles([seconds for row in rows if (seconds := _duration(row)) is not None]),
            latencies=_percentiles([max(each, timedelta(0)).total_seconds() for each in started]),
            complete=len(rows) < MOST_COUNTED,
            latest=[_mark(row) for row in rows[:latest]],
        )

    async def marks(self, query: ReportQuery, limit: int) -> Sequence[Mark]:
        """Return the newest executions of a range, newest slot first."""
        return [_mark(row) for row in await self._newest(query, limit)]

    async def buckets(self, query: ReportQuery, seconds: int) -> BucketCounts:
        """Count the executions of a range in buckets."""
        rows = await self._newest(query, MOST_COUNTED)
        counts = Counter(((row.slot - query.since) // timedelta(seconds=seconds), row.status) for row in rows)
        items = [StatusCount(*key, counts[key]) for key in sorted(counts)]
        return BucketCounts(items, len(rows) < MOST_COUNTED)

    async def mean_seconds(self, query: ReportQuery) -> Mapping[tuple[str, str], float]:
        """Return the mean duration of each task, from the newest executions of a range."""
        durations: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for row in await self._newest(query, MOST_SAMPLED):
            if (seconds := _duration(row)) is not None:
                durations[row.namespace, row.task].append(seconds)
        return {task: round(sum(each) / len(each), DIGITS) for task, each in durations.items()}

    async def _newest(self, query: ReportQuery, limit: int) -> list[ExecutionRecord]:
        await self._history.ping()
        rows = sorted(self._history.rows.values(), key=lambda row: (row.slot, row.id), reverse=True)
        return [row for row in rows if _matches(row, query)][:limit]


def _matches(row: ExecutionRecord, query: ReportQuery) -> bool:
    return (
        query.since <= row.slot < query.until
        and query.namespace in {None, row.namespace}
        and (not query.namespaces or row.namespace in query.namespaces)
        and query.task in {None, row.task}
    )


def _duration(row: ExecutionRecord) -> float | None:
    return (row.finished_at - row.started_at).total_seconds() if row.started_at and row.finished_at else None


def _percentiles(values: Sequence[float]) -> Percentiles | None:
    ordered = sorted(values)
    return Percentiles(*(_percentile(ordered, fraction) for fraction in (0.5, 0.95, 0.99))) if ordered else None


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    """Interpolate between the two nearest values, as ``percentile_cont`` does."""
    place = fraction * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), DIGITS)


def _mark(row: ExecutionRecord) -> Mark:
    return Mark(
        id=row.id,
        namespace=row.namespace,
        task=row.task,
        slot=row.slot,
        first_slot=row.first_slot,
        cause=row.cause,
        status=row.status,
        reason=row.reason,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
