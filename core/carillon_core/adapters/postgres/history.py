"""The ports ``HistoryRecorder`` and ``HistoryReader`` on Postgres; the operator and the API each create one."""

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
    tuple_,
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
from carillon_core.adapters.postgres.months import Month
from carillon_core.adapters.postgres.tables import SCHEMA_REVISION, attempts, executions, maintenance
from carillon_core.contract import REASON_TERMINATED, Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord
from carillon_core.errors import NotFoundError, UnavailableError
from carillon_core.ports import ExecutionPage, ExecutionQuery, HistorySummary

BATCH = 500
"""The number of rows per statement and transaction."""

_T = TypeVar("_T", ExecutionRecord, Closing)
# a page has hundreds of values, and calling the enumeration takes several times as long as a look-up
_CAUSES = {cause.value: cause for cause in Cause}
_STATUSES = {status.value: status for status in ExecutionStatus}

_columns = executions.c


class PostgresHistory:
    """``HistoryRecorder`` and ``HistoryReader`` over one engine; ``aclose`` closes its connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; the first call connects."""
        self._engine = engine
        # reads need no transaction, which would cost two more round trips
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")

    @classmethod
    def from_url(cls, url: str, *, pool_size: int = 5, connect_seconds: int = 5) -> "PostgresHistory":
        """Return a history with its own engine; raises ``SettingsError`` if the URL is invalid."""
        return cls(create_engine(url, pool_size=pool_size, connect_seconds=connect_seconds))

    async def aclose(self) -> None:
        """Close the engine's connections."""
        await self._engine.dispose()

    async def record(self, rows: Sequence[ExecutionRecord]) -> None:
        """Insert rows with their attempts; a row whose id, or origin, slot and cause, exists stays unchanged.

        An attempt is added to an existing row if the row is open and has no attempt of that number.

        Raises:
            ValueError: A row violates the rules of ``storable_record``; nothing was inserted.

        """
        now = datetime.now(UTC)
        # always in the same order: two writers of the same rows could deadlock otherwise
        ready = sorted((storable_record(row, now) for row in rows), key=lambda row: row.id)
        statement = insert(executions).on_conflict_do_nothing().returning(_columns.id)
        for month, batch in _batches(ready):
            async with bounded(self._engine.url), self._engine.begin() as connection:
                new = set((await connection.execute(statement, [_values(row) for row in batch])).scalars())
                await _insert_attempts(connection, month, [row for row in batch if row.attempts], new)

    async def close(self, closings: Sequence[Closing]) -> Sequence[UUID]:
        """Close executions that are still open, and their open attempts; return the ids of the closed ones.

        Raises:
            ValueError: The status of a closing is not terminal; nothing was closed.

        """
        first: dict[UUID, Closing] = {}
        for closing in closings:
            first.setdefault(closing.id, storable_closing(closing))
        closed: list[UUID] = []
        for month, batch in _batches(sorted(first.values(), key=lambda closing: closing.id)):
            async with bounded(self._engine.url), self._engine.begin() as connection:
                await connection.execute(_SHORT_WAIT)
                ids = list((await connection.execute(close_statement(month, batch))).scalars())
                # a separate statement has its own snapshot: it sees an attempt that the runner began while the first
                # statement waited for the row
                await connection.execute(_END_ATTEMPTS, {"ids": ids, "begin": month.begin, "last": month.last})
                if explanations := [closing for closing in batch if closing.explains and closing.id not in ids]:
                    await connection.execute(explain_statement(month, explanations))
            closed.extend(ids)
        return closed

    async def open_executions(self) -> Sequence[ExecutionRecord]:
        """Return the rows that are not in a terminal status, oldest slot first."""
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
                raise NotFoundError(f"execution {uid} not found")
            # with the slot, so that Postgres plans for and reads one month of attempts only
            mine = (attempts.c.execution_id == uid) & (attempts.c.slot == row.slot)
            rows = (await connection.execute(select(attempts).where(mine).order_by(attempts.c.number))).all()
        return replace(_record(row), attempts=tuple(_attempt(each) for each in rows))

    async def list(self, query: ExecutionQuery) -> ExecutionPage:
        """Return a page of executions by keyset on (slot, id), newest first."""
        check_limit(query)
        after = None if query.cursor is None else decode_cursor(query.cursor)
        if query.reason is not None and query.reason != storable_text(query.reason):
            return ExecutionPage([], None)  # no row has such text, and Postgres would refuse it
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
        """Count executions of some namespaces or of all, and report the state of the history's maintenance."""
        async with bounded(self._engine.url), self._reader.connect() as connection:
            counted = (await connection.execute(count_statement(since, namespaces))).all()
            running = (await connection.execute(running_statement(namespaces))).scalar_one()
            dead = (await connection.execute(dead_letters_statement(since, namespaces))).scalar_one()
            partitions = (await connection.execute(MONTHS)).scalar_one()
            state = (await connection.execute(_MAINTAINED)).one()
        return HistorySummary(
            since=since,
            by_status={ExecutionStatus(status): number for status, number in counted},
            running=running,
            dead_letters=dead,
            maintained_at=state.succeeded_at and state.succeeded_at.astimezone(UTC),
            maintenance_error=state.error,
            partitions=partitions,
            unpartitioned=state.left or 0,
        )

    async def ping(self) -> None:
        """Return if the database answers and its schema is at the newest migration.

        Raises:
            UnavailableError: It does not answer or has an older schema; the message says what to do.

        """
        async with bounded(self._engine.url), self._reader.connect() as connection:
            statement = sql_text("SELECT version_num FROM alembic_version")
            revision = (await connection.execute(statement)).scalar_one_or_none()
        if revision is None:
            raise UnavailableError(WHAT, f"its schema is missing: {MIGRATE}")
        # a later revision is fine: migrations only add, so that the previous version runs until it is replaced
        if revision < SCHEMA_REVISION:
            raise UnavailableError(
                WHAT,
                f"its schema is at revision {revision}, not at {SCHEMA_REVISION} or later: {MIGRATE} of this version",
            )


