"""What somebody can do who has the runners' Secret, and the token of one execution: that execution's record, no more.

Each attack is made as the runners' role on a real Postgres, and afterwards
everything that is not the attacker's own is as it was.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql

from carillon_core.domain.launch.execution_token import TokenKey
from support.postgres import with_user
from support.runner import SLOT, TOKEN_KEY, register

POD = "report-1-x"
REFUSED_TOKEN = "RT001"  # noqa: S105  # an SQLSTATE
UNKNOWN_KEY = "RT002"
ATTEMPTS = '[{"number": 1, "status": "succeeded"}]'


def payload(**changed: Any) -> dict[str, Any]:
    """Return what the token of an execution says."""
    uid = str(uuid4())
    return {
        "id": str(uuid4()),
        "task_uid": uid,
        "origin": uid,
        "namespace": "shop",
        "task": "report",
        "task_type": "counter",
        "slot": SLOT.isoformat(),
        "cause": "schedule",
        "job_name": "report-1",
        "counter": "report",
        **changed,
    }


@dataclass
class Intruder:
    """Somebody with the runners' login and the token of an execution that runs; and a victim beside it."""

    connection: psycopg.Connection[tuple[Any, ...]]
    url: str
    owner_url: str
    own: dict[str, Any]
    token: str
    victim: dict[str, Any]
    victim_token: str

    def run(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        """Execute a statement, with the token unless another is given."""
        done = self.connection.execute(statement.encode(), {"token": self.token, "pod": POD, "victim": POD, **given})
        return done.fetchall() if done.description else []

    def owner(self, statement: str, *given: object) -> list[tuple[Any, ...]]:
        """Execute a statement as the owner."""
        with psycopg.connect(self.owner_url) as connection:
            done = connection.execute(statement.encode(), given)
            return done.fetchall() if done.description else []

    def others(self) -> list[tuple[Any, ...]]:
        """Return all that is not the attacker's own."""
        own = self.own["id"]
        return [
            *self.owner("SELECT to_jsonb(e) FROM executions AS e WHERE id <> %s ORDER BY id", own),
            *self.owner("SELECT to_jsonb(a) FROM attempts AS a WHERE execution_id <> %s ORDER BY execution_id", own),
            *self.owner("SELECT to_jsonb(c) FROM counters AS c ORDER BY namespace, name"),
            *self.owner("SELECT to_jsonb(k) - 'used_at' FROM runner_keys AS k ORDER BY id"),
        ]


@pytest.fixture
def intruder(database_url: str, runner_database_url: str) -> Iterator[Intruder]:
    """Give an attacker whose own execution runs, and a victim's that does."""
    register(database_url, TOKEN_KEY)
    own, victim = payload(), payload(namespace="bank", slot="2026-01-01T00:06:00+00:00")
    with psycopg.connect(runner_database_url, autocommit=True) as connection:
        made = Intruder(
            connection=connection,
            url=runner_database_url,
            owner_url=database_url,
            own=own,
            token=TOKEN_KEY.token(own),
            victim=victim,
            victim_token=TOKEN_KEY.token(victim),
        )
        made.run("SELECT carillon_runner.claim(%(token)s, %(pod)s)")
        made.run("SELECT carillon_runner.claim(%(token)s, %(pod)s)", token=made.victim_token)
        made.owner("INSERT INTO counters VALUES ('bank', 'report', 7, now()), ('shop', 'till', 7, now())")
        yield made


def forged(intruder: Intruder, **changed: Any) -> str:
    """Return the attacker's token with another payload under its own signature."""
    key, _, mac = intruder.token.split(".")
    encoded = base64.b64encode(json.dumps({**intruder.own, **changed}).encode()).decode()
    return f"{key}.{encoded}.{mac}"


def signed_by_hand(intruder: Intruder, key: bytes) -> str:
    """Return a token of the victim under the known key's id, signed with something that the attacker has."""
    head = f"{TOKEN_KEY.id}.{intruder.victim_token.split('.')[1]}"
    return f"{head}.{hmac.new(key, head.encode(), hashlib.sha256).hexdigest()}"


def swapped(intruder: Intruder) -> str:
    """Return the victim's payload with the attacker's signature."""
    return ".".join((*intruder.victim_token.split(".")[:2], intruder.token.split(".")[2]))


TOKENS: dict[str, Callable[[Intruder], str | None]] = {
    "none": lambda _: None,
    "an empty one": lambda _: "",
    "points alone": lambda _: "..",
    "another execution's id under its own signature": lambda i: forged(i, id=i.victim["id"]),
    "another namespace under its own signature": lambda i: forged(i, namespace="bank"),
    "the victim's payload with its own signature": swapped,
    "one without its signature": lambda i: i.token.rpartition(".")[0],
    "one that is cut": lambda i: i.token[:-1],
    "one with something behind it": lambda i: i.token + ".00",
    "one in capitals": lambda i: i.token.upper(),
    "one with a line's end in it": lambda i: i.token.replace(".", ".\n", 1),
    "one that is signed with nothing": lambda i: signed_by_hand(i, b""),
    "one that is signed with the key's id": lambda i: signed_by_hand(i, TOKEN_KEY.id.encode()),
    "one that is signed with the login's password": lambda i: signed_by_hand(i, i.url.encode()),
    "SQL": lambda _: "' OR true; UPDATE executions SET status = 'failed'; --",
    "a long one": lambda i: i.token + "A" * 100_000,
}
CALLS = {
    "claim": "SELECT carillon_runner.claim(%(token)s, %(pod)s)",
    "look": "SELECT * FROM carillon_runner.look(%(token)s)",
    "lock_row": "SELECT * FROM carillon_runner.lock_row(%(token)s)",
    "last_attempt": "SELECT * FROM carillon_runner.last_attempt(%(token)s)",
    "take_over": "SELECT carillon_runner.take_over(%(token)s, 'mine', 2, 'e')",
    "close_lost": "SELECT carillon_runner.close_lost(%(token)s, 'mine', 'e')",
    "save_attempts": f"SELECT carillon_runner.save_attempts(%(token)s, %(pod)s, '{ATTEMPTS}')",
    "close_row": f"SELECT carillon_runner.close_row(%(token)s, %(pod)s, 'failed', 'r', 'e', null, now(), '{ATTEMPTS}')",
    "increment": f"SELECT carillon_runner.increment(%(token)s, %(pod)s, 'report', '{ATTEMPTS}')",
}


def test_a_token_that_the_operator_did_not_make_is_refused_by_every_function(
    intruder: Intruder, subtests: pytest.Subtests
) -> None:
    """Whatever is wrong with it, and nothing has changed."""
    before = intruder.others()
    for what, make in TOKENS.items():
        with subtests.test(what):
            for call in CALLS.values():
                with pytest.raises(psycopg.Error) as refused:
                    intruder.run(call, token=make(intruder))
                assert refused.value.sqlstate == REFUSED_TOKEN
    assert intruder.others() == before


def test_every_function_that_the_role_may_call_is_attacked_here(intruder: Intruder) -> None:
    """A new one belongs into the table."""
    callable_ = intruder.run(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'carillon_runner'::regnamespace"
        " AND has_function_privilege(oid, 'EXECUTE')"
    )
    assert {name for (name,) in callable_} == set(CALLS)


def test_a_token_of_another_key_is_none_that_is_known(intruder: Intruder) -> None:
    """Which is another error: a runner waits for a key, as its operator may not have reached the database yet."""
    token = TokenKey(b"another".ljust(32)).token(intruder.victim)
    for call in CALLS.values():
        with pytest.raises(psycopg.Error, match="is not known") as refused:
            intruder.run(call, token=token)
        assert refused.value.sqlstate == UNKNOWN_KEY


def test_a_key_is_known_until_nobody_has_used_it_for_fifteen_days(intruder: Intruder) -> None:
    """Tokens of before a rotation work on; then they are refused, and at the next registration the key is gone."""
    new = TokenKey(b"new".ljust(32))
    register(intruder.owner_url, new)
    assert intruder.run(CALLS["look"])[0][0] == "running"
    assert intruder.run(CALLS["look"], token=new.token(intruder.own))[0][0] == "running"
    intruder.owner("UPDATE runner_keys SET used_at = now() - interval '14 days 23 hours' WHERE id = %s", TOKEN_KEY.id)
    assert intruder.run(CALLS["look"])[0][0] == "running"
    intruder.owner("UPDATE runner_keys SET used_at = now() - interval '15 days' WHERE id = %s", TOKEN_KEY.id)
    with pytest.raises(psycopg.Error, match="is not known"):
        intruder.run(CALLS["look"])
    register(intruder.owner_url, new)
    assert intruder.owner("SELECT id FROM runner_keys") == [(new.id,)]


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
    """The login may call its functions, and nothing else."""
    before = intruder.others()
    for attack, statement in STATEMENTS.items():
        with subtests.test(attack), pytest.raises(errors.InsufficientPrivilege):
            intruder.run(statement)
    assert intruder.others() == before


def test_values_are_not_told_by_statistics_either(intruder: Intruder) -> None:
    """The view of them shows a role what it may read, which is nothing."""
    intruder.owner("ANALYZE")
    assert intruder.run("SELECT * FROM pg_stats WHERE schemaname = 'public'") == []


def test_others_large_objects_are_closed(intruder: Intruder) -> None:
    """Neither read, nor written, nor removed."""
    ((large,),) = intruder.owner("SELECT lo_from_bytea(0, 'secret')")
    for attack in ("SELECT lo_get({})", "SELECT lo_put({}, 0, 'x')", "SELECT lo_unlink({})"):
        with pytest.raises(errors.InsufficientPrivilege):
            intruder.run(attack.format(large))


def test_others_sessions_show_no_statement(intruder: Intruder) -> None:
    """Not the owner's; and another runner's, of the same role, shows no token: values travel apart."""
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
    """Even where the database's owner let the role create things, in a schema of its own and for its session."""
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


def test_a_token_closes_its_own_execution_alone(intruder: Intruder) -> None:
    """Another's is as it was, and the counter of another namespace too."""
    before = intruder.others()
    assert intruder.run(CALLS["close_row"]) == [(True,)]
    assert intruder.others() == before
    assert intruder.run(CALLS["look"])[0][:2] == ("failed", "r")


@pytest.mark.parametrize("ended", ["close_row", "increment"])
def test_what_is_sent_again_after_the_end_changes_nothing(intruder: Intruder, ended: str) -> None:
    """The guards are in the functions: an execution that has ended is neither run, taken over nor counted again."""
    intruder.run(CALLS[ended])
    query = (
        "SELECT to_jsonb(e), (SELECT jsonb_agg(a) FROM attempts AS a WHERE execution_id = e.id) FROM executions AS e"
    )
    before = intruder.owner(query), intruder.others()
    want = {"claim": None, "take_over": None, "increment": None, "close_lost": False, "save_attempts": False}
    for name, answer in {**want, "close_row": False}.items():
        assert intruder.run(CALLS[name]) == [(answer,)]
    assert (intruder.owner(query), intruder.others()) == before


def test_a_pod_of_another_job_takes_nothing_over(intruder: Intruder) -> None:
    """Nor does the pod itself, a second time."""
    token = TOKEN_KEY.token({**intruder.own, "job_name": "report-2"})
    for call in ("take_over", "close_lost"):
        assert not intruder.run(CALLS[call], token=token)[0][0]
    assert not intruder.run("SELECT carillon_runner.take_over(%(token)s, %(pod)s, 2, 'e')")[0][0]
    assert intruder.run("SELECT pod_name FROM carillon_runner.look(%(token)s)") == [(POD,)]


@pytest.mark.parametrize("name", ["till", "", None])
def test_a_counter_that_is_not_the_executions_is_closed(intruder: Intruder, name: str | None) -> None:
    """Also one of the same namespace; and an execution that counts nothing has none."""
    before = intruder.others()
    call = f"SELECT carillon_runner.increment(%(token)s, %(pod)s, %(name)s, '{ATTEMPTS}')"
    for token in (intruder.token, TOKEN_KEY.token({**intruder.own, "counter": None})):
        with pytest.raises(errors.InvalidParameterValue, match="this counter"):
            intruder.run(call, token=token, name=name)
    assert intruder.others() == before


INJECTION = "'); DROP TABLE executions; --"


def test_sql_in_every_field_is_text(intruder: Intruder) -> None:
    """In the token's, which a user's names reach, and in the arguments."""
    uid = UUID(intruder.own["id"])
    names = dict.fromkeys(("namespace", "task", "task_type", "cause", "job_name", "counter"), INJECTION)
    token = TOKEN_KEY.token({**payload(**names), "slot": "2026-01-01T00:07:00+00:00"})
    intruder.run(CALLS["claim"], token=token, pod=INJECTION)
    attempts = json.dumps([{"number": 1, "status": "failed", "reason": INJECTION, "error": INJECTION}])
    close = "SELECT carillon_runner.close_row(%(token)s, %(pod)s, 'failed', %(text)s, %(text)s, %(json)s, now(), %(a)s)"
    given = {"text": INJECTION, "json": json.dumps({"x": INJECTION}), "a": attempts}
    assert intruder.run(close, token=token, pod=INJECTION, **given) == [(True,)]
    assert intruder.run("SELECT error FROM carillon_runner.look(%(token)s)", token=token) == [(INJECTION,)]
    assert intruder.owner("SELECT status FROM executions WHERE id = %s", uid) == [("running",)]


CLOSES: dict[str, dict[str, Any]] = {
    "a status that is no end": {"status": "running"},
    "a status that is the operator's": {"status": "skipped"},
    "no status": {"status": None},
    "a result that is too long": {"result": json.dumps("x" * 2**20)},
    "a result that is too deep": {"result": "[" * 2_000 + "]" * 2_000},
    "a number that no float holds": {"result": '{"a": [1e400]}'},
    "more attempts than there can be": {"attempts": json.dumps([{"number": 1, "status": "failed"}] * 1001)},
}
CLOSE = "SELECT carillon_runner.close_row(%(token)s, %(pod)s, %(status)s, 'r', 'e', %(result)s, %(at)s, %(attempts)s)"
SOUND = {"status": "failed", "result": None, "at": SLOT, "attempts": ATTEMPTS}


@pytest.mark.parametrize("what", CLOSES)
def test_an_end_that_a_reader_would_stumble_over_is_refused(intruder: Intruder, what: str) -> None:
    """A page of the history must not fail for one row of it."""
    with pytest.raises(psycopg.DataError):
        intruder.run(CLOSE, **SOUND | CLOSES[what])
    assert intruder.run(CALLS["look"])[0][0] == "running"


@pytest.mark.parametrize("when", ["infinity", "-infinity", "20000-01-01Z", "4000-01-01 BC"])
def test_a_time_that_no_reader_can_represent_is_put_right(intruder: Intruder, when: str) -> None:
    """It becomes one between the beginning and a minute from now."""
    attempts = json.dumps([{"number": 1, "status": "failed", "started_at": when, "finished_at": when}])
    intruder.run(CLOSE, **SOUND | {"at": when, "attempts": attempts})
    sound = "{0} BETWEEN e.started_at AND now() + interval '1 minute'"
    times = " AND ".join(sound.format(t) for t in ("e.finished_at", "a.started_at", "a.finished_at"))
    found = intruder.owner(
        f"SELECT {times} FROM executions AS e JOIN attempts AS a ON a.execution_id = e.id WHERE e.id = %s",  # noqa: S608  # ours
        intruder.own["id"],
    )
    assert found == [(True,)]


def test_the_login_of_another_user_is_not_enough(intruder: Intruder) -> None:
    """Nobody has the functions by being in the database: PUBLIC may not call them."""
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
