"""The history of a migrated Postgres, and the tables that are in it."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.tables import metadata

PASSWORD = "p%40ss wörd"  # noqa: S105  # a made-up one, to look for in messages


@pytest.fixture
async def history(database_url: str) -> AsyncIterator[PostgresHistory]:
    """Give the history of a migrated database."""
    history = PostgresHistory.from_url(database_url)
    yield history
    await history.aclose()


def tables(url: str) -> set[str]:
    """Return the names of a database's tables; a partition is none of its own."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition"
        )
        return {name for (name,) in rows}


TABLES = {*metadata.tables, "alembic_version"}
