"""Attacks with the runners' database login: it can call its functions and do nothing else.

Each attack runs as the runners' role on a real Postgres, and afterwards
everything that is not the attacker's own is unchanged.
"""

from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from support.intruder import CALLS, REFUSED_TOKEN, Intruder, intruder, swapped
from support.postgres import with_user

__all__ = ["intruder"]


STATEMENTS = {
    "read executions": "SELECT * FROM executions",
    "read one column": "SELECT id FROM public.executions",
    "read a partition": "SELECT * FROM executions_default",
    "read attempts": "SELECT * FROM attempts",
    "read counters": "SELECT * FROM counters",
    "read the keys": "SELECT * FROM runner_keys",
    "read the revision": "SELECT * FROM alembic_version",
    "insert an execution": "INSERT INTO executions (id) VALUES (gen_random_uuid())",
    "alter an execution": "UPDATE executions SET status = 'failed'",
    "delete executions": "DELETE FROM executions",
    "empty a table": "TRUNCATE attempts",
    "alter an attempt": "UPDATE attempts SET status = 'failed'",
    "set a counter": "UPDATE counters SET value = 0",
    "add a key": "INSERT INTO runner_keys VALUES ('0', '', '', now())",
    "lock a table": "DO 'BEGIN LOCK TABLE executions; END'",
    "drop a table": "DROP TABLE counters",
    "add a column": "ALTER TABLE executions ADD COLUMN x int",
    "add a trigger": "CREATE TRIGGER t BEFORE INSERT ON counters EXECUTE FUNCTION carillon_runner.look()",
    "refer to a table": "CREATE TABLE x (id uuid REFERENCES executions)",
    "create a table": "CREATE TABLE x (i int)",
    "create a temporary table": "CREATE TEMPORARY TABLE executions (id uuid)",
    "create a function": "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN $1",
    "create one among its own": "CREATE FUNCTION carillon_runner.f() RETURNS int LANGUAGE sql RETURN 1",
    "create a temporary function": "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql RETURN 1",
    "create a schema": "CREATE SCHEMA mine",
    "replace a function": "ALTER FUNCTION carillon_runner.look SECURITY INVOKER",
    "call what the functions are made of": "SELECT carillon_runner.verified(%(token)s)",
    "write attempts past the guard": (
        "SELECT carillon_runner.put_attempts(null::carillon_runner.execution, 'p', '[]', now(), now())"
    ),
    "become the owner": "SET ROLE carillon",
    "become another for the session": "SET SESSION AUTHORIZATION carillon",
    "become a group": "SET ROLE pg_read_all_data",
    "grant itself a group": "GRANT pg_read_all_data TO CURRENT_USER",
    "grant itself a table": "GRANT SELECT ON executions TO CURRENT_USER",
    "make itself a superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "create a role": "CREATE ROLE mallory",
    "copy a table": "COPY executions TO STDOUT",
    "copy to a program": "COPY (SELECT 1) TO PROGRAM 'id'",
    "copy from a file": "COPY executions FROM '/etc/passwd'",
    "read a file": "SELECT pg_read_file('/etc/passwd')",
    "list a directory": "SELECT pg_ls_dir('.')",
    "import a file": "SELECT lo_import('/etc/passwd')",
    "read passwords": "SELECT * FROM pg_authid",
    "read the statistics of values": "SELECT * FROM pg_statistic",
    "run code": "LOAD '$libdir/plpgsql'",
    "switch checks off": "SET session_replication_role = replica",
    "alter the system": "ALTER SYSTEM SET log_statement = 'all'",
    "set off a replication": "SELECT pg_create_physical_replication_slot('x')",
    "set the owner's defaults": "ALTER DEFAULT PRIVILEGES FOR ROLE carillon GRANT ALL ON TABLES TO PUBLIC",
    "comment on a table": "COMMENT ON TABLE executions IS 'mine'",
}


def test_a_statement_of_ones_own_is_refused(intruder: Intruder, subtests: pytest.Subtests) -> None:
    """The role has no privilege beyond calling its functions."""
    before = intruder.others()
    for attack, statement in STATEMENTS.items():
        with subtests.test(attack), pytest.raises(errors.InsufficientPrivilege):
            intruder.run(statement)
    assert intruder.others() == before


