"""The maintenance of the history in a real Postgres: partitions, moved rows, locks, and its own record."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.maintenance import Changes, Expiring
from carillon_core.contract import ExecutionStatus
from carillon_core.errors import UnavailableError
from carillon_core.ports import ExecutionQuery
from support.maintained_history import NOW, OLD, WINDOW, history, in_month, lost, maintain, months, places, pool, row
from support.programs import carillon_migrate
from support.waiting import eventually

__all__ = ["history", "pool"]


async def test_months_are_there_before_they_come(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """Partitions exist from last month to three months ahead, and a second run changes nothing."""
    assert (await maintain(pool, days=0)).created == WINDOW
    assert await maintain(pool, days=0) == Changes()
    slots = [datetime(2031, 2, 1, tzinfo=UTC), NOW, datetime(2031, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC)]
    rows = [row(slot) for slot in slots]
    await history.record(rows)
    want = [in_month(suffix) for suffix in ("2031_02", "2031_03", "2031_06")]
    found = places(database_url)
    assert [found[each.id] for each in rows] == want


async def test_the_year_turns(pool: AsyncEngine) -> None:
    """Months continue over the end of a year, counted in UTC."""
    december = datetime.fromisoformat("2031-12-01T01:00:00+05:00")
    assert (await maintain(pool, december, days=0)).created == ("2031_10", "2031_11", "2031_12", "2032_01", "2032_02")


async def test_what_has_no_month_is_recorded_all_the_same_and_moved_later(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """Rows without a partition are recorded and later moved with their attempts; duplicates stay ignored."""
    rows = [row(slot) for slot in (datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC), NOW, NOW.replace(month=6))]
    await history.record(rows)
    assert set(places(database_url).values()) == {in_month("default")}
    changes = await maintain(pool, days=0)
    assert (changes.moved, changes.left, set(changes.created)) == (3, 0, {*WINDOW, "2029_12"})
    want = {uid.id: in_month(name) for uid, name in zip(rows, ("2029_12", "2031_03", "2031_06"), strict=True)}
    assert places(database_url) == want
    await history.record(rows)
    assert [await history.get(each.id) for each in rows] == rows
    assert len((await history.list(ExecutionQuery())).items) == 3


ODD = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2031, 7, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
)
"""Slots outside of the retention and the months to come."""


async def test_odd_slots_stay_in_the_default_partition_and_lose_nothing(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """They get no month, can be read and closed, and are counted; a month that comes takes its rows."""
    rows = [row(slot, ExecutionStatus.RUNNING) for slot in ODD]
    await history.record(rows)
    changes = await maintain(pool, days=0)
    assert (changes.moved, changes.left, changes.created) == (0, 4, WINDOW)
    assert set(places(database_url).values()) == {in_month("default")}
    assert (await history.summary(NOW)).unpartitioned == 4
    assert sorted(await history.close([lost(each) for each in rows])) == sorted(each.id for each in rows)
    for each in rows:
        found = await history.get(each.id)
        assert (found.reason, [attempt.reason for attempt in found.attempts]) == ("Evicted", ["Evicted"])
    assert (await maintain(pool, NOW + timedelta(days=31), days=0)).moved == 1
    assert (await history.summary(NOW)).unpartitioned == 3


async def test_a_thousand_old_requests_make_no_month_and_stop_nothing(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """Statements that touch every month still find locks for them."""
    rows = [row(datetime(1900 + month // 12, month % 12 + 1, 1, tzinfo=UTC)) for month in range(1000)]
    await history.record([*rows, row(NOW, ExecutionStatus.RUNNING)])
    before = len(months(database_url))
    await maintain(pool, days=0)
    assert len(months(database_url)) == before + len(WINDOW)
    assert (await history.get(rows[0].id)).slot == rows[0].slot
    assert len(await history.open_executions()) == 1
    assert (await history.summary(NOW)).unpartitioned == 1000


async def test_an_execution_of_another_month_is_not_touched(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """A closing, and attempts of an existing row, lock the partitions of their month only."""
    await maintain(pool)
    running = row(NOW, ExecutionStatus.RUNNING)
    await history.record([running])
    locked = (
        "SELECT DISTINCT relname FROM pg_locks JOIN pg_class ON pg_class.oid = relation WHERE relname ~ '_(20|default)'"
        " AND relkind = 'r' AND pid = (SELECT pid FROM pg_locks WHERE NOT granted LIMIT 1)"
    )
    second = replace(running.attempts[0], number=2)
    writes = {
        "executions": history.record([replace(running, attempts=(second,))]),
        "attempts": history.close([lost(running)]),
    }
    for table, write in writes.items():
        with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as watcher:
            holder.execute(f"SELECT FROM {table} FOR UPDATE".encode())
            writing = asyncio.create_task(write)
            found: set[str] = set()

            def waits(watcher: psycopg.Connection = watcher, found: set[str] = found) -> bool:
                found |= {name for (name,) in watcher.execute(locked.encode())}
                return bool(found)

            await eventually(waits)
            assert found <= set(in_month("2031_03")), table
            holder.rollback()
        await writing
    assert (await history.get(running.id)).reason == "Evicted"


async def test_a_moved_execution_still_takes_its_attempts_along(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """The foreign key of a new partition deletes attempts with their execution."""
    await history.record([row(NOW)])
    await maintain(pool)
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM executions")
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (0,)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute(
                "INSERT INTO attempts (execution_id, slot, number, status) VALUES (%s, %s, 1, 'running')",
                [uuid4(), NOW],
            )


async def test_the_maintained_schema_has_the_keys_and_indexes_of_the_migrated_one(
    pool: AsyncEngine, database_url: str
) -> None:
    """A new partition has the keys, indexes and statistics of a migrated one."""
    await maintain(pool, days=0)
    query = (
        "SELECT replace(indexdef, tablename, '') FROM pg_indexes WHERE tablename = %(name)s UNION ALL"
        " SELECT conname || ' ' || replace(pg_get_constraintdef(oid), substr(%(name)s, 10), '')"
        " FROM pg_constraint WHERE conrelid = %(name)s::regclass UNION ALL"
        " SELECT stxkind::text FROM pg_statistic_ext WHERE stxrelid = %(name)s::regclass"
    )

    def parts(name: str) -> list[str]:
        with psycopg.connect(database_url) as connection:
            told = connection.execute(query, {"name": name}).fetchall()
        suffix = name.partition("_")[2]
        return sorted(line.replace(suffix, "").partition(" USING ")[2] or line.replace(suffix, "") for (line,) in told)

    for table in ("executions", "attempts"):
        assert parts(f"{table}_2031_03") == parts(f"{table}_default")


async def test_writers_go_on_while_a_month_is_made(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """An open write transaction does not block the creation of another partition."""
    await maintain(pool, days=0)
    uid = row(NOW).id
    with psycopg.connect(database_url) as writer:
        writer.execute(
            "INSERT INTO executions (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at)"
            " VALUES (%(id)s, %(id)s, %(id)s, 'n', 't', 'http', %(slot)s, 'schedule', 'running', now())",
            {"id": uid, "slot": NOW},
        )
        assert (await maintain(pool, NOW + timedelta(days=31), days=0)).created == ("2031_07",)
        writer.commit()
    assert (await history.get(uid)).status is ExecutionStatus.RUNNING


async def test_a_lock_that_is_not_free_is_tried_again(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """The lock on the default partition is tried for short times, and rows written meanwhile are moved."""
    with psycopg.connect(database_url) as writer, psycopg.connect(database_url, autocommit=True) as watcher:
        writer.execute(
            "INSERT INTO executions (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at)"
            " VALUES (%(id)s, %(id)s, %(id)s, 'n', 't', 'http', %(slot)s, 'schedule', 'running', now())",
            {"id": row(NOW).id, "slot": NOW},
        )
        maintaining = asyncio.create_task(maintain(pool))
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        await eventually(lambda: watcher.execute(waiting).fetchone() is not None)
        # between its tries others can write, while the writer holds its lock
        await history.record([row(NOW + timedelta(hours=1))])
        assert not maintaining.done()
        writer.commit()
        assert (await maintaining).moved == 2
    assert set(places(database_url)) == {row(NOW).id, row(NOW + timedelta(hours=1)).id}


async def test_two_at_once_do_everything_once(pool: AsyncEngine, history: PostgresHistory) -> None:
    """Two concurrent runs do each change once."""
    await history.record([row(NOW), row(OLD)])
    both = await asyncio.gather(maintain(pool), maintain(pool))
    assert sorted(name for changes in both for name in changes.created) == list(WINDOW)
    assert sum(changes.moved for changes in both) == 1
    assert sum(changes.deleted.get("executions", 0) for changes in both) == 1


async def test_the_maintenance_can_be_seen(
    pool: AsyncEngine, history: PostgresHistory, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A run is recorded in its table, in the log and in the summary."""
    assert (await history.summary(NOW)).maintained_at is None
    await history.record([row(NOW), row(OLD)])
    with caplog.at_level(logging.INFO):
        await maintain(pool)
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT tried_at, succeeded_at, error, changes, seconds FROM maintenance").fetchall()
    [(tried_at, succeeded_at, error, changes, seconds)] = found
    assert (tried_at, succeeded_at, error) == (NOW, NOW, None)
    assert (changes["created"], changes["moved"], changes["deleted"]) == (list(WINDOW), 1, {"executions": 1})
    assert seconds >= 0
    [said] = [record for record in caplog.records if record.getMessage() == "history maintained"]
    told: dict[str, Any] = said.__dict__["fields"]
    assert (told["created"], told["moved"], told["seconds"]) == (WINDOW, 1, seconds)
    summary = await history.summary(NOW)
    assert (summary.maintained_at, summary.maintenance_error) == (NOW, None)
    assert summary.maintained_at is not None
    assert summary.maintained_at.utcoffset() == timedelta(0)
    assert summary.partitions == len(months(database_url)) - 1


