"""Maintains the history's partitions: creates those of coming months, drops old ones, and deletes expired rows.

Only months within the retention, and at most ``MOST_MONTHS_BEHIND``, get a
partition: rows of other slots stay in the default one, so that requests for runs at
odd times make no partitions.

``carillon-migrate`` and the operator each create a ``Maintenance``. Every step
is idempotent: two runs at the same time wait for each other, but for the index
of the changes, which only one of them builds; a run that was interrupted is
completed by the next one. Writers are not blocked: the
maintenance gives up a lock that it does not get within ``LOCK_SECONDS``, and
tries again later.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import psycopg.errors
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from carillon_core.adapters.postgres.changes import index
from carillon_core.adapters.postgres.engine import LOCK, bounded, create_engine
from carillon_core.adapters.postgres.months import Month
from carillon_core.adapters.postgres.tables import maintenance
from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger
from carillon_core.settings import RETENTION_DAYS

MONTHS_AHEAD = 3
MONTHS_BEHIND = 1
MOST_MONTHS_BEHIND = 36
"""How many months ago the oldest month may be for which a partition is still made, however long the retention is: rows
of older slots stay in the default partition. Each partition costs every statement that does not name a month a dozen
locks, of which Postgres has a few thousand."""
LOCK_SECONDS = 0.5
"""How long the maintenance waits for a lock on a whole table, and so blocks those who queue behind it. Less than
Postgres' ``deadlock_timeout`` of one second: in a deadlock the maintenance gives up, never a writer."""
TRIES = 10
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 3.0
STEP_SECONDS = 300
"""The time limit of a step; the longest one moves the rows of a month."""
ENDED_LATELY = timedelta(days=1)
"""An execution that ended within this time is kept, however old its slot: a Job that has just lost its pod learns from
the row that nothing is left to run."""
BATCH = 5_000
"""The number of rows that are deleted in one transaction."""

# both in the order of writers and readers
_ALONE_IN_DEFAULT = "LOCK TABLE executions_default, attempts_default IN ACCESS EXCLUSIVE MODE"
# Rows move, and partitions are dropped, only while no statement is planned: a statement that was planned for the
# default partition would look for the row where it no longer is, and the end of an execution would be lost.
_ALONE = "LOCK TABLE ONLY executions, ONLY attempts, executions_default, attempts_default IN ACCESS EXCLUSIVE MODE"
_NEEDED = "status = 'running' OR finished_at >= :lately"

_T = TypeVar("_T")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Expiring:
    """A table whose rows expire some time after the time in a column, which needs an index."""

    table: str
    column: str
    after: timedelta | None = None
    """None: the retention of the history."""


EXPIRING = (
    Expiring("audit_events", "at"),
    # an existing task's current revision is renewed, and stays
    Expiring("task_revisions", "last_seen_at"),
    # the column is the time at which the row expires
    Expiring("idempotency_keys", "expires_at", timedelta(0)),
)
"""The other tables whose rows the maintenance deletes."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one run of the maintenance did. Months are written as in a partition's name, ``2026_11``."""

    created: tuple[str, ...] = ()
    """Months that got a partition."""
    dropped: tuple[str, ...] = ()
    """Months whose partition was dropped with its executions."""
    kept: tuple[str, ...] = ()
    """Expired months that are kept for now because executions run or have just ended."""
    moved: int = 0
    """Executions that were moved from the default partition to that of their month."""
    left: int = 0
    """Executions that stay in the default partition, because no partition is made for their month."""
    deleted: Mapping[str, int] = field(default_factory=dict)
    """The number of rows that were deleted, by table."""


