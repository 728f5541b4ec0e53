"""Keep the history's partitions: months ahead are there, old ones go, and rows that expire are deleted.

``carillon-migrate`` and the operator make a ``Maintenance`` each. Whatever it
does is done again in vain: two at once wait for each other, and one that was
cut off is taken up by the next. Writers are not held up: a lock that is not
free within ``LOCK_SECONDS`` is given up and tried again later.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar

import psycopg.errors
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from carillon_core.adapters.postgres.engine import LOCK, bounded, create_engine
from carillon_core.adapters.postgres.tables import maintenance
from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger
from carillon_core.settings import RETENTION_DAYS

MONTHS_AHEAD = 3
MONTHS_BEHIND = 1
LOCK_SECONDS = 0.5
"""How long a lock on a whole table is waited for, and so how long those who come after may have to wait for it. Less
than Postgres' ``deadlock_timeout`` of a second: who gives up in a deadlock is the maintenance, never a writer."""
TRIES = 10
FIRST_PAUSE_SECONDS = 0.2
LAST_PAUSE_SECONDS = 3.0
STEP_SECONDS = 300
"""After which a step is given up: the longest moves the rows of a month."""
ENDED_LATELY = timedelta(days=1)
"""An execution that ended since may be needed yet, however old its slot: a Job whose pod is lost just then finds out
from the row that there is nothing left to run."""
BATCH = 5_000
"""Rows that are deleted in one transaction."""

# both in the order of those who write and read
_ALONE_IN_DEFAULT = "LOCK TABLE executions_default, attempts_default IN ACCESS EXCLUSIVE MODE"
# Rows move, and partitions go, only while nobody has a statement planned: one that was planned for the default
# partition, and waits for it, would then look for the row where it is no more, and its runner's end would be lost.
_ALONE = "LOCK TABLE ONLY executions, ONLY attempts, executions_default, attempts_default IN ACCESS EXCLUSIVE MODE"
_NEEDED = "status = 'running' OR finished_at >= :lately"

_T = TypeVar("_T")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Expiring:
    """A table whose rows are deleted some time after what one of its columns says; the column needs an index."""

    table: str
    column: str
    after: timedelta | None = None
    """None means the history's own retention."""


EXPIRING = (
    Expiring("audit_events", "at"),
    # the column says itself when the row has expired
    Expiring("idempotency_keys", "expires_at", timedelta(0)),
)
"""The tables besides the history that the maintenance keeps from growing."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one run of the maintenance did. Months are as in a partition's name, ``2026_11``."""

    created: tuple[str, ...] = ()
    """Months that have a partition since."""
    dropped: tuple[str, ...] = ()
    """Months whose partition, with all its executions, is gone."""
    kept: tuple[str, ...] = ()
    """Months that are too old and stay for now, since something of them runs or has just ended."""
    moved: int = 0
    """Executions that had landed in the default partition and are in their month's since."""
    deleted: Mapping[str, int] = field(default_factory=dict)
    """Rows deleted one by one, by their table."""


class Month(NamedTuple):
    """A calendar month in UTC; month 1 is January."""

    year: int
    month: int

    @classmethod
    def of(cls, when: datetime) -> Self:
        """Return the month of an instant."""
        utc = when.astimezone(UTC)
        return cls(utc.year, utc.month)

    def after(self, months: int) -> Self:
        """Return the month so many later, or earlier."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return type(self)(year, month + 1)

    @property
    def suffix(self) -> str:
        """What the names of its partitions end in."""
        return f"{self.year:04d}_{self.month:02d}"

    @property
    def first(self) -> str:
        """Its first instant, as Postgres reads it; written out, for the month after December 9999 is no datetime."""
        return f"{self.year:04d}-{self.month:02d}-01 00:00:00+00"


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
            clock: Says what time it is.
            retention_days: Months that ended before so many days are dropped; 0 keeps everything.
            expiring: Further tables whose rows expire.

        """
        self._engine = engine
        self._clock = clock
        self._retention = timedelta(days=retention_days) if retention_days else None
        self._expiring = expiring

    async def run(self) -> Changes:
        """Do all that is due, and note in the table ``maintenance`` and in the log what was done, or why it was not.

        Raises:
            UnavailableError: The database is out of reach, or a lock was never free; what was done until then stays.

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
        """Create, move, drop, delete, in this order: rows of a month that is to go need not move first."""
        this = Month.of(now)
        cutoff = now - self._retention if self._retention else None
        # the last month to go is the one before the cutoff's own
        oldest = Month.of(cutoff) if cutoff else Month(0, 1)
        lately = now - ENDED_LATELY
        deleted = await self._step(partial(_delete_strays, oldest=oldest, lately=lately))
        changes = Changes(deleted={"executions": deleted} if deleted else {})
        ahead = {this.after(step) for step in range(-MONTHS_BEHIND, MONTHS_AHEAD + 1)}
        strays = await self._step(_stray_months)
        for month in sorted(ahead | strays):
            moved = await self._step(partial(_create, month=month))
            if moved is not None:
                changes = replace(changes, created=(*changes.created, month.suffix), moved=changes.moved + moved)
        dropped, kept = await self._drop_before(oldest, lately)
        changes = replace(changes, dropped=dropped, kept=kept)
        for each in self._expiring:
            before = cutoff if each.after is None else now - each.after
            if before is not None and (expired := await self._expire(each, before)):
                changes = replace(changes, deleted={**changes.deleted, each.table: expired})
        if changes.created or changes.dropped:
            await self._step(_analyze)
        return changes

    async def _drop_before(self, oldest: Month, lately: datetime) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Drop the months before one; return which are gone, and which stay because something of them is needed."""
        outcomes: dict[str, bool | None] = {}
        for month in await self._step(_months):
            if month < oldest:
                outcomes[month.suffix] = await self._step(partial(_drop, month=month, lately=lately))
        dropped = tuple(name for name, gone in outcomes.items() if gone)
        return dropped, tuple(name for name, gone in outcomes.items() if gone is False)

    async def _expire(self, what: Expiring, before: datetime) -> int:
        """Delete what has expired, in small transactions; return how many rows."""
        statement = text(
            f"DELETE FROM {what.table} WHERE ctid = ANY (ARRAY("  # noqa: S608  # names of ours
            f"SELECT ctid FROM {what.table} WHERE {what.column} < :before ORDER BY {what.column} LIMIT {BATCH}))"
            # once more: a row that is prolonged meanwhile is looked at again, by the minor releases of Postgres from
            # before November 2025 without regard to its ctid
            f" AND {what.column} < :before"
        )

        async def delete(connection: AsyncConnection) -> int:
            return (await connection.execute(statement, {"before": before})).rowcount

        gone = 0
        while (batch := await self._step(delete)) > 0:
            gone += batch
        return gone

    async def _step(self, work: Callable[[AsyncConnection], Coroutine[None, None, _T]]) -> _T:
        """Do a part of the work in a transaction of its own, again and again if a lock is not free."""
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
            # the migrator's lock: nobody migrates meanwhile, and nobody else maintains
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            return await work(connection)

    async def _note(self, values: Mapping[str, Any]) -> None:
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(update(maintenance).values(**values))

    async def _note_failure(self, now: datetime, why: str) -> None:
        log.warning("the maintenance of the history failed", why=why)
        try:
            await self._note({"tried_at": now, "error": why})
        except UnavailableError as error:
            log.warning("its failure could not be noted", why=str(error))


