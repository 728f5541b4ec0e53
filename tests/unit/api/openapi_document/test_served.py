"""The OpenAPI document as it is served: rendered once, with an ETag, at a bounded rate."""

import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest

from carillon_api.auth.access import READ_BURST
from support.api import Facade, facade, fields_of, openapi_document
from support.callers import later


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    {
        "gzip": "gzip",
        "deflate, gzip;q=0.5": "gzip",
        "identity": None,
        "": None,
    }.items(),
)
async def test_the_document_is_rendered_once(rest: Facade, accepted: str, encoding: str | None) -> None:
    """Both forms have a strong ETag of their own, and whoever has one is told so."""
    first = await rest.client.get("/openapi.json", headers={"Accept-Encoding": accepted})
    assert first.headers.get("content-encoding") == encoding
    assert first.json() == openapi_document()
    assert re.fullmatch(r'"[0-9a-f]{32}(-gzip)?"', first.headers["etag"])
    assert first.headers["etag"].endswith('-gzip"') == (encoding == "gzip")
    assert first.headers["vary"] == "Accept-Encoding"
    known = {"Accept-Encoding": accepted, "If-None-Match": first.headers["etag"]}
    again = await rest.client.get("/openapi.json", headers=known)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    head = await rest.client.head("/openapi.json", headers={"Accept-Encoding": accepted})
    assert (head.content, head.headers["etag"]) == (b"", first.headers["etag"])


async def test_the_document_is_not_rendered_for_a_request(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has been sent, neither JSON nor gzip is written again."""
    await rest.client.get("/openapi.json")

    def rendered(*_: object, **__: object) -> NoReturn:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(json, "dumps", rendered)
        patched.setattr(gzip, "compress", rendered)
        assert (await rest.client.get("/openapi.json")).status_code == 200


async def test_an_address_reads_the_documentation_at_a_bounded_rate(rest: Facade) -> None:
    """Its probes, its calls and other addresses are not concerned."""
    paths = ["/docs", "/openapi.json"] * (READ_BURST // 2)
    assert {(await rest.client.get(path)).status_code for path in paths} == {200}
    refused = await rest.client.get("/openapi.json")
    assert (refused.status_code, fields_of(refused)) == (429, [])
    assert refused.headers["retry-after"] == "1"
    assert (await rest.client.get("/healthz")).status_code == 200
    assert (await rest.client.get("/api/v1/tasks")).status_code == 200
    later(rest, 1)
    assert (await rest.client.get("/openapi.json")).status_code == 200
