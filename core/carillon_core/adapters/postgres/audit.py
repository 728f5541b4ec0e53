"""The port ``AuditLog`` on Postgres; the API creates one."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.audit_rows import author_of, check_page, storable_event
from carillon_core.adapters.history_rows import decode_cursor, encode_cursor
from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.tables import audit_events
from carillon_core.ports import AuditAuthor, AuditEvent, AuditPage, AuditQuery

_columns = audit_events.c


class PostgresAuditLog:
    """``AuditLog`` over one engine; ``aclose`` closes its connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; the first call connects."""
        self._engine = engine

    @classmethod
    def from_url(cls, url: str, *, pool_size: int = 2, connect_seconds: int = 5) -> "PostgresAuditLog":
        """Return a log with its own engine; raises ``SettingsError`` if the URL is invalid."""
        return cls(create_engine(url, pool_size=pool_size, connect_seconds=connect_seconds))

    async def aclose(self) -> None:
        """Close the engine's connections."""
        await self._engine.dispose()

    async def write(self, events: Sequence[AuditEvent]) -> None:
        """Insert events; an event that exists stays unchanged."""
        if not events:
            return
        # always in the same order: two writers of the same events could deadlock otherwise
        rows = [asdict(event) for event in sorted(map(storable_event, events), key=lambda event: event.id)]
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(insert(audit_events).on_conflict_do_nothing(), rows)

    async def list(self, query: AuditQuery) -> AuditPage:
        """Return a page of events by keyset on (at, id), newest first."""
        check_page(query)
        after = None if query.cursor is None else decode_cursor(query.cursor)
        async with bounded(self._engine.url), self._engine.connect() as connection:
            rows = (await connection.execute(page_statement(query, after))).all()
        page = [_event(row) for row in rows[: query.limit]]
        more = len(rows) > query.limit
        return AuditPage(page, encode_cursor(page[-1].at, page[-1].id) if more else None)

    async def authors(self, query: AuditQuery) -> Sequence[AuditAuthor]:
        """Return who made the generations of the objects in a page, newest first."""
        check_page(query)
        after = None if query.cursor is None else decode_cursor(query.cursor)
        told = _columns.after["uid"], _columns.after["generation"], _columns.before["generation"]
        wanted = page_statement(query, after).with_only_columns(_columns.subject, *told).limit(query.limit)
        async with bounded(self._engine.url), self._engine.connect() as connection:
            rows = (await connection.execute(wanted)).all()
        found = (author_of(*row) for row in rows)
        return [author for author in found if author is not None]


def page_statement(query: AuditQuery, after: tuple[datetime, UUID] | None) -> Select[Any]:
    """Return the query of a page, with one more row to tell whether another page follows."""
    statement = select(audit_events).order_by(_columns.at.desc(), _columns.id.desc()).limit(query.limit + 1)
    for name in ("namespace", "resource", "name", "subject"):
        wanted = getattr(query, name)
        if wanted is not None:
            # no row contains NUL, and Postgres refuses to search for it
            statement = statement.where(_columns[name] == wanted if "\0" not in wanted else _columns.id.is_(None))
    if query.namespaces:
        statement = statement.where(_columns.namespace.in_(query.namespaces))
    if query.since is not None:
        statement = statement.where(_columns.at >= query.since)
    if query.until is not None:
        statement = statement.where(_columns.at < query.until)
    if after is not None:
        # a row comparison: Postgres does not use the index for "at < … or (at = … and id < …)"
        statement = statement.where(tuple_(_columns.at, _columns.id) < tuple_(*after))
    return statement


def _event(row: Row[Any]) -> AuditEvent:
    stored = dict(row._mapping)  # noqa: SLF001  # public in spite of its name: SQLAlchemy's way to a mapping
    return AuditEvent(**{**stored, "at": stored["at"].astimezone(UTC)})
