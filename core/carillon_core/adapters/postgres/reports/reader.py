"""The port ``HistoryReports`` on Postgres; the API creates one."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.listing import IN_ORDER
from carillon_core.adapters.postgres.reports.statements import (
    buckets_statement,
    marks_statement,
    means_statement,
    statistics_statement,
)
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.ports import MOST_COUNTED, BucketCounts, Mark, Percentiles, ReportQuery, Statistics, StatusCount

POOL_SIZE = 2
"""Reports read many rows. They have connections of their own, so that other requests do not wait for them."""
DIGITS = 6
"""Seconds are rounded to microseconds, as precise as times are."""


class PostgresReports:
    """``HistoryReports`` over one engine; ``aclose`` closes its connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; the first call connects."""
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    @classmethod
    def from_url(cls, url: str, *, connect_seconds: int = 5) -> "PostgresReports":
        """Return reports with their own engine; raises ``SettingsError`` if the URL is invalid."""
        return cls(create_engine(url, pool_size=POOL_SIZE, connect_seconds=connect_seconds))

    async def aclose(self) -> None:
        """Close the engine's connections."""
        await self._engine.dispose()

    async def statistics(self, query: ReportQuery, latest: int) -> Statistics:
        """Return the figures of a range, and its newest executions, in two statements."""
        counted, newest = await self._fetch(statistics_statement(query), marks_statement(query, latest))
        total = next(row for row in counted if row.status is None)
        return Statistics(
            by_status={ExecutionStatus(row.status): row.number for row in counted if row.status is not None},
            durations=_percentiles(total.durations),
            latencies=_percentiles(total.latencies),
            complete=total.number < MOST_COUNTED,
            latest=[_mark(row) for row in newest],
        )

    async def marks(self, query: ReportQuery, limit: int) -> Sequence[Mark]:
        """Return the newest executions of a range, newest slot first."""
        (rows,) = await self._fetch(marks_statement(query, limit))
        return [_mark(row) for row in rows]

    async def buckets(self, query: ReportQuery, seconds: int) -> BucketCounts:
        """Count the executions of a range in buckets."""
        (rows,) = await self._fetch(buckets_statement(query, seconds))
        items = [StatusCount(row.bucket, ExecutionStatus(row.status), row.number) for row in rows]
        return BucketCounts(items, sum(item.count for item in items) < MOST_COUNTED)

    async def mean_seconds(self, query: ReportQuery) -> Mapping[tuple[str, str], float]:
        """Return the mean duration of each task, from the newest executions of a range."""
        (rows,) = await self._fetch(means_statement(query))
        return {(row.namespace, row.task): round(row.mean, DIGITS) for row in rows}

    async def _fetch(self, *statements: Select[Any]) -> list[Sequence[Row[Any]]]:
        async with bounded(self._engine.url), self._engine.connect() as connection:
            await connection.exec_driver_sql(IN_ORDER)
            return [(await connection.execute(statement)).all() for statement in statements]


def _percentiles(found: Sequence[float] | None) -> Percentiles | None:
    return None if found is None else Percentiles(*(round(each, DIGITS) for each in found))


def _mark(row: Row[Any]) -> Mark:
    return Mark(
        id=row.id,
        namespace=row.namespace,
        task=row.task,
        slot=row.slot.astimezone(UTC),
        first_slot=_utc(row.first_slot),
        cause=Cause(row.cause),
        status=ExecutionStatus(row.status),
        reason=row.reason,
        started_at=_utc(row.started_at),
        finished_at=_utc(row.finished_at),
    )


def _utc(when: datetime | None) -> datetime | None:
    return None if when is None else when.astimezone(UTC)
