"""``carillon-migrate api-role`` on a real Postgres: the API's privileges and their limits."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from carillon_api.__main__ import warn_of_privileges
from carillon_core.adapters.postgres import migrate
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.maintenance import maintain
from carillon_core.adapters.postgres.reports import PostgresReports
from carillon_core.adapters.postgres.roles import api_role, runner_role
from carillon_core.adapters.postgres.tables import metadata
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, ExecutionRecord, execution_id
from carillon_core.errors import SettingsError, UnavailableError
from carillon_core.ports import ExecutionQuery, ReportQuery
from support.postgres import drop_role, execute, user, with_user
from support.waiting import eventually

PASSWORD = "hunter2"  # noqa: S105  # of roles that are dropped after their test
WARNING = "the API's database user may change the whole history"
TASK = "11111111-1111-4111-8111-111111111111"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def api_url(database_url: str) -> Iterator[str]:
    """Give the URL of a role that does not exist yet; it is dropped after the test."""
    role = f"api_{uuid4().hex}"
    yield with_user(database_url, role, PASSWORD)
    if execute(database_url, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        drop_role(database_url, role)


def command(**urls: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, "-m", "carillon_core.adapters.postgres", "api-role"],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), **kept, **urls},
    )


def execution(days: int) -> ExecutionRecord:
    """Return an execution of this many days ago, whose first attempt failed."""
    slot = NOW - timedelta(days=days)
    ended = slot + timedelta(seconds=2)
    tried = Attempt(number=1, status=ExecutionStatus.FAILED, reason="DNS", started_at=slot, finished_at=ended)
    return ExecutionRecord(
        id=execution_id(TASK, slot, Cause.SCHEDULE),
        task_uid=TASK,
        namespace="prod",
        task="backup",
        task_type="http",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.FAILED,
        reason="DNS",
        created_at=slot,
        started_at=slot,
        finished_at=ended,
        attempts=(tried,),
    )


def test_the_command_makes_the_role_and_again_changes_its_password(database_url: str, api_url: str) -> None:
    """It prints what it did, without passwords; the role can log in with the last password."""
    done = command(DATABASE_URL=database_url, CARILLON_API_DATABASE_URL=api_url)
    assert (done.returncode, done.stderr) == (0, "")
    granted = (
        "SELECT on executions; SELECT on attempts; SELECT on task_revisions; SELECT on maintenance;"
        " SELECT on alembic_version; SELECT, INSERT on audit_events; SELECT, INSERT, UPDATE, DELETE on idempotency_keys"
    )
    assert done.stdout.splitlines() == [
        f"created the role {user(api_url)}",
        f"granted {granted}; revoked all other privileges",
        f"verified as {user(api_url)}: it cannot do anything else, or create objects",
    ]
    second = with_user(database_url, user(api_url), "another")
    done = command(DATABASE_URL=database_url, CARILLON_API_DATABASE_URL=second)
    assert done.stdout.splitlines()[0] == f"the role {user(api_url)} exists; set its password"
    assert PASSWORD not in done.stdout + done.stderr
    assert execute(second, "SELECT current_user::text") == [(user(api_url),)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(api_url)


CLOSED = {
    "record an execution": "INSERT INTO executions DEFAULT VALUES",
    "alter an execution": "UPDATE executions SET status = 'succeeded'",
    "lock an execution": "SELECT FROM executions FOR UPDATE",
    "delete executions": "DELETE FROM executions",
    "empty the history": "TRUNCATE executions, attempts",
    "write a month past its table": "INSERT INTO executions_default DEFAULT VALUES",
    "read a month past its table": "SELECT FROM executions_default",
    "record an attempt": "INSERT INTO attempts DEFAULT VALUES",
    "alter an attempt": "UPDATE attempts SET status = 'succeeded'",
    "delete attempts": "DELETE FROM attempts",
    "alter the specs of the past": "UPDATE task_revisions SET manager = 'x'",
    "alter what was audited": "UPDATE audit_events SET subject = 'somebody else'",
    "alter what is audited twice": (
        "INSERT INTO audit_events (id) VALUES (gen_random_uuid()) ON CONFLICT (id) DO UPDATE SET subject = 'x'"
    ),
    "delete what was audited": "DELETE FROM audit_events",
    "empty the audit": "TRUNCATE audit_events",
    "empty the keys of idempotency": "TRUNCATE idempotency_keys",
    "say that the history is maintained": "UPDATE maintenance SET succeeded_at = now()",
    "say that the schema is another": "UPDATE alembic_version SET version_num = '9999'",
    "read the keys of the runners' tokens": "SELECT inner_pad FROM runner_keys",
    "make a key of tokens": "INSERT INTO runner_keys VALUES ('k', '', '', now())",
    "read counters": "SELECT FROM counters",
    "set a counter": "UPDATE counters SET value = 0",
    "call what runners call": "SELECT carillon_runner.look('')",
    "close an execution as a runner": "SELECT carillon_runner.close_row('', '', 'failed', '', '', NULL, now(), '[]')",
    "call what the runners' functions are made of": "SELECT carillon_runner.verified('')",
    "make a table": "CREATE TABLE mine (i int)",
    "make a temporary table": "CREATE TEMPORARY TABLE mine (i int)",
    "make a schema": "CREATE SCHEMA mine",
    "make a function": "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
    "make a month": "CREATE TABLE past PARTITION OF executions FOR VALUES FROM ('2000-01-01') TO ('2000-02-01')",
    "take a month off": "ALTER TABLE executions DETACH PARTITION executions_default",
    "drop a month": "DROP TABLE executions_default",
    "drop the history": "DROP TABLE executions, attempts",
    "drop the audit": "DROP TABLE audit_events",
    "change a table": "ALTER TABLE audit_events ADD COLUMN mine int",
    "make an index": "CREATE INDEX ON executions (task)",
    "act when something is written": "CREATE TRIGGER t BEFORE INSERT ON audit_events EXECUTE FUNCTION now()",
    "give away what it has not": "GRANT SELECT ON runner_keys TO PUBLIC",
    "make a role": "CREATE ROLE mine",
    "make a database": "CREATE DATABASE mine",
    "write the server's files": "COPY executions TO '/tmp/history'",
    "run a program on the server": "COPY (SELECT 1) TO PROGRAM 'true'",
    "read the passwords of roles": "SELECT rolpassword FROM pg_authid",
    "hold up writers": "DO $$ BEGIN LOCK TABLE executions IN SHARE MODE; END $$",
}


@pytest.mark.parametrize("what", CLOSED)
def test_what_the_api_does_not_do_it_may_not_do(api_database_url: str, what: str) -> None:
    """Postgres reports insufficient privileges, SQLSTATE 42501."""
    with pytest.raises(psycopg.Error) as refused:
        execute(api_database_url, CLOSED[what])
    assert refused.value.sqlstate == "42501", str(refused.value)


def test_no_table_is_forgotten() -> None:
    """A new table is either usable by the API, or listed here."""
    closed = {"counters", "runner_keys"}
    assert {*api_role.TABLES, *closed} == {*metadata.tables, "alembic_version"}


@asynccontextmanager
async def histories(owner_url: str, api_url: str) -> AsyncIterator[tuple[PostgresHistory, PostgresHistory]]:
    """Give the history with the operator's login and with the API's."""
    async with (
        aclosing(PostgresHistory.from_url(owner_url)) as operators,
        aclosing(PostgresHistory.from_url(api_url)) as apis,
    ):
        yield operators, apis


async def test_the_api_reads_all_of_the_history(database_url: str, api_database_url: str) -> None:
    """This holds for each query, of months from before and after the role's creation, and of no month.

    What the audit and the keys of idempotency need is asked by their contracts, as this role.
    """
    far = 200
    async with histories(database_url, api_database_url) as (operators, apis):
        rows = [execution(days) for days in (0, 40, far)]
        await operators.record(rows)
        await maintain(database_url, lambda: NOW, 0)
        await maintain(database_url, lambda: NOW + timedelta(days=far), 0)
        rows.append(execution(-far))  # its month was created later, and was empty until now
        await operators.record(rows[-1:])
        await apis.ping()
        assert [(await apis.get(row.id)).attempts for row in rows] == [row.attempts for row in rows]
        for query in (ExecutionQuery(), ExecutionQuery(dead_letters=True), ExecutionQuery(namespaces=("prod",))):
            found = (await apis.list(query)).items
            assert {row.id for row in found} == {row.id for row in rows}
        assert await apis.open_executions() == []
        summary = await apis.summary(NOW - timedelta(days=far + 1))
        assert summary == await operators.summary(NOW - timedelta(days=far + 1))
        assert (summary.dead_letters, summary.maintenance_error) == (len(rows), None)
        with pytest.raises(UnavailableError, match="permission denied for table executions"):
            await apis.record([execution(1)])
    async with aclosing(PostgresReports.from_url(api_database_url)) as reports:
        span = ReportQuery(since=NOW - timedelta(days=far + 1), until=NOW + timedelta(days=far + 1))
        assert [mark.id for mark in await reports.marks(span, 10)] == [
            row.id for row in sorted(rows, key=lambda row: row.slot, reverse=True)
        ]
        assert (await reports.statistics(span, 0)).by_status == {ExecutionStatus.FAILED: len(rows)}


async def test_after_a_migration_the_command_grants_anew(database_url: str, api_url: str) -> None:
    """A migration may recreate a table without its privileges; until the command runs, the API reports the lack."""
    api_role.prepare(database_url, api_url)
    migrate.downgrade(database_url, "0002")
    migrate.upgrade(database_url)
    async with histories(database_url, api_url) as (operators, apis):
        await operators.record([execution(0)])
        with pytest.raises(UnavailableError, match="permission denied"):
            await apis.list(ExecutionQuery())
        api_role.prepare(database_url, api_url)
        assert len((await apis.list(ExecutionQuery())).items) == 1


def test_a_schema_that_is_too_old_is_to_be_migrated_first(database_url: str, api_url: str) -> None:
    """If a table that the API uses is missing, the error names the command, and no role is created."""
    migrate.downgrade(database_url, "0005")
    with pytest.raises(UnavailableError, match="run carillon-migrate upgrade"):
        api_role.prepare(database_url, api_url)
    assert not execute(database_url, "SELECT FROM pg_roles WHERE rolname = %s", user(api_url))


def test_what_was_granted_before_is_taken_away(database_url: str, api_url: str) -> None:
    """This covers the role's own privileges, on columns as well, and those of PUBLIC."""
    role = user(api_url)
    execute(database_url, f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", role)
    execute(database_url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO {}", role)
    execute(database_url, "GRANT UPDATE (subject) ON audit_events TO {}", role)
    execute(database_url, "GRANT CREATE ON SCHEMA public TO {}", role)
    execute(database_url, "GRANT UPDATE, DELETE ON audit_events TO PUBLIC")
    api_role.prepare(database_url, api_url)
    for statement in (CLOSED["alter what was audited"], CLOSED["read counters"], CLOSED["make a table"]):
        with pytest.raises(errors.InsufficientPrivilege):
            execute(api_url, statement)


def test_what_somebody_else_has_granted_is_found_by_the_verification(database_url: str, api_url: str) -> None:
    """The owner cannot revoke it; the error names the table and the excess privilege."""
    api_role.prepare(database_url, api_url)
    steward = f"steward_{uuid4().hex}"
    execute(database_url, f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", steward)
    try:
        execute(database_url, "GRANT SELECT, UPDATE ON executions TO {} WITH GRANT OPTION", steward)
        execute(with_user(database_url, steward, PASSWORD), "GRANT SELECT, UPDATE ON executions TO {}", user(api_url))
        with pytest.raises(
            SettingsError, match="may use the table executions for UPDATE; revoke it as the role that granted it"
        ):
            api_role.prepare(database_url, api_url)
    finally:
        drop_granted(database_url, steward)


def drop_granted(url: str, role: str) -> None:
    """Drop a role, and the privileges that it granted."""
    execute(url, "REVOKE ALL ON executions FROM {} CASCADE", role)
    drop_role(url, role)


def test_the_runners_role_is_not_taken_nor_is_the_apis(
    database_url: str, api_database_url: str, runner_database_url: str
) -> None:
    """Using one user for both is refused, and both roles are unchanged."""
    with pytest.raises(SettingsError, match="is the runners' role; use a role for the API only"):
        api_role.prepare(database_url, runner_database_url)
    with pytest.raises(SettingsError, match="is the API's role; use a role for runners only"):
        runner_role.prepare(database_url, api_database_url)
    for prepare, url in ((runner_role.prepare, runner_database_url), (api_role.prepare, api_database_url)):
        assert "exists; set its password" in prepare(database_url, url)[0]


BAD = {
    "the owner": (
        "postgresql://carillon:hunter2@h/d",
        'must have a user for the API only; "carillon" is the user of DATABASE_URL',
    ),
    "no password": ("postgresql://api@h/d", "^CARILLON_API_DATABASE_URL: must contain a user and a password"),
    "another database": ("mysql://api:hunter2@h/d", "^CARILLON_API_DATABASE_URL: must begin with postgresql://"),
    "no URL": ("hunter2", "^CARILLON_API_DATABASE_URL: must be a URL such as"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_url_that_names_no_role_for_the_api_is_refused(case: str) -> None:
    """The refusal comes before any change, and does not contain the password."""
    url, message = BAD[case]
    with pytest.raises(SettingsError, match=message) as told:
        api_role.prepare("postgresql://carillon:x@127.0.0.1:9/carillon", url)
    assert PASSWORD not in str(told.value)


def test_the_command_without_a_url_names_the_variable_and_the_charts_key() -> None:
    """The exit code is 2, so that the chart's Job does not retry."""
    done = command(DATABASE_URL="postgresql://u:p@h/d")
    assert done.returncode == 2
    assert "CARILLON_API_DATABASE_URL: must be set to" in done.stderr
    assert "the key api-database-url" in done.stderr


def test_the_tables_may_be_in_any_schema(empty_database_url: str) -> None:
    """It is the first schema of the owner's search path; the role finds it, and gets no privileges in others."""
    execute(empty_database_url, 'CREATE SCHEMA "History"')
    path = "?options=-csearch_path%3D%22History%22"
    migrate.upgrade(f"{empty_database_url}{path}")
    url = with_user(empty_database_url, f"api_{uuid4().hex}", PASSWORD)
    for _ in range(2):  # and again: it is repaired, not refused
        api_role.prepare(f"{empty_database_url}{path}", url)
        assert execute(url, "SELECT count(*) FROM executions") == [(0,)]
    drop_role(empty_database_url, user(url))


async def test_the_api_warns_of_a_login_that_may_write_the_history(
    database_url: str, api_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning appears once, with the fix; the API's own role causes none."""
    await warn_of_privileges(api_database_url)
    assert WARNING not in caplog.text
    await warn_of_privileges(database_url)
    (warning,) = (record for record in caplog.records if record.message == WARNING)
    assert "carillon-migrate api-role" in str(vars(warning)["fields"])


async def test_a_database_that_is_away_is_asked_again() -> None:
    """The check is retried until the database answers."""
    asked = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgresql://api:{PASSWORD}@127.0.0.1:{port}/d?sslmode=disable&gssencmode=disable"
        looking = asyncio.create_task(warn_of_privileges(url, seconds=0.01))
        await eventually(lambda: asked > 1)
        assert looking.cancel(), "it is still looking"
