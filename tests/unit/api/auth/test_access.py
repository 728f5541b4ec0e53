"""Who is let in by the facade, as whom, how often, and what happens when the API server is away."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from carillon_api.auth.access import CHECKS_AT_ONCE
from carillon_api.auth.rate_limits import Turns
from carillon_core.adapters.memory.caller import Rule
from carillon_core.domain.access.api_keys import entry, entry_json, hash_of, new_key
from carillon_core.domain.access.subjects import Access, Subject
from carillon_core.errors import OwnAccountError
from support.api import AS_CALLER, EVERY_MINUTE, TASKS, TOKEN, Facade, facade, fields_of
from support.waiting import eventually

SECRET = ("carillon-system", "carillon-api-keys")
KEY = new_key("ci")
USER = "system:serviceaccount:team-a:ci"


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade with one API key, of a user who may see tasks in team-a."""
    async with facade(api_keys_secret=SECRET) as made:
        keep_key(made, "ci", KEY)
        made.server.rules[USER] = [Rule(["get", "list"], ["scheduledtasks", "executions"], "team-a")]
        yield made


def keep_key(rest: Facade, name: str, *keys: str, **changes: Any) -> None:
    """Have the Secret know keys of that name."""
    made = replace(entry([hash_of(key) for key in keys], USER, [], None), **changes)
    rest.server.secrets.setdefault(SECRET, {})[name] = entry_json(made, ()).encode()


def later(rest: Facade, seconds: float) -> None:
    """Let time pass."""
    rest.clock.now += timedelta(seconds=seconds)


GUESSES = 20
"""How many an address has by default."""


async def status(rest: Facade, path: str = TASKS, **headers: str) -> int:
    """Return the status of a GET with exactly these headers."""
    rest.client.headers.pop("Authorization", None)
    return (await rest.client.get(path, headers=headers)).status_code


Headers = list[tuple[str, str]]
BEARER = ("Authorization", AS_CALLER["Authorization"])
REFUSED: dict[str, tuple[Headers, str]] = {
    "nothing": ([], "send the header Authorization: Bearer"),
    "another scheme": ([("Authorization", "Basic YTpi")], "must be Bearer followed by a token"),
    "a scheme alone": ([("Authorization", "Bearer")], "must be Bearer followed by a token"),
    "a token with a blank": ([("Authorization", "Bearer a b")], "must be Bearer followed by a token"),
    "a token of odd characters": ([("Authorization", "Bearer a,b")], "must be Bearer followed by a token"),
    "a token of nobody": ([("Authorization", "Bearer nobodys")], "rejects this bearer token"),
    "a key of odd form": ([("X-API-Key", "secret")], "must be an API key"),
    "a key of nobody": ([("X-API-Key", new_key("nobody"))], "unknown API key"),
    "another key of a known name": ([("X-API-Key", new_key("ci"))], "unknown API key"),
    "a key as a token": ([("Authorization", f"Bearer {KEY}")], "rejects this bearer token"),
    "a token and a key": ([BEARER, ("X-API-Key", KEY)], "more than one credential"),
    "two tokens": ([BEARER, ("Authorization", "Bearer other")], "more than one credential"),
    "the same token twice": ([BEARER, BEARER], "more than one credential"),
    "two keys": ([("X-API-Key", KEY), ("X-API-Key", KEY)], "more than one credential"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_who_shows_no_credential_or_no_good_one_is_refused(rest: Facade, case: str) -> None:
    """401 with WWW-Authenticate, and why."""
    headers, want = REFUSED[case]
    del rest.client.headers["Authorization"]
    response = await rest.client.get(TASKS, headers=headers)
    assert response.status_code == 401
    assert fields_of(response) == []
    assert want in response.json()["detail"]
    assert response.headers["www-authenticate"] == "Bearer"
    assert KEY not in response.text
    assert TOKEN not in response.text


PROTECTED: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
OPEN = ["/healthz", "/readyz", "/docs", "/redoc", "/docs-assets/favicon.png", "/openapi.json"]


@pytest.mark.parametrize("path", OPEN)
async def test_probes_and_documents_are_open(rest: Facade, path: str) -> None:
    """To everybody, and nobody's limit counts."""
    assert await status(rest, path) == 200


@pytest.mark.parametrize(
    "path", ["/", "/metrics/x", "/docs-assets", "/healthz/", "/api/v1/none", "//healthz", "/HEALTHZ"]
)
async def test_everything_else_is_closed(rest: Facade, path: str) -> None:
    """What does not exist too: nobody learns what does."""
    assert await status(rest, path) == 401


@pytest.mark.parametrize(("public", "want"), [(True, 404), (False, 401)])
async def test_metrics_are_open_unless_a_setting_closes_them(*, public: bool, want: int) -> None:
    """Where they are open, the router says whether they exist."""
    async with facade(metrics_public=public) as made:
        found = await status(made, "/metrics")
        assert found == want or (public and found == 200)


@pytest.mark.parametrize(("rules", "want"), [((), 403), ((Rule(["get"], ["/metrics"]),), 200)])
async def test_closed_metrics_are_for_who_may_get_their_path(rules: tuple[Rule, ...], want: int) -> None:
    """They count what all namespaces run: to be somebody is not enough, and the answer tells what is."""
    async with facade(metrics_public=False) as made:
        bob = made.let("bob", "t0ken-of-bob", *rules)
        response = await made.client.get("/metrics", headers=bob)
        assert response.status_code == want
        assert want == 200 or "nonResourceURLs" in response.json()["detail"]


async def operations(rest: Facade) -> list[tuple[str, str]]:
    """Return every operation that the document protects."""
    document = (await rest.client.get("/openapi.json")).json()
    names = {"id": str(uuid4())}
    return [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], "team-a"), path))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["security"] == PROTECTED
    ]


