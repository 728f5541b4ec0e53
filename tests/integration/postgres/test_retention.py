"""The retention of the history in a real Postgres: what is dropped, deleted and kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.maintenance import EXPIRING, Changes, Expiring
from carillon_core.adapters.postgres.tables import metadata
from carillon_core.contract import ExecutionStatus
from support.maintained_history import NOW, OLD, WINDOW, history, in_month, maintain, months, places, pool, row

__all__ = ["history", "pool"]


async def test_months_past_the_retention_are_dropped(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """A month is dropped when all of it is past the retention."""
    rows = [row(slot) for slot in (OLD, datetime(2030, 1, 31, tzinfo=UTC), datetime(2030, 2, 1, tzinfo=UTC), NOW)]
    await history.record(rows)
    await maintain(pool, days=0)
    changes = await maintain(pool)
    assert [name for name in changes.dropped if name > "2029"] == ["2029_12", "2030_01"]
    assert months(database_url) == ["2030_02", *WINDOW, "default"]
    assert set(places(database_url)) == {each.id for each in rows[2:]}
    assert await maintain(pool) == Changes()


async def test_old_rows_without_a_month_are_deleted_where_they_are(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """Expired rows in the default partition are deleted without being moved."""
    await history.record([row(OLD), row(OLD - timedelta(days=40)), row(NOW)])
    changes = await maintain(pool)
    assert (changes.deleted, changes.moved, changes.created) == ({"executions": 2}, 1, WINDOW)
    assert set(places(database_url)) == {row(NOW).id}


async def test_a_month_in_which_something_runs_is_kept(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """A month is kept until its last execution has ended."""
    running, ended = row(OLD, ExecutionStatus.RUNNING), row(OLD - timedelta(hours=1))
    await history.record([running, ended])
    await maintain(pool, days=0)
    changes = await maintain(pool)
    assert (changes.kept, "2029_12" in changes.dropped) == (("2029_12",), False)
    assert set(places(database_url)) == {running.id, ended.id}
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE executions SET status = 'failed', finished_at = now() WHERE status = 'running'")
    assert (await maintain(pool)).dropped == ("2029_12",)
    assert places(database_url) == {}


async def test_what_runs_and_is_old_and_has_no_month_is_not_deleted(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """An old running execution stays in the default partition: no partition is made for an expired month."""
    running = row(OLD, ExecutionStatus.RUNNING)
    await history.record([running, row(OLD - timedelta(hours=1))])
    changes = await maintain(pool)
    assert (changes.deleted, changes.moved, changes.left, changes.kept) == ({"executions": 1}, 0, 1, ())
    assert places(database_url) == {running.id: in_month("default")}


async def test_what_has_just_ended_is_kept_for_a_day(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """A row stays for a day after its end, or the next pod of its Job would run it again."""
    late = replace(row(OLD), finished_at=NOW - timedelta(hours=23), attempts=())
    await history.record([late, row(OLD - timedelta(hours=1))])
    changes = await maintain(pool)
    assert (changes.deleted, changes.left) == ({"executions": 1}, 1)
    assert set(places(database_url)) == {late.id}
    assert (await maintain(pool, NOW + timedelta(hours=2))).deleted == {"executions": 1}
    assert places(database_url) == {}


async def test_rows_of_other_tables_expire(pool: AsyncEngine, database_url: str) -> None:
    """Other tables have their own retention or the history's, which may be unlimited."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in ("notes", "keys"):
            connection.execute(f"CREATE TABLE {name} (at timestamptz PRIMARY KEY)".encode())
            for days in (0.5, 2, 399, 401):
                insert = f"INSERT INTO {name} VALUES (%s)"  # noqa: S608  # a name from above
                connection.execute(insert.encode(), [NOW - timedelta(days=days)])
    expiring = (Expiring("notes", "at"), Expiring("keys", "at", timedelta(days=1)))
    assert (await maintain(pool, days=0, expiring=expiring)).deleted == {"keys": 3}
    assert (await maintain(pool, expiring=expiring)).deleted == {"notes": 1}
    assert (await maintain(pool, expiring=expiring)).deleted == {}


@pytest.mark.parametrize("each", EXPIRING, ids=lambda each: each.table)
async def test_what_expires_is_found_by_an_index(pool: AsyncEngine, each: Expiring) -> None:
    """Each registered table exists and has an index on the column of its time."""
    first = {str(next(iter(index.columns)).name) for index in metadata.tables[each.table].indexes}
    assert each.column in first
    assert (await maintain(pool, expiring=[each])).deleted == {}
