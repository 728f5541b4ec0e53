"""What only the history in Postgres has: migrations, indexes, a server that may be out of reach."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from carillon_api.views.executions import execution_view
from carillon_core.adapters.decoding import DEEPEST
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.postgres import engine, migrate
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.listing import list_statement
from carillon_core.adapters.postgres.tables import SCHEMA_REVISION, metadata
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord
from carillon_core.errors import NotFoundError, SettingsError, UnavailableError
from carillon_core.ports import ExecutionQuery
from support.waiting import eventually

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


def changed(url: str, **parts: str) -> str:
    """Return the URL with parts of it replaced, by the names of ``urlsplit``."""
    return urlunsplit(urlsplit(url)._replace(**parts))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Give a port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("case", ["nobody listens", "it never answers", "wrong password", "no such database"])
async def test_unreachable(database_url: str, silent_port: int, case: str) -> None:
    """Every call says so, in a sentence without the password."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    address = urlsplit(database_url)
    url = {
        "nobody listens": f"postgresql://carillon:{PASSWORD}@127.0.0.1:{closed_port}/carillon",
        "it never answers": f"postgres://carillon:{PASSWORD}@127.0.0.1:{silent_port}/carillon",
        "wrong password": changed(
            database_url, netloc=f"{address.username}:{PASSWORD}@{address.hostname}:{address.port}"
        ),
        "no such database": changed(database_url, path="/nowhere"),
    }[case]
    history = PostgresHistory.from_url(url, connect_seconds=2)
    calls = [history.ping(), history.open_executions(), history.get(UUID(int=1)), history.list(ExecutionQuery())]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, UnavailableError)
        assert outcome.what == "database"
        for secret in (PASSWORD, "p@ss", address.password):
            assert str(secret) not in str(outcome)
        assert "\n" not in str(outcome)
    await history.aclose()


async def test_a_call_is_given_up_when_the_database_hangs(database_url: str) -> None:
    """A connection that works, and a statement that does not come back."""
    hanging = engine.create_engine(database_url)
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE executions")
        with pytest.raises(UnavailableError, match=r"no answer within 0\.3 s"):
            async with engine.bounded(hanging.url, 0.3), hanging.connect() as connection:
                await connection.execute(*list_statement(ExecutionQuery(), None))
    async with engine.bounded(hanging.url), hanging.connect() as connection:
        assert (await connection.execute(*list_statement(ExecutionQuery(), None))).all() == []
    await hanging.dispose()


async def test_a_server_that_cut_the_connections_is_found_again(history: PostgresHistory, database_url: str) -> None:
    """The pool notices what died while it was idle: the next call simply works."""
    await history.ping()
    with psycopg.connect(database_url, autocommit=True) as admin:
        cut = admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchall()
    assert cut == [(True,)]
    await history.ping()


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
async def test_an_idle_connection_is_asked_whatever_it_has_heard(
    database_url: str, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """One that is trusted tells by what it has heard that it was cut; one that is not is asked; both are replaced."""
    monkeypatch.setattr(engine, "TRUSTED_SECONDS", seconds)
    history = PostgresHistory.from_url(database_url)
    for _ in range(3):
        await history.ping()
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'carillon'"
            )
    await history.ping()
    await history.aclose()


async def test_reading_leaves_no_transaction_open(history: PostgresHistory, database_url: str) -> None:
    """One that stayed open would keep Postgres from clearing up, and its planner from sorting for others."""
    await history.list(ExecutionQuery())
    with pytest.raises(NotFoundError):
        await history.get(uuid4())
    await history.summary(datetime.now(UTC))
    with psycopg.connect(database_url, autocommit=True) as admin:
        states = admin.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'carillon'"
        ).fetchall()
    assert states == [("idle",)]


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://u:hush@h/d", "postgresql://u:hush@h:port/d", "postgresql+asyncpg://u:hush@h/d"]
)
def test_a_url_that_is_none_is_a_setting_to_mend(url: str) -> None:
    """The sentence names the setting and does not repeat the URL."""
    with pytest.raises(SettingsError, match="DATABASE_URL") as refused:
        engine.create_engine(url)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "given", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg://u@h/d", " postgres://u@h/d\n"]
)
def test_the_usual_urls_are_taken(given: str) -> None:
    """However the platform spells them."""
    assert engine.sqlalchemy_url(given).render_as_string() == "postgresql+psycopg://u@h/d"


