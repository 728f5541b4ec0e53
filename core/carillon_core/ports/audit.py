"""The audit log of changes made through the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from carillon_core.ports.objects import JSONObject


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change made through the API."""

    id: UUID
    at: datetime
    subject: str
    """The caller's name in the cluster."""
    credential: str
    """How the caller authenticated: ``token``, or ``api-key:`` and the key's name."""
    source: str
    """The peer's address."""
    user_agent: str
    request_id: str
    action: str
    """``create``, ``update``, ``delete``, ``suspend``, ``resume``, ``run``, ``retry``, ``cancel``."""
    resource: str
    """``scheduledtasks``, ``httptargets``, ``runrequests``, ``executions``."""
    namespace: str
    name: str
    before: JSONObject | None
    """UID, generation, labels and spec before the change; None if the object did not exist."""
    after: JSONObject | None
    """UID, generation, labels and spec after the change; None if the object was deleted."""


@dataclass(frozen=True, slots=True)
class AuditAuthor:
    """Who made a generation of an object."""

    uid: str
    generation: int
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which audit events to list; None means any. Newest first."""

    namespace: str | None = None
    namespaces: tuple[str, ...] = ()
    """Only events about objects in these namespaces; empty means any."""
    resource: str | None = None
    name: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    """1 to 500."""
    cursor: str | None = None
    """``next_cursor`` of the previous page."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of audit events, and the cursor of the next one if there is one."""

    items: Sequence[AuditEvent]
    next_cursor: str | None


class AuditLog(Protocol):
    """The changes made through the API, and by whom."""

    async def write(self, events: Sequence[AuditEvent]) -> None:
        """Insert events; existing ones stay unchanged."""
        ...

    async def list(self, query: AuditQuery) -> AuditPage:
        """Return a page of events by keyset on (at, id), newest first; errors as ``HistoryReader.list``'s."""
        ...

    async def authors(self, query: AuditQuery) -> Sequence[AuditAuthor]:
        """Return who made the generations of the objects in ``list``'s page, newest first, without reading the specs.

        Events that made no generation are left out: those of labels, of deletions, and those of earlier releases.
        """
        ...
