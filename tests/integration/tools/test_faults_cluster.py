"""What ``make faults`` does to pods, Jobs and namespaces, as an API server receives it; and a Postgres that is full."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import psycopg
import pytest
from aiohttp import web

from carillon_core.resources import names
from embedded_postgres import EmbeddedPostgres
from faults.injection.cluster import ClusterFaults
from faults.injection.strangers import FORGED_SLOTS
from faults.injection.upstream import Upstream
from faults.plans.plan import Fault, Injection
from faults.processes.database import Database
from support.ports import own_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

OWNER = {"kind": "Job", "name": "api-1767225604", "uid": "u-1"}
META = {
    "name": "api-1767225604",
    "uid": "u-1",
    "labels": {names.LABEL_TASK: "api", names.LABEL_TASK_UID: "u-0"},
    "annotations": {names.ANNOTATION_SLOT: "2026-01-01T00:00:04Z"},
    "ownerReferences": [{"kind": names.KIND, "name": "api", "uid": "u-0"}],
}
REAL = {"metadata": META, "spec": {"template": {"metadata": {"labels": {"job-name": "api-1767225604", "x": "y"}}}}}
NAMESPACE = "/api/v1/namespaces/own"
JOBS = "/apis/batch/v1/namespaces"


@dataclass
class Server:
    """A replacement of the API server with one Job and its pod."""

    sent: list[tuple[str, Any]] = field(default_factory=list)
    begun: list[Coroutine[Any, Any, None]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if request.method == "GET":
            pod = {"metadata": {"ownerReferences": [OWNER]}}
            return web.json_response(pod if "/pods/" in request.path else REAL)
        body = await request.read()
        self.sent.append((f"{request.method} {request.path_qs}", await request.json() if body else None))
        return web.json_response({})

    @asynccontextmanager
    async def struck(self) -> AsyncIterator[ClusterFaults]:
        """Give the faults of a plan in the namespace ``own``."""
        runner = web.ServerRunner(web.Server(self.handle), shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession() as session:
            upstream = Upstream(f"http://{host}:{port}", ssl.create_default_context(), session)
            yield ClusterFaults(upstream, "own", self.begun.append)
        await runner.cleanup()


@pytest.mark.parametrize(
    ("injection", "resource", "want", "want_killed"),
    [
        (Injection(Fault.POD_KILLED), "pods", f"DELETE {NAMESPACE}/pods/p?gracePeriodSeconds=0", True),
        (Injection(Fault.POD_DELETED, what="4"), "pods", f"DELETE {NAMESPACE}/pods/p?gracePeriodSeconds=4", False),
        (Injection(Fault.POD_EVICTED, what="4"), "pods", f"POST {NAMESPACE}/pods/p/eviction", False),
        (
            Injection(Fault.JOB_DELETED, what="Orphan"),
            "pods",
            f"DELETE {JOBS}/own/jobs/api-1767225604?propagationPolicy=Orphan",
            False,
        ),
        (
            Injection(Fault.JOB_DELETED, what="Background"),
            "jobs",
            f"DELETE {JOBS}/own/jobs/p?propagationPolicy=Background",
            False,
        ),
    ],
)
async def test_a_strike_is_one_request_and_its_job_is_remembered(
    injection: Injection, resource: str, want: str, *, want_killed: bool
) -> None:
    """Without grace as killed, else as disturbed: the oracle excuses them differently."""
    server = Server()
    async with server.struck() as cluster:
        await cluster.strike(injection, resource, "p")
        job = "p" if resource == "jobs" else "api-1767225604"
        assert [path for path, _ in server.sent] == [want]
        assert (cluster.killed_pods, cluster.disturbed) == (({job}, set()) if want_killed else (set(), {job}))


async def test_forged_jobs_pass_for_the_next_executions() -> None:
    """By name, labels, slot and owner, in another namespace; no pod of theirs succeeds."""
    server = Server()
    async with server.struck() as cluster:
        await cluster.strike(Injection(Fault.HOSTILE_OBJECTS, what="jobs"), "jobs", "api-1767225604")
        await server.begun[0]
    paths = [path for path, _ in server.sent]
    assert paths == ["POST /api/v1/namespaces", *[f"POST {JOBS}/own-other/jobs"] * FORGED_SLOTS]
    bodies = sorted((body for _, body in server.sent[1:]), key=lambda body: str(body["metadata"]["name"]))
    assert [body["metadata"]["name"] for body in bodies][:2] == ["api-1767225604", "api-1767225605"]
    assert all(body["metadata"]["labels"] == META["labels"] for body in bodies)
    assert all(body["metadata"]["ownerReferences"] == META["ownerReferences"] for body in bodies)
    assert all(body["spec"]["template"]["metadata"]["labels"] == {"x": "y"} for body in bodies)


async def test_forged_pods_claim_the_job_of_another_namespace() -> None:
    """They have its uid and labels."""
    server = Server()
    async with server.struck() as cluster:
        await cluster.strike(Injection(Fault.HOSTILE_OBJECTS, what="pods"), "jobs", "api-1767225604")
        await server.begun[0]
    assert {path for path, _ in server.sent[1:]} == {"POST /api/v1/namespaces/own-other/pods"}
    assert {body["metadata"]["ownerReferences"][0]["uid"] for _, body in server.sent[1:]} == {"u-1"}


async def test_requests_are_created_while_events_go_on() -> None:
    """The task first, then each request under a name of its own; the oracle is told how many."""
    server = Server()
    async with server.struck() as cluster:
        await cluster.strike(Injection(Fault.REQUESTS, what="30"), "jobs", "api-1767225604")
        assert server.sent == []
        await server.begun[0]
    assert cluster.requests == 30
    assert server.sent[0][1]["kind"] == names.KIND
    assert len({body["metadata"]["name"] for _, body in server.sent[1:]}) == 30


async def test_hostile_tasks_that_fire_are_in_the_other_namespace_only() -> None:
    """In the plan's own, none of them has a slot in a plan's time."""
    server = Server()
    async with server.struck() as cluster:
        await cluster.strike(Injection(Fault.HOSTILE_OBJECTS, what="tasks"), "jobs", "api-1767225604")
        await server.begun[0]
    own = {body["metadata"]["name"] for path, body in server.sent[1:] if "/own/" in path}
    other = {body["metadata"]["name"] for path, body in server.sent[1:] if "/own-other/" in path}
    assert other - own == {"hostile-often", "hostile-old-and-all"}
    assert own < other


async def test_a_full_postgres_takes_nobody_until_the_strangers_have_gone(tmp_path: Path) -> None:
    """A session of the product is ended, and no new one is possible."""
    server = EmbeddedPostgres(tmp_path / "postgres", port=own_port(), fast=True, max_connections=12)
    try:
        url = server.start()
        async with (
            await psycopg.AsyncConnection.connect(url) as before,
            Database(server, url, url).filled() as taken,
        ):
            assert taken == 9, "Postgres keeps three of its twelve for superusers"
            with pytest.raises(psycopg.OperationalError):
                await before.execute("SELECT 1")
            with pytest.raises(psycopg.OperationalError, match="remaining connection slots"):
                await psycopg.AsyncConnection.connect(url)
        async with await psycopg.AsyncConnection.connect(url) as after:
            await after.execute("SELECT 1")
    finally:
        server.stop()
