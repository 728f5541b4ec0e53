"""The webhook's server against abuse of its port: what it refuses, and that others are still answered."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from kopf import WebhookClientConfig

from carillon_core.errors import SettingsError
from carillon_core.serving.programs import CannotListenError
from carillon_operator.admission.webhook_server import (
    MOST_CONNECTIONS,
    MOST_OF_ONE_ADDRESS,
    MOST_REVIEW_BYTES,
    WebhookServer,
)
from carillon_operator.webhook_settings import WebhookSettings
from support.certificates import LOOPBACK, make_certificates
from support.ports import own_port
from support.waiting import eventually

REVIEW = json.dumps({"request": {"uid": "1"}}).encode()
STRANGER = "127.0.9.8"
"""Another address of this machine."""


async def answer(request: Any, **more: Any) -> Any:
    """Answer a review as kopf does, or fail as it does."""
    if request["request"].get("hangs"):
        await asyncio.sleep(3600)
    return {"response": {"uid": request["request"]["uid"], "webhook": more["webhook"]}}


@pytest.fixture
def settings(tmp_path: Path) -> WebhookSettings:
    """Give the settings of a webhook on a free port."""
    made = make_certificates(tmp_path)
    return WebhookSettings(
        port=own_port(), cert_file=made.cert, key_file=made.key, ca_file=made.ca, address=LOOPBACK, host=LOOPBACK
    )


@asynccontextmanager
async def serving(settings: WebhookSettings) -> AsyncIterator[httpx.AsyncClient]:
    """Serve until the block ends; give a client that trusts what an API server is told to trust."""
    async with aclosing(WebhookServer(settings)(answer)) as given:
        config = await anext(given)
        async with going_on(given), client_of(config) as client:
            yield client


@asynccontextmanager
async def going_on(given: AsyncGenerator[WebhookClientConfig, None]) -> AsyncIterator[None]:
    """Wait for the next configuration, as kopf does, until the block ends."""
    following = asyncio.ensure_future(anext(given))
    try:
        yield
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


def client_of(config: WebhookClientConfig) -> httpx.AsyncClient:
    """Return a client that trusts what the API server is told to trust."""
    context = ssl.create_default_context(cadata=base64.b64decode(config["caBundle"] or "").decode())
    return httpx.AsyncClient(base_url=config["url"] or "", verify=context, trust_env=False, timeout=20)


async def test_a_review_is_answered_for_its_kind(settings: WebhookSettings) -> None:
    """On one connection, again and again."""
    async with serving(settings) as client:
        for plural in ("scheduledtasks", "httptargets"):
            answered = await client.post(f"/{plural}", content=REVIEW)
            assert (answered.status_code, answered.json()) == (200, {"response": {"uid": "1", "webhook": plural}})


@pytest.mark.parametrize(
    ("path", "body", "want"),
    [
        pytest.param("/scheduledtasks", b"{", 400, id="half a body"),
        pytest.param("/scheduledtasks", b"[]", 400, id="no review"),
        pytest.param("/scheduledtasks", b"[" * 1_000_000, 400, id="nested"),
        pytest.param("/scheduledtasks", b"\xff", 400, id="no text"),
        pytest.param("/scheduledtasks", b'{"request": {"hangs": true}}', 408, id="too slow"),
        pytest.param("/", REVIEW, 404, id="no kind"),
    ],
)
async def test_what_is_no_review_is_refused(settings: WebhookSettings, path: str, body: bytes, want: int) -> None:
    """And the next one is answered."""
    async with serving(settings) as client:
        assert (await client.post(path, content=body)).status_code == want
        assert (await client.post("/scheduledtasks", content=REVIEW)).status_code == 200


async def test_a_large_review_is_read(settings: WebhookSettings) -> None:
    """With an object and the one that it replaces, as large as the API server stores."""
    body = json.dumps({"request": {"uid": "1", "object": "\0" * 3_000_000}}).encode()
    async with serving(settings) as client:
        assert (await client.post("/scheduledtasks", content=body)).status_code == 200


async def test_connections_of_a_stranger_take_no_place_of_others(settings: WebhookSettings) -> None:
    """Silent ones, as many as there are places: those beyond the address's share are closed at once, the rest later."""
    async with serving(settings) as client, AsyncExitStack() as stack:
        silent = [await _connected(settings, stack) for _ in range(MOST_CONNECTIONS)]
        await eventually(lambda: _closed(silent) >= MOST_CONNECTIONS - MOST_OF_ONE_ADDRESS, 5)
        assert _closed(silent) < MOST_CONNECTIONS  # which of them still wait for their handshake
        assert (await client.post("/scheduledtasks", content=REVIEW)).status_code == 200
        await eventually(lambda: _closed(silent) == MOST_CONNECTIONS, 20)


async def _connected(settings: WebhookSettings, stack: AsyncExitStack) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection(LOOPBACK, settings.port, local_addr=(STRANGER, 0))
    stack.callback(writer.close)
    return reader


def _closed(readers: list[asyncio.StreamReader]) -> int:
    return sum(reader.at_eof() or reader.exception() is not None for reader in readers)


@pytest.mark.parametrize(("length", "want"), [(100, b"408"), (MOST_REVIEW_BYTES + 1, b"413"), (10**18, b"413")])
async def test_a_body_that_does_not_arrive_is_not_waited_for(
    settings: WebhookSettings, length: int, want: bytes
) -> None:
    """Or not for long, if its length is one that a review may have."""
    async with serving(settings):
        context = ssl.create_default_context(cafile=str(settings.ca_file))
        reader, writer = await asyncio.open_connection(LOOPBACK, settings.port, ssl=context)
        head = ("POST /scheduledtasks HTTP/1.1", "Host: webhook", f"Content-Length: {length}", "", "{")
        writer.write("\r\n".join(head).encode())
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 " + want)
        writer.close()


async def test_a_renewed_certificate_is_served_and_told(settings: WebhookSettings, tmp_path: Path) -> None:
    """By another authority; the port stays open."""
    server = WebhookServer(settings)
    server.look_seconds = 0.05
    async with aclosing(server(answer)) as given:
        before = await anext(given)
        make_certificates(tmp_path)
        after = await asyncio.wait_for(anext(given), 20)
        assert (before["url"], before["caBundle"] == after["caBundle"]) == (after["url"], False)
        async with going_on(given), client_of(after) as client:

            async def is_served() -> bool:
                try:
                    return (await client.post("/scheduledtasks", content=REVIEW)).is_success
                except httpx.ConnectError:
                    return False

            await eventually(is_served, 20)


async def test_what_cannot_be_served_is_said(settings: WebhookSettings, tmp_path: Path) -> None:
    """A certificate that is none, and a port that is taken; the messages name what to change."""
    absent = settings.model_copy(update={"cert_file": tmp_path / "absent.pem"})
    with pytest.raises(SettingsError, match="CARILLON_WEBHOOK_CERT_FILE and CARILLON_WEBHOOK_KEY_FILE: must be"):
        await anext(WebhookServer(absent)(answer))
    async with serving(settings):
        with pytest.raises(CannotListenError, match="or set CARILLON_WEBHOOK_PORT to a free port"):
            await anext(WebhookServer(settings)(answer))
