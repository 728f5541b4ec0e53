"""The port ``RunnerKeys`` on Postgres: the keys with which the runners' functions verify execution tokens."""

from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.tables import runner_keys
from carillon_core.domain.launch.execution_token import TokenKey

KEPT = timedelta(days=15)
"""How long an unused key is kept: longer than a Job lives, which is at most twice the longest time limit of 7 days.
``runner_functions.sql`` uses the same value."""


class PostgresRunnerKeys:
    """``RunnerKeys`` over one connection, which ``aclose`` closes."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; the first call connects."""
        self._engine = engine

    @classmethod
    def from_url(cls, url: str) -> "PostgresRunnerKeys":
        """Return an instance with its own engine; raises ``SettingsError`` if the URL is invalid."""
        return cls(create_engine(url, pool_size=1))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._engine.dispose()

    async def register(self, key: TokenKey) -> None:
        """Store a key and mark it as used now; delete keys that have been unused for ``KEPT``.

        Raises:
            UnavailableError: The database is unavailable, or its schema is too old.

        """
        inner, outer = key.pads
        known = insert(runner_keys).values(id=key.id, inner_pad=inner, outer_pad=outer, used_at=func.now())
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(
                known.on_conflict_do_update(index_elements=["id"], set_={"used_at": known.excluded.used_at})
            )
            await connection.execute(delete(runner_keys).where(runner_keys.c.used_at < func.now() - KEPT))