async def test_a_failure_can_be_seen_and_passes(pool: AsyncEngine, history: PostgresHistory) -> None:
    """The summary has the error and the last success until the next success."""
    await maintain(pool)
    later = NOW + timedelta(hours=1)
    with pytest.raises(UnavailableError):
        await maintain(pool, later, expiring=(Expiring("nowhere", "at"),))
    summary = await history.summary(NOW)
    assert summary.maintained_at == NOW
    assert summary.maintenance_error is not None
    assert "too old" in summary.maintenance_error
    await maintain(pool, later)
    assert (await history.summary(NOW)).maintenance_error is None
    assert (await history.summary(NOW)).maintained_at == later


async def test_the_command_maintains(database_url: str, history: PostgresHistory) -> None:
    """The retention comes from the option or the environment, and an upgrade drops nothing."""
    ancient = row(datetime(2001, 2, 3, tzinfo=UTC))
    await history.record([ancient])
    steps: Sequence[tuple[list[str], dict[str, str], int, str]] = [
        (["upgrade"], {}, 0, "(newest)"),
        (["maintain", "--retention-days", "0"], {}, 0, "left in the default partition 1"),
        (["maintain"], {"CARILLON_HISTORY_RETENTION_DAYS": "0"}, 0, "left in the default partition 1"),
        (["maintain", "--retention-days", "-1"], {}, 2, ""),
        (["maintain"], {"CARILLON_HISTORY_RETENTION_DAYS": "never"}, 2, ""),
        (["maintain"], {}, 0, "deleted from executions 1"),
    ]
    for args, env, want_code, want in steps:
        done = carillon_migrate(*args, url=database_url, **env)
        assert (done.returncode, want in done.stdout) == (want_code, True), (args, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    assert "2001_02" not in months(database_url)
