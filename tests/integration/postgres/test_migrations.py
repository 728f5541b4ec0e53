"""Migrations, and how the history handles a schema of another version."""

import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.dialects.postgresql.base import ischema_names

from carillon_core.adapters.postgres import engine, migrate
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.months import Month
from carillon_core.adapters.postgres.tables import SCHEMA_REVISION, TransactionId, metadata
from carillon_core.contract import ExecutionStatus
from carillon_core.errors import UnavailableError
from carillon_core.ports import ExecutionQuery
from support.maintained_history import NOW, OLD, in_month, months, places, row
from support.postgres_history import PASSWORD, TABLES, history, tables
from support.programs import carillon_migrate

__all__ = ["history"]


def test_the_migrations_make_exactly_the_tables(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables in the code equal the migrated schema."""
    monkeypatch.setitem(ischema_names, "xid8", TransactionId)  # the types that reflection knows
    own = create_engine(engine.sqlalchemy_url(database_url))
    opts = {
        "compare_server_default": True,
        "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,  # without partitions
    }
    with own.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=opts), metadata) == []
    own.dispose()
    assert tables(database_url) == TABLES


def test_the_code_knows_the_newest_revision() -> None:
    """``SCHEMA_REVISION`` is the only head of the migrations."""
    config = Config()
    config.set_main_option("script_location", "carillon_core.adapters.postgres:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_REVISION]


async def test_down_and_up_again(database_url: str, history: PostgresHistory) -> None:
    """A full downgrade and upgrade work, a second upgrade changes nothing, and ping says when to upgrade."""
    assert migrate.downgrade(database_url, "base").current is None
    assert tables(database_url) == {"alembic_version"}
    with pytest.raises(UnavailableError, match="run carillon-migrate upgrade"):
        await history.ping()
    with pytest.raises(UnavailableError, match="run carillon-migrate upgrade"):
        await history.list(ExecutionQuery())
    for _ in range(2):
        assert migrate.upgrade(database_url).is_head
    await history.ping()
    assert (await history.list(ExecutionQuery())).items == []


def test_the_second_migration_keeps_the_history(database_url: str) -> None:
    """An upgrade makes the task the origin; a downgrade keeps the first row for a task, slot and cause."""
    migrate.downgrade(database_url, "0001")
    columns = "id, task_uid, namespace, task, task_type, slot, cause, status, created_at, finished_at"
    values = "%s, %s, 'n', 't', 'sum', %s, 'manual', 'skipped', %s, now()"
    task, old, slot = UUID(int=1), UUID(int=2), datetime(2026, 1, 1, 7, tzinfo=UTC)
    first = f"INSERT INTO executions ({columns}) VALUES ({values})"  # noqa: S608  # both stand above
    with psycopg.connect(database_url) as connection:
        connection.execute(first.encode(), [old, task, slot, slot])
    migrate.upgrade(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT id, origin, first_slot FROM executions").fetchall() == [(old, task, None)]
        connection.execute(
            "INSERT INTO attempts (execution_id, slot, number, status) VALUES (%s, %s, 1, 'running')", [old, slot]
        )
        for uid in (UUID(int=3), UUID(int=4)):
            statement = f"INSERT INTO executions ({columns}, origin) VALUES ({values}, %s)"  # noqa: S608  # the same
            connection.execute(statement.encode(), [uid, task, slot, datetime(2026, 2, 1, tzinfo=UTC), uid])
    migrate.downgrade(database_url, "0001")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT id FROM executions").fetchall() == [(old,)]
    assert migrate.upgrade(database_url).is_head


async def test_ping_of_a_database_without_schema(empty_database_url: str) -> None:
    """The error says to run carillon-migrate."""
    history = PostgresHistory.from_url(empty_database_url)
    with pytest.raises(UnavailableError, match="run carillon-migrate upgrade"):
        await history.ping()
    await history.aclose()


def set_revision(url: str, revision: str) -> None:
    """Set the revision of the schema."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [revision])


async def test_a_schema_of_an_earlier_version(database_url: str, history: PostgresHistory) -> None:
    """The error has both revisions and says to run carillon-migrate."""
    set_revision(database_url, "0001")
    with pytest.raises(UnavailableError, match=f"0001.*{SCHEMA_REVISION}.*carillon-migrate upgrade"):
        await history.ping()


async def test_a_schema_of_a_later_version(
    database_url: str, history: PostgresHistory, caplog: pytest.LogCaptureFixture
) -> None:
    """An older program keeps working during a roll-out, and its migrator changes nothing."""
    set_revision(database_url, "9999")
    await history.ping()
    assert migrate.upgrade(database_url).current == "9999"
    assert "newer than this version" in caplog.text
    assert tables(database_url) == TABLES


def test_migrators_at_once(empty_database_url: str) -> None:
    """One migrator makes the schema, and the others wait and find nothing to do."""
    crowd = 4
    together = threading.Barrier(crowd)

    def one() -> migrate.Revision:
        together.wait()
        return migrate.upgrade(empty_database_url)

    with ThreadPoolExecutor(crowd) as pool:
        outcomes = [future.result() for future in [pool.submit(one) for _ in range(crowd)]]
    assert all(revision.is_head for revision in outcomes)
    assert tables(empty_database_url) == TABLES


def test_a_migrator_waits_for_another(empty_database_url: str) -> None:
    """A migrator creates nothing while another one holds the lock."""
    with psycopg.connect(empty_database_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [engine.LOCK])
        upgrading = pool.submit(migrate.upgrade, empty_database_url)
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while other.execute(waiting).fetchone() != (1,):
            assert not upgrading.done()
        assert tables(empty_database_url) == set()
        other.rollback()
        assert upgrading.result(timeout=30).is_head


def test_the_migrator_waits_for_the_database(caplog: pytest.LogCaptureFixture) -> None:
    """The migrator logs that it waits, and gives up after its time-out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with caplog.at_level(logging.WARNING), pytest.raises(UnavailableError, match="refused"):
        migrate.upgrade(f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/d", wait_seconds=2)
    assert {record.getMessage() for record in caplog.records} == {"waiting for the database"}
    assert PASSWORD not in str([record.__dict__ for record in caplog.records])


def test_the_command(empty_database_url: str) -> None:
    """Each subcommand has the stated output and exit code."""
    steps = [
        (("current",), 1, f"base (newest: {SCHEMA_REVISION})"),
        (("upgrade",), 0, f"{SCHEMA_REVISION} (newest)"),
        (("current",), 0, f"{SCHEMA_REVISION} (newest)"),
        (("downgrade", "base"), 0, f"base (newest: {SCHEMA_REVISION})"),
    ]
    for args, want_code, want_output in steps:
        done = carillon_migrate(*args, url=empty_database_url)
        assert (done.returncode, done.stdout.strip()) == (want_code, want_output), done.stderr


@pytest.mark.parametrize(
    ("args", "url", "want_code", "want"),
    [
        pytest.param(["upgrade"], None, 2, "DATABASE_URL: must be set to", id="no URL"),
        pytest.param(["upgrade"], "mysql://u:hush@h/d", 2, "must begin with postgresql://", id="another database"),
        pytest.param(["current"], "postgresql://u:hush@127.0.0.1:1/d", 1, "database is unavailable", id="out of reach"),
    ],
)
def test_the_command_fails_in_one_sentence(args: list[str], url: str | None, want_code: int, want: str) -> None:
    """An error is one line on standard error, without traceback and password."""
    done = carillon_migrate(*args, url=url)
    assert done.returncode == want_code
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert want in done.stderr
    assert "hush" not in done.stderr


def test_downgrade_to_an_unknown_revision(database_url: str) -> None:
    """The exit code is 2, and the message has no traceback."""
    done = carillon_migrate("downgrade", "4711", url=database_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "4711" in done.stderr
    assert "Traceback" not in done.stderr


FILLED = {
    "the first instant of a month": datetime(2026, 2, 1, tzinfo=UTC),
    "the last of one": datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC),
    "long ago": datetime(1969, 7, 20, 20, 17, tzinfo=UTC),
    "far ahead": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
}


async def test_the_third_migration_keeps_the_history(database_url: str, history: PostgresHistory) -> None:
    """A downgrade and an upgrade keep all rows and attempts, except ``retry_of``, in the right partitions."""
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
