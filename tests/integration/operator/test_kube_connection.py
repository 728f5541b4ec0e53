"""The connection to a real API server: outages, retries, limits and long lists."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeObjectStore, readiness, wait_until_ready
from carillon_core.errors import UnavailableError
from carillon_core.resources import names
from support.cluster import RunningCluster
from support.kube_connections import job, kubeconfig_with, proxy
from support.proxy import Proxy
from support.waiting import eventually

__all__ = ["proxy"]


async def test_a_server_that_is_not_there_is_unavailable(
    cluster: RunningCluster, tmp_path: Path, unused_tcp_port: int
) -> None:
    """The error has the path and the address."""
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{unused_tcp_port}")
    async with KubeConnection(config) as connection:
        with pytest.raises(UnavailableError, match=r"API server is unavailable: /apis/carillon.dev.*127\.0\.0\.1"):
            await KubeObjectStore(connection).ping()


async def test_a_server_that_does_not_answer_is_unavailable(
    cluster: RunningCluster, proxy: Proxy, tmp_path: Path
) -> None:
    """A request without a response fails after its time-out."""
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{proxy.port}")
    async with KubeConnection(config, timeout_seconds=3) as connection:
        await KubeObjectStore(connection).ping()
        proxy.freeze()
        with pytest.raises(UnavailableError, match="no response in time"):
            await KubeObjectStore(connection).ping()


class Busy:
    """An API server that answers 429 twice, then 401, then creates what it gets."""

    def __init__(self) -> None:
        self.answers = [429, 429, 401, 201]
        self.asked = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length"))
            body, status = await reader.readexactly(length), self.answers[min(self.asked, 3)]
            self.asked += 1
            writer.write(
                f"HTTP/1.1 {status} x\r\nRetry-After: 0\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[str]:
        """Serve, and yield the path of a kubeconfig."""
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        token = folder / "token"
        token.write_text("t", encoding="utf-8")
        config = {
            "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "x", "user": {"tokenFile": str(token)}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "current-context": "x",
        }
        path = folder / "busy.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        async with server:
            yield str(path)


@pytest.mark.parametrize(("leading_for", "want_sent"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 4)])
async def test_a_write_is_sent_again_only_while_its_sender_leads(
    tmp_path: Path, leading_for: int, want_sent: int
) -> None:
    """The Lease is checked again before each retry of a write."""
    busy, looks = Busy(), 0

    def fence() -> None:
        nonlocal looks
        looks += 1
        if looks > leading_for:
            raise UnavailableError("the lease", "it has ended")

    async with busy.running(tmp_path) as config, KubeConnection(config, renewal_seconds=0) as connection:
        cluster = KubeCluster(connection, fence=fence)
        if want_sent == 4:
            created = await cluster.create_job(job("default", "x"))
            assert created["metadata"]["name"] == "x"
        else:
            with pytest.raises(UnavailableError, match="it has ended"):
                await cluster.create_job(job("default", "x"))
    assert busy.asked == want_sent


async def test_many_requests_at_once_keep_within_their_bound(
    cluster: RunningCluster, proxy: Proxy, tmp_path: Path
) -> None:
    """Concurrent requests share a limited number of connections."""
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{proxy.port}")
    async with KubeConnection(config, in_flight=8) as connection:
        store = KubeObjectStore(connection)
        await asyncio.gather(*(store.ping() for _ in range(200)))
    assert proxy.connections <= 8


async def test_waiting_for_the_crd_says_so_once(
    connection: KubeConnection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning says which CRD is missing and how to install it; the wait ends when it exists."""
    monkeypatch.setattr(readiness, "PLURALS", (names.PLURAL, "nosuchthings"))
    waiting = asyncio.ensure_future(wait_until_ready(connection, poll_seconds=0.01))
    await eventually(lambda: bool(caplog.records))
    assert not waiting.done()
    monkeypatch.undo()
    await asyncio.wait_for(waiting, 10)
    whys = [r.__dict__["fields"].get("why") for r in caplog.records if r.levelno == logging.WARNING]
    assert whys == ["the CRD nosuchthings.carillon.dev is not installed: kubectl apply -f crds/"]


async def test_a_long_list_comes_whole(
    connection: KubeConnection, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list of several pages has every task once."""
    monkeypatch.setattr("carillon_core.adapters.kube.pages.PAGE_SIZE", 3)
    store = KubeObjectStore(connection)
    spec = {"intervalSeconds": 60, "task": {"sum": {"a": 1, "b": 2}}}
    wanted = sorted(f"task-{uuid4().hex[:6]}" for _ in range(10))
    for name in wanted:
        await store.create(namespace, {"metadata": {"name": name}, "spec": spec})
    assert [t["metadata"]["name"] for t in await store.list(namespace)] == wanted