class Maintenance:
    """One database's maintenance."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Callable[[], datetime],
        retention_days: int = RETENTION_DAYS,
        expiring: Sequence[Expiring] = EXPIRING,
    ) -> None:
        """Connect to nothing yet.

        Args:
            engine: The database; its role must own the tables.
            clock: Returns the current time.
            retention_days: Months that ended more than this many days ago are dropped; 0 keeps everything.
            expiring: Other tables whose rows expire.

        """
        self._engine = engine
        self._clock = clock
        self._retention = timedelta(days=retention_days) if retention_days else None
        self._expiring = expiring

    async def run(self) -> Changes:
        """Do everything that is due, and record the result or the failure in the table ``maintenance`` and in the log.

        Raises:
            UnavailableError: The database is unavailable, or a lock was never free; the steps until then are kept.

        """
        began = time.monotonic()
        now = self._clock()
        try:
            changes = await self._run(now)
        except Exception as error:
            await self._note_failure(now, str(error))
            raise
        seconds = round(time.monotonic() - began, 3)
        noted = {"changes": asdict(changes), "seconds": seconds, "succeeded_at": now, "tried_at": now, "error": None}
        await self._note(noted)
        log.info("history maintained", **asdict(changes), seconds=seconds)
        return changes

    async def _run(self, now: datetime) -> Changes:
        """Create, move, drop and delete, in this order: rows of an expired month need not move first."""
        this = Month.of(now)
        cutoff = now - self._retention if self._retention else None
        # the last month to drop is the one before the cutoff's month
        oldest = Month.of(cutoff) if cutoff else Month(0, 1)
        lately = now - ENDED_LATELY
        deleted = await self._step(partial(_delete_strays, oldest=oldest, lately=lately))
        changes = Changes(deleted={"executions": deleted} if deleted else {})
        ahead = {this.after(step) for step in range(-MONTHS_BEHIND, MONTHS_AHEAD + 1)}
        earliest = max(oldest, this.after(-MOST_MONTHS_BEHIND))
        strays = {month for month in await self._step(_stray_months) if earliest <= month <= max(ahead)}
        for month in sorted(ahead | strays):
            moved = await self._step(partial(_create, month=month))
            if moved is not None:
                changes = replace(changes, created=(*changes.created, month.suffix), moved=changes.moved + moved)
        dropped, kept = await self._drop_before(oldest, lately)
        changes = replace(changes, dropped=dropped, kept=kept, left=await self._step(_count_strays))
        for each in self._expiring:
            before = cutoff if each.after is None else now - each.after
            if before is not None and (expired := await self._expire(each, before)):
                changes = replace(changes, deleted={**changes.deleted, each.table: expired})
        if changes.created or changes.dropped:
            await self._step(_analyze)
        await self._complete_index()  # last, because it waits for other transactions
        return changes

    async def _complete_index(self) -> None:
        """Build what the index of the changes lacks, for a bounded time; the next run goes on."""
        began = time.monotonic()
        for partition in await self._step(index.unindexed):
            if time.monotonic() - began > index.BUILD_SECONDS or not await index.build(self._engine, partition):
                return
            await self._step(partial(index.attach, partition=partition))

    async def _drop_before(self, oldest: Month, lately: datetime) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Drop the months before ``oldest``; return those dropped, and those kept because they are needed."""
        outcomes: dict[str, bool | None] = {}
        for month in await self._step(_months):
            if month < oldest:
                outcomes[month.suffix] = await self._step(partial(_drop, month=month, lately=lately))
        dropped = tuple(name for name, gone in outcomes.items() if gone)
        return dropped, tuple(name for name, gone in outcomes.items() if gone is False)

    async def _expire(self, what: Expiring, before: datetime) -> int:
        """Delete expired rows in small transactions; return their number."""
        statement = text(
            f"DELETE FROM {what.table} WHERE ctid = ANY (ARRAY("  # noqa: S608  # names of ours
            f"SELECT ctid FROM {what.table} WHERE {what.column} < :before ORDER BY {what.column} LIMIT {BATCH}))"
            # repeated for a row that was prolonged meanwhile: Postgres rechecks it, and minor releases before November
            # 2025 do so without the ctid
            f" AND {what.column} < :before"
        )

        async def delete(connection: AsyncConnection) -> int:
            return (await connection.execute(statement, {"before": before})).rowcount

        gone = 0
        while (batch := await self._step(delete)) > 0:
            gone += batch
        return gone

    async def _step(self, work: Callable[[AsyncConnection], Coroutine[None, None, _T]]) -> _T:
        """Do one step in its own transaction; retry while a lock is not free."""
        pause = FIRST_PAUSE_SECONDS
        for _ in range(TRIES - 1):
            try:
                return await self._transact(work)
            except UnavailableError as error:
                if not _was_locked_out(error):
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)
        return await self._transact(work)

    async def _transact(self, work: Callable[[AsyncConnection], Coroutine[None, None, _T]]) -> _T:
        async with bounded(self._engine.url, STEP_SECONDS), self._engine.begin() as connection:
            await connection.execute(text(f"SET LOCAL lock_timeout = {int(LOCK_SECONDS * 1000)}"))
            # the lock of migrations: no migration and no other maintenance runs meanwhile
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            return await work(connection)

    async def _note(self, values: Mapping[str, Any]) -> None:
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(update(maintenance).values(**values))

    async def _note_failure(self, now: datetime, why: str) -> None:
        log.warning("history maintenance failed", why=why)
        try:
            await self._note({"tried_at": now, "error": why})
        except UnavailableError as error:
            log.warning("could not record the failure of the history maintenance", why=str(error))


async def maintain(url: str, clock: Callable[[], datetime], retention_days: int) -> Changes:
    """Run the maintenance once with its own connection; raises what ``Maintenance.run`` raises.

    Raises:
        SettingsError: The URL is invalid.

    """
    engine = create_engine(url, pool_size=1)
    try:
        return await Maintenance(engine, clock, retention_days).run()
    finally:
        await engine.dispose()


def _was_locked_out(error: UnavailableError) -> bool:
    cause = error.__cause__
    locked = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
    return isinstance(cause, DBAPIError) and isinstance(cause.orig, locked)


