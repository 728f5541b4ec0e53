"""``carillon-migrate runner-role`` on a real Postgres: what it grants, revokes and refuses."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from carillon_core.adapters.postgres import migrate
from carillon_core.adapters.postgres.engine import credentials
from carillon_core.adapters.postgres.roles import runner_role
from carillon_core.adapters.postgres.roles.namespace_login import NamespaceLogins, namespace_url
from carillon_core.adapters.postgres.runner_keys import KEPT
from carillon_core.contract import ExitCode
from carillon_core.errors import SettingsError, UnavailableError
from support.postgres import drop_role, execute, user, with_user
from support.runner import SLOT, TOKEN_KEY, Runners, register

PASSWORD = "hunter2"  # noqa: S105  # of roles that are dropped after their test


@pytest.fixture
def runner_url(database_url: str) -> Iterator[str]:
    """Give the URL of a role that does not exist yet; it is dropped after the test."""
    role = f"runner_{uuid4().hex}"
    yield with_user(database_url, role, PASSWORD)
    if execute(database_url, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        drop_role(database_url, role)


def command(*arguments: str, **urls: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, "-m", "carillon_core.adapters.postgres", "runner-role", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), **kept, **urls},
    )


def test_the_command_makes_the_role_and_again_changes_its_password(database_url: str, runner_url: str) -> None:
    """It prints what it did, without passwords; the role can log in with the last password."""
    done = command(DATABASE_URL=database_url, CARILLON_RUNNER_DATABASE_URL=runner_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"created the role {user(runner_url)}",
        "granted the functions of the schema carillon_runner; revoked all other privileges",
        f"verified as {user(runner_url)}: it cannot read or write tables, or create objects; {CLAIMED}",
        LARGE_OBJECTS,
    ]
    second = with_user(database_url, user(runner_url), "another")
    done = command(DATABASE_URL=database_url, CARILLON_RUNNER_DATABASE_URL=second)
    assert done.stdout.splitlines()[0] == f"the role {user(runner_url)} exists; set its password"
    assert PASSWORD not in done.stdout + done.stderr
    assert execute(second, "SELECT current_user::text") == [(user(runner_url),)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(runner_url)


def test_the_role_has_bounds(database_url: str, runner_url: str) -> None:
    """It has no attributes and no inheritance; time limits keep a runner that hangs from locking rows for long."""
    runner_role.prepare(database_url, runner_url)
    powers = "rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
    found = execute(database_url, f"SELECT {powers} FROM pg_roles WHERE rolname = %s", user(runner_url))  # noqa: S608  # the columns above
    assert found == [(False,) * 6]
    for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
        assert execute(runner_url, "SELECT current_setting(%s)", setting) == [("1min",)]


def test_what_is_the_apis_is_taken_from_the_runners_role(database_url: str, runner_url: str) -> None:
    """A role with both kinds of privileges stays the runners', and the others are revoked."""
    runner_role.prepare(database_url, runner_url)
    execute(database_url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO {}", user(runner_url))
    runner_role.prepare(database_url, runner_url)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(runner_url, "SELECT FROM idempotency_keys")


def test_what_was_granted_before_is_taken_away(database_url: str, runner_url: str) -> None:
    """The role of earlier versions could write the tables; privileges of PUBLIC are revoked, too."""
    role = user(runner_url)
    execute(database_url, f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", role)
    execute(database_url, "GRANT SELECT, INSERT, UPDATE ON executions, counters, attempts TO {}", role)
    execute(database_url, "GRANT CREATE ON SCHEMA public TO {}", role)
    execute(database_url, "GRANT SELECT ON executions TO PUBLIC")
    runner_role.prepare(database_url, runner_url)
    for table in ("executions", "attempts", "counters", "runner_keys", "executions_default"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            execute(runner_url, f"SELECT * FROM {table}")  # noqa: S608  # from the line above
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(runner_url, "CREATE TABLE mine (i int)")


CLAIMED = "a claim was made and rolled back"
LARGE_OBJECTS = (
    "it can create large objects, which only a superuser can prevent: REVOKE EXECUTE ON FUNCTION lo_open(oid,integer),"
    " lowrite(integer,bytea), lo_creat(integer), lo_create(oid), lo_truncate(integer,integer),"
    " lo_truncate64(integer,bigint), lo_from_bytea(oid,bytea), lo_put(oid,bigint,bytea) FROM PUBLIC"
)


def test_a_runner_that_changes_its_own_roles_defaults_stops_nobody(runners: Runners, runner_database_url: str) -> None:
    """Postgres lets it; sessions of ours set what they need themselves, and ``runner-role`` takes it back."""
    defaults = {
        "default_transaction_read_only": "on",
        "default_transaction_isolation": "serializable",
        "statement_timeout": "1ms",
        "lock_timeout": "1ms",
        "search_path": "nowhere",
        "idle_session_timeout": "1ms",
    }
    with psycopg.connect(runner_database_url) as runner:
        for name, value in defaults.items():
            for where in ("", sql.SQL("IN DATABASE {}").format(sql.Identifier(runner.info.dbname)).as_string()):
                runner.execute(f"ALTER ROLE CURRENT_USER {where} SET {name} = '{value}'".encode())
    assert runners.start({"sum": {"a": 1, "b": 2}}).wait() == ExitCode.SUCCEEDED
    runner_role.prepare(runners.database_url, runner_database_url)
    for name, value in defaults.items():
        assert execute(runner_database_url, "SELECT current_setting(%s)", name) != [(value,)]


def test_the_verification_is_a_claim_of_which_nothing_stays(database_url: str, runner_url: str) -> None:
    """Neither a row nor a key; and where no execution can be claimed, it fails."""
    runner_role.prepare(database_url, runner_url)
    assert execute(database_url, "SELECT (SELECT count(*) FROM executions), (SELECT count(*) FROM runner_keys)") == [
        (0, 0)
    ]
    execute(database_url, "ALTER TABLE executions ADD CONSTRAINT nothing_more CHECK (false) NOT VALID")
    with pytest.raises(SettingsError, match=r"cannot claim an execution: .*nothing_more"):
        runner_role.prepare(database_url, runner_url)
    assert execute(database_url, "SELECT count(*) FROM runner_keys") == [(0,)]


def test_the_roles_connections_are_half_of_the_servers(database_url: str, runner_url: str) -> None:
    """So that one namespace cannot lock operator and API out of Postgres."""
    runner_role.prepare(database_url, runner_url)
    wanted = "SELECT setting::int / 2 FROM pg_settings WHERE name = 'max_connections'"
    limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"
    assert execute(database_url, limit, user(runner_url)) == execute(database_url, wanted)


def test_each_namespace_can_have_a_login_of_its_own(
    database_url: str, runner_url: str, runners: Runners, namespaces: dict[str, str]
) -> None:
    """Its runners record with it; its password is not another's, and its connections are an eighth of the server's."""
    done = command(
        *(part for name in namespaces for part in ("--namespace", name)),
        DATABASE_URL=database_url,
        CARILLON_RUNNER_DATABASE_URL=runner_url,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for number, url in enumerate(namespaces.values()):
        assert f"created the role {user(url)}" in done.stdout.splitlines()
        slot = SLOT + timedelta(hours=number)
        assert runners.start({"sum": {"a": 1, "b": 2}}, url=url, slot=slot).wait() == ExitCode.SUCCEEDED
    assert PASSWORD not in done.stdout
    (_, one), (_, other) = namespaces.items()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(with_user(other, user(one), credentials(other)[1]))
    limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"
    wanted = "SELECT setting::int / 8 FROM pg_settings WHERE name = 'max_connections'"
    assert execute(database_url, limit, user(one)) == execute(database_url, wanted)
    assert execute(database_url, limit, user(runner_url)) == [], "the shared login is not needed"


async def test_a_namespace_without_a_login_is_noticed(
    database_url: str, runner_url: str, namespaces: dict[str, str]
) -> None:
    """Before its first launch; not while the database is away, when runners wait for it anyway."""
    (name, *_) = namespaces
    logins = NamespaceLogins(database_url, runner_url)
    assert await logins.is_missing(name)
    runner_role.prepare_namespace(database_url, runner_url, name)
    assert not await logins.is_missing(name)
    assert not await NamespaceLogins("postgresql://u:p@127.0.0.1:1/none", runner_url).is_missing("elsewhere")


@pytest.fixture
def namespaces(database_url: str, runner_url: str) -> Iterator[dict[str, str]]:
    """Give two namespaces with the URLs of their runners; the roles are dropped after the test."""
    made = {name: namespace_url(runner_url, name) for name in ("shop", "a-team-whose-name-is-long-and-more")}
    yield made
    for url in made.values():
        if execute(database_url, "SELECT 1 FROM pg_roles WHERE rolname = %s", user(url)):
            drop_role(database_url, user(url))


EXCESSES = {
    "may use the table other.books": (
        "CREATE SCHEMA other; CREATE TABLE other.books (title text); GRANT SELECT (title) ON other.books TO PUBLIC"
    ),
    "may use the sequence other.numbers": (
        "CREATE SCHEMA other; CREATE SEQUENCE other.numbers; GRANT USAGE ON SEQUENCE other.numbers TO PUBLIC"
    ),
    "may call all_of_it(), which runs as its owner": (
        "CREATE FUNCTION all_of_it() RETURNS bigint LANGUAGE sql SECURITY DEFINER RETURN 1"
    ),
}


@pytest.mark.parametrize("excess", EXCESSES)
def test_what_is_not_carillons_to_revoke_is_found_by_the_verification(
    database_url: str, runner_url: str, excess: str
) -> None:
    """The command fails, and names the excess privileges."""
    runner_role.prepare(database_url, runner_url)
    with psycopg.connect(database_url) as owner:
        owner.execute(EXCESSES[excess].encode())
    done = command(DATABASE_URL=database_url, CARILLON_RUNNER_DATABASE_URL=runner_url)
    assert done.returncode == 2
    assert (
        f"error: CARILLON_RUNNER_DATABASE_URL: {user(runner_url)} {excess}; revoke it as the role that granted it"
        in done.stderr
    )
    assert PASSWORD not in done.stderr


def test_a_role_that_may_do_more_is_not_taken(database_url: str, runner_url: str) -> None:
    """If a user's own role is named by mistake, it keeps its privileges and its password."""
    execute(database_url, "CREATE ROLE {} LOGIN CREATEDB PASSWORD 'kept'", user(runner_url))
    with pytest.raises(SettingsError, match="may create databases; use a role for runners only"):
        runner_role.prepare(database_url, runner_url)
    assert execute(with_user(database_url, user(runner_url), "kept"), "SELECT 1") == [(1,)]


def test_a_member_of_a_group_is_not_taken(database_url: str, runner_url: str) -> None:
    """It could act as the group."""
    group = f"group_{uuid4().hex}"
    execute(database_url, "CREATE ROLE {}", group)
    execute(database_url, "CREATE ROLE {} LOGIN", user(runner_url))
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(user(runner_url))))
    with pytest.raises(SettingsError, match=f"is a member of {group}"):
        runner_role.prepare(database_url, runner_url)
    drop_role(database_url, group)


def test_an_owner_that_may_create_no_role_is_told_what_an_administrator_has_to_run(
    database_url: str, runner_url: str
) -> None:
    """After the administrator has run it, the command does the rest; the administrator sets the password."""
    owner = f"owner_{uuid4().hex}"
    execute(database_url, f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", owner)
    own_url = with_user(database_url, owner, PASSWORD)
    try:
        migrate.downgrade(database_url, "base")
        execute(database_url, "DROP TABLE alembic_version")
        execute(database_url, "GRANT CREATE ON SCHEMA public TO {}", owner)
        with psycopg.connect(database_url, autocommit=True) as administrator:
            name = sql.Identifier(administrator.info.dbname)
            administrator.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(name, sql.Identifier(owner)))
            administrator.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))
        migrate.upgrade(own_url)
        with pytest.raises(
            SettingsError, match="ask an administrator to run this, then try again: CREATE ROLE"
        ) as told:
            runner_role.prepare(own_url, runner_url)
        assert PASSWORD not in str(told.value)
        execute(database_url, f"CREATE ROLE {{}} LOGIN NOINHERIT PASSWORD '{PASSWORD}'", user(runner_url))
        assert "its password is unchanged" in runner_role.prepare(own_url, runner_url)[0]
    finally:
        drop_role(database_url, owner)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql://carillon:hunter2@h/d",
            'must have a user for runners only; "carillon" is the user of DATABASE_URL',
        ),
        ("postgresql://runner@h/d", "must contain a user and a password"),
        ("mysql://runner:hunter2@h/d", "^CARILLON_RUNNER_DATABASE_URL: must begin with postgresql://"),
        ("hunter2", "^CARILLON_RUNNER_DATABASE_URL: must be a URL such as"),
    ],
)
def test_a_url_that_names_no_role_for_runners_is_refused(url: str, message: str) -> None:
    """The refusal comes before any change, and does not contain the password."""
    with pytest.raises(SettingsError, match=message) as told:
        runner_role.prepare("postgresql://carillon:x@127.0.0.1:9/carillon", url)
    assert PASSWORD not in str(told.value)


