"""A task's statistics: query parameters and response."""

from uuid import UUID

from pydantic import Field

from carillon_api.schemas.answers import Answer, StatusField
from carillon_api.schemas.executions import Instant
from carillon_api.schemas.reports.ranges import RangeQuery
from carillon_core.resources.base import Time


class StatisticsQuery(RangeQuery):
    """Which executions to count."""

    from_: Instant | None = Field(default=None, alias="from")
    """Only slots at or after this time (RFC 3339), at most 31 days before to. Default: 7 days before to."""
    to: Instant | None = None
    """Only slots before this time (RFC 3339). Default: now."""
    results: int = Field(default=30, ge=0, le=100)
    """The maximum number of latest executions to return, 0 to 100."""


class PercentilesView(Answer):
    """Percentiles in seconds, interpolated."""

    p50: float
    """The median: half of the values are at most this."""
    p95: float
    """95 % of the values are at most this."""
    p99: float
    """99 % of the values are at most this."""


class ResultView(Answer):
    """One of the latest executions."""

    id: UUID
    """The execution's ID."""
    slot: Time
    """The scheduled time."""
    status: StatusField
    """The current or final status."""
    reason: str | None
    """Why it has this status, in one word: the gate that stopped it, or the class of its failure."""


class TaskStatistics(Answer):
    """A task's statistics: those of its executions in a range of time."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    from_: Time = Field(alias="from")
    """The start of the range."""
    to: Time
    """The end of the range, which is not part of it."""
    executions: dict[str, int]
    """The number of executions by status. An execution that covers several slots counts once."""
    success_rate: float | None
    """The succeeded executions as a fraction (0 to 1) of those that succeeded, failed or timed out; null if there are
    none. Cancelled, skipped and missed executions do not count."""
    duration_seconds: PercentilesView | None
    """The time from start to end of the executions that ran; null if there are none."""
    latency_seconds: PercentilesView | None
    """The time from the slot to the start of scheduled executions, jitterSeconds included; null if there are none."""
    complete: bool
    """False if the range has 100,000 executions or more; only the newest 100,000 are counted."""
    results: list[ResultView]
    """The latest executions in the range, newest slot first."""
