"""The index of the changes, which the migration creates for empty partitions only; the maintenance adds the others.

It is built concurrently, so that no writer waits however many rows there are. That
takes a connection without a transaction: one that is interrupted leaves an invalid
index, which the next maintenance replaces.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from carillon_core.adapters.postgres.engine import bounded

BUILD_SECONDS = 200
"""The time limit of the index of one partition. It waits for the end of every transaction that is older."""
LOCK = 7_024_619_531
"""The advisory lock of the builder. Others do not wait for it: a build waits for all older transactions, so they could
not end."""
_PARTITIONS = text(
    """
SELECT part.relname FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
WHERE inhparent = 'executions'::regclass AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_inherits AS own ON own.inhrelid = indexrelid
    WHERE indrelid = part.oid AND own.inhparent = to_regclass('executions_by_change'))
ORDER BY part.relname DESC
"""
)
"""The newest first: most changes are there."""
_INVALID = text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


async def unindexed(connection: AsyncConnection) -> list[str]:
    """Return the partitions that lack their part of the index."""
    return [str(name) for name in (await connection.execute(_PARTITIONS)).scalars()]


async def build(engine: AsyncEngine, partition: str) -> bool:
    """Build the index of a partition, which is not yet a part of the whole table's; return False if another builds.

    Raises:
        UnavailableError: It took too long, or Postgres is unavailable.

    """
    name = f"{partition}_changed_idx"
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with bounded(engine.url, BUILD_SECONDS), alone.connect() as connection:
        if not (await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK})).scalar():
            return False
        try:
            if (await connection.execute(_INVALID, {"name": name})).scalar():  # left by a build that was interrupted
                await connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
            made = f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {partition} (changed) WHERE changed IS NOT NULL"
            await connection.execute(text(made))
        finally:
            # not before: another would take an index that is being built for one that was left
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
    return True


async def attach(connection: AsyncConnection, partition: str) -> None:
    """Make a partition's index a part of the whole table's."""
    await connection.execute(text(f"ALTER INDEX executions_by_change ATTACH PARTITION {partition}_changed_idx"))
