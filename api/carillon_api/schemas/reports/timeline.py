"""A timeline of past executions and planned slots: query parameters and response."""

from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from carillon_api.schemas.answers import Answer, StatusField
from carillon_api.schemas.executions import Instant
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_api.schemas.reports.ranges import RangeQuery
from carillon_core.resources.base import Time


class TimelineQuery(RangeQuery):
    """Which slots of a namespace to show."""

    from_: Instant | None = Field(default=None, alias="from")
    """Only slots at or after this time (RFC 3339), at most 31 days before to. Default: 12 hours ago."""
    to: Instant | None = None
    """Only slots before this time (RFC 3339), at most ten years ahead. Default: in 6 hours."""
    task: TaskName | None = None
    """Only slots of the task with this name."""


class AllTimelineQuery(TimelineQuery):
    """Which slots to show."""

    namespace: NamespaceName | None = None
    """Only slots of tasks in this namespace. Default: all namespaces."""


class TimelineMark(Answer):
    """One slot: an execution of the history, or a planned one."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    slot: Time
    """The scheduled time. For a mark that covers several slots, the latest of them."""
    first_slot: Time | None
    """For a mark that covers several slots, the earliest of them."""
    kind: Literal["past", "planned"]
    """Whether it is in the history, or comes from the task's schedule."""
    status: StatusField | None
    """The status of the execution; null if it is planned."""
    reason: str | None
    """Why the execution has this status, in one word. For a planned slot, why the task cannot run at present, such as
    CircuitOpen."""
    execution_id: UUID | None
    """The execution's ID; null if it is planned."""
    started_at: AwareDatetime | None
    """When the execution started."""
    finished_at: AwareDatetime | None
    """When the execution ended."""


class TimelineBucket(Answer):
    """The number of slots in a part of the range."""

    start: Time
    """The start of the bucket, which lasts bucketSeconds."""
    executions: dict[str, int]
    """The number of executions by status; statuses without executions are left out."""
    planned: int
    """The number of planned slots."""


class Timeline(Answer):
    """The slots of a range of time: each of them, or their number by bucket if there are more than 2,000."""

    from_: Time = Field(alias="from")
    """The start of the range."""
    to: Time
    """The end of the range, which is not part of it."""
    now: Time
    """The server's time: planned slots are later."""
    marks: list[TimelineMark] | None
    """The slots, earliest first; null if there are too many."""
    bucket_seconds: int | None
    """The length of a bucket in seconds; null if there are marks."""
    buckets: list[TimelineBucket] | None
    """The buckets that have any slots, earliest first; null if there are marks."""
    complete: bool
    """False if the range has 100,000 executions or more; only the newest 100,000 are counted."""
    planned_until: Time | None
    """All planned slots before this time are counted, but not all later ones, because there are too many. Null if all
    are counted."""
