"""Authentication, rate limits, and what happens while the API server is unavailable."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from carillon_api.http.public_paths import METRICS_PATHS, is_public
from carillon_core.adapters.memory.caller import Rule
from carillon_core.domain.access.api_keys import hash_of, new_key
from carillon_core.domain.access.subjects import Access, Subject
from carillon_core.errors import OwnAccountError
from support.api import AS_CALLER, EVERY_MINUTE, TASKS, TOKEN, Facade, facade, fields_of
from support.callers import KEY, SECRET, USER, keep_key, later, status


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade with one API key, whose user may list tasks in team-a."""
    async with facade(api_keys_secret=SECRET) as made:
        keep_key(made, "ci", KEY)
        made.server.rules[USER] = [Rule(["get", "list"], ["scheduledtasks", "executions"], "team-a")]
        yield made


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
    """The response is 401 with WWW-Authenticate and the reason."""
    headers, want = REFUSED[case]
    del rest.client.headers["Authorization"]
    response = await rest.client.get(TASKS, headers=headers)
    assert response.status_code == 401
    assert fields_of(response) == []
    assert want in response.json()["detail"]
    assert response.headers["www-authenticate"] == "Bearer"
    assert KEY not in response.text
    assert TOKEN not in response.text


ME = "/api/v1/me"
PROTECTED: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
OPEN = ["/healthz", "/readyz", "/docs", "/redoc", "/docs-assets/favicon.png", "/openapi.json"]


@pytest.mark.parametrize("path", OPEN)
async def test_probes_and_documents_are_open(rest: Facade, path: str) -> None:
    """They need no credential and have no rate limit."""
    assert await status(rest, path) == 200


@pytest.mark.parametrize(
    "path", ["/", "/metrics/x", "/docs-assets", "/healthz/", "/api/v1/none", "//healthz", "/HEALTHZ"]
)
async def test_everything_else_is_closed(rest: Facade, path: str) -> None:
    """This includes paths that do not exist, so that an anonymous caller does not learn which do."""
    assert await status(rest, path) == 401


@pytest.mark.parametrize(("public", "want"), [(True, 404), (False, 401)])
async def test_metrics_are_open_unless_a_setting_closes_them(*, public: bool, want: int) -> None:
    """For public folders, the router decides whether a path exists."""
    async with facade(metrics_public=public) as made:
        for path in METRICS_PATHS:
            found = await status(made, path)
            assert found == want or (public and found == 200)


@pytest.mark.parametrize(("rules", "want"), [((), 403), ((Rule(["get"], ["/metrics"]),), 200)])
async def test_closed_metrics_are_for_who_may_get_their_path(rules: tuple[Rule, ...], want: int) -> None:
    """Metrics cover all namespaces: a valid credential is not enough, and the response names the required rule."""
    async with facade(metrics_public=False) as made:
        bob = made.let("bob", "t0ken-of-bob", *rules)
        for path in METRICS_PATHS:
            response = await made.client.get(path, headers=bob)
            assert response.status_code == want
            assert want == 200 or "nonResourceURLs" in response.json()["detail"]


async def operations(rest: Facade) -> list[tuple[str, str]]:
    """Return every operation that requires a credential according to the document."""
    document = (await rest.client.get("/openapi.json")).json()
    names = {"id": str(uuid4())}
    return [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], "team-a"), path))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["security"] == PROTECTED
    ]


