"""What the adapter does when the API server, or the way to it, fails; the API server is a real one."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import yaml

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeObjectStore, readiness, wait_until_ready
from carillon_core.adapters.kube.watch import Pace, Watch
from carillon_core.backoff import Backoff
from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.errors import (
    ForbiddenError,
    NotFoundError,
    RefusedError,
    SettingsError,
    UnavailableError,
)
from carillon_core.ports import JobEvent, JSONObject
from carillon_core.resources import names
from carillon_core.resources.scheduled_task import parse_meta
from support.cluster import RunningCluster
from support.proxy import Proxy
from support.waiting import eventually

QUICK = Pace(server=30, idle=35, retries=Backoff(0.02, 0.1))


def kubeconfig_with(cluster: RunningCluster, folder: Path, server: str = "", **user: Any) -> str:
    """Write a kubeconfig like the cluster's with another server or another user, and return its path."""
    config: dict[str, Any] = yaml.safe_load(Path(cluster.kubeconfig).read_text(encoding="utf-8"))
    for each in config["clusters"]:
        if server:
            each["cluster"]["tls-server-name"] = urlsplit(each["cluster"]["server"]).hostname
            each["cluster"]["server"] = server
    if user:
        for known in config["users"]:
            known["user"] = user
    path = folder / f"{uuid4().hex}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


def job(namespace: str, name: str, **annotations: str) -> JSONObject:
    """Build a suspended Job of ours."""
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "none:0"}]}},
        },
    }


@pytest.fixture
async def proxy(connection: KubeConnection) -> AsyncIterator[Proxy]:
    """Give a proxy before the API server."""
    where = urlsplit(connection.server)
    async with Proxy(where.hostname or "", where.port or 443).running() as running:
        yield running


@asynccontextmanager
async def watched(kubeconfig: str, namespace: str, pace: Pace) -> AsyncIterator[list[JobEvent]]:
    """Watch the Jobs of a namespace through a connection of the watch's own; give what it yields as it comes."""
    events: list[JobEvent] = []

    async def run() -> None:
        async with KubeConnection(kubeconfig, timeout_seconds=5) as connection:
            stream: Any = KubeCluster(connection, pace=pace).watch_jobs("Job")
            async with aclosing(stream):
                async for event in stream:
                    if not event.object or event.object["metadata"]["namespace"] == namespace:
                        events.append(event)  # noqa: PERF401  # the test looks at them as they come

    task = asyncio.ensure_future(run())
    try:
        yield events
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended


def said(events: list[JobEvent], kind: str, name: str = "") -> bool:
    """Return whether that event is among them."""
    return any(e.type == kind and (not name or e.object["metadata"]["name"] == name) for e in events)


