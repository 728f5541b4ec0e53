"""Prepares audit events for storage; shared by the adapters of the audit log. Pure."""

from dataclasses import replace
from datetime import UTC

from carillon_core.adapters.history_rows import MAX_LIMIT, storable_json, storable_text
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.ports import AuditAuthor, AuditEvent, AuditQuery


def storable_event(event: AuditEvent) -> AuditEvent:
    """Return the event as it is stored: time in UTC, text that Postgres accepts."""
    return replace(
        event,
        at=event.at.astimezone(UTC),
        subject=storable_text(event.subject),
        credential=storable_text(event.credential),
        source=storable_text(event.source),
        user_agent=storable_text(event.user_agent),
        request_id=storable_text(event.request_id),
        action=storable_text(event.action),
        resource=storable_text(event.resource),
        namespace=storable_text(event.namespace),
        name=storable_text(event.name),
        before=None if event.before is None else storable_json(event.before),
        after=None if event.after is None else storable_json(event.after),
    )


def check_page(query: AuditQuery) -> None:
    """Raise ``InvalidResourceError`` if the page size is out of range."""
    if not 1 <= query.limit <= MAX_LIMIT:
        raise InvalidResourceError([FieldProblem("limit", f"must be from 1 to {MAX_LIMIT} (got {query.limit})")])


def author_of(subject: str, uid: object, generation: object, before: object) -> AuditAuthor | None:
    """Return who made a generation; None if the event does not tell, or only labels changed.

    Args:
        subject: The event's.
        uid: The object's.
        generation: The object's generation after the change.
        before: The generation before.

    """
    if not isinstance(uid, str) or not isinstance(generation, int) or generation == before:
        return None
    return AuditAuthor(uid, generation, subject)
