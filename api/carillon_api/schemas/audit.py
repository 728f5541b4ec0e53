"""The audit log: query parameters and responses."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Field

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.executions import Instant
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources.base import Model

MOST_CHARACTERS = 512


class AuditEventView(Answer):
    """One change made through this API."""

    id: UUID
    """The event's ID."""
    at: AwareDatetime
    """When the change was made."""
    subject: str
    """Who made the change: the caller's user name in the cluster."""
    credential: str
    """How the caller authenticated: `token`, or `api-key:` followed by the key's name."""
    source: str
    """The IP address that the request came from."""
    user_agent: str
    """The User-Agent header of the request."""
    request_id: str
    """The request's ID: X-Request-ID of the response, request_id in the log."""
    action: str
    """What was done: create, update, delete, suspend, resume, run, retry or cancel."""
    resource: str
    """The kind of object: scheduledtasks, httptargets, runrequests or executions."""
    namespace: str
    """The object's namespace."""
    name: str
    """The object's name."""
    before: dict[str, Any] | None
    """UID, generation, labels and spec before the change, with likely secrets replaced by `***`; null if the object did
    not exist."""
    after: dict[str, Any] | None
    """UID, generation, labels and spec after the change; null if the object was deleted."""


class AuditList(Answer):
    """A page of changes, newest first."""

    items: list[AuditEventView]
    """The changes."""
    next_cursor: str | None
    """The cursor of the next page; null on the last page."""


class AuditEventsQuery(Model):
    """Which changes to list."""

    namespace: NamespaceName | None = None
    """Only changes of objects in this namespace."""
    resource: str | None = Field(default=None, min_length=1, max_length=MOST_CHARACTERS)
    """Only changes of this kind of object, such as scheduledtasks."""
    name: str | None = Field(default=None, min_length=1, max_length=MOST_CHARACTERS)
    """Only changes of objects with this name."""
    subject: str | None = Field(default=None, min_length=1, max_length=MOST_CHARACTERS)
    """Only changes by this caller, such as system:serviceaccount:team-a:ci."""
    since: Instant | None = None
    """Only changes at or after this time, such as 2027-01-01T00:00:00Z."""
    until: Instant | None = None
    """Only changes before this time."""
    limit: int = Field(default=50, ge=1, le=500)
    """The maximum number of items per page, 1 to 500."""
    cursor: str | None = Field(default=None, min_length=1, max_length=512)
    """nextCursor of the previous page."""
