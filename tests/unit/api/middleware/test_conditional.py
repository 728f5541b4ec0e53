"""``If-None-Match``: a caller who has the current version of an object gets 304 without a body."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from carillon_api.middleware.conditional import ConditionalGet
from support.api import EVERY_MINUTE, TASKS, Facade, facade, openapi_document

NAMESPACE = "/api/v1/namespaces/team-a"


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def paths(rest: Facade) -> dict[str, str]:
    """Create an object of each kind; return their paths."""
    await rest.create()
    target = {"name": "shop", "spec": {"url": "https://shop.example.com/"}}
    (await rest.client.post(f"{NAMESPACE}/targets", json=target)).raise_for_status()
    run = (await rest.client.post(f"{TASKS}/nightly/run")).raise_for_status()
    return {"task": f"{TASKS}/nightly", "target": f"{NAMESPACE}/targets/shop", "run": run.headers["location"]}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", ["task", "target", "run"])
async def test_the_current_version_is_304(rest: Facade, kind: str, method: str) -> None:
    """RFC 9110, 15.4.5: the response has the ETag, no body, and no headers that describe a body."""
    path = (await paths(rest))[kind]
    etag = (await rest.client.get(path)).headers["etag"]
    response = await rest.client.request(method, path, headers={"If-None-Match": etag})
    assert response.status_code == 304
    assert response.headers["etag"] == etag
    assert response.content == b""
    assert not {"content-type", "content-length"} & response.headers.keys()
    assert {"x-request-id", "ratelimit", "cache-control"} <= response.headers.keys()


IF_NONE_MATCH: dict[str, tuple[str, int]] = {
    "the same tag": ("{etag}", 304),
    "the same tag, weak": ("W/{etag}", 304),
    "any version": ("*", 304),
    "one of several": ('"a", W/"b,c" ,,{etag}', 304),
    "another tag": ('"nonsense"', 200),
    "an open quote before it": ('"{etag}', 200),
    "no quotes": ("17", 200),
    "empty": ("", 200),
}


@pytest.mark.parametrize("case", IF_NONE_MATCH)
async def test_tags_are_compared_weakly(rest: Facade, case: str) -> None:
    """RFC 9110, 13.1.2; a malformed header is ignored, and the response is complete."""
    header, want_status = IF_NONE_MATCH[case]
    etag = (await rest.create()).headers["etag"]
    headers = {"If-None-Match": header.format(etag=etag)}
    response = await rest.client.get(f"{TASKS}/nightly", headers=headers)
    assert response.status_code == want_status
    assert response.headers["etag"] == etag
    assert bool(response.content) is (want_status == 200)


async def test_an_older_version_gets_the_object(rest: Facade) -> None:
    """A change of the object changes its ETag."""
    older = (await rest.create()).headers["etag"]
    await rest.client.patch(f"{TASKS}/nightly", json={"spec": {"suspend": True}})
    response = await rest.client.get(f"{TASKS}/nightly", headers={"If-None-Match": older})
    assert response.status_code == 200
    assert response.json()["spec"]["suspend"] is True
    assert response.headers["etag"] != older


async def test_errors_and_lists_are_as_ever(rest: Facade) -> None:
    """Only GET and HEAD of an object with an ETag answer 304."""
    any_version = {"If-None-Match": "*"}
    assert (await rest.client.get(f"{TASKS}/nightly", headers=any_version)).status_code == 404
    await rest.create()
    assert (await rest.client.get(TASKS, headers=any_version)).status_code == 200


async def test_a_write_needs_the_condition_as_well(rest: Facade) -> None:
    """RFC 9110, 13.1.2: 412 if the object exists in an excluded version, and nothing is written."""
    etag = (await rest.create()).headers["etag"]
    body = {"spec": EVERY_MINUTE}
    for header, want in (("*", 412), (f'"a", W/{etag}', 412), ('"another"', 200)):
        response = await rest.client.put(f"{TASKS}/nightly", json=body, headers={"If-None-Match": header})
        assert response.status_code == want, header
    assert (await rest.client.delete(f"{TASKS}/nightly", headers={"If-None-Match": "*"})).status_code == 412
    assert (await rest.client.get(f"{TASKS}/nightly")).status_code == 200


async def test_a_streamed_body_is_left_out_whole() -> None:
    """One empty message ends the response, however the app sends the body; it varies as the whole response does."""
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"etag", b'"1"')]})
        for chunk in (b"one", b"two"):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.pathsend", "path": "/nowhere"})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "headers": [(b"if-none-match", b'"0"'), (b"if-none-match", b'"1"')]}
    await ConditionalGet(app)(scope, receive, send)
    start, body = sent
    assert start["status"] == 304
    assert (b"vary", b"Accept-Encoding") in start["headers"]
    assert body == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_who_may_not_read_is_not_told_that_nothing_changed(rest: Facade) -> None:
    """The response is 403, as without the header."""
    await rest.create()
    headers = {**rest.let("bob", "t0ken-of-bob"), "If-None-Match": "*"}
    assert (await rest.client.get(f"{TASKS}/nightly", headers=headers)).status_code == 403


def test_the_document_says_where() -> None:
    """Each GET whose response has an ETag documents the header and 304; other operations do not."""
    found = {}
    for methods in openapi_document()["paths"].values():
        for method, operation in methods.items():
            names = {p["name"] for p in operation.get("parameters", ())}
            found[operation["operationId"]] = (method, "If-None-Match" in names, operation["responses"])
    conditional = {name for name, (_, has_header, _) in found.items() if has_header}
    assert conditional == {"getTask", "getTarget", "getRun"}
    assert {name for name, (_, _, responses) in found.items() if "304" in responses} == conditional
    not_modified: dict[str, Any] = found["getTask"][2]["304"]
    assert "ETag" in not_modified["headers"]
    assert "content" not in not_modified


def test_a_bad_if_match_is_documented() -> None:
    """Every operation with the header documents 400."""
    for methods in openapi_document()["paths"].values():
        for operation in methods.values():
            if any(p["name"] == "If-Match" for p in operation.get("parameters", ())):
                assert "400" in operation["responses"], operation["operationId"]
