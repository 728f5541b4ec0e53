"""An API server or a database that accepts connections and never answers: the API says so within seconds."""

import asyncio
import os
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiohttp import web

from support.api import EVERY_MINUTE
from support.ports import own_port
from support.waiting import eventually

AT_ONCE = 40
BEARER = {"Authorization": "Bearer t0ken"}
TRIALS = 2
"""How many of forty calls may try whether what hangs answers again: one at a time, a few seconds apart."""


class Silent:
    """A server that accepts connections and reads from them; it answers nothing until it is told to close them."""

    def __init__(self) -> None:
        self.port = 0
        self.closes = False
        self.connections = 0

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        while not self.closes and await reader.read(65536):
            pass
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Silent"]:
        """Listen until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


async def _reviewed(request: web.Request) -> web.Response:
    """Answer the reviews of an API server: everybody is alice, who may do anything."""
    kind = request.path.rpartition("/")[2]
    user = {"username": "alice", "groups": ["system:authenticated"]}
    status = {"authenticated": True, "user": user} if kind == "tokenreviews" else {"allowed": True}
    return web.json_response({"status": status}, status=201)


@asynccontextmanager
async def reviewing() -> AsyncIterator[int]:
    """Run an API server that answers reviews only, and yield its port."""
    app = web.Application()
    app.router.add_post("/apis/{rest:.*}", _reviewed)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(folder: Path, api_server: int, database: int, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """Run the API in a process of its own, and yield a client of it."""
    named: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api_server}"}}],
        "users": [{"name": "u", "user": {"token": "t0ken-of-the-api"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "x", **named})
    (folder / "kubeconfig").write_text(text)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("CARILLON_", "KUBERNETES_"))},
        "DATABASE_URL": f"postgresql://carillon:secret@127.0.0.1:{database}/carillon",
        "KUBECONFIG": str(folder / "kubeconfig"),
        "CARILLON_API_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "carillon_api", env=environment, stderr=DEVNULL, stdout=DEVNULL
    )
    limits = httpx.Limits(max_connections=2 * AT_ONCE)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=BEARER, timeout=30, limits=limits, trust_env=False
        ) as client:
            await eventually(lambda: _listens(client), 60)
            yield client
    finally:
        process.kill()
        await process.wait()


async def _listens(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).is_success
    except httpx.TransportError:
        return False


async def asked(client: httpx.AsyncClient, hanging: Silent, path: str, **request: Any) -> int:
    """Send many requests at once; each is answered with 503 and when to try again.

    Return how many connections they opened to what hangs.
    """
    before = hanging.connections
    method = "POST" if request else "GET"
    keys = ({"Idempotency-Key": f"k{number}"} if request else {} for number in range(AT_ONCE))
    answers = await asyncio.gather(*(client.request(method, path, headers=key, **request) for key in keys))
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"]
        assert "is unavailable: " in answer.json()["detail"]
    return hanging.connections - before


async def wait_until_tried_again(client: httpx.AsyncClient, path: str) -> None:
    """Wait until the answer is no longer that of what hangs."""

    async def is_tried() -> bool:
        detail = (await client.get(path)).json()["detail"]
        return "no answer" not in detail and "not answered lately" not in detail and "no response" not in detail

    await eventually(is_tried, 20)


CALLS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "reading": ("/api/v1/namespaces/team-a/executions", {}),
    "writing with a key": (
        "/api/v1/namespaces/team-a/tasks",
        {"json": {"name": "nightly", "spec": EVERY_MINUTE}},
    ),
}


@pytest.mark.parametrize("case", CALLS)
async def test_a_database_that_hangs(tmp_path: Path, case: str) -> None:
    """Forty requests are answered, the next ones without asking it, and the database is tried again."""
    path, request = CALLS[case]
    async with (
        Silent().running() as database,
        reviewing() as api_server,
        served(tmp_path, api_server, database.port, own_port()) as client,
    ):
        assert await asked(client, database, path, **request) >= 1
        assert await asked(client, database, path, **request) <= TRIALS
        database.closes = True
        await wait_until_tried_again(client, CALLS["reading"][0])


async def test_an_api_server_that_hangs(tmp_path: Path) -> None:
    """The same; the first call is that which asks whose token it is."""
    path = "/api/v1/namespaces/team-a/tasks"
    async with (
        Silent().running() as api_server,
        Silent().running() as database,
        served(tmp_path, api_server.port, database.port, own_port()) as client,
    ):
        assert await asked(client, api_server, path) >= 1
        assert await asked(client, api_server, path) <= TRIALS
        api_server.closes = True
        await wait_until_tried_again(client, path)
