"""The port ``ChangedExecutions`` on Postgres; the API creates one, with one connection.

A position is a snapshot as Postgres writes it (``pg_snapshot``): it tells which
transactions had been committed. What has changed since is what transactions
wrote that the earlier snapshot does not show and the current one does. This is
exact whatever the order of commits: a transaction that was in progress at the
earlier look is found once it has been committed, and no clock is involved.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ARRAY, Row, Text, bindparam
from sqlalchemy import text as sql_text
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.listing import IN_ORDER, RECENT
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.ports import MOST_CHANGES, ExecutionChange, ExecutionChanges

SECONDS = 5.0
"""The time limit of a look."""

# One statement, so that both parts have the same snapshot. The months before the recent ones are not planned for nor
# locked: executions of such slots hardly ever change. A transaction beyond the snapshot's end is in a row that was
# restored from a dump of another server. The outer join returns the position when nothing has changed.
CHANGED = sql_text(
    """
SELECT pg_current_snapshot()::text AS position,
       pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(CAST(:after AS pg_snapshot)) AS went_back, found.*
FROM (SELECT) AS one LEFT JOIN (
    SELECT id, namespace, task, slot, cause, status, reason, started_at, finished_at
    FROM executions
    WHERE changed >= pg_snapshot_xmin(CAST(:after AS pg_snapshot))
        AND changed < pg_snapshot_xmax(pg_current_snapshot())
        AND NOT pg_visible_in_snapshot(changed, CAST(:after AS pg_snapshot))
        AND slot >= :edge
        AND (CAST(:namespaces AS text[]) = '{}' OR namespace = ANY (:namespaces))
    ORDER BY changed
    LIMIT :most
) AS found ON true
"""
).bindparams(bindparam("namespaces", type_=ARRAY(Text)))
_POSITION = sql_text("SELECT pg_current_snapshot()::text")


class PostgresChangedExecutions:
    """``ChangedExecutions`` over one engine; ``aclose`` closes its connection."""

    def __init__(self, engine: AsyncEngine, most: int = MOST_CHANGES) -> None:
        """Keep the engine; the first look connects."""
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._most = most

    @classmethod
    def from_url(cls, url: str, *, connect_seconds: int = 5, most: int = MOST_CHANGES) -> "PostgresChangedExecutions":
        """Return it with its own engine of one connection; raises ``SettingsError`` if the URL is invalid."""
        return cls(create_engine(url, pool_size=1, connect_seconds=connect_seconds), most)

    async def aclose(self) -> None:
        """Close the engine's connection."""
        await self._engine.dispose()

    async def since(self, position: str | None, namespaces: tuple[str, ...] = ()) -> ExecutionChanges:
        """Return the executions that have changed since a position; see ``ChangedExecutions``.

        Executions whose slots are older than ``RECENT`` are not found.
        """
        async with bounded(self._engine.url, SECONDS), self._engine.connect() as connection:
            if position is None:
                return ExecutionChanges([], (await connection.execute(_POSITION)).scalar_one(), complete=True)
            await connection.exec_driver_sql(IN_ORDER)
            values = {
                "after": position,
                "edge": datetime.now(UTC) - RECENT,
                "namespaces": list(namespaces),
                "most": self._most + 1,
            }
            rows = (await connection.execute(CHANGED, values)).all()
        items = [_change(row) for row in rows[: self._most] if row.id is not None]
        # it goes back when a replica takes over that has not received everything, or a copy of the database
        complete = len(rows) <= self._most and not rows[0].went_back
        return ExecutionChanges(items, rows[0].position, complete)


def _change(row: Row[Any]) -> ExecutionChange:
    return ExecutionChange(
        id=row.id,
        namespace=row.namespace,
        task=row.task,
        slot=row.slot.astimezone(UTC),
        cause=Cause(row.cause),
        status=ExecutionStatus(row.status),
        reason=row.reason,
        started_at=row.started_at and row.started_at.astimezone(UTC),
        finished_at=row.finished_at and row.finished_at.astimezone(UTC),
    )