async def maintain(url: str, clock: Callable[[], datetime], retention_days: int) -> Changes:
    """Run the maintenance once, over connections of its own; errors as ``Maintenance.run``'s.

    Raises:
        SettingsError: The URL is none.

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
    """Return whether a month has a partition: another maintenance may have been faster."""
    name = {"name": f"executions_{month.suffix}"}
    return (await connection.execute(text("SELECT to_regclass(:name)"), name)).scalar_one() is not None


async def _stray_months(connection: AsyncConnection) -> set[Month]:
    """Return the months of which there are rows in the default partition."""
    month = "date_trunc('month', slot AT TIME ZONE 'UTC')"
    rows = await connection.execute(
        text(f"SELECT DISTINCT extract(year FROM {month}), extract(month FROM {month}) FROM executions_default")  # noqa: S608  # it stands above
    )
    return {Month(int(year), int(number)) for year, number in rows}


async def _delete_strays(connection: AsyncConnection, oldest: Month, lately: datetime) -> int:
    """Delete what is too old from the default partition, unless it is needed; return how many executions."""
    statement = f"DELETE FROM executions_default WHERE slot < cast(:first AS text)::timestamptz AND NOT ({_NEEDED})"  # noqa: S608  # it stands above
    if oldest.year < 1:
        return 0
    return (await connection.execute(text(statement), {"first": oldest.first, "lately": lately})).rowcount


async def _create(connection: AsyncConnection, month: Month) -> int | None:
    """Give a month its partition, and it the month's rows in the default one; return how many, or None if it has one.

    The partition is made as a table of its own and then attached: so, other than
    by ``CREATE TABLE … PARTITION OF``, nobody who writes to other months waits,
    unless rows are to be moved.
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
        # written since. This is not their order: whoever is in the way by it is given way to, and the next try sees
        # the rows from the start
        await connection.execute(text(_ALONE))
    moved = 0
    for table in ("executions", "attempts"):
        part = f"{table}_{month.suffix}"
        await connection.execute(text(f"CREATE TABLE {part} (LIKE {table} INCLUDING ALL)"))
        # the columns of both are the parent's, in its order
        copy = text(f"INSERT INTO {part} SELECT * FROM {table}_default WHERE {within}")  # noqa: S608  # names of ours
        rows = (await connection.execute(copy, bounds)).rowcount
        moved += rows if table == "executions" else 0
    # the attempts go with their executions
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
    """Drop a month's partitions and return True; False if something of it is needed, None if they were gone before."""
    if not await _exists(connection, month):
        return None
    needed = text(f"SELECT EXISTS (SELECT FROM executions_{month.suffix} WHERE {_NEEDED})")  # noqa: S608  # ours
    if (await connection.execute(needed, {"lately": lately})).scalar_one():
        return False
    # what a drop locks; and then, as nobody can write any more, the last look
    await connection.execute(text(_ALONE))
    if (await connection.execute(needed, {"lately": lately})).scalar_one():
        return False
    for table in ("attempts", "executions"):
        await connection.execute(text(f"DROP TABLE {table}_{month.suffix}"))
    return True


async def _analyze(connection: AsyncConnection) -> None:
    """Gather the statistics of the whole tables, for autovacuum sees to those of the partitions alone."""
    await connection.execute(text("ANALYZE executions, attempts"))
