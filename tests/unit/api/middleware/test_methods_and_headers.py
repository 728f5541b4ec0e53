"""HEAD, OPTIONS, size limits, compression, CORS and security headers."""

import base64
import gzip
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from carillon_api.app import create_app
from carillon_core.logs import formatter
from support.api import AS_CALLER, EVERY_MINUTE, SECRET, TASKS, Facade, facade, fields_of

ORIGIN = "https://console.example.com"


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


@pytest.mark.parametrize("path", [TASKS, f"{TASKS}/nightly", "/healthz", "/docs", "/openapi.json"])
async def test_head_is_get_without_its_body(rest: Facade, path: str) -> None:
    """Status and headers are the same, including Content-Length."""
    await rest.create()
    got, head = await rest.client.get(path), await rest.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "cache-control"):
        assert head.headers.get(name) == got.headers.get(name)


async def test_head_sends_no_byte_of_a_body(rest: Facade) -> None:
    """This is tested at the server, because a client ignores an unexpected body."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "HEAD",
        "scheme": "http",
        "path": "/healthz",
        "raw_path": b"/healthz",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"facade")],
        "server": ("facade", 80),
        "client": ("127.0.0.1", 5),
    }
    await rest.app(scope, receive, send)
    assert sent[0]["status"] == 200
    assert b"".join(message.get("body", b"") for message in sent[1:]) == b""


async def test_head_of_what_is_not_there(rest: Facade) -> None:
    """404 has no body either."""
    head = await rest.client.head(f"{TASKS}/absent")
    assert (head.status_code, head.content) == (404, b"")


OPTIONS: dict[str, tuple[str, str]] = {
    "a list": (TASKS, "GET, HEAD, OPTIONS, POST"),
    "a task": (f"{TASKS}/nightly", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
    "an action": (f"{TASKS}/nightly/pause", "OPTIONS, POST"),
    "a probe": ("/healthz", "GET, HEAD, OPTIONS"),
}


@pytest.mark.parametrize("case", OPTIONS)
async def test_options_tells_the_methods(rest: Facade, case: str) -> None:
    """The response is 204 with Allow; 405 has the same header."""
    path, want = OPTIONS[case]
    answer = await rest.client.options(path)
    assert (answer.status_code, answer.content, answer.headers["allow"]) == (204, b"", want)
    refused = await rest.client.request("TRACE", path)
    assert (refused.status_code, refused.headers["allow"]) == (405, want)
    assert fields_of(refused) == []


async def test_options_of_nothing_is_not_found(rest: Facade) -> None:
    """The response is a problem, as for any method."""
    response = await rest.client.options("/api/v1/none")
    assert response.status_code == 404
    assert fields_of(response) == []


@pytest.mark.parametrize("path", [f"{TASKS}/", f"{TASKS}/nightly/", "/healthz/"])
async def test_a_slash_at_the_end_is_told(rest: Facade, path: str) -> None:
    """A redirect would lose the body; the response is a problem that says what to do."""
    response = await rest.client.get(path)
    assert response.status_code == 404
    assert fields_of(response) == []
    assert "slash" in response.json()["detail"]


@pytest.mark.parametrize("path", [f"/{'a' * 25_000}", f"{TASKS}?labelSelector={'a' * 25_000}"], ids=["path", "query"])
async def test_an_address_that_is_too_long_is_refused(
    rest: Facade, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is 414, and the log has only the beginning."""
    caplog.set_level(logging.INFO)
    response = await rest.client.get(path)
    assert response.status_code == 414
    assert response.json()["type"] == "urn:carillon:problem:uri-too-long"
    record = next(r for r in caplog.records if r.name == "carillon_api.access")
    assert len(vars(record)["fields"]["path"]) <= 1025


async def test_headers_that_are_too_large_are_refused(rest: Facade) -> None:
    """The response is 431, regardless of the number of headers."""
    response = await rest.client.get(TASKS, headers={f"X-{n}": "a" * 4000 for n in range(10)})
    assert response.status_code == 431
    assert fields_of(response) == []


async def test_what_is_large_is_compressed_for_who_asks(rest: Facade) -> None:
    """Small responses are not compressed, nor those for clients without Accept-Encoding."""
    for number in range(20):
        await rest.create(f"task-{number}")
    asked = {"Accept-Encoding": "gzip"}
    async with rest.client.stream("GET", TASKS, headers=asked) as response:
        raw = b"".join([chunk async for chunk in response.aiter_raw()])
    plain = await rest.client.get(TASKS, headers={"Accept-Encoding": "identity"})
    assert response.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in response.headers["vary"].lower()
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 4
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in (await rest.client.get("/healthz", headers=asked)).headers


