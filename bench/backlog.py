"""Measure what thousands of finished RunRequests of one namespace cost the others (`make backlog`).

    .venv/bin/python bench/backlog.py [--tasks 10000] [--requests 10000] [--slots 200]

Starts a local cluster of its own with nothing but etcd and the API server, and
the operator with a Lease and its metrics, with Postgres from ``DATABASE_URL`` or
the embedded one. ``--tasks`` tasks exist in 100 namespaces. The launches of
``--slots`` slots there, ten a second, are timed by a watch in four phases:
without requests; while ``--requests`` RunRequests arrive in one other namespace
as fast as the API server takes them, from the first slot on; when all of them have finished and are
kept; and after a restart of the operator on that state. For each phase it prints
the latencies, the turns of the operator's loop and the changes of the Lease.

The operator launches a Job for each request. The bench, in place of a node,
reports each Job as complete. A task may keep 1,000 finished requests, so there
is one task for each 1,000; ``--one-task`` gives all to one, and the operator
deletes what is more. Compare figures of one run only: machines are noisy.
"""

import argparse
import asyncio
import math
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import orjson

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.postgres.migrate import upgrade
from carillon_core.domain.execution import job_name
from carillon_core.errors import NotFoundError
from carillon_core.resources import names
from carillon_devcluster import LocalCluster
from carillon_devcluster.processes import identify, stop
from carillon_local.layout import CRDS, STATE, free_port
from embedded_postgres import EmbeddedPostgres

NAMESPACES = [f"others-{number:02}" for number in range(100)]
CROWDED = "crowded"
KEPT = 1000
"""The number of finished requests that a task may keep: the most that its schema allows."""
A_SECOND = 10
LEAD_SECONDS = 5
GIVE_UP_SECONDS = 600
LOOK_SECONDS = 3.0
QUIET = 0.1
"""An operator whose loop is busy for less than this share of the time has settled."""
LONG = "0.05"
"""The bucket of turns that are not too long, in seconds."""
JOBS = "/apis/batch/v1/jobs"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/carillon-operator"


def path(namespace: str, plural: str) -> str:
    """Return where the objects of a namespace are created."""
    return f"/apis/{names.API_VERSION}/namespaces/{namespace}/{plural}"


def body(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """Return an object of ours."""
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def create(connection: KubeConnection, objects: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Create objects, each at its path, as fast as the API server takes them."""
    waiting = iter(objects)

    async def work() -> None:
        for where, item in waiting:
            await connection.request("POST", where, body=item)

    await asyncio.gather(*(work() for _ in range(32)))


async def finish(connection: KubeConnection) -> None:
    """Report each Job as complete, for ever, as the Job controller would once its pod has ended."""
    turns = asyncio.Semaphore(32)

    async def complete(job: dict[str, Any]) -> None:
        async with turns:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            said = [
                {"type": kind, "status": "True", "lastTransitionTime": now}
                for kind in ("SuccessCriteriaMet", "Complete")
            ]
            status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": said}
            where = f"/apis/batch/v1/namespaces/{job['namespace']}/jobs/{job['name']}/status"
            await connection.request(
                "PATCH", where, body={"status": status}, content_type="application/merge-patch+json"
            )

    async with asyncio.TaskGroup() as group:
        async for job in added_jobs(connection, "0"):
            group.create_task(complete(job))


async def added_jobs(connection: KubeConnection, version: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the metadata of each new Job after a version; the API server ends watches, so continue from the last."""
    while True:
        params = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with connection.stream(JOBS, params, GIVE_UP_SECONDS) as lines:
            async for line in lines:
                event = orjson.loads(line)
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] == "ADDED":
                    yield event["object"]["metadata"]


def in_process(work: str, kubeconfig: str, count: int = 0) -> BaseProcess:
    """Start a part of the load in a process of its own, so that it does not delay what the watch stamps."""
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(work, kubeconfig, count), daemon=True)
    process.start()
    return process


def _run(work: str, kubeconfig: str, count: int) -> None:
    async def run() -> None:
        async with KubeConnection(kubeconfig) as connection:
            if work == "finish":
                await finish(connection)
                return
            tasks = 1 if work == "one task" else math.ceil(count / KEPT)
            where = path(CROWDED, names.PLURAL_REQUESTS)
            made = [
                (
                    where,
                    body(
                        "RunRequest",
                        f"r{n:05}",
                        taskRef={"name": f"crowded-{n % tasks}"},
                        ttlSecondsAfterFinished=86400,
                    ),
                )
                for n in range(count)
            ]
            await create(connection, made)

    asyncio.run(run())