def test_the_migrations_make_exactly_the_tables(database_url: str) -> None:
    """The tables in the code and the migrated schema are one: nothing is left to generate."""
    own = create_engine(engine.sqlalchemy_url(database_url))
    opts = {
        "compare_server_default": True,
        "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,  # partitions are not
    }
    with own.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=opts), metadata) == []
    own.dispose()
    assert tables(database_url) == TABLES


def test_the_code_knows_the_newest_revision() -> None:
    """``SCHEMA_REVISION`` is the head of the migrations, which are one chain."""
    config = Config()
    config.set_main_option("script_location", "carillon_core.adapters.postgres:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_REVISION]


async def test_down_and_up_again(database_url: str, history: PostgresHistory) -> None:
    """Down to nothing, where ping tells the mend, and up again, where all is well; up twice is as once."""
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
    """Up: every execution is its own task's. Down: the old key has one row for a task, slot and cause, the first."""
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


async def test_a_deleted_execution_takes_its_attempts_along(database_url: str, history: PostgresHistory) -> None:
    """Retention deletes rows of one table."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    row = ExecutionRecord(
        id=UUID(int=5),
        task_uid=str(UUID(int=1)),
        namespace="shop",
        task="report",
        task_type="sum",
        slot=began,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.RUNNING,
        started_at=began,
        attempts=(Attempt(number=1, status=ExecutionStatus.RUNNING, started_at=began),),
    )
    await history.record([row])
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM executions")
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (0,)


async def test_an_attempt_that_begins_while_its_execution_is_closed_is_ended_with_it(
    database_url: str, history: PostgresHistory
) -> None:
    """The closing waits for the runner's lock on the row, and then sees what the runner began under it."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    uid = UUID(int=5)
    with psycopg.connect(database_url) as runner, psycopg.connect(database_url, autocommit=True) as watcher:
        runner.execute(
            "INSERT INTO executions (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at)"
            " VALUES (%(id)s, %(id)s, %(id)s, 'n', 't', 'http', %(slot)s, 'schedule', 'running', now())",
            {"id": uid, "slot": began},
        )
        runner.commit()
        runner.execute("SELECT 1 FROM executions FOR UPDATE")
        attempt = "INSERT INTO attempts (execution_id, slot, number, status) VALUES (%s, %s, 2, 'running')"
        runner.execute(attempt, [uid, began])
        closing = Closing(
            id=uid, namespace="n", status=ExecutionStatus.FAILED, reason="Evicted", message="m", finished_at=began
        )
        closed = asyncio.create_task(history.close([closing]))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await eventually(lambda: watcher.execute(waiting).fetchone() is not None)
        runner.commit()
        assert await closed == [uid]
    assert [attempt.reason for attempt in (await history.get(uid)).attempts] == ["Evicted"]


async def test_ping_of_a_database_without_schema(empty_database_url: str) -> None:
    """It answers, and still nothing can be recorded there."""
    history = PostgresHistory.from_url(empty_database_url)
    with pytest.raises(UnavailableError, match="run carillon-migrate upgrade"):
        await history.ping()
    await history.aclose()


def set_revision(url: str, revision: str) -> None:
    """Say that the schema is at a revision."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", [revision])


async def test_a_schema_of_an_earlier_version(database_url: str, history: PostgresHistory) -> None:
    """Ping names both revisions, and the mend."""
    set_revision(database_url, "0001")
    with pytest.raises(UnavailableError, match=f"0001.*{SCHEMA_REVISION}.*carillon-migrate upgrade"):
        await history.ping()


async def test_a_schema_of_a_later_version(
    database_url: str, history: PostgresHistory, caplog: pytest.LogCaptureFixture
) -> None:
    """What runs while the next version is rolled out, or after it was rolled back, goes on; the migrator leaves it."""
    set_revision(database_url, "9999")
    await history.ping()
    assert migrate.upgrade(database_url).current == "9999"
    assert "newer than this version" in caplog.text
    assert tables(database_url) == TABLES


def test_migrators_at_once(empty_database_url: str) -> None:
    """Each ends well and the schema is made once: the others wait for the first and find nothing to do."""
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
    """As long as somebody holds the lock, nothing is created."""
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
    """It says what it waits for, and gives up when its time is over."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with caplog.at_level(logging.WARNING), pytest.raises(UnavailableError, match="refused"):
        migrate.upgrade(f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/d", wait_seconds=0.2)
    assert {record.getMessage() for record in caplog.records} == {"waiting for the database"}
    assert PASSWORD not in str([record.__dict__ for record in caplog.records])


def command(*args: str, url: str | None) -> subprocess.CompletedProcess[str]:
    """Run ``carillon-migrate``."""
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    environment = {"PYTHONPATH": ":".join(sys.path), **measured, **({} if url is None else {"DATABASE_URL": url})}
    return subprocess.run(
        [sys.executable, "-m", "carillon_core.adapters.postgres", *args],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


def test_the_command(empty_database_url: str) -> None:
    """Behind, up, current, down again: what it prints and its exit codes."""
    steps = [
        (("current",), 1, f"base (newest: {SCHEMA_REVISION})"),
        (("upgrade",), 0, f"{SCHEMA_REVISION} (newest)"),
        (("current",), 0, f"{SCHEMA_REVISION} (newest)"),
        (("downgrade", "base"), 0, f"base (newest: {SCHEMA_REVISION})"),
    ]
    for args, want_code, want_output in steps:
        done = command(*args, url=empty_database_url)
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
    """On standard error, and with no traceback and no password."""
    done = command(*args, url=url)
    assert done.returncode == want_code
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert want in done.stderr
    assert "hush" not in done.stderr


def test_downgrade_to_an_unknown_revision(database_url: str) -> None:
    """It is a mistake of the caller's, told in a sentence."""
    done = command("downgrade", "4711", url=database_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "4711" in done.stderr
    assert "Traceback" not in done.stderr


FILL = """
INSERT INTO executions
    (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at, finished_at)
SELECT gen_random_uuid(), uuid_in(md5((n % 200)::text)::cstring), uuid_in(md5((n % 200)::text)::cstring),
       'ns-' || n % 100, 'task-' || n % 200, 'sleep',
       timestamptz '2026-01-01Z' + n * interval '1 second', 'schedule',
       CASE WHEN n % 1000 = 0 THEN 'running' WHEN n % 50 = 0 THEN 'failed' ELSE 'succeeded' END,
       now(), CASE WHEN n % 1000 = 0 THEN NULL ELSE now() END
FROM generate_series(1, 50000) AS n ORDER BY md5(n::text)
"""


@pytest.fixture
def filled_url(database_url: str) -> str:
    """Give a database of 50,000 executions."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("VACUUM ANALYZE executions")
    return database_url


async def test_the_order_of_open_executions_leans_on_no_index(filled_url: str) -> None:
    """Oldest first, even where the planner reads the whole table."""
    history = PostgresHistory.from_url(
        f"{filled_url}?options=-c%20enable_indexscan%3Doff%20-c%20enable_bitmapscan%3Doff"
    )
    rows = await history.open_executions()
    await history.aclose()
    assert len(rows) == 50
    assert rows == sorted(rows, key=lambda row: (row.slot, row.id))


async def test_an_outage_in_memory_is_as_one_of_the_database() -> None:
    """Tests of the apps simulate an outage by a word."""
    history = MemoryHistory()
    history.outage = "it burns"
    changes = [history.ping(), history.record([]), history.close([])]
    calls = [*changes, history.open_executions(), history.get(UUID(int=1)), history.list(ExecutionQuery())]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert str(outcome) == "database is unavailable: it burns"


@pytest.mark.parametrize("levels", [150, 230, 900])
async def test_a_result_however_deep_keeps_nobody_from_reading(
    database_url: str, history: PostgresHistory, levels: int
) -> None:
    """A plugin may return one: it is cut where nobody could be shown more, and the page is given as it is."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    record = ExecutionRecord(
        id=UUID(int=5),
        task_uid=str(UUID(int=1)),
        namespace="shop",
        task="report",
        task_type="plugin",
        slot=began,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.SUCCEEDED,
        created_at=began,
        started_at=began,
        finished_at=began,
    )
    await history.record([record])
    deep = '{"a":' * levels + "1" + "}" * levels
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE executions SET result = %s::text::jsonb WHERE id = %s", (deep, record.id))
    (found,) = (await history.list(ExecutionQuery())).items
    assert found == await history.get(record.id)
    shown = execution_view(found).model_dump_json()
    assert shown.count('"a":') == min(levels, DEEPEST)
