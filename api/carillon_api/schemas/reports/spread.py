"""A less busy time for a task: request and response."""

from typing import Any

from pydantic import Field

from carillon_api.schemas.answers import Answer, Parameters
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.resources.base import Model, Time


class SpreadQuery(Parameters):
    """Which tasks make the load."""

    namespace: NamespaceName | None = None
    """Only the load of tasks in this namespace. Default: all namespaces. Required with task."""


class SpreadBody(Model):
    """A task, or a spec that is not stored. Exactly one of task and spec must be set."""

    task: TaskName | None = None
    """The name of a task in the namespace."""
    spec: dict[str, Any] | None = None
    """The spec of a ScheduledTask."""
    within_seconds: int = Field(default=3600, ge=60, le=86_400)
    """How far the slots may be moved, in seconds. A cron expression is moved within its hour only."""


class SharedMinutes(Answer):
    """How many other launches there are in the minutes of a task's slots."""

    most: int
    """The largest number of other launches in one of these minutes."""
    mean: float
    """The mean number of other launches in these minutes."""


class Spread(Answer):
    """How to move a task's slots so that they share their minutes with the fewest other launches."""

    offset_seconds: int
    """How far the slots are moved, in seconds; 0 if no other minutes are better. Negative: they are earlier."""
    schedule: str | None
    """The cron expression to set as spec.schedule; null if spec.schedule is not used or stays as it is."""
    start_at: Time | None
    """The time to set as spec.startAt; null if spec.intervalSeconds is not used or the slots stay as they are."""
    current: SharedMinutes
    """The other launches in the minutes of the present slots, over a day from the next slot on."""
    suggested: SharedMinutes
    """The other launches in the minutes of the moved slots."""
    message: str | None
    """Why the slots cannot be moved; null if they can."""