def test_values_are_not_told_by_statistics_either(intruder: Intruder) -> None:
    """The planner's statistics show the role no values."""
    intruder.owner("ANALYZE")
    assert intruder.run("SELECT * FROM pg_stats WHERE schemaname = 'public'") == []


def test_others_large_objects_are_closed(intruder: Intruder) -> None:
    """Large objects of others cannot be read, written or deleted."""
    ((large,),) = intruder.owner("SELECT lo_from_bytea(0, 'secret')")
    for attack in ("SELECT lo_get({})", "SELECT lo_put({}, 0, 'x')", "SELECT lo_unlink({})"):
        with pytest.raises(errors.InsufficientPrivilege):
            intruder.run(attack.format(large))


def test_others_sessions_show_no_statement(intruder: Intruder) -> None:
    """Statements of the owner are hidden, and those of other runners do not contain their tokens."""
    with psycopg.connect(intruder.owner_url) as owner, psycopg.connect(intruder.url) as runner:
        owner.execute("SELECT 'the owner''s words'")
        runner.execute(CALLS["look"].encode(), {"token": intruder.victim_token})
        shown = intruder.run("SELECT coalesce(query, '') FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        text = " ".join(query for (query,) in shown)
        assert "carillon_runner.look" in text
        assert "the owner's" not in text
        assert intruder.victim_token[20:40] not in text
        with pytest.raises(errors.InsufficientPrivilege):
            intruder.run("SELECT pg_terminate_backend(%(pid)s::int)", pid=owner.info.backend_pid)


@pytest.mark.parametrize("path", ["mine, pg_catalog, public", "pg_temp, pg_catalog", '"$user", public, pg_catalog'])
def test_a_search_path_of_ones_own_leads_no_function_astray(intruder: Intruder, path: str) -> None:
    """The functions ignore the caller's search path, even if the role may create schemas and objects."""
    role = sql.Identifier(intruder.connection.info.user)
    with psycopg.connect(intruder.owner_url, autocommit=True) as owner:
        owner.execute(
            sql.SQL("GRANT CREATE, TEMPORARY ON DATABASE {} TO {}").format(sql.Identifier(owner.info.dbname), role)
        )
    intruder.run("CREATE SCHEMA mine")
    for body in (
        "FUNCTION mine.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN '\\x00'::bytea",
        "FUNCTION mine.now() RETURNS timestamptz LANGUAGE sql RETURN 'infinity'::timestamptz",
        "FUNCTION mine.string_to_array(text, text) RETURNS text[] LANGUAGE sql RETURN ARRAY['a', 'b', 'c']",
        "FUNCTION mine.never(bytea, bytea) RETURNS boolean LANGUAGE sql RETURN false",
        "OPERATOR mine.<> (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = mine.never)",
        "TABLE mine.executions (id uuid, slot timestamptz, status text, reason text, error text)",
        "TEMPORARY TABLE executions (id uuid, slot timestamptz, status text, reason text, error text)",
        "TEMPORARY TABLE runner_keys (id text, inner_pad bytea, outer_pad bytea, used_at timestamptz)",
        "TYPE pg_temp.jsonb AS (a int)",
    ):
        intruder.run(f"CREATE {body}")
    intruder.run(f"SET search_path = {path}")
    with pytest.raises(psycopg.Error) as refused:
        intruder.run(CALLS["look"], token=swapped(intruder))
    assert refused.value.sqlstate == REFUSED_TOKEN
    assert intruder.run(CALLS["look"])[0][0] == "running"


def test_the_login_of_another_user_is_not_enough(intruder: Intruder) -> None:
    """PUBLIC may not call the functions."""
    stranger = f"stranger_{uuid4().hex}"
    with psycopg.connect(intruder.owner_url, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(stranger)))
        try:
            with (
                psycopg.connect(with_user(intruder.url, stranger, "x")) as connection,
                pytest.raises(errors.InsufficientPrivilege),
            ):
                connection.execute(CALLS["look"].encode(), {"token": intruder.token})
        finally:
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(stranger)))
