"""The history in a migrated Postgres, and the names of its tables."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.tables import metadata

PASSWORD = "p%40ss wörd"  # noqa: S105  # not a real one; tests look for it in messages


@pytest.fixture
async def history(database_url: str) -> AsyncIterator[PostgresHistory]:
    """Provide the history of a migrated database."""
    history = PostgresHistory.from_url(database_url)
    yield history
    await history.aclose()


def tables(url: str) -> set[str]:
    """Return the names of a database's tables, without partitions."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition"
        )
        return {name for (name,) in rows}


TABLES = {*metadata.tables, "alembic_version"}
