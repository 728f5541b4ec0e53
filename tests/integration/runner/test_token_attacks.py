"""Attacks with the token of one execution, on a real Postgres: it opens that execution's record and no other."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from carillon_core.domain.launch.execution_token import TokenKey
from support.intruder import ATTEMPTS, CALLS, POD, REFUSED_TOKEN, UNKNOWN_KEY, Intruder, intruder, payload, swapped
from support.runner import SLOT, TOKEN_KEY, register

__all__ = ["intruder"]


def forged(intruder: Intruder, **changed: Any) -> str:
    """Return the attacker's token with a changed payload and the old signature."""
    key, _, mac = intruder.token.split(".")
    encoded = base64.b64encode(json.dumps({**intruder.own, **changed}).encode()).decode()
    return f"{key}.{encoded}.{mac}"


def signed_by_hand(intruder: Intruder, key: bytes) -> str:
    """Return the victim's payload under the known key's id, signed with a key that the attacker has."""
    head = f"{TOKEN_KEY.id}.{intruder.victim_token.split('.')[1]}"
    return f"{head}.{hmac.new(key, head.encode(), hashlib.sha256).hexdigest()}"


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


def test_a_token_that_the_operator_did_not_make_is_refused_by_every_function(
    intruder: Intruder, subtests: pytest.Subtests
) -> None:
    """Every forged token is refused, and nothing changes."""
    before = intruder.others()
    for what, make in TOKENS.items():
        with subtests.test(what):
            for call in CALLS.values():
                with pytest.raises(psycopg.Error) as refused:
                    intruder.run(call, token=make(intruder))
                assert refused.value.sqlstate == REFUSED_TOKEN
    assert intruder.others() == before


def test_every_function_that_the_role_may_call_is_attacked_here(intruder: Intruder) -> None:
    """The table has every function that the role may call."""
    callable_ = intruder.run(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'carillon_runner'::regnamespace"
        " AND has_function_privilege(oid, 'EXECUTE')"
    )
    assert {name for (name,) in callable_} == set(CALLS)


def test_a_token_of_another_key_is_none_that_is_known(intruder: Intruder) -> None:
    """An unknown key has its own error, because its operator may not have registered it yet."""
    token = TokenKey(b"another".ljust(32)).token(intruder.victim)
    for call in CALLS.values():
        with pytest.raises(psycopg.Error, match="is not known") as refused:
            intruder.run(call, token=token)
        assert refused.value.sqlstate == UNKNOWN_KEY


def test_a_key_is_known_until_nobody_has_used_it_for_fifteen_days(intruder: Intruder) -> None:
    """Old tokens stay valid after a rotation; an unused key is refused and then deleted."""
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


def test_a_token_closes_its_own_execution_alone(intruder: Intruder) -> None:
    """Executions, counters and keys of others stay unchanged."""
    before = intruder.others()
    assert intruder.run(CALLS["close_row"]) == [(True,)]
    assert intruder.others() == before
    assert intruder.run(CALLS["look"])[0][:2] == ("failed", "r")


@pytest.mark.parametrize("ended", ["close_row", "increment"])
def test_what_is_sent_again_after_the_end_changes_nothing(intruder: Intruder, ended: str) -> None:
    """A closed execution is not claimed, taken over, counted or closed again."""
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
    """Another Job's pod cannot take over, nor can the same pod a second time."""
    token = TOKEN_KEY.token({**intruder.own, "job_name": "report-2"})
    for call in ("take_over", "close_lost"):
        assert not intruder.run(CALLS[call], token=token)[0][0]
    assert not intruder.run("SELECT carillon_runner.take_over(%(token)s, %(pod)s, 2, 'e')")[0][0]
    assert intruder.run("SELECT pod_name FROM carillon_runner.look(%(token)s)") == [(POD,)]


@pytest.mark.parametrize("name", ["till", "", None])
def test_a_counter_that_is_not_the_executions_is_closed(intruder: Intruder, name: str | None) -> None:
    """Other counters of the namespace are refused, and an execution without a counter has none."""
    before = intruder.others()
    call = f"SELECT carillon_runner.increment(%(token)s, %(pod)s, %(name)s, '{ATTEMPTS}')"
    for token in (intruder.token, TOKEN_KEY.token({**intruder.own, "counter": None})):
        with pytest.raises(errors.InvalidParameterValue, match="this counter"):
            intruder.run(call, token=token, name=name)
    assert intruder.others() == before


INJECTION = "'); DROP TABLE executions; --"


def test_sql_in_every_field_is_text(intruder: Intruder) -> None:
    """SQL in the token's fields and in the arguments is stored as text."""
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
    """Values that would break a listing are refused."""
    with pytest.raises(psycopg.DataError):
        intruder.run(CLOSE, **SOUND | CLOSES[what])
    assert intruder.run(CALLS["look"])[0][0] == "running"


@pytest.mark.parametrize(
    ("code", "milliseconds"), [(99, "NaN"), (1000, "Infinity"), (-1, -0.5), (None, 604_800_001), (2**31 - 1, None)]
)
def test_a_response_that_there_cannot_be_is_not_stored(
    intruder: Intruder, code: int | None, milliseconds: float | str | None
) -> None:
    """A reader could represent neither NaN nor infinity; the rest of the attempt is stored."""
    attempt = {"number": 1, "status": "failed", "status_code": code, "response_time_ms": milliseconds}
    intruder.run(CLOSE, **SOUND | {"attempts": json.dumps([attempt])})
    stored = "SELECT status, status_code, response_time_ms FROM attempts WHERE execution_id = %s"
    assert intruder.owner(stored, intruder.own["id"]) == [("failed", None, None)]


@pytest.mark.parametrize("when", ["infinity", "-infinity", "20000-01-01Z", "4000-01-01 BC"])
def test_a_time_that_no_reader_can_represent_is_put_right(intruder: Intruder, when: str) -> None:
    """The time is moved between the start and one minute from now."""
    attempts = json.dumps([{"number": 1, "status": "failed", "started_at": when, "finished_at": when}])
    intruder.run(CLOSE, **SOUND | {"at": when, "attempts": attempts})
    sound = "{0} BETWEEN e.started_at AND now() + interval '1 minute'"
    times = " AND ".join(sound.format(t) for t in ("e.finished_at", "a.started_at", "a.finished_at"))
    found = intruder.owner(
        f"SELECT {times} FROM executions AS e JOIN attempts AS a ON a.execution_id = e.id WHERE e.id = %s",  # noqa: S608  # ours
        intruder.own["id"],
    )
    assert found == [(True,)]
