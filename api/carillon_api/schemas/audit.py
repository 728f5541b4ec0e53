"""The audit: queries and answers."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Field

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.executions import Instant
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources.base import Model

MOST_CHARACTERS = 512


class AuditEventView(Answer):
    """One change that somebody made through the facade."""

    id: UUID
    """The event's id."""
    at: AwareDatetime
    """When it was made."""
    subject: str
    """Who made it: the caller's name in the cluster."""
    credential: str
    """How the caller showed who it is: token, or api-key: and the key's name."""
    source: str
    """The address that the request came from."""
    user_agent: str
    """The program that sent it, as it calls itself."""
    request_id: str
    """X-Request-ID of the answer, request_id in the log."""
    action: str
    """What was done: create, update, delete, suspend, resume, run, retry or cancel."""
    resource: str
    """Of which kind: scheduledtasks, httptargets, runrequests or executions."""
    namespace: str
    """The object's namespace."""
    name: str
    """The object's name."""
    before: dict[str, Any] | None
    """Labels and spec before, values that smell of a secret as ***; null if there was nothing."""
    after: dict[str, Any] | None
    """Labels and spec since; null if there is nothing any more."""


class AuditList(Answer):
    """A page of changes, newest first."""

    items: list[AuditEventView]
    """The changes."""
    next_cursor: str | None
    """Pass it as cursor for the next page; null on the last one."""


class AuditEventsQuery(Model):
    """Which changes to list."""

    namespace: NamespaceName | None = None
    """Only of objects in this namespace."""
    resource: str | None = Field(default=None, min_length=1, max_length=MOST_CHARACTERS)
    """Only of this kind, such as scheduledtasks."""
    name: str | None = Field(default=None, min_length=1, max_length=MOST_CHARACTERS)
    """Only of objects of this name."""
    subject: str | None = Field(default=None, min_length=1, max_length=MOST_CHARACTERS)
    """Only by this caller, such as system:serviceaccount:team-a:ci."""
    since: Instant | None = None
    """Only at this time or later, such as 2027-01-01T00:00:00Z."""
    until: Instant | None = None
    """Only before this time."""
    limit: int = Field(default=50, ge=1, le=500)
    """How many at most, 1 to 500."""
    cursor: str | None = Field(default=None, min_length=1, max_length=512)
    """nextCursor of the page before."""
