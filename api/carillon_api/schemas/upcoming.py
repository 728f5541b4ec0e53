"""Times to come: queries and answers."""

from pydantic import Field

from carillon_api.schemas.answers import Answer
from carillon_core.resources.base import Model, Time


class UpcomingQuery(Model):
    """How far to look ahead."""

    count: int = Field(default=10, ge=1, le=100)
    """How many times at most, 1 to 100."""


class FireTime(Answer):
    """A time at which a task will run."""

    time: Time
    """The instant in UTC."""
    local_time: str
    """The same instant on the clock of the task's time zone, with its offset."""


class Upcoming(Answer):
    """When a task will run next."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    time_zone: str
    """The zone of the local times: the spec's, or UTC."""
    items: list[FireTime]
    """The next times, soonest first; fewer than asked for if no more are to come."""
    reason: str | None = None
    """Why there are no times, in one word: Suspended, Completed, InvalidSpec, BeingDeleted, …"""
    message: str | None = None
    """The reason as a sentence."""


class TaskFireTime(FireTime):
    """A time at which some task will run."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    time_zone: str
    """The zone of the local time: the spec's, or UTC."""


class UpcomingAll(Answer):
    """What will run next, of all tasks."""

    items: list[TaskFireTime]
    """The next times, soonest first."""