async def test_every_operation_needs_a_caller_and_says_so(rest: Facade) -> None:
    """Of the document: those under /api are protected, the others open; and they answer so."""
    document = (await rest.client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"].keys() == {"bearer", "apiKey"}
    protected = await operations(rest)
    assert protected
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert (operation["security"] == PROTECTED) == path.startswith("/api/"), path
            if operation["security"] == PROTECTED:
                assert {"401", "403", "429"} <= operation["responses"].keys(), path
    del rest.client.headers["Authorization"]
    for method, path in protected:
        later(rest, 60)  # or the address is told to wait
        assert (await rest.client.request(method, path)).status_code == 401, (method, path)


async def test_the_rate_limit_is_described_wherever_it_is_told(rest: Facade) -> None:
    """Both headers, on what a protected operation answers when all is well, and when it is too much."""
    document = (await rest.client.get("/openapi.json")).json()
    response = await rest.client.get(TASKS)
    told = {name for name in document["components"]["headers"] if name in response.headers}
    assert told == {"RateLimit", "RateLimit-Policy"}
    for methods in document["paths"].values():
        for operation in methods.values():
            protected = operation["security"] == PROTECTED
            for code, answer in operation["responses"].items():
                described = told & answer.get("headers", {}).keys()
                assert described == (told if protected and (code[0] == "2" or code == "429") else set())


async def test_no_operation_serves_who_may_do_nothing(rest: Facade) -> None:
    """403, or a refusal of the request itself; never a success."""
    headers = rest.let("mallory", "t0ken-of-mallory")
    for method, path in await operations(rest):
        response = await rest.client.request(method, path, headers=headers, json={"name": "a", "spec": EVERY_MINUTE})
        # an execution that does not exist is in no namespace; a body of another form is refused before
        assert response.status_code in {403, 404, 415, 422}, (method, path, response.text)


async def test_a_key_calls_as_its_user(rest: Facade) -> None:
    """What that user may do it may do, and no more."""
    assert await status(rest, **{"X-API-Key": KEY}) == 200
    assert await status(rest, "/api/v1/namespaces/team-b/tasks", **{"X-API-Key": KEY}) == 403


async def test_there_are_no_keys_where_no_secret_is_set() -> None:
    """The refusal tells what to send instead."""
    async with facade() as made:
        response = await made.client.get(TASKS, headers={"Authorization": "", "X-API-Key": KEY})
        del made.client.headers["Authorization"]
        response = await made.client.get(TASKS, headers={"X-API-Key": KEY})
        assert response.status_code == 401
        assert "API keys are disabled here" in response.json()["detail"]


async def test_a_rotated_key_stops_within_the_caches_time(rest: Facade) -> None:
    """Two are valid while both are kept."""
    new = new_key("ci")
    assert await status(rest, **{"X-API-Key": KEY}) == 200
    keep_key(rest, "ci", new, KEY)
    later(rest, 10)
    assert [await status(rest, **{"X-API-Key": key}) for key in (KEY, new)] == [200, 200]
    keep_key(rest, "ci", new)
    later(rest, 10)
    assert [await status(rest, **{"X-API-Key": key}) for key in (KEY, new)] == [401, 200]


async def test_a_key_expires_at_its_time_whatever_is_cached(rest: Facade) -> None:
    """Its end is looked at with each request."""
    keep_key(rest, "ci", KEY, expires_at=rest.clock.now + timedelta(seconds=5))
    assert await status(rest, **{"X-API-Key": KEY}) == 200
    later(rest, 5)
    assert await status(rest, **{"X-API-Key": KEY}) == 401


async def test_a_broken_entry_is_named_in_the_log_once_and_harms_no_other(
    rest: Facade, caplog: pytest.LogCaptureFixture
) -> None:
    """What it holds is not in the log."""
    rest.server.secrets[SECRET]["broken"] = json.dumps({"hashes": [KEY], "user": "u"}).encode()
    for _ in range(3):
        assert await status(rest, **{"X-API-Key": KEY}) == 200
        later(rest, 10)
    logged = [vars(r)["fields"]["why"] for r in caplog.records if r.name == "carillon_api.auth.authentication"]
    assert len(logged) == 1
    assert logged[0].startswith("the API key broken has a hash that is none")
    assert KEY not in caplog.text


async def test_a_secret_that_is_not_there_has_no_keys(rest: Facade) -> None:
    """401, not an error of ours."""
    del rest.server.secrets[SECRET]
    assert await status(rest, **{"X-API-Key": KEY}) == 401


async def test_a_revoked_token_stops_within_the_caches_time(rest: Facade) -> None:
    """Ten seconds."""
    assert (await rest.client.get(TASKS)).status_code == 200
    del rest.server.tokens[TOKEN]
    later(rest, 9)
    assert (await rest.client.get(TASKS)).status_code == 200
    later(rest, 1)
    assert (await rest.client.get(TASKS)).status_code == 401


async def test_a_token_of_nobody_may_become_somebodys(rest: Facade) -> None:
    """It is asked about again after five seconds; and in an outage nobody claims to know that it is nobody's."""
    late = {"Authorization": "Bearer late"}
    assert await status(rest, **late) == 401
    rest.server.tokens["late"] = Subject("alice")
    later(rest, 4)
    assert await status(rest, **late) == 401
    later(rest, 1)
    assert await status(rest, **late) == 200
    assert await status(rest, Authorization="Bearer never") == 401
    later(rest, 5)
    rest.server.outage = "connection refused"
    assert await status(rest, Authorization="Bearer never") == 503


async def test_a_hundred_requests_at_once_make_one_review(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the token; the same holds for what the caller may do."""
    asked: list[str] = []
    review_token, decide = rest.server.review_token, rest.server.decide

    async def counting(token: str) -> Subject | None:
        asked.append("token")
        await asyncio.sleep(0)
        return await review_token(token)

    def counting_decisions(subject: Subject | None, access: Access) -> Any:
        asked.append(access.resource)
        return decide(subject, access)

    monkeypatch.setattr(rest.server, "review_token", counting)
    monkeypatch.setattr(rest.server, "decide", counting_decisions)
    answers = await asyncio.gather(*(rest.client.get("/api/v1/audit") for _ in range(100)))
    assert {a.status_code for a in answers} == {200}
    assert sorted(asked) == ["auditevents", "token"]


OUTAGES: dict[str, tuple[float, str, int]] = {
    "of a minute, the history": (60, "/api/v1/audit", 200),
    "of a minute, the tasks": (60, TASKS, 503),
    "of ten minutes, the history": (600, "/api/v1/audit", 503),
}


@pytest.mark.parametrize("case", OUTAGES)
@pytest.mark.parametrize("credential", [AS_CALLER, {"X-API-Key": KEY}], ids=["token", "key"])
async def test_in_an_outage_of_the_api_server_the_history_stays_readable(
    rest: Facade, case: str, credential: dict[str, str]
) -> None:
    """For who was there within ten minutes, and what was decided within ten minutes; nothing else."""
    seconds, path, want = OUTAGES[case]
    rest.server.rules[USER] = [Rule("*", "*")]
    assert await status(rest, "/api/v1/audit", **credential) == 200
    later(rest, seconds)
    rest.server.outage = "connection refused"
    assert await status(rest, path, **credential) == want


async def test_in_an_outage_nobody_new_is_let_in(rest: Facade) -> None:
    """503, for the token may be good; and what was never decided is not decided now."""
    assert (await rest.client.get(TASKS)).status_code == 200
    rest.server.outage = "connection refused"
    assert await status(rest, "/api/v1/audit", Authorization="Bearer another") == 503
    assert await status(rest, "/api/v1/audit", **{"X-API-Key": KEY}) == 503
    assert await status(rest, "/api/v1/audit", **AS_CALLER) == 503
    assert await status(rest, "/api/v1/audit") == 401


async def test_a_right_that_the_facade_lacks_is_not_the_callers_fault(
    rest: Facade, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """503, and the log names the right; the answer does not."""
    said = 'users "alice" is forbidden: User "system:serviceaccount:a:b" cannot impersonate resource "users"'

    async def refusing(*_: object) -> None:
        raise OwnAccountError(said)

    monkeypatch.setattr(rest.server, "review_token", refusing)
    response = await rest.client.get(TASKS)
    assert response.status_code == 503
    assert fields_of(response) == []
    assert "serviceaccount" not in response.text
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert vars(record)["fields"]["missing"] == said


async def test_a_caller_who_calls_too_often_is_told_when_to_come_back() -> None:
    """429 by subject, whatever credential and address; another caller is not concerned, nor are probes."""
    async with facade(api_keys_secret=SECRET, rate_limit=1, rate_burst=3) as made:
        keep_key(made, "ci", KEY)
        made.server.tokens["other-of-ci"] = Subject(USER)
        made.server.rules[USER] = [Rule("*", "*")]
        for left in (2, 1):
            response = await made.client.get(TASKS, headers={"Authorization": "Bearer other-of-ci"})
            assert response.headers["ratelimit"] == f'"default";r={left};t={3 - left}'
            assert response.headers["ratelimit-policy"] == '"default";q=3;w=3'
        assert await status(made, **{"X-API-Key": KEY}) == 200
        limited = await made.client.get(TASKS, headers={"X-API-Key": KEY})
        assert limited.status_code == 429
        assert fields_of(limited) == []
        assert limited.headers["retry-after"] == "1"
        assert limited.headers["ratelimit"] == '"default";r=0;t=3'
        assert await status(made, **AS_CALLER) == 200
        assert await status(made, "/healthz", **{"X-API-Key": KEY}) == 200
        later(made, 1)
        assert await status(made, **{"X-API-Key": KEY}) == 200


async def test_who_guesses_is_stopped_and_whoever_was_known_is_not(
    rest: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By address: after some failures nothing more is checked from there, but for who was there before."""
    assert await status(rest, **AS_CALLER) == 200
    reviewed: list[str] = []
    review_token = rest.server.review_token

    async def counting(token: str) -> Subject | None:
        reviewed.append(token)
        return await review_token(token)

    monkeypatch.setattr(rest.server, "review_token", counting)
    found = [await status(rest, Authorization=f"Bearer guess-{n}") for n in range(GUESSES + 10)]
    assert found == [401] * GUESSES + [429] * 10
    assert len(reviewed) == GUESSES
    assert await status(rest, **{"X-API-Key": KEY}) == 429
    assert await status(rest, **AS_CALLER) == 200
    later(rest, 2)
    assert await status(rest, **{"X-API-Key": KEY}) == 200


async def test_guesses_made_at_once_are_not_checked_at_once(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a thousand of them would all be checked before the first has failed."""
    reviewed: list[str] = []

    async def slowly(token: str) -> Subject | None:
        reviewed.append(token)
        await asyncio.sleep(0)
        return None

    assert await status(rest, **AS_CALLER) == 200
    monkeypatch.setattr(rest.server, "review_token", slowly)
    guesses = [status(rest, Authorization=f"Bearer guess-{n}") for n in range(200)]
    found = await asyncio.gather(*guesses, status(rest, **AS_CALLER))
    assert set(found[:-1]) == {401, 429}
    assert found[-1] == 200
    assert GUESSES <= len(reviewed) < GUESSES + CHECKS_AT_ONCE


async def test_a_credential_does_not_wait_for_ever_to_be_checked(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, where the API server hangs on those before it."""
    hang, turns = asyncio.Event(), Turns(1, 0.01)

    async def hanging(_: str) -> Subject | None:
        await hang.wait()
        return None

    monkeypatch.setattr(rest.server, "review_token", hanging)
    monkeypatch.setattr(rest.app.state.backends.access, "_checks", turns)
    first = asyncio.create_task(status(rest, Authorization="Bearer first"))
    await eventually(lambda: len(turns) == 1)
    second = await rest.client.get(TASKS, headers={"Authorization": "Bearer second"})
    assert (second.status_code, second.headers["retry-after"]) == (503, "5")
    hang.set()
    assert await first == 401
    assert len(turns) == 0, "who is gone is forgotten"


async def test_no_secret_is_logged(rest: Facade, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a credential nor a hash, whatever level."""
    caplog.set_level(logging.DEBUG)
    await status(rest, **{"X-API-Key": KEY})
    await status(rest, Authorization="Bearer wr0ng-guess")
    await status(rest, **AS_CALLER)
    rest.server.outage = "gone"
    later(rest, 20)
    await status(rest, "/api/v1/audit", **{"X-API-Key": KEY})
    everything = caplog.text + "".join(str(vars(r).get("fields")) for r in caplog.records)
    for secret in (KEY, KEY[-32:], hash_of(KEY)[7:], TOKEN, "wr0ng-guess"):
        assert secret not in everything
