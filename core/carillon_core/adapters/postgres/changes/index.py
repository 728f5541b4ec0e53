"""The index of the changes, which the migration creates for empty partitions only; the maintenance adds the others.

It is built concurrently, so that no writer waits however many rows there are. That
takes a connection without a transaction: one that is interrupted leaves an invalid
index, which the next maintenance replaces.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from carillon_core.adapters.postgres.engine import bounded

BUILD_SECONDS = 300
"""The time limit of the index of one partition. It waits for the end of every transaction that is older."""
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


async def build(engine: AsyncEngine, partition: str) -> None:
    """Build the index of a partition, unless it is there; it is not yet a part of the whole table's."""
    name = f"{partition}_changed_idx"
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with bounded(engine.url, BUILD_SECONDS), alone.connect() as connection:
        if (await connection.execute(_INVALID, {"name": name})).scalar():
            # left by a build that was interrupted; one that goes on has a lock, which this waits for
            await connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
        await connection.execute(
            text(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {partition} (changed) WHERE changed IS NOT NULL")
        )


async def attach(connection: AsyncConnection, partition: str) -> None:
    """Make a partition's index a part of the whole table's."""
    await connection.execute(text(f"ALTER INDEX executions_by_change ATTACH PARTITION {partition}_changed_idx"))