async def test_a_watch_whose_connection_is_cut_loses_nothing(
    cluster: RunningCluster,
    connection: KubeConnection,
    namespace: str,
    proxy: Proxy,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What happens while nobody can watch is told of afterwards, without a new list; one line says so."""
    caplog.set_level(logging.INFO, "carillon_core.adapters.kube.watch")
    direct = KubeCluster(connection)
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{proxy.port}")
    async with watched(config, namespace, QUICK) as events:
        await direct.create_job(job(namespace, "before"))
        await eventually(lambda: said(events, "ADDED", "before") and said(events, "SYNCED"))
        made = proxy.connections
        proxy.refusing = True
        proxy.cut()
        await eventually(lambda: proxy.connections >= made + 4)
        await direct.create_job(job(namespace, "meanwhile"))
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs/before"
        await connection.request("DELETE", path, body={"propagationPolicy": "Background"})
        proxy.refusing = False
        await eventually(lambda: said(events, "ADDED", "meanwhile") and said(events, "DELETED", "before"))
        await direct.create_job(job(namespace, "after"))
        await eventually(lambda: said(events, "ADDED", "after"))
    assert [e.type for e in events].count("LISTING") == 1
    assert [r.message for r in caplog.records] == [
        "watch interrupted, trying again",
        "watch works again",
    ]


async def test_a_watch_that_falls_silent_is_noticed(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, proxy: Proxy, tmp_path: Path
) -> None:
    """A connection that is dead without an end is given up when it idles too long."""
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{proxy.port}")
    async with watched(config, namespace, Pace(server=30, idle=1, retries=Backoff(0.02, 0.1))) as events:
        await eventually(lambda: said(events, "SYNCED"))
        proxy.freeze()
        await KubeCluster(connection).create_job(job(namespace, "unheard"))
        await eventually(lambda: said(events, "ADDED", "unheard"))


async def test_a_watch_that_the_server_ends_goes_on(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """That is how every watch ends; it is no failure, and no list follows."""
    caplog.set_level(logging.DEBUG, "carillon_core.adapters.kube.watch")
    async with watched(cluster.kubeconfig, namespace, Pace(server=1, idle=10)) as events:
        await eventually(lambda: said(events, "SYNCED"))
        await eventually(lambda: len(caplog.records) >= 2)
        await KubeCluster(connection).create_job(job(namespace, "late"))
        await eventually(lambda: said(events, "ADDED", "late"))
    assert [e.type for e in events].count("LISTING") == 1
    assert {(r.levelno, r.message) for r in caplog.records} == {
        (logging.DEBUG, "watch ended by the server, continuing"),
    }


async def test_a_watch_that_is_too_far_behind_lists_anew(connection: KubeConnection, namespace: str) -> None:
    """A version that the server keeps no more (410) leads to a new list."""
    await KubeCluster(connection).create_job(job(namespace, "there"))
    watch = Watch(connection, "/apis/batch/v1/jobs", "Job", "app.kubernetes.io/managed-by=carillon", QUICK, version="1")
    async with aclosing(watch.events()) as events:
        async for event in events:
            if said([event], "ADDED", "there"):
                break


async def test_a_line_of_any_length_is_read(
    connection: KubeConnection, cluster: RunningCluster, namespace: str
) -> None:
    """A Job with much in its annotations is one line of a watch."""
    async with watched(cluster.kubeconfig, namespace, QUICK) as events:
        await eventually(lambda: said(events, "SYNCED"))
        await KubeCluster(connection).create_job(job(namespace, "big", note="x" * 200_000))
        await eventually(lambda: said(events, "ADDED", "big"))
    big = next(e.object for e in events if said([e], "ADDED", "big"))
    assert len(big["metadata"]["annotations"]["note"]) == 200_000


async def test_a_server_that_is_not_there_is_unavailable(
    cluster: RunningCluster, tmp_path: Path, unused_tcp_port: int
) -> None:
    """The message says what was tried."""
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{unused_tcp_port}")
    async with KubeConnection(config) as connection:
        with pytest.raises(UnavailableError, match=r"API server is unavailable: /apis/carillon.dev.*127\.0\.0\.1"):
            await KubeObjectStore(connection).ping()


async def test_a_server_that_does_not_answer_is_unavailable(
    cluster: RunningCluster, proxy: Proxy, tmp_path: Path
) -> None:
    """A request has its time."""
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{proxy.port}")
    async with KubeConnection(config, timeout_seconds=0.5) as connection:
        await KubeObjectStore(connection).ping()
        proxy.freeze()
        with pytest.raises(UnavailableError, match="no response in time"):
            await KubeObjectStore(connection).ping()


async def test_a_token_that_nobody_knows_is_forbidden_and_not_told(cluster: RunningCluster, tmp_path: Path) -> None:
    """The message tells the mend and not the token."""
    config = kubeconfig_with(cluster, tmp_path, token="not-a-known-token")  # noqa: S106  # it is none
    async with KubeConnection(config) as connection:
        with pytest.raises(ForbiddenError, match="renew the token") as forbidden:
            await KubeObjectStore(connection).list(None)
    assert "not-a-known-token" not in str(forbidden.value)


async def test_a_kubeconfig_that_cannot_be_read_is_a_setting_to_mend(tmp_path: Path) -> None:
    """The message names the file, not what is in it."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("users: [{name: x, user: {token: top-secret}}]\n", encoding="utf-8")
    for path in (broken, tmp_path / "absent.yaml"):
        with pytest.raises(SettingsError, match=path.name) as error:
            async with KubeConnection(str(path)):
                pass
        assert "top-secret" not in str(error.value)


async def service_account_token(connection: KubeConnection, namespace: str) -> str:
    """Return a token of the namespace's default account, whom the API server knows and allows nothing."""
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    await eventually_made(connection, account)
    token: str = (await connection.request("POST", f"{account}/token", body={"spec": {}}))["status"]["token"]
    return token


async def test_a_token_file_that_was_rotated_is_read_again(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, tmp_path: Path
) -> None:
    """A token that the API server knows no more is read anew, and the request made once more."""
    file = tmp_path / "token"
    file.write_text("stale", encoding="utf-8")
    config = kubeconfig_with(cluster, tmp_path, tokenFile=str(file))
    async with KubeConnection(config, renewal_seconds=0) as own:
        with pytest.raises(ForbiddenError, match="renew the token"):
            await KubeObjectStore(own).list(namespace)
        file.write_text(await service_account_token(connection, namespace), encoding="utf-8")
        with pytest.raises(ForbiddenError, match="cannot list resource"):
            await KubeObjectStore(own).list(namespace)


async def test_a_plugin_is_run_again_when_its_token_expires(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, tmp_path: Path
) -> None:
    """The credentials of managed clouds come from programs and last for minutes."""
    said_by_plugin = tmp_path / "credential.json"
    program = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", f"print(open({str(said_by_plugin)!r}, encoding='utf-8').read())"],
        "interactiveMode": "Never",
    }

    def let_plugin_say(token: str) -> None:
        credential = {
            "apiVersion": program["apiVersion"],
            "kind": "ExecCredential",
            "status": {"token": token, "expirationTimestamp": "2020-01-01T00:00:00Z"},
        }
        said_by_plugin.write_text(json.dumps(credential), encoding="utf-8")

    let_plugin_say("stale")
    async with KubeConnection(kubeconfig_with(cluster, tmp_path, exec=program)) as own:
        with pytest.raises(ForbiddenError, match="renew the token"):
            await KubeObjectStore(own).list(namespace)
        let_plugin_say(await service_account_token(connection, namespace))
        with pytest.raises(ForbiddenError, match="cannot list resource"):
            await KubeObjectStore(own).list(namespace)


