"""The audit log in memory, for tests; it meets the same contract as the one in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from carillon_core.adapters.audit_rows import author_of, check_page, storable_event
from carillon_core.adapters.history_rows import decode_cursor, encode_cursor
from carillon_core.errors import UnavailableError
from carillon_core.ports import AuditAuthor, AuditEvent, AuditPage, AuditQuery


class MemoryAuditLog:
    """``AuditLog`` over a dictionary.

    Attributes:
        events: The events by id, as stored.
        outage: While it is set, every call raises ``UnavailableError`` with it.

    """

    def __init__(self) -> None:
        """Begin with no events."""
        self.events: dict[UUID, AuditEvent] = {}
        self.outage: str | None = None

    async def write(self, events: Sequence[AuditEvent]) -> None:
        """Insert events; existing events stay unchanged."""
        self._check_outage()
        for event in map(storable_event, events):
            self.events.setdefault(event.id, event)

    async def list(self, query: AuditQuery) -> AuditPage:
        """Return a page of events, newest first."""
        self._check_outage()
        check_page(query)
        found = sorted((e for e in self.events.values() if _matches(e, query)), key=_order, reverse=True)
        if query.cursor is not None:
            after = decode_cursor(query.cursor)
            found = [e for e in found if _order(e) < after]
        page = found[: query.limit]
        return AuditPage(page, encode_cursor(*_order(page[-1])) if len(found) > query.limit else None)

    async def authors(self, query: AuditQuery) -> Sequence[AuditAuthor]:
        """Return who made the generations of the objects in a page, newest first."""
        events = (await self.list(query)).items
        found = []
        for event in events:
            after, before = event.after or {}, event.before or {}
            found.append(author_of(event.subject, after.get("uid"), after.get("generation"), before.get("generation")))
        return [author for author in found if author is not None]

    def _check_outage(self) -> None:
        if self.outage is not None:
            raise UnavailableError("database", self.outage)


def _order(event: AuditEvent) -> tuple[datetime, UUID]:
    return event.at, event.id


def _matches(event: AuditEvent, query: AuditQuery) -> bool:
    return (
        query.namespace in {None, event.namespace}
        and (not query.namespaces or event.namespace in query.namespaces)
        and query.resource in {None, event.resource}
        and query.name in {None, event.name}
        and query.subject in {None, event.subject}
        and (query.since is None or event.at >= query.since)
        and (query.until is None or event.at < query.until)
    )