ANSWERS: dict[str, tuple[str, int]] = {
    "a list": (TASKS, 200),
    "a problem": (f"{TASKS}/absent", 404),
    "a probe": ("/healthz", 200),
    "the metrics": ("/metrics", 200),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_browsers_are_told_to_be_careful(rest: Facade, case: str) -> None:
    """The headers forbid sniffing, framing, caching and scripts."""
    path, status = ANSWERS[case]
    response = await rest.client.get(path)
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert response.headers["referrer-policy"] == "no-referrer"


async def test_what_nobody_expected_is_careful_too(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 has the same headers, and the request id."""

    async def failing(*_: object, **__: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(rest.tasks, "page", failing)
    response = await rest.client.get(TASKS)
    assert response.status_code == 500
    assert response.headers["x-content-type-options"] == "nosniff"
    assert fields_of(response) == []


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_may_run_its_own_scripts_and_no_other(rest: Facade, page: str) -> None:
    """The policy has the hash of each inline script; all assets come from the facade."""
    response = await rest.client.get(page)
    policy = response.headers["content-security-policy"]
    inline = re.findall(r"<script>(.*?)</script>", response.text, re.DOTALL)
    for script in inline:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert re.findall(r"\son[a-z]+=", response.text) == []
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe" not in scripts
    assert "http" not in policy


def crossing(rest: Facade, *origins: str) -> httpx.AsyncClient:
    """Return a client of an app that allows these origins."""
    given = rest.app.state.backends
    app = create_app(replace(given, settings=given.settings.model_copy(update={"cors_origins": origins})))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://facade", headers=AS_CALLER)


PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": (
        "authorization,idempotency-key,if-match,if-none-match,content-type,x-api-key,x-request-id"
    ),
}


async def test_no_other_origin_is_let_in_unless_it_is_named(rest: Facade) -> None:
    """A browser then hides the response from the page."""
    assert "access-control-allow-origin" not in (await rest.client.get(TASKS, headers={"Origin": ORIGIN})).headers
    async with crossing(rest, "https://other.example.com") as client:
        assert (await client.options(TASKS, headers=PREFLIGHT)).status_code == 400
        assert "access-control-allow-origin" not in (await client.get(TASKS, headers={"Origin": ORIGIN})).headers


async def test_an_origin_that_is_named_may_call_and_read(rest: Facade) -> None:
    """No browser credentials are allowed; errors and the relevant headers can be read."""
    async with crossing(rest, "https://other.example.com", ORIGIN) as client:
        allowed = await client.options(TASKS, headers=PREFLIGHT)
        created = await client.post(TASKS, json={"name": "a", "spec": EVERY_MINUTE}, headers={"Origin": ORIGIN})
        unknown = await client.get(TASKS, headers={"Origin": ORIGIN, "Authorization": "Bearer nobody"})
    assert allowed.status_code == 200
    assert allowed.headers["x-request-id"]
    assert (created.status_code, unknown.status_code) == (201, 401)
    for response in (allowed, created, unknown):
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-credentials" not in response.headers
    exposed = created.headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "Location", "Retry-After", "X-Request-ID", "Idempotency-Replayed", "RateLimit"} <= set(exposed)


async def test_lines_within_a_request_are_in_its_context(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line that is logged during the request has it."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter("json").format(record))

    async def failing(*_: object, **__: object) -> None:
        logging.getLogger("library").warning("retrying")
        raise RuntimeError("oh")

    handler = Handler()
    logging.getLogger().addHandler(handler)
    try:
        monkeypatch.setattr(rest.tasks, "page", failing)
        await rest.client.get(TASKS, headers={"X-Request-ID": "req-7"})
    finally:
        logging.getLogger().removeHandler(handler)
    assert {"retrying", "request failed"} <= {m for line in lines for m in re.findall(r'"message": "([^"]+)"', line)}
    assert all('"request_id": "req-7"' in line for line in lines)


async def test_the_access_log_says_who_and_what(rest: Facade, caplog: pytest.LogCaptureFixture) -> None:
    """The line has the caller, the route template, the bytes sent and the shortened user agent."""
    caplog.set_level(logging.INFO)
    response = await rest.client.get(
        f"{TASKS}/absent", headers={"User-Agent": f"curl/8\n{'x' * 300}".replace("\n", "\t")}
    )
    await rest.client.get(TASKS, headers={"Authorization": "Bearer nobody"})
    known, unknown = [vars(r)["fields"] for r in caplog.records if r.name == "carillon_api.access"]
    assert known["caller"] == "alice"
    assert known["route"] == "/api/v1/namespaces/{namespace}/tasks/{name}"
    assert known["bytes"] == len(response.content)
    assert known["user_agent"].startswith("curl/8\\t")
    assert len(known["user_agent"]) < 130
    assert (unknown["caller"], unknown["status"]) == ("-", 401)
