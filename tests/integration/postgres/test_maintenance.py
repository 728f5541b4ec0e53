"""The maintenance of the history in a real Postgres, under a clock of the test's own."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres import engine, migrate
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.maintenance import EXPIRING, Changes, Expiring, Maintenance, Month
from carillon_core.adapters.postgres.tables import metadata
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, ExecutionRecord, execution_id
from carillon_core.errors import UnavailableError
from carillon_core.ports import ExecutionQuery
from support.waiting import eventually

TASK = "11111111-1111-4111-8111-111111111111"
NOW = datetime(2031, 3, 15, 12, tzinfo=UTC)
"""Years after the partitions that the migration makes, so that every month here is the maintenance's."""
WINDOW = ("2031_02", "2031_03", "2031_04", "2031_05", "2031_06")
"""Last month to three months ahead."""


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Give the engine of a migrated database."""
    own = engine.create_engine(database_url)
    yield own
    await own.dispose()


@pytest.fixture
def history(pool: AsyncEngine) -> PostgresHistory:
    """Give the history of the same database."""
    return PostgresHistory(pool)


async def maintain(pool: AsyncEngine, now: datetime = NOW, days: int = 400, **more: Any) -> Changes:
    """Run the maintenance once."""
    return await Maintenance(pool, lambda: now, days, **more).run()


def row(slot: datetime, status: ExecutionStatus = ExecutionStatus.SUCCEEDED) -> ExecutionRecord:
    """Build an execution of a slot, with its attempt."""
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


def places(url: str) -> dict[UUID, tuple[str, str]]:
    """Return in which partitions each execution and its attempt are."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT id, executions.tableoid::regclass::text, attempts.tableoid::regclass::text"
            " FROM executions LEFT JOIN attempts ON execution_id = id"
        )
        return {uid: (execution, attempt) for uid, execution, attempt in rows}


def in_month(suffix: str) -> tuple[str, str]:
    """Return the partitions of a month, or the default ones."""
    return f"executions_{suffix}", f"attempts_{suffix}"


def months(url: str) -> list[str]:
    """Return the suffixes of the partitions that both tables have."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'").fetchall()
    names = {name for (name,) in rows}
    suffixes = {name.partition("_")[2] for name in names}
    assert names == {f"{table}_{suffix}" for table in ("executions", "attempts") for suffix in suffixes}
    return sorted(suffixes)


async def test_months_are_there_before_they_come(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """From last month to three months ahead; the second time there is nothing to do."""
    assert (await maintain(pool, days=0)).created == WINDOW
    assert await maintain(pool, days=0) == Changes()
    slots = [datetime(2031, 2, 1, tzinfo=UTC), NOW, datetime(2031, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC)]
    rows = [row(slot) for slot in slots]
    await history.record(rows)
    want = [in_month(suffix) for suffix in ("2031_02", "2031_03", "2031_06")]
    found = places(database_url)
    assert [found[each.id] for each in rows] == want


async def test_the_year_turns(pool: AsyncEngine) -> None:
    """Months are counted across it, and by UTC whatever the clock's zone."""
    december = datetime.fromisoformat("2031-12-01T01:00:00+05:00")
    assert (await maintain(pool, december, days=0)).created == ("2031_10", "2031_11", "2031_12", "2032_01", "2032_02")


async def test_what_has_no_month_is_recorded_all_the_same_and_moved_later(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """Nothing of it is lost, its attempts come along, and what was kept once is kept once still."""
    slots = [datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), NOW, NOW.replace(month=12)]
    rows = [row(slot) for slot in (*slots, datetime(9999, 12, 31, tzinfo=UTC))]
    await history.record(rows)
    assert set(places(database_url).values()) == {in_month("default")}
    changes = await maintain(pool, days=0)
    assert (changes.moved, set(changes.created)) == (4, {*WINDOW, "1969_12", "2031_12", "9999_12"})
    want = {
        uid.id: in_month(name) for uid, name in zip(rows, ("1969_12", "2031_03", "2031_12", "9999_12"), strict=True)
    }
    assert places(database_url) == want
    await history.record(rows)
    assert [await history.get(each.id) for each in rows] == rows
    assert len((await history.list(ExecutionQuery())).items) == 4


async def test_a_moved_execution_still_takes_its_attempts_along(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """Each month's attempts belong to its executions."""
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
    """A partition that the maintenance makes is as those that the migration made."""
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


OLD = datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC)
"""With 400 days kept, NOW's cutoff is 8 February 2030: December 2029 and January 2030 lie wholly before it."""


