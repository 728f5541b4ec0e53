"""What every answer has, how objects and pages of them are asked for and shown, and how an error is said."""

from typing import Literal

from pydantic import Field

from carillon_core.resources.base import Model, Time


class Answer(Model, extra="ignore"):
    """The base of every answer: clients should expect that later releases say more."""


class Parameters(Model, validate_by_name=False):
    """The base of every query: a parameter has one name, the documented one."""


class ObjectView(Answer):
    """What REST shows of every object of the cluster."""

    name: str
    """Its name."""
    namespace: str
    """Its namespace."""
    uid: str
    """Its identity; another object of the same name has another."""
    resource_version: str
    """Changes with every write; the ETag without its quotes."""
    generation: int
    """Grows with every change of the spec."""
    created_at: Time | None
    """When it was created."""
    labels: dict[str, str]
    """Its labels."""


class Page(Answer):
    """A page of a list. Filters may leave a page with fewer items than limit, even with none, and more to come."""

    next_cursor: str | None
    """Pass it as cursor, with the same filters, for the next page; null on the last one and only there."""


class PageQuery(Parameters):
    """Which objects to list, and how many at a time."""

    label_selector: str = Field(default="", max_length=4096)
    """A label selector, such as app=web,tier in (a, b),!canary."""
    name_prefix: str | None = Field(default=None, min_length=1, max_length=253)
    """Only those whose names begin so."""
    limit: int = Field(default=100, ge=1, le=500)
    """How many at most, 1 to 500."""
    cursor: str | None = Field(default=None, min_length=1, max_length=2048)
    """nextCursor of the page before; it leads on for some minutes (410 then), and only with the same filters."""


class Check(Answer):
    """Whether one thing that the facade needs is there."""

    name: str
    """What was asked: database, or API server."""
    ok: bool
    """Whether it answered."""
    why: str | None = None
    """Why it counts as missing."""


class ProblemField(Answer):
    """One field at fault."""

    field: str
    """The field's path, such as spec.schedule, or the parameter's name."""
    message: str
    """What is wrong, and the mend."""


class UserOfTarget(Answer):
    """An object that names a target."""

    kind: Literal["ScheduledTask", "RunRequest"]
    """What it is."""
    name: str
    """Its name; its namespace is the target's."""


class Problem(Answer):
    """An error (RFC 9457)."""

    type: str
    """The kind of problem, a URN that never changes."""
    title: str
    """The kind of problem in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened, in a sentence."""
    instance: str
    """The path that was asked for."""
    request_id: str
    """The request's id: X-Request-ID of the answer, request_id in the log."""
    errors: list[ProblemField] = Field(default_factory=list)
    """The fields at fault."""
    checks: list[Check] | None = None
    """Only of /readyz: what is there and what is missing."""
    users: list[UserOfTarget] | None = None
    """Only of a target's deletion: what still uses it, the first hundred, as far as the caller may list it."""
    deleted: list[UserOfTarget] | None = None
    """Only of a cascade that stopped half way: what it has deleted."""
