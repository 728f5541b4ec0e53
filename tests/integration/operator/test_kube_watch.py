"""Watches of a real API server: closed and silent connections, expired versions, long lines."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from carillon_core.adapters.kube import KubeCluster, KubeConnection
from carillon_core.adapters.kube.watch import Pace, Watch
from carillon_core.backoff import Backoff
from carillon_core.ports import JobEvent
from support.cluster import RunningCluster
from support.kube_connections import job, kubeconfig_with, proxy
from support.proxy import Proxy
from support.waiting import eventually

__all__ = ["proxy"]


QUICK = Pace(server=30, idle=35, retries=Backoff(0.02, 0.1))


@asynccontextmanager
async def watched(kubeconfig: str, namespace: str, pace: Pace) -> AsyncIterator[list[JobEvent]]:
    """Watch the Jobs of a namespace through a separate connection; yield the growing list of events."""
    events: list[JobEvent] = []

    async def run() -> None:
        async with KubeConnection(kubeconfig, timeout_seconds=5) as connection:
            stream: Any = KubeCluster(connection, pace=pace).watch_jobs("Job")
            async with aclosing(stream):
                async for event in stream:
                    if not event.object or event.object["metadata"]["namespace"] == namespace:
                        events.append(event)  # noqa: PERF401  # the test reads them while they come

    task = asyncio.ensure_future(run())
    try:
        yield events
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended


def said(events: list[JobEvent], kind: str, name: str = "") -> bool:
    """Return whether the events include this one."""
    return any(e.type == kind and (not name or e.object["metadata"]["name"] == name) for e in events)


async def test_a_watch_whose_connection_is_cut_loses_nothing(
    cluster: RunningCluster,
    connection: KubeConnection,
    namespace: str,
    proxy: Proxy,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Changes during the outage are reported afterwards without a new list, and the outage is logged once."""
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
    """A connection that is idle for too long is replaced."""
    config = kubeconfig_with(cluster, tmp_path, f"https://127.0.0.1:{proxy.port}")
    async with watched(config, namespace, Pace(server=30, idle=1, retries=Backoff(0.02, 0.1))) as events:
        await eventually(lambda: said(events, "SYNCED"))
        proxy.freeze()
        await KubeCluster(connection).create_job(job(namespace, "unheard"))
        await eventually(lambda: said(events, "ADDED", "unheard"))


async def test_a_watch_that_the_server_ends_goes_on(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """When the server ends a watch, it continues without an error and without a new list."""
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
    """An expired version (410) leads to a new list."""
    await KubeCluster(connection).create_job(job(namespace, "there"))
    watch = Watch(connection, "/apis/batch/v1/jobs", "Job", "app.kubernetes.io/managed-by=carillon", QUICK, version="1")
    async with aclosing(watch.events()) as events:
        async for event in events:
            if said([event], "ADDED", "there"):
                break


async def test_a_line_of_any_length_is_read(
    connection: KubeConnection, cluster: RunningCluster, namespace: str
) -> None:
    """A Job with long annotations is one long line of the watch."""
    async with watched(cluster.kubeconfig, namespace, QUICK) as events:
        await eventually(lambda: said(events, "SYNCED"))
        await KubeCluster(connection).create_job(job(namespace, "big", note="x" * 200_000))
        await eventually(lambda: said(events, "ADDED", "big"))
    big = next(e.object for e in events if said([e], "ADDED", "big"))
    assert len(big["metadata"]["annotations"]["note"]) == 200_000