async def test_months_past_the_retention_are_dropped(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """Those that ended before it, with all that is in them; one that began before it stays."""
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
    """No partition is made for what is to go at once."""
    await history.record([row(OLD), row(OLD - timedelta(days=40)), row(NOW)])
    changes = await maintain(pool)
    assert (changes.deleted, changes.moved, changes.created) == ({"executions": 2}, 1, WINDOW)
    assert set(places(database_url)) == {row(NOW).id}


async def test_a_month_in_which_something_runs_is_kept(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """However old it is, and whichever partition it was in; it goes when that has ended."""
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
    """It gets its month first."""
    running = row(OLD, ExecutionStatus.RUNNING)
    await history.record([running, row(OLD - timedelta(hours=1))])
    changes = await maintain(pool)
    assert (changes.deleted, changes.moved, changes.kept) == ({"executions": 1}, 1, ("2029_12",))
    assert places(database_url) == {running.id: in_month("2029_12")}


async def test_what_has_just_ended_is_kept_for_a_day(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """However old its slot: without its row, the next pod of its Job would run it a second time."""
    late = replace(row(OLD), finished_at=NOW - timedelta(hours=23), attempts=())
    await history.record([late, row(OLD - timedelta(hours=1))])
    changes = await maintain(pool)
    assert (changes.deleted, changes.kept) == ({"executions": 1}, ("2029_12",))
    assert set(places(database_url)) == {late.id}
    assert "2029_12" in (await maintain(pool, NOW + timedelta(hours=2))).dropped
    assert places(database_url) == {}


async def test_rows_of_other_tables_expire(pool: AsyncEngine, database_url: str) -> None:
    """By their own time or by the history's; with a history that is kept for ever only by their own."""
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
    """The tables that are registered exist, and what has expired is found without reading what has not."""
    first = {str(next(iter(index.columns)).name) for index in metadata.tables[each.table].indexes}
    assert each.column in first
    assert (await maintain(pool, expiring=[each])).deleted == {}


async def test_writers_go_on_while_a_month_is_made(
    pool: AsyncEngine, history: PostgresHistory, database_url: str
) -> None:
    """One that has written and not yet committed holds up no more than it must: a month that exists, nothing."""
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
    """A writer of the default partition is waited for in short tries, and nothing that it wrote is lost."""
    with psycopg.connect(database_url) as writer, psycopg.connect(database_url, autocommit=True) as watcher:
        writer.execute(
            "INSERT INTO executions (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at)"
            " VALUES (%(id)s, %(id)s, %(id)s, 'n', 't', 'http', %(slot)s, 'schedule', 'running', now())",
            {"id": row(NOW).id, "slot": NOW},
        )
        maintaining = asyncio.create_task(maintain(pool))
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        await eventually(lambda: watcher.execute(waiting).fetchone() is not None)
        # it gives way: while the writer holds its lock, others write
        await history.record([row(NOW + timedelta(hours=1))])
        assert not maintaining.done()
        writer.commit()
        assert (await maintaining).moved == 2
    assert set(places(database_url)) == {row(NOW).id, row(NOW + timedelta(hours=1)).id}


async def test_two_at_once_do_everything_once(pool: AsyncEngine, history: PostgresHistory) -> None:
    """Two operators, or an operator and a person."""
    await history.record([row(NOW), row(OLD)])
    both = await asyncio.gather(maintain(pool), maintain(pool))
    assert sorted(name for changes in both for name in changes.created) == list(WINDOW)
    assert sum(changes.moved for changes in both) == 1
    assert sum(changes.deleted.get("executions", 0) for changes in both) == 1


async def test_the_maintenance_can_be_seen(
    pool: AsyncEngine, history: PostgresHistory, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In its table, in its log line and in the summary."""
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
    """It says why, keeps when it last went well, and is gone after the next success."""
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


def command(url: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``carillon-migrate``."""
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    environment = {"PYTHONPATH": ":".join(sys.path), "DATABASE_URL": url, **measured, **env}
    return subprocess.run(
        [sys.executable, "-m", "carillon_core.adapters.postgres", *args],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


async def test_the_command_maintains(database_url: str, history: PostgresHistory) -> None:
    """The retention comes from the option or from the environment; an upgrade drops nothing."""
    ancient = row(datetime(2001, 2, 3, tzinfo=UTC))
    await history.record([ancient])
    steps: Sequence[tuple[list[str], dict[str, str], int, str]] = [
        (["upgrade"], {}, 0, "(newest)"),
        (["maintain", "--retention-days", "0"], {}, 0, "nothing to do"),
        (["maintain"], {"CARILLON_HISTORY_RETENTION_DAYS": "0"}, 0, "nothing to do"),
        (["maintain", "--retention-days", "-1"], {}, 2, ""),
        (["maintain"], {"CARILLON_HISTORY_RETENTION_DAYS": "never"}, 2, ""),
        (["maintain"], {}, 0, "dropped 2001_02"),
    ]
    for args, env, want_code, want in steps:
        done = command(database_url, *args, **env)
        assert (done.returncode, want in done.stdout) == (want_code, True), (args, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    assert "2001_02" not in months(database_url)


FILLED = {
    "the first instant of a month": datetime(2026, 2, 1, tzinfo=UTC),
    "the last of one": datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC),
    "long ago": datetime(1969, 7, 20, 20, 17, tzinfo=UTC),
    "far ahead": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
}


async def test_the_third_migration_keeps_the_history(database_url: str, history: PostgresHistory) -> None:
    """Down and up again every row and attempt is there, in its month's partition; only ``retry_of`` is lost."""
    rows = [row(slot) for slot in FILLED.values()]
    rows.append(replace(row(NOW, ExecutionStatus.FAILED), retry_of=rows[0].id, result={"k": [1]}, first_slot=OLD))
    await history.record(rows)
    migrate.downgrade(database_url, "0002")
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT id FROM executions JOIN attempts ON execution_id = id").fetchall()
        assert {uid for (uid,) in found} == {each.id for each in rows}
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relispartition").fetchone() == (0,)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO executions SELECT (executions).* FROM executions")
    assert migrate.upgrade(database_url).is_head
    assert [await history.get(each.id) for each in rows] == [replace(each, retry_of=None) for each in rows]
    suffixes = [Month.of(each.slot).suffix for each in rows]
    assert places(database_url) == {each.id: in_month(s) for each, s in zip(rows, suffixes, strict=True)}
    await history.record(rows)
    assert len((await history.list(ExecutionQuery())).items) == len(rows)
    assert {Month.of(datetime.now(UTC)).after(step).suffix for step in range(-1, 4)} <= set(months(database_url))