def test_the_command_without_a_url_names_the_variable() -> None:
    """This holds for both variables."""
    assert "DATABASE_URL: must be set to" in command().stderr
    done = command(DATABASE_URL="postgresql://u:p@h/d")
    assert (done.returncode, "CARILLON_RUNNER_DATABASE_URL: must be set to" in done.stderr) == (2, True)


def test_a_database_without_the_functions_is_to_be_migrated_first(empty_database_url: str) -> None:
    """The error names the command."""
    with pytest.raises(UnavailableError, match="run carillon-migrate upgrade"):
        runner_role.prepare(empty_database_url, with_user(empty_database_url, "nobody_yet", PASSWORD))


def test_a_login_that_is_refused_says_so(database_url: str, runner_url: str) -> None:
    """For example, a role may have lost its login after the verification."""
    runner_role.prepare(database_url, runner_url)
    with psycopg.connect(database_url, autocommit=True) as owner:
        role = sql.Identifier(user(runner_url))
        owner.execute(sql.SQL("ALTER ROLE {} VALID UNTIL '2020-01-01'").format(role))
    with pytest.raises(SettingsError, match=r"cannot log in: .*password authentication failed"):
        runner_role.prepare(database_url, runner_url)


def test_back_and_forth_the_functions_go_and_come(database_url: str, runner_url: str) -> None:
    """After a downgrade everything is as before; after the upgrade, the command grants the privileges again."""
    runner_role.prepare(database_url, runner_url)
    migrate.downgrade(database_url, "0003")
    assert execute(database_url, "SELECT to_regclass('runner_keys'), to_regnamespace('carillon_runner')") == [
        (None, None)
    ]
    migrate.upgrade(database_url)
    runner_role.prepare(database_url, runner_url)


