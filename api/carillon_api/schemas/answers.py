"""Models that the responses share: the base models, objects, pages, statuses and problems."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from carillon_core.contract import ExecutionStatus
from carillon_core.resources.base import Model, Time


class Answer(Model, extra="ignore"):
    """The base of every response. Clients must ignore unknown fields: later releases add some."""


class Parameters(Model, validate_by_name=False):
    """The base of query parameters: each has exactly one name, the documented one."""


class Status(StrEnum):
    """The status of an execution."""

    RUNNING = ExecutionStatus.RUNNING.word
    SUCCEEDED = ExecutionStatus.SUCCEEDED.word
    FAILED = ExecutionStatus.FAILED.word
    TIMED_OUT = ExecutionStatus.TIMED_OUT.word
    CANCELLED = ExecutionStatus.CANCELLED.word
    SKIPPED = ExecutionStatus.SKIPPED.word
    """A gate stopped it."""
    MISSED = ExecutionStatus.MISSED.word
    """Nothing could launch it in time."""


def _status(given: Any) -> ExecutionStatus:
    if isinstance(given, ExecutionStatus):
        return given
    try:
        return ExecutionStatus[Status(given).name]
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Status)}") from None


StatusField = Annotated[
    ExecutionStatus,
    BeforeValidator(_status, json_schema_input_type=Status),
    PlainSerializer(lambda status: Status[status.name], return_type=Status),
]
"""Rows spell it as Postgres does (``timed_out``), everything that people see as resources do (``TimedOut``)."""


class ObjectView(Answer):
    """The fields that every object of the cluster has in REST."""

    name: str
    """The object's name."""
    namespace: str
    """The object's namespace."""
    uid: str
    """The object's UID: a later object with the same name has a different one."""
    resource_version: str
    """Changes with every write. The ETag is the same value in quotes."""
    generation: int
    """Increases with every change of the spec."""
    created_at: Time | None
    """When the object was created."""
    labels: dict[str, str]
    """The object's labels."""


class Page(Answer):
    """One page of a list. With filters, a page can have fewer items than limit, even none, and not be the last."""

    next_cursor: str | None
    """The cursor of the next page, to be sent with the same filters. Null on the last page only."""


class ObjectFilters(Parameters):
    """Which objects to select."""

    label_selector: str = Field(default="", max_length=4096)
    """A label selector, such as `app=web,tier in (a, b),!canary`."""
    name_prefix: str | None = Field(default=None, min_length=1, max_length=253)
    """Only objects whose names start with this prefix."""


class PageQuery(ObjectFilters):
    """Which objects to list, and how many per page."""

    limit: int = Field(default=100, ge=1, le=500)
    """The maximum number of items per page, 1 to 500."""
    cursor: str | None = Field(default=None, min_length=1, max_length=2048)
    """nextCursor of the previous page. It expires after some minutes (410), and is valid with the same filters only."""


class Check(Answer):
    """Whether one dependency of the API is available."""

    name: str
    """The dependency: database or API server."""
    ok: bool
    """Whether it responded."""
    why: str | None = None
    """Why it counts as unavailable."""


class ProblemField(Answer):
    """One invalid field."""

    field: str
    """The field's path, such as spec.schedule, or the parameter's name."""
    message: str
    """What is wrong and how to fix it."""


class UserOfTarget(Answer):
    """An object that uses a target."""

    kind: Literal["ScheduledTask", "RunRequest"]
    """The object's kind."""
    name: str
    """The object's name. Its namespace is the target's."""


class Problem(Answer):
    """An error (RFC 9457)."""

    type: str
    """The type of problem: a URN that never changes."""
    title: str
    """The type of problem in words."""
    status: int
    """The HTTP status code."""
    detail: str
    """What happened, in one sentence."""
    instance: str
    """The path of the request."""
    request_id: str
    """The request's ID: X-Request-ID of the response, request_id in the log."""
    errors: list[ProblemField] = Field(default_factory=list)
    """The invalid fields."""
    checks: list[Check] | None = None
    """Only from /readyz: which dependencies are available."""
    users: list[UserOfTarget] | None = None
    """Only when a target is in use: the first 100 objects that use it and that the caller may list."""
    deleted: list[UserOfTarget] | None = None
    """Only from a cascading deletion that failed midway: what it has deleted."""
    matched: int | None = None
    """Only if a bulk call expected another number of matches: how many objects match."""