@dataclass
class Turns:
    """The turns of the operator's loop, as its metrics tell."""

    url: str
    longest: float = 0.0
    _before: dict[str, float] = field(default_factory=dict)

    async def scraped(self) -> dict[str, float]:
        """Return all samples without labels, and the buckets of the turns by their bounds."""

        def read() -> str:
            with urllib.request.urlopen(self.url, timeout=30) as response:  # noqa: S310  # our own URL
                return str(response.read().decode())

        text = await asyncio.to_thread(read)
        found = re.findall(r'^carillon_operator_loop_(\w+)(?:{le="(\S+)"})? (\S+)$', text, re.MULTILINE)
        return {bound or name: float(value) for name, bound, value in found}

    async def settled(self) -> None:
        """Wait until the operator has little to do."""
        async with asyncio.timeout(GIVE_UP_SECONDS):
            busy = before = math.inf
            while busy > QUIET:
                await asyncio.sleep(LOOK_SECONDS)
                now = (await self.scraped())["turn_seconds_sum"]
                busy, before = abs(now - before) / LOOK_SECONDS, now

    async def begin(self) -> None:
        """Begin a phase."""
        self._before = await self.scraped()

    async def report(self) -> str:
        """Return what a phase's turns were."""
        now = await self.scraped()
        since = {name: value - self._before.get(name, 0.0) for name, value in now.items()}
        long = since["turn_seconds_count"] - since[LONG]
        self.longest = max(self.longest, now["longest_turn_seconds"])
        return (
            f"{since['turn_seconds_count']:.0f} turns, {long:.0f} over {float(LONG) * 1000:.0f} ms, "
            f"longest of the last minute or two {now['longest_turn_seconds'] * 1000:.0f} ms"
        )


class Bench:
    """The phases."""

    def __init__(self, connection: KubeConnection, turns: Turns, slots: int) -> None:
        """Take the cluster and what measures the operator."""
        self._connection = connection
        self.turns = turns
        self._slots = slots
        self.p50: dict[str, float] = {}

    async def lead(self, name: str) -> None:
        """Wait until the operator of this name leads."""
        began = datetime.now(UTC)
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while (await self._lease()).get("holderIdentity") != name:  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.2)
        print(f"{name} leads after {(datetime.now(UTC) - began).total_seconds():.1f} s", flush=True)
        await self.turns.begin()

    async def _lease(self) -> dict[str, Any]:
        try:
            return dict((await self._connection.request("GET", LEASE))["spec"])
        except NotFoundError:
            return {}

    async def measure(self, phase: str, flood: Callable[[], object] = lambda: None) -> None:
        """Time the launches of slots and print how the phase went; the flood begins when the first is due."""
        first = (datetime.now(UTC) + timedelta(seconds=LEAD_SECONDS + self._slots / 50)).replace(microsecond=0)
        prefix = phase.split(maxsplit=1)[0]
        wanted: dict[tuple[str, str], datetime] = {}
        tasks = []
        for number in range(self._slots):
            due = first + timedelta(seconds=number // A_SECOND)
            namespace, name = NAMESPACES[number % len(NAMESPACES)], f"{prefix}-{number}"
            wanted[namespace, job_name(name, due)] = due
            task = body("ScheduledTask", name, runAt=due.isoformat(), task={"sum": {"a": 1, "b": 2}})
            tasks.append((path(namespace, names.PLURAL), task))
        await self.turns.begin()
        version = (await self._connection.request("GET", JOBS, params={"limit": "1"}))["metadata"]["resourceVersion"]
        await create(self._connection, tasks)
        await asyncio.sleep((first - datetime.now(UTC)).total_seconds())
        flood()
        delays = []
        async with asyncio.timeout(GIVE_UP_SECONDS):
            async for job in added_jobs(self._connection, version):
                due_at = wanted.pop((job["namespace"], job["name"]), None)
                if due_at is not None:
                    delays.append((datetime.now(UTC) - due_at).total_seconds())
                if not wanted:
                    break
        self._report(phase, sorted(delays))
        print(f"    {await self.told()}", flush=True)

    async def told(self) -> str:
        """Return what the turns of a phase were, and how often the Lease has changed so far."""
        changes = (await self._lease()).get("leaseTransitions", 0)
        return f"{await self.turns.report()}; {changes} changes of the Lease so far"

    def _report(self, phase: str, delays: list[float]) -> None:
        points = {percent: delays[max(0, math.ceil(len(delays) * percent / 100) - 1)] for percent in (50, 99)}
        self.p50[phase] = points[50]
        ratio = points[50] / next(iter(self.p50.values()))
        shown = ", ".join(f"p{percent} {point * 1000:.0f} ms" for percent, point in points.items())
        print(f"{phase}: {len(delays)} slots, {shown}, max {delays[-1] * 1000:.0f} ms; p50 is {ratio:.2f} of the first")

    async def finished(self) -> int:
        """Return how many requests have finished."""
        count, token = 0, ""
        while True:
            params = {"limit": "500", **({"continue": token} if token else {})}
            page = await self._connection.request("GET", path(CROWDED, names.PLURAL_REQUESTS), params=params)
            count += sum(bool((item.get("status") or {}).get("finishedAt")) for item in page["items"])
            token = page["metadata"].get("continue") or ""
            if not token:
                return count


class Operator:
    """The operator's process, and how to start it again."""

    def __init__(self, cluster: LocalCluster, database_url: str, log: Path, metrics_port: int) -> None:
        """Start nothing yet."""
        self._environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "KUBECONFIG": str(cluster.kubeconfig),
            "CARILLON_RUNNER_IMAGE": "none:0",
            "CARILLON_LOG_LEVEL": "WARNING",
            "CARILLON_METRICS_PORT": str(metrics_port),
            "CARILLON_LEASE_NAMESPACE": "default",
        }
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0

    def start(self) -> str:
        """Start it; return its name."""
        self._number += 1
        name = f"operator-{self._number}"
        with self._log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "carillon_operator"],
                env=self._environment | {"CARILLON_POD_NAME": name},
                stdout=out,
                stderr=out,
            )
        return name

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)