def test_the_tables_may_be_in_any_schema(empty_database_url: str) -> None:
    """It is the first schema of the owner's search path; the functions are where runners expect them."""
    execute(empty_database_url, "CREATE SCHEMA history")
    url = f"{empty_database_url}?options=-csearch_path%3Dhistory"
    migrate.upgrade(url)
    register(url, TOKEN_KEY)
    runner = with_user(empty_database_url, f"runner_{uuid4().hex}", PASSWORD)
    runner_role.prepare(url, runner)
    uid = str(uuid4())
    names = dict.fromkeys(("namespace", "task", "task_type", "cause", "job_name"), "x")
    token = TOKEN_KEY.token({"id": uid, "task_uid": uid, "origin": uid, "slot": "2026-01-01T00:00:00Z", **names})
    assert execute(runner, "SELECT carillon_runner.claim(%s, 'pod') IS NOT NULL", token) == [(True,)]
    assert execute(url, "SELECT id::text FROM history.executions") == [(uid,)]
    drop_role(empty_database_url, user(runner))


def test_what_a_url_says_besides_is_read_as_everywhere_else(database_url: str, runner_url: str) -> None:
    """A space in its options is read as a space, not as a plus; all programs read the same URL."""
    given = f"{database_url}{'&' if '?' in database_url else '?'}options=-c%20search_path%3Dpublic"
    assert migrate.current(given).is_head
    assert runner_role.prepare(given, runner_url)


def test_a_key_is_kept_as_long_in_python_as_in_sql(database_url: str) -> None:
    """The value is defined in two places."""
    ((source,),) = execute(database_url, "SELECT prosrc FROM pg_proc WHERE proname = 'verified'")
    assert f"interval '{KEPT.days} days'" in str(source)
