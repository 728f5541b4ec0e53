"""Aggregates over the history of executions, read by the API for its reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus

MOST_COUNTED = 100_000
"""The maximum number of executions that a report reads, the newest ones of its range; more would take seconds."""
MOST_SAMPLED = 20_000
"""The maximum number of executions from which mean durations are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportQuery:
    """Which executions a report covers: those with a slot in ``[since, until)``; None means any."""

    since: datetime
    until: datetime
    namespace: str | None = None
    namespaces: tuple[str, ...] = ()
    """Only executions in these namespaces; empty means any."""
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles in seconds, interpolated as by Postgres' ``percentile_cont``."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a chart shows of an execution: its row without result, messages and pods."""

    id: UUID
    namespace: str
    task: str
    slot: datetime
    first_slot: datetime | None
    """For a row that covers a series of slots, the earliest one."""
    cause: Cause
    status: ExecutionStatus
    reason: str | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The figures of the executions of a range. A row that covers a series of slots counts once."""

    by_status: Mapping[ExecutionStatus, int]
    durations: Percentiles | None
    """From start to end, of executions that have both; None if there are none."""
    latencies: Percentiles | None
    """From slot to start, of scheduled executions that were started, at least 0; None if there are none."""
    complete: bool
    """False if the range has ``MOST_COUNTED`` executions or more; only the newest ``MOST_COUNTED`` are counted."""
    latest: Sequence[Mark]
    """The newest executions, newest slot first."""


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many executions of a status have their slot in one bucket."""

    bucket: int
    """The number of the bucket, from 0."""
    status: ExecutionStatus
    count: int


@dataclass(frozen=True, slots=True)
class BucketCounts:
    """The counts of all buckets that have any, by bucket and status."""

    items: Sequence[StatusCount]
    complete: bool
    """False if the range has ``MOST_COUNTED`` executions or more; only the newest ``MOST_COUNTED`` are counted."""


class HistoryReports(Protocol):
    """The facade's aggregates over the history. The work of each is bounded, and none reads results or messages."""

    async def statistics(self, query: ReportQuery, latest: int) -> Statistics:
        """Return the figures of a range, and its ``latest`` newest executions."""
        ...

    async def marks(self, query: ReportQuery, limit: int) -> Sequence[Mark]:
        """Return the newest ``limit`` executions of a range, newest slot first."""
        ...

    async def buckets(self, query: ReportQuery, seconds: int) -> BucketCounts:
        """Count the executions of a range in buckets of ``seconds``; the first begins at ``since``."""
        ...

    async def mean_seconds(self, query: ReportQuery) -> Mapping[tuple[str, str], float]:
        """Return the mean duration in seconds of each task, by namespace and name.

        Computed from the newest ``MOST_SAMPLED`` executions of the range; tasks without an ended run among them are
        missing.
        """
        ...