async def _months(connection: AsyncConnection) -> list[Month]:
    """Return the months that have a partition, oldest first."""
    rows = await connection.execute(
        text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'executions'::regclass AND relname <> 'executions_default'"
        )
    )
    parts = [name.rsplit("_", 2)[1:] for name in rows.scalars()]
    return sorted(Month(int(year), int(month)) for year, month in parts)


async def _exists(connection: AsyncConnection, month: Month) -> bool:
    """Return whether a month has a partition; another run may have created or dropped it."""
    name = {"name": f"executions_{month.suffix}"}
    return (await connection.execute(text("SELECT to_regclass(:name)"), name)).scalar_one() is not None


async def _stray_months(connection: AsyncConnection) -> set[Month]:
    """Return the months that have rows in the default partition."""
    month = "date_trunc('month', slot AT TIME ZONE 'UTC')"
    rows = await connection.execute(
        text(f"SELECT DISTINCT extract(year FROM {month}), extract(month FROM {month}) FROM executions_default")  # noqa: S608  # it stands above
    )
    return {Month(int(year), int(number)) for year, number in rows}


async def _count_strays(connection: AsyncConnection) -> int:
    """Return the number of executions in the default partition."""
    return int((await connection.execute(text("SELECT count(*) FROM executions_default"))).scalar_one())


async def _delete_strays(connection: AsyncConnection, oldest: Month, lately: datetime) -> int:
    """Delete expired executions from the default partition unless they are needed; return their number."""
    statement = f"DELETE FROM executions_default WHERE slot < cast(:first AS text)::timestamptz AND NOT ({_NEEDED})"  # noqa: S608  # it stands above
    if oldest.year < 1:
        return 0
    return (await connection.execute(text(statement), {"first": oldest.first, "lately": lately})).rowcount


async def _create(connection: AsyncConnection, month: Month) -> int | None:
    """Create a month's partition and move its rows there; return their number, or None if the partition exists.

    The partition is created as a table and then attached. Unlike
    ``CREATE TABLE … PARTITION OF``, this does not block writers of other months
    unless rows must move.
    """
    bounds = {"first": month.first, "last": month.after(1).first}
    name = f"executions_{month.suffix}"
    if await _exists(connection, month):
        return None
    within = "slot >= cast(:first AS text)::timestamptz AND slot < cast(:last AS text)::timestamptz"
    strays = text(f"SELECT EXISTS (SELECT FROM executions_default WHERE {within})")  # noqa: S608  # names of ours
    moves = (await connection.execute(strays, bounds)).scalar_one()
    await connection.execute(text(_ALONE if moves else _ALONE_IN_DEFAULT))
    if not moves and (await connection.execute(strays, bounds)).scalar_one():
        # rows were written since. Locks out of order can deadlock: then this attempt gives up, and the next one sees
        # the rows from the start
        await connection.execute(text(_ALONE))
    moved = 0
    for table in ("executions", "attempts"):
        part = f"{table}_{month.suffix}"
        await connection.execute(text(f"CREATE TABLE {part} (LIKE {table} INCLUDING ALL)"))
        # both have the columns of the parent, in its order
        copy = text(f"INSERT INTO {part} SELECT * FROM {table}_default WHERE {within}")  # noqa: S608  # names of ours
        rows = (await connection.execute(copy, bounds)).rowcount
        moved += rows if table == "executions" else 0
    # deletes their attempts too
    await connection.execute(text(f"DELETE FROM executions_default WHERE {within}"), bounds)  # noqa: S608  # the same
    await connection.execute(
        text(
            f"ALTER TABLE attempts_{month.suffix} ADD CONSTRAINT attempts_of_execution"
            f" FOREIGN KEY (execution_id, slot) REFERENCES {name} (id, slot) ON DELETE CASCADE"
        )
    )
    for table in ("executions", "attempts"):
        reach = f"FROM ('{month.first}') TO ('{month.after(1).first}')"
        await connection.execute(
            text(f"ALTER TABLE {table} ATTACH PARTITION {table}_{month.suffix} FOR VALUES {reach}")
        )
    return moved


async def _drop(connection: AsyncConnection, month: Month, lately: datetime) -> bool | None:
    """Drop a month's partitions and return True; False if they are needed, None if they do not exist."""
    if not await _exists(connection, month):
        return None
    needed = text(f"SELECT EXISTS (SELECT FROM executions_{month.suffix} WHERE {_NEEDED})")  # noqa: S608  # ours
    if (await connection.execute(needed, {"lately": lately})).scalar_one():
        return False
    # the locks that a drop takes; check again now that no one can write
    await connection.execute(text(_ALONE))
    if (await connection.execute(needed, {"lately": lately})).scalar_one():
        return False
    for table in ("attempts", "executions"):
        await connection.execute(text(f"DROP TABLE {table}_{month.suffix}"))
    return True


async def _analyze(connection: AsyncConnection) -> None:
    """Update the statistics of the partitioned tables; autovacuum covers only their partitions."""
    await connection.execute(text("ANALYZE executions, attempts"))