async def test_every_operation_needs_a_caller_and_says_so(rest: Facade) -> None:
    """The document and the responses agree: operations under /api require a credential, the others do not."""
    document = (await rest.client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"].keys() == {"bearer", "apiKey"}
    protected = await operations(rest)
    assert protected
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert (operation["security"] == PROTECTED) == (
                path.startswith("/api/") and not is_public(path, metrics=True)
            ), path
            if operation["security"] == PROTECTED:
                assert {"401", "403", "429"} <= operation["responses"].keys(), path
    del rest.client.headers["Authorization"]
    for method, path in protected:
        later(rest, 60)  # or the address reaches its limit
        assert (await rest.client.request(method, path)).status_code == 401, (method, path)


async def test_the_rate_limit_is_described_wherever_it_is_told(rest: Facade) -> None:
    """Successful and 429 responses of protected operations have both headers."""
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
    """The response is 403 or an error of the request itself; only ``/me`` says who the caller is, to anyone."""
    headers = rest.let("mallory", "t0ken-of-mallory")
    me = (await rest.client.get(ME, headers=headers)).json()
    assert (me["userName"], me["namespaces"], any(me["everywhere"].values())) == ("mallory", [], False)
    for method, path in await operations(rest):
        if path == ME:
            continue
        response = await rest.client.request(method, path, headers=headers, json={"name": "a", "spec": EVERY_MINUTE})
        # an unknown execution has no namespace; a malformed body is rejected before the permission is checked
        assert response.status_code in {403, 404, 415, 422}, (method, path, response.text)


async def test_a_key_calls_as_its_user(rest: Facade) -> None:
    """The key has exactly the permissions of its user."""
    assert await status(rest, **{"X-API-Key": KEY}) == 200
    assert await status(rest, "/api/v1/namespaces/team-b/tasks", **{"X-API-Key": KEY}) == 403


async def test_there_are_no_keys_where_no_secret_is_set() -> None:
    """The error says what to send instead."""
    async with facade() as made:
        response = await made.client.get(TASKS, headers={"Authorization": "", "X-API-Key": KEY})
        del made.client.headers["Authorization"]
        response = await made.client.get(TASKS, headers={"X-API-Key": KEY})
        assert response.status_code == 401
        assert "API keys are disabled here" in response.json()["detail"]


async def test_a_rotated_key_stops_within_the_caches_time(rest: Facade) -> None:
    """Two keys of one name are valid while both are in the Secret."""
    new = new_key("ci")
    assert await status(rest, **{"X-API-Key": KEY}) == 200
    keep_key(rest, "ci", new, KEY)
    later(rest, 10)
    assert [await status(rest, **{"X-API-Key": key}) for key in (KEY, new)] == [200, 200]
    keep_key(rest, "ci", new)
    later(rest, 10)
    assert [await status(rest, **{"X-API-Key": key}) for key in (KEY, new)] == [401, 200]


async def test_a_key_expires_at_its_time_whatever_is_cached(rest: Facade) -> None:
    """The expiry is checked on each request."""
    keep_key(rest, "ci", KEY, expires_at=rest.clock.now + timedelta(seconds=5))
    assert await status(rest, **{"X-API-Key": KEY}) == 200
    later(rest, 5)
    assert await status(rest, **{"X-API-Key": KEY}) == 401


async def test_a_broken_entry_is_named_in_the_log_once_and_harms_no_other(
    rest: Facade, caplog: pytest.LogCaptureFixture
) -> None:
    """The content of the Secret is not in the log."""
    rest.server.secrets[SECRET]["broken"] = json.dumps({"hashes": [KEY], "user": "u"}).encode()
    for _ in range(3):
        assert await status(rest, **{"X-API-Key": KEY}) == 200
        later(rest, 10)
    logged = [vars(r)["fields"]["why"] for r in caplog.records if r.name == "carillon_api.auth.authentication"]
    assert len(logged) == 1
    assert logged[0].startswith("the API key broken has an invalid hash")
    assert KEY not in caplog.text


async def test_a_secret_that_is_not_there_has_no_keys(rest: Facade) -> None:
    """The response is 401, not 500."""
    del rest.server.secrets[SECRET]
    assert await status(rest, **{"X-API-Key": KEY}) == 401


async def test_a_revoked_token_stops_within_the_caches_time(rest: Facade) -> None:
    """Both take effect after ten seconds."""
    assert (await rest.client.get(TASKS)).status_code == 200
    del rest.server.tokens[TOKEN]
    later(rest, 9)
    assert (await rest.client.get(TASKS)).status_code == 200
    later(rest, 1)
    assert (await rest.client.get(TASKS)).status_code == 401


async def test_a_token_of_nobody_may_become_somebodys(rest: Facade) -> None:
    """It is reviewed again after five seconds, and is not served from the cache during an outage."""
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
    """This holds for the token and for the caller's permissions."""
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
    """Only callers and decisions of the last ten minutes are served."""
    seconds, path, want = OUTAGES[case]
    rest.server.rules[USER] = [Rule("*", "*")]
    assert await status(rest, "/api/v1/audit", **credential) == 200
    later(rest, seconds)
    rest.server.outage = "connection refused"
    assert await status(rest, path, **credential) == want


async def test_in_an_outage_nobody_new_is_let_in(rest: Facade) -> None:
    """The response is 503, because the token may be valid; permissions that are not cached are 503, too."""
    assert (await rest.client.get(TASKS)).status_code == 200
    rest.server.outage = "connection refused"
    assert await status(rest, "/api/v1/audit", Authorization="Bearer another") == 503
    assert await status(rest, "/api/v1/audit", **{"X-API-Key": KEY}) == 503
    assert await status(rest, "/api/v1/audit", **AS_CALLER) == 503
    assert await status(rest, "/api/v1/audit") == 401


async def test_a_right_that_the_facade_lacks_is_not_the_callers_fault(
    rest: Facade, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is 503; only the log names the missing permission."""
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


async def test_no_secret_is_logged(rest: Facade, caplog: pytest.LogCaptureFixture) -> None:
    """The log has neither a credential nor its hash, at any level."""
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
