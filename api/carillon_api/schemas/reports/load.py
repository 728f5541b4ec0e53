"""The expected load: query parameters and response."""

from pydantic import Field

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.executions import Instant
from carillon_api.schemas.names import NamespaceName
from carillon_api.schemas.reports.ranges import RangeQuery
from carillon_core.resources.base import Time


class LoadQuery(RangeQuery):
    """When to count the launches of a namespace."""

    from_: Instant | None = Field(default=None, alias="from")
    """Only slots at or after this time (RFC 3339). Past slots are never counted. Default: now."""
    to: Instant | None = None
    """Only slots before this time (RFC 3339), at most 7 days after from. Default: 24 hours after from."""


class AllLoadQuery(LoadQuery):
    """When to count launches, and of which tasks."""

    namespace: NamespaceName | None = None
    """Only tasks in this namespace. Default: all namespaces."""


class TaskShare(Answer):
    """What one task adds to a minute."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    count: int
    """The number of its launches in the minute."""
    seconds: float | None
    """The time in seconds that they are expected to take, by its mean duration; null if that is not known."""


class BusyMinute(Answer):
    """A minute with many launches."""

    start: Time
    """The start of the minute."""
    count: int
    """The number of launches in it."""
    seconds: float | None
    """The time in seconds that they are expected to take; null if seconds of the response is null."""
    tasks: list[TaskShare]
    """The tasks with the most launches in it; at most 10."""
    task_count: int
    """The number of tasks that have launches in it."""


class Load(Answer):
    """The planned launches, by minute."""

    from_: Time = Field(alias="from")
    """The start of the first minute."""
    to: Time
    """The end of the last minute."""
    bucket_seconds: int
    """The length of a bucket in seconds: 60."""
    counts: list[int]
    """The number of launches in each minute, jitterSeconds included."""
    seconds: list[float] | None
    """The time in seconds that the launches of each minute are expected to take, by the mean duration of each task over
    the last 7 days; tasks that have not run count as 0. Null if the durations cannot be read."""
    seconds_missing: str | None
    """Why seconds is null: Forbidden if the caller may not list executions, Unavailable if the history is."""
    total: int
    """The number of all launches."""
    tasks: int
    """The number of tasks that still have a schedule to follow. Open circuits and missing targets are not
    considered."""
    measured_tasks: int
    """The number of tasks whose mean duration is known."""
    busiest: list[BusyMinute]
    """The minutes with the most launches, the busiest first; at most 10."""
    counted_until: Time | None
    """All slots before this time are counted, but not all later ones, because there are too many. Null if all are
    counted."""
