"""What every answer has, and how an error is said."""

from pydantic import Field

from carillon_core.resources.base import Model


class Answer(Model, extra="ignore"):
    """The base of every answer: clients should expect that later releases say more."""


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