async def run(kubeconfig: str, operator: Operator, bench_url: str, given: argparse.Namespace) -> None:
    """Go through the phases."""
    async with KubeConnection(kubeconfig) as connection:
        for namespace in [*NAMESPACES, CROWDED]:
            await connection.request("POST", "/api/v1/namespaces", body={"metadata": {"name": namespace}})
        bench = Bench(connection, Turns(bench_url), given.slots)
        owners = 1 if given.one_task else math.ceil(given.requests / KEPT)
        yearly: dict[str, Any] = {"schedule": "0 0 1 1 *", "task": {"sum": {"a": 1, "b": 2}}}
        crowd = yearly | {"concurrencyPolicy": "Allow", "finishedRequestsHistoryLimit": KEPT}
        finishing = in_process("finish", kubeconfig)
        try:
            await bench.lead(operator.start())
            tasks = [
                (path(NAMESPACES[n % len(NAMESPACES)], names.PLURAL), body("ScheduledTask", f"t{n}", **yearly))
                for n in range(given.tasks)
            ]
            crowds = [
                (path(CROWDED, names.PLURAL), body("ScheduledTask", f"crowded-{n}", **crowd)) for n in range(owners)
            ]
            await bench.turns.begin()
            await create(connection, [*tasks, *crowds])
            await bench.turns.settled()
            print(f"{given.tasks} tasks created: {await bench.turns.report()}", flush=True)
            await bench.measure("without requests")
            arriving: list[BaseProcess] = []

            def flood() -> None:
                work = "one task" if given.one_task else "request"
                arriving.append(in_process(work, kubeconfig, given.requests))

            await bench.measure("arriving requests", flood)
            await asyncio.to_thread(arriving[0].join)
            await bench.turns.settled()
            print(f"    until all have finished: {await bench.told()}", flush=True)
            print(f"{await bench.finished()} finished requests are kept by {owners} tasks", flush=True)
            await bench.measure("finished requests")
            operator.stop()
            await bench.lead(operator.start())
            await bench.turns.settled()
            print(f"the operator is started again: {await bench.turns.report()}", flush=True)
            await bench.measure("restarted operator")
            print(f"longest turn of all: {bench.turns.longest * 1000:.0f} ms")
        finally:
            finishing.terminate()


def main() -> int:
    """Start everything, measure, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--one-task", action="store_true")
    parser.add_argument("--log", type=Path, help="where to keep the operator's log")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carillon-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        postgres = EmbeddedPostgres(Path(folder) / "postgres", fast=True)
        cluster = LocalCluster("backlog", folder, build_root=STATE)
        try:
            url = os.environ.get("DATABASE_URL") or postgres.start()
            upgrade(url)
            cluster.start()
            cluster.kubectl("apply", "--server-side", "--filename", str(CRDS))
            cluster.kubectl("wait", "--for=condition=Established", "crd/scheduledtasks.carillon.dev")
            others = [p for p in cluster.status().parts if p.name not in {"etcd", "kube-apiserver"} and p.pid]
            stop([identify(part.pid) for part in others if part.pid], 5)
            return _with_operator(cluster, url, given.log or Path(folder) / "operator.log", given)
        finally:
            cluster.stop()
            cluster.delete()
            postgres.stop()


def _with_operator(cluster: LocalCluster, url: str, log: Path, given: argparse.Namespace) -> int:
    port = free_port(0)
    operator = Operator(cluster, url, log, port)
    try:
        asyncio.run(run(str(cluster.kubeconfig), operator, f"http://127.0.0.1:{port}/metrics", given))
    finally:
        operator.stop()
        lines = log.read_text(errors="replace").splitlines(keepends=True)
        print(f"the Lease was lost {sum('lost the Lease' in line for line in lines)} times")
        print(f"the operator logged {len(lines)} warnings; the last:", *lines[-5:], sep="\n", file=sys.stderr, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
