"""The ports ``HistoryRecorder`` and ``HistoryReader`` on Postgres. The operator and the API make one each."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    Row,
    Text,
    Update,
    bindparam,
    case,
    cast,
    column,
    func,
    null,
    select,
    update,
    values,
)
from sqlalchemy import text as sql_text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from carillon_core.adapters.history_rows import (
    check_limit,
    decode_cursor,
    encode_cursor,
    storable_closing,
    storable_record,
    storable_text,
)
from carillon_core.adapters.postgres.engine import MIGRATE, WHAT, bounded, create_engine
from carillon_core.adapters.postgres.listing import (
    IN_ORDER,
    MONTHS,
    count_statement,
    dead_letters_statement,
    get_statements,
    is_open,
    list_statement,
    open_statement,
    running_statement,
    windows,
)
from carillon_core.adapters.postgres.tables import SCHEMA_REVISION, attempts, executions, maintenance
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord
from carillon_core.errors import NotFoundError, UnavailableError
from carillon_core.ports import ExecutionPage, ExecutionQuery, HistorySummary

BATCH = 500
"""Rows in one statement, and in one transaction."""

_T = TypeVar("_T")
# looked up, for a page has hundreds of them and an enumeration's own call takes several times as long
_CAUSES = {cause.value: cause for cause in Cause}
_STATUSES = {status.value: status for status in ExecutionStatus}

_columns = executions.c


class PostgresHistory:
    """``HistoryRecorder`` and ``HistoryReader`` over one engine, whose connections ``aclose`` ends."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; connect at the first call."""
        self._engine = engine
        # what reads needs no transaction of its own, which would be two round trips more
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")

    @classmethod
    def from_url(cls, url: str, *, pool_size: int = 5, connect_seconds: int = 5) -> "PostgresHistory":
        """Return a history over an engine of its own; ``SettingsError`` if the URL is none."""
        return cls(create_engine(url, pool_size=pool_size, connect_seconds=connect_seconds))

    async def aclose(self) -> None:
        """End the engine's connections."""
        await self._engine.dispose()

    async def record(self, rows: Sequence[ExecutionRecord]) -> None:
        """Insert rows with their attempts; one whose id, or origin, slot and cause, is there already is left as it is.

        An attempt of a row that was there is added if the row is open and has none of that number.

        Raises:
            ValueError: A row breaks the rules of ``storable_record``; nothing was inserted.

        """
        now = datetime.now(UTC)
        # in one order whoever writes, or two that write the same rows could wait for each other
        ready = sorted((storable_record(row, now) for row in rows), key=lambda row: row.id)
        statement = insert(executions).on_conflict_do_nothing().returning(_columns.id)
        for batch in _batches(ready):
            async with bounded(self._engine.url), self._engine.begin() as connection:
                new = set((await connection.execute(statement, [_values(row) for row in batch])).scalars())
                await _insert_attempts(connection, [row for row in batch if row.attempts], new)

    async def close(self, closings: Sequence[Closing]) -> Sequence[UUID]:
        """End executions that are still open, and their open attempts; return the ids of those that were.

        Raises:
            ValueError: A closing's status is not a terminal one; nothing was closed.

        """
        first: dict[UUID, Closing] = {}
        for closing in closings:
            first.setdefault(closing.id, storable_closing(closing))
        closed: list[UUID] = []
        for batch in _batches(sorted(first.values(), key=lambda closing: closing.id)):
            async with bounded(self._engine.url), self._engine.begin() as connection:
                ids = list((await connection.execute(close_statement(batch))).scalars())
                # a statement of its own, and so with a snapshot of its own: it sees an attempt that the runner began
                # while the one before waited for the row
                await connection.execute(_END_ATTEMPTS, {"ids": ids})
            closed.extend(ids)
        return closed

    async def open_executions(self) -> Sequence[ExecutionRecord]:
        """Return the rows that are not in a terminal state, oldest slot first."""
        async with bounded(self._engine.url), self._reader.connect() as connection:
            return [_record(row) for row in await connection.execute(open_statement())]

    async def get(self, uid: UUID) -> ExecutionRecord:
        """Return an execution with its attempts, or raise ``NotFoundError``."""
        async with bounded(self._engine.url), self._reader.connect() as connection:
            for statement in get_statements(uid, datetime.now(UTC)):
                row = (await connection.execute(statement)).one_or_none()
                if row is not None:
                    break
            else:
                raise NotFoundError(f"there is no execution {uid}")
            # with the slot, so that of the attempts one month alone is planned for and looked at
            mine = (attempts.c.execution_id == uid) & (attempts.c.slot == row.slot)
            rows = (await connection.execute(select(attempts).where(mine).order_by(attempts.c.number))).all()
        return replace(_record(row), attempts=tuple(_attempt(each) for each in rows))

    async def list(self, query: ExecutionQuery) -> ExecutionPage:
        """Return a page of executions by keyset on (slot, id), newest first."""
        check_limit(query)
        after = None if query.cursor is None else decode_cursor(query.cursor)
        if query.reason is not None and query.reason != storable_text(query.reason):
            return ExecutionPage([], None)  # nobody's: no row has such text, and Postgres would refuse it
        rows: list[Row[Any]] = []
        async with bounded(self._engine.url), self._reader.connect() as connection:
            await connection.exec_driver_sql(IN_ORDER)
            for window in windows(query, after, datetime.now(UTC)):
                part = replace(window, limit=query.limit - len(rows))
                rows += (await connection.execute(*list_statement(part, after))).all()
                if len(rows) > query.limit:
                    break
        page = [_record(row) for row in rows[: query.limit]]
        more = len(rows) > query.limit
        return ExecutionPage(page, encode_cursor(page[-1].slot, page[-1].id) if more else None)

    async def summary(self, since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        """Count executions, of some namespaces or of all, and say how the history's maintenance fares."""
        async with bounded(self._engine.url), self._reader.connect() as connection:
            counted = (await connection.execute(count_statement(since, namespaces))).all()
            running = (await connection.execute(running_statement(namespaces))).scalar_one()
            dead = (await connection.execute(dead_letters_statement(since, namespaces))).scalar_one()
            partitions = (await connection.execute(MONTHS)).scalar_one()
            state = (await connection.execute(select(maintenance.c.succeeded_at, maintenance.c.error))).one()
        return HistorySummary(
            since=since,
            by_status={ExecutionStatus(status): number for status, number in counted},
            running=running,
            dead_letters=dead,
            maintained_at=state.succeeded_at and state.succeeded_at.astimezone(UTC),
            maintenance_error=state.error,
            partitions=partitions,
        )

    async def ping(self) -> None:
        """Return if the database answers and its schema is at the newest migration.

        Raises:
            UnavailableError: It is not, or it does not answer; the message names the mend.

        """
        async with bounded(self._engine.url), self._reader.connect() as connection:
            statement = sql_text("SELECT version_num FROM alembic_version")
            revision = (await connection.execute(statement)).scalar_one_or_none()
        if revision is None:
            raise UnavailableError(WHAT, f"its schema is not there: {MIGRATE}")
        # a later one is fine: migrations only add, so that what ran before goes on until it is replaced
        if revision < SCHEMA_REVISION:
            raise UnavailableError(
                WHAT,
                f"its schema is at revision {revision} and this program wants {SCHEMA_REVISION}: "
                f"{MIGRATE} of this program's version",
            )


def close_statement(batch: Sequence[Closing]) -> Update:
    """Return the one statement that closes a batch and returns the ids of the rows that were open."""
    fields = ("id", "namespace", "status", "reason", "message", "finished_at")
    typed = [*(column(name, _columns[name].type) for name in fields), column("result", Text)]
    ends = values(*typed, name="ends").data(
        [(c.id, c.namespace, c.status.value, c.reason, c.message, c.finished_at, _encoded(c.result)) for c in batch]
    )
    return (
        update(executions)
        .where(_columns.id == ends.c.id, _columns.namespace == ends.c.namespace, is_open())
        .values(
            status=ends.c.status,
            reason=ends.c.reason,
            message=ends.c.message,
            # what a success says is no error
            error=case((ends.c.status == ExecutionStatus.SUCCEEDED.value, null()), else_=ends.c.message),
            # pods' times are whole seconds: what ended within the second it began in did not end before it
            finished_at=func.greatest(ends.c.finished_at, _columns.started_at),
            result=func.coalesce(cast(ends.c.result, JSONB), _columns.result),
        )
        .returning(_columns.id)
    )


_END_ATTEMPTS = (
    update(attempts)
    .where(
        attempts.c.execution_id == _columns.id,
        attempts.c.slot == _columns.slot,
        _columns.id.in_(bindparam("ids", expanding=True)),
        attempts.c.finished_at.is_(None),
    )
    .values(
        status=_columns.status,
        reason=_columns.reason,
        error=_columns.message,
        finished_at=func.greatest(_columns.finished_at, attempts.c.started_at),
    )
)


async def _insert_attempts(connection: AsyncConnection, rows: Sequence[ExecutionRecord], new: Collection[UUID]) -> None:
    """Insert the attempts of rows that are new, and of those that were there and are open."""
    old = [row.id for row in rows if row.id not in new]
    # locked: one that ends meanwhile must not be left with an attempt that runs
    locked = select(_columns.id).where(_columns.id.in_(old), is_open()).order_by(_columns.id).with_for_update()
    takers = {*new, *((await connection.execute(locked)).scalars() if old else ())}
    tries = [
        {**_own_fields(attempt), "execution_id": row.id, "slot": row.slot}
        for row in rows
        if row.id in takers
        for attempt in row.attempts
    ]
    if tries:
        await connection.execute(insert(attempts).on_conflict_do_nothing(), tries)


def _encoded(result: dict[str, Any] | None) -> str | None:
    return None if result is None else json.dumps(result)


def _batches(rows: Sequence[_T]) -> Iterator[list[_T]]:
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _values(record: ExecutionRecord) -> dict[str, Any]:
    row = _own_fields(record)
    del row["attempts"]
    return {**row, "task_uid": UUID(record.task_uid), "origin": UUID(record.origin or record.task_uid)}


def _own_fields(record: ExecutionRecord | Attempt) -> dict[str, Any]:
    return {each.name: getattr(record, each.name) for each in fields(record)}


def _record(row: Row[Any]) -> ExecutionRecord:
    stored = _in_utc(row, "slot", "first_slot", "created_at", "started_at", "finished_at")
    task_uid, origin = str(stored["task_uid"]), str(stored["origin"])
    stored["task_uid"] = task_uid
    stored["origin"] = None if origin == task_uid else origin
    stored["cause"] = _CAUSES[stored["cause"]]
    stored["status"] = _STATUSES[stored["status"]]
    return ExecutionRecord(**stored)


def _attempt(row: Row[Any]) -> Attempt:
    stored = _in_utc(row, "started_at", "finished_at")
    del stored["execution_id"], stored["slot"]
    stored["status"] = _STATUSES[stored["status"]]
    return Attempt(**stored)


def _in_utc(row: Row[Any], *times: str) -> dict[str, Any]:
    """Return a row's fields, to keep; the session's time zone is the server's affair, ours is UTC."""
    stored = dict(row._mapping)  # noqa: SLF001  # public in spite of its name: SQLAlchemy's way to a mapping
    for name in times:
        time = stored[name]
        if time is not None:
            stored[name] = time.astimezone(UTC)
    return stored