async def eventually_made(connection: KubeConnection, path: str) -> None:
    """Wait until an object that a controller makes is there."""

    async def there() -> bool:
        try:
            await connection.request("GET", path)
        except NotFoundError:
            return False
        return True

    await eventually(there)


async def test_a_quota_refuses_and_does_not_forbid(connection: KubeConnection, namespace: str) -> None:
    """Both are 403 to the API server; the operator's permissions would not mend a quota."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    await connection.request("POST", path, body=quota)

    async def counted() -> bool:
        return bool((await connection.request("GET", f"{path}/none")).get("status", {}).get("hard"))

    await eventually(counted, 30)
    with pytest.raises(RefusedError, match="exceeded quota"):
        await KubeCluster(connection).create_job(job(namespace, "one-too-many"))


async def test_a_job_in_a_namespace_that_is_not_there(connection: KubeConnection) -> None:
    """The namespace is named."""
    with pytest.raises(NotFoundError, match="no-such-namespace"):
        await KubeCluster(connection).create_job(job("no-such-namespace", "x"))


async def test_a_job_that_breaks_its_schema_is_refused(connection: KubeConnection, namespace: str) -> None:
    """The fields are named."""
    bad = job(namespace, "bad")
    bad["spec"]["template"]["spec"]["restartPolicy"] = "Perhaps"
    with pytest.raises(RefusedError) as refused:
        await KubeCluster(connection).create_job(bad)
    assert "spec.template.spec.restartPolicy" in {p.path for p in refused.value.problems}


async def test_a_status_that_breaks_the_schema_is_refused(connection: KubeConnection, namespace: str) -> None:
    """It is not mistaken for a task that is gone."""
    store = KubeObjectStore(connection)
    spec = {"intervalSeconds": 60, "task": {"sum": {"a": 1, "b": 2}}}
    created = await store.create(namespace, {"metadata": {"name": "x"}, "spec": spec})
    with pytest.raises(RefusedError, match=r"status\.active"):
        await KubeCluster(connection).patch_status(parse_meta(created["metadata"]), {"active": "many"})


async def test_a_long_note_is_cut(connection: KubeConnection, namespace: str) -> None:
    """The API server refuses notes of over 1,024 characters, so that none is lost for its length."""
    spec = {"intervalSeconds": 60, "task": {"sum": {"a": 1, "b": 2}}}
    created = await KubeObjectStore(connection).create(namespace, {"metadata": {"name": "x"}, "spec": spec})
    notice = Notice("Normal", Reason.LAUNCHED, "ü" * 3000)
    await KubeCluster(connection).post_event(parse_meta(created["metadata"]), notice, created_at(created))
    (event,) = (await connection.request("GET", f"/api/v1/namespaces/{namespace}/events"))["items"]
    assert len(event["message"]) == 1024
    assert event["source"] == {"component": "carillon-operator"}


def created_at(task: JSONObject) -> Any:
    """Return a task's creation."""
    return parse_meta(task["metadata"]).creation_timestamp


class Busy:
    """An API server that has no time twice, and knows whom it has told so; then it creates what it is given."""

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
        """Serve, and give the path of a kubeconfig."""
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
    """Between a 429 and the next try, or before new credentials, the Lease may be lost: each time it is asked again."""
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
    """Hundreds of calls share few connections."""
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{proxy.port}")
    async with KubeConnection(config, in_flight=8) as connection:
        store = KubeObjectStore(connection)
        await asyncio.gather(*(store.ping() for _ in range(200)))
    assert proxy.connections <= 8


async def test_waiting_for_the_crd_says_so_once(
    connection: KubeConnection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line tells what is missing and how to mend it; the wait ends when it is there."""
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
