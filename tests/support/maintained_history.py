"""A history in Postgres under maintenance, on a clock that the test sets."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres import engine
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.maintenance import Changes, Maintenance
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord, execution_id

TASK = "11111111-1111-4111-8111-111111111111"
NOW = datetime(2031, 3, 15, 12, tzinfo=UTC)
"""Years after the migration's partitions, so that only the maintenance makes partitions here."""
WINDOW = ("2031_02", "2031_03", "2031_04", "2031_05", "2031_06")
"""Last month to three months ahead."""
OLD = datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC)
"""With 400 days kept, NOW's cutoff is 8 February 2030: December 2029 and January 2030 lie wholly before it."""


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Provide the engine of a migrated database."""
    own = engine.create_engine(database_url)
    yield own
    await own.dispose()


@pytest.fixture
def history(pool: AsyncEngine) -> PostgresHistory:
    """Return the history of the same database."""
    return PostgresHistory(pool)


async def maintain(pool: AsyncEngine, now: datetime = NOW, days: int = 400, **more: Any) -> Changes:
    """Run the maintenance once."""
    return await Maintenance(pool, lambda: now, days, **more).run()


def row(slot: datetime, status: ExecutionStatus = ExecutionStatus.SUCCEEDED) -> ExecutionRecord:
    """Return an execution of a slot, with its attempt."""
    end = None if status is ExecutionStatus.RUNNING else slot
    return ExecutionRecord(
        id=execution_id(TASK, slot, Cause.SCHEDULE),
        task_uid=TASK,
        namespace="shop",
        task="report",
        task_type="sum",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=status,
        created_at=slot,
        started_at=slot,
        finished_at=end,
        attempts=(Attempt(number=1, status=status, started_at=slot, finished_at=end),),
    )


def lost(record: ExecutionRecord) -> Closing:
    """Return the closing of an execution whose pod was evicted."""
    return Closing(
        id=record.id,
        namespace=record.namespace,
        slot=record.slot,
        status=ExecutionStatus.FAILED,
        reason="Evicted",
        message="its pod was evicted",
        finished_at=record.slot,
    )


def places(url: str) -> dict[UUID, tuple[str, str]]:
    """Return the partitions of each execution and its attempt."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT id, executions.tableoid::regclass::text, attempts.tableoid::regclass::text"
            " FROM executions LEFT JOIN attempts ON execution_id = id"
        )
        return {uid: (execution, attempt) for uid, execution, attempt in rows}


def in_month(suffix: str) -> tuple[str, str]:
    """Return the two partitions of a month."""
    return f"executions_{suffix}", f"attempts_{suffix}"


def months(url: str) -> list[str]:
    """Return the suffixes of the partitions, which both tables must have."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'").fetchall()
    names = {name for (name,) in rows}
    suffixes = {name.partition("_")[2] for name in names}
    assert names == {f"{table}_{suffix}" for table in ("executions", "attempts") for suffix in suffixes}
    return sorted(suffixes)