_MAINTAINED = select(
    maintenance.c.succeeded_at, maintenance.c.error, maintenance.c.changes["left"].as_integer().label("left")
)


def close_statement(month: Month, batch: Sequence[Closing]) -> Update:
    """Return the statement that closes a batch of one month and returns the ids of the rows that were open."""
    fields = ("id", "namespace", "slot", "status", "reason", "message", "finished_at", "pod_name")
    typed = [*(column(name, _columns[name].type) for name in fields), column("result", Text)]
    ends = values(*typed, name="ends").data(
        [
            (
                *(c.id, c.namespace, c.slot, c.status.value, c.reason, c.message, c.finished_at, c.pod_name),
                _encoded(c.result),
            )
            for c in batch
        ]
    )
    return (
        update(executions)
        .where(
            _columns.id == ends.c.id,
            _columns.namespace == ends.c.namespace,
            _columns.slot == ends.c.slot,
            # values of the statement itself, so that Postgres plans for, and locks, the partition of this month only
            _columns.slot.between(month.begin, month.last),
            is_open(),
        )
        .values(
            status=ends.c.status,
            reason=ends.c.reason,
            message=ends.c.message,
            # the message of a success is not an error
            error=case((ends.c.status == ExecutionStatus.SUCCEEDED.value, null()), else_=ends.c.message),
            pod_name=func.coalesce(_columns.pod_name, ends.c.pod_name),
            # times of pods may be whole seconds, so an end may seem to precede a start within the same second
            finished_at=func.greatest(ends.c.finished_at, _columns.started_at),
            result=func.coalesce(cast(ends.c.result, JSONB), _columns.result),
        )
        .returning(_columns.id)
    )


def explain_statement(month: Month, batch: Sequence[Closing]) -> Update:
    """Return the statement that gives reason and message to rows that their runners closed as terminated."""
    fields = ("id", "namespace", "slot", "reason", "message")
    causes = values(*[column(name, _columns[name].type) for name in fields], name="causes").data(
        [(c.id, c.namespace, c.slot, c.reason, c.message) for c in batch]
    )
    return (
        update(executions)
        .where(
            _columns.id == causes.c.id,
            _columns.namespace == causes.c.namespace,
            _columns.slot == causes.c.slot,
            _columns.slot.between(month.begin, month.last),
            _columns.status == ExecutionStatus.CANCELLED.value,
            _columns.reason == REASON_TERMINATED,
        )
        .values(reason=causes.c.reason, message=causes.c.message, error=causes.c.message)
    )


# a runner's login may hold a row for as long as it likes
_SHORT_WAIT = sql_text("SET LOCAL lock_timeout = '2s'")
_END_ATTEMPTS = (
    update(attempts)
    .where(
        attempts.c.execution_id == _columns.id,
        attempts.c.slot == _columns.slot,
        _columns.id.in_(bindparam("ids", expanding=True)),
        _columns.slot.between(bindparam("begin"), bindparam("last")),
        attempts.c.slot.between(bindparam("begin"), bindparam("last")),
        attempts.c.finished_at.is_(None),
    )
    .values(
        status=_columns.status,
        reason=_columns.reason,
        error=_columns.message,
        finished_at=func.greatest(_columns.finished_at, attempts.c.started_at),
    )
)


async def _insert_attempts(
    connection: AsyncConnection, month: Month, rows: Sequence[ExecutionRecord], new: Collection[UUID]
) -> None:
    """Insert the attempts of new rows of a month, and of its existing rows that are open."""
    old = [(row.id, row.namespace) for row in rows if row.id not in new]
    # locked: a row that is closed meanwhile must not get a running attempt
    its_month = _columns.slot.between(month.begin, month.last)
    # with the namespace: an attempt is not added to another's row on the word of a forged Job
    mine = tuple_(_columns.id, _columns.namespace).in_(old) & its_month & is_open()
    locked = select(_columns.id).where(mine).order_by(_columns.id).with_for_update()
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


def _batches(rows: Sequence[_T]) -> Iterator[tuple[Month, list[_T]]]:
    """Yield batches of rows of one month each, in their order, oldest month first."""
    months: dict[Month, list[_T]] = {}
    for row in rows:
        months.setdefault(Month.of(row.slot), []).append(row)
    for month in sorted(months):
        rest = iter(months[month])
        while batch := list(islice(rest, BATCH)):
            yield month, batch


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
    """Return a row's fields with times in UTC, independent of the session's time zone."""
    stored = dict(row._mapping)  # noqa: SLF001  # public in spite of its name: SQLAlchemy's way to a mapping
    for name in times:
        time = stored[name]
        if time is not None:
            stored[name] = time.astimezone(UTC)
    return stored
