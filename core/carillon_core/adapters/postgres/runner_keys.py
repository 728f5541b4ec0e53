"""The port ``RunnerKeys`` on Postgres: the keys by which the functions of runners know the operator's tokens."""

from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.tables import runner_keys
from carillon_core.domain.launch.execution_token import TokenKey

KEPT = timedelta(days=15)
"""How long a key is known that nobody uses any more: longer than a Job lives, which is at most twice the longest
time-out of 7 days. ``runner_functions.sql`` says the same."""


class PostgresRunnerKeys:
    """``RunnerKeys`` over one connection, which ``aclose`` ends."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; connect at the first call."""
        self._engine = engine

    @classmethod
    def from_url(cls, url: str) -> "PostgresRunnerKeys":
        """Return one over an engine of its own; ``SettingsError`` if the URL is none."""
        return cls(create_engine(url, pool_size=1))

    async def aclose(self) -> None:
        """End the connection."""
        await self._engine.dispose()

    async def register(self, key: TokenKey) -> None:
        """Have a key known, and counted as used now; forget those that nobody has used for ``KEPT``.

        Raises:
            UnavailableError: The database is out of reach, or its schema too old.

        """
        inner, outer = key.pads
        known = insert(runner_keys).values(id=key.id, inner_pad=inner, outer_pad=outer, used_at=func.now())
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(
                known.on_conflict_do_update(index_elements=["id"], set_={"used_at": known.excluded.used_at})
            )
            await connection.execute(delete(runner_keys).where(runner_keys.c.used_at < func.now() - KEPT))
