"""Times to come, of what is stored and of what is only thought of: bodies, queries and answers."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from carillon_api.schemas.answers import Answer, Parameters, ProblemField
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources.base import Model, Time

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _written_in_full(text: Any) -> Any:
    """Refuse what pydantic would read all the same: numbers, dates without a time."""
    if isinstance(text, str) and not _RFC3339.fullmatch(text):
        hint = " (write + as %2B in a URL)" if " " in text else ""
        msg = f"is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone{hint}"
        raise ValueError(msg)
    return text


QueryTime = Annotated[Time, BeforeValidator(_written_in_full)]
"""An instant as a parameter of a query: RFC 3339."""


class UpcomingQuery(Parameters):
    """How far to look ahead."""

    count: int = Field(default=10, ge=1, le=100)
    """How many times at most, 1 to 100."""
    from_: QueryTime | None = Field(default=None, alias="from")
    """Only times at or after this (RFC 3339), at most ten years ahead; what is past is not to come any more."""
    to: QueryTime | None = None
    """Only times before this (RFC 3339), at most ten years ahead; no end if left out."""


class SelectedUpcomingQuery(UpcomingQuery):
    """Of which tasks of a namespace, and how far to look ahead."""

    label_selector: str = Field(default="", max_length=4096)
    """Only tasks of this label selector, such as app=web,tier in (a, b),!canary."""


class AllUpcomingQuery(SelectedUpcomingQuery):
    """Of which tasks, and how far to look ahead."""

    namespace: NamespaceName | None = None
    """Only tasks of this namespace; of all of them if left out."""


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
    """The next times, soonest first; fewer than asked for if no more are to come, or lie in the window."""
    reason: str | None = None
    """Why there are no times, in one word: Suspended, Completed, OutsideWindow, InvalidSpec, BeingDeleted, …"""
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


class PreviewBody(Model):
    """A spec to look at; nothing is stored."""

    spec: dict[str, Any]
    """The spec of a ScheduledTask, which may be wrong: the answer says how."""


class Preview(Answer):
    """What a spec would do if it were stored now."""

    valid: bool
    """Whether it would be accepted."""
    problems: list[ProblemField]
    """Why not: every field at fault, and the mend."""
    warnings: list[str]
    """What is allowed but may not be meant, and the next times in words: what kubectl would print."""
    time_zone: str
    """The zone of the local times: the spec's, or UTC."""
    items: list[FireTime]
    """The next times, soonest first; those of an interval count from now. Told of a suspended task too."""
