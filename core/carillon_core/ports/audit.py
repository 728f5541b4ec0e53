"""The audit log of changes made through the API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from carillon_core.ports.objects import JSONObject


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change that somebody made through the facade."""

    id: UUID
    at: datetime
    subject: str
    """Who: the name of the caller as the cluster knows it."""
    credential: str
    """How the caller showed who it is: ``token``, or ``api-key:`` and the key's name."""
    source: str
    """From where: the peer's address."""
    user_agent: str
    request_id: str
    action: str
    """What: ``create``, ``update``, ``delete``, ``suspend``, ``resume``, ``run``, ``retry``, ``cancel``."""
    resource: str
    """Of which kind: ``scheduledtasks``, ``httptargets``, ``runrequests``, ``executions``."""
    namespace: str
    name: str
    before: JSONObject | None
    """The spec and labels before; None if there was nothing."""
    after: JSONObject | None
    """The spec and labels since; None if there is nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Which audit events to list; None means any. Newest first."""

    namespace: str | None = None
    namespaces: tuple[str, ...] = ()
    """Only of objects in these namespaces; empty means in any."""
    resource: str | None = None
    name: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    """1 to 500."""
    cursor: str | None = None
    """``next_cursor`` of the page before."""


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of audit events, and the cursor of the next one if there is one."""

    items: Sequence[AuditEvent]
    next_cursor: str | None


class AuditLog(Protocol):
    """What was changed through the facade, and by whom."""

    async def write(self, events: Sequence[AuditEvent]) -> None:
        """Insert events; one that is there already is left as it is."""
        ...

    async def list(self, query: AuditQuery) -> AuditPage:
        """Return a page of events by keyset on (at, id), newest first; errors as ``HistoryReader.list``'s."""
        ...
