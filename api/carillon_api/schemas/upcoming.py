"""Upcoming runs, of stored tasks and of previewed specs: bodies, query parameters and responses."""

from typing import Any

from pydantic import Field

from carillon_api.schemas.answers import Answer, Parameters, ProblemField
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources.base import Model, Time


class UpcomingQuery(Parameters):
    """How far to look ahead."""

    count: int = Field(default=10, ge=1, le=100)
    """The maximum number of times to return, 1 to 100."""
    from_: Time | None = Field(default=None, alias="from")
    """Only times at or after this one (RFC 3339), at most ten years ahead. Past times are never returned."""
    to: Time | None = None
    """Only times before this one (RFC 3339), at most ten years ahead. Default: no end."""


class SelectedUpcomingQuery(UpcomingQuery):
    """Which tasks of a namespace, and how far to look ahead."""

    label_selector: str = Field(default="", max_length=4096)
    """Only tasks that this label selector matches, such as `app=web,tier in (a, b),!canary`."""
    each: bool = False
    """Return one time per task, and the reason for tasks that cannot run. count does not apply; at most 2,000 tasks."""


class AllUpcomingQuery(SelectedUpcomingQuery):
    """Which tasks, and how far to look ahead."""

    namespace: NamespaceName | None = None
    """Only tasks in this namespace. Default: all namespaces."""


class FireTime(Answer):
    """A time at which the task runs."""

    time: Time
    """The time in UTC."""
    local_time: str
    """The same time in the task's time zone, with its UTC offset."""


class Upcoming(Answer):
    """When a task runs next."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    time_zone: str
    """The time zone of the local times: the spec's, or UTC."""
    items: list[FireTime]
    """The next times, earliest first; fewer than count if there are no more, or no more within the window."""
    reason: str | None = None
    """Why there are no times, in one word, such as Suspended, Completed, OutsideWindow, InvalidSpec or BeingDeleted."""
    message: str | None = None
    """The reason as a sentence."""


class TaskFireTime(FireTime):
    """A time at which one of the tasks runs."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    time_zone: str
    """The time zone of the local time: the spec's, or UTC."""


class BlockedTask(Answer):
    """A task that has no next time in the window, or cannot run at present."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    time: Time | None
    """The next slot in UTC. It runs only if the reason no longer applies by then. Null if there is none."""
    reason: str
    """Why, in one word, such as Suspended, Completed, OutsideWindow, InvalidSpec, TargetNotFound or CircuitOpen."""
    message: str
    """The reason as a sentence."""


class UpcomingAll(Answer):
    """The next runs of several tasks."""

    items: list[TaskFireTime]
    """The next times, earliest first."""
    blocked: list[BlockedTask] = Field(default_factory=list)
    """With each=true, the tasks that cannot run or have no time in the window, ordered by namespace and name. They are
    not in items, even if they have a time."""
    tasks: int | None = None
    """With each=true, the number of tasks, including those beyond the first 2,000."""


class PreviewBody(Model):
    """A spec to preview. Nothing is stored."""

    spec: dict[str, Any]
    """The spec of a ScheduledTask. If it is invalid, the response lists the problems."""


class Preview(Answer):
    """What a spec would do if it were stored now."""

    valid: bool
    """Whether the spec would be accepted."""
    problems: list[ProblemField]
    """The invalid fields, and how to fix them."""
    warnings: list[str]
    """What is allowed but may be unintended, and the next times in words: the same warnings that kubectl prints."""
    schedule_in_words: str | None
    """When the task would run, in English. Null if the schedule is invalid."""
    time_zone: str
    """The time zone of the local times: the spec's, or UTC."""
    items: list[FireTime]
    """The next times, earliest first, even if the task is suspended. An interval counts from now."""
