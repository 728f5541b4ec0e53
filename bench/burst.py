"""Measure how long N tasks that are due in the same second take to get their Jobs.

    .venv/bin/python bench/burst.py --tasks 1000 [--native]

Starts a local cluster of its own without a node, so that no pod runs and the
launching alone is measured, and the operator, with Postgres from
``DATABASE_URL`` or the embedded one. A watch of its own records when each Job
appears. ``--native`` measures, on the same cluster, as many CronJobs under
the native controller with its default flags. Compare figures of one run only:
machines are noisy.
"""

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.postgres.migrate import upgrade
from carillon_devcluster import LocalCluster
from carillon_devcluster.processes import identify, stop
from carillon_local.layout import CRDS, STATE
from embedded_postgres import EmbeddedPostgres

LEAD_SECONDS = 15
GIVE_UP_SECONDS = 300
SCHEDULED_TASKS = "/apis/carillon.dev/v1alpha1/namespaces/default/scheduledtasks"
CRON_JOBS = "/apis/batch/v1/namespaces/default/cronjobs"
JOBS = "/apis/batch/v1/namespaces/default/jobs"


def scheduled_task(index: int, due: datetime) -> dict[str, Any]:
    """Return a task that is due at a time."""
    return {
        "apiVersion": "carillon.dev/v1alpha1",
        "kind": "ScheduledTask",
        "metadata": {"name": f"burst-{index}"},
        "spec": {"runAt": due.isoformat(), "task": {"sum": {"a": 1, "b": 2}}},
    }


def cron_job(index: int, due: datetime) -> dict[str, Any]:
    """Return a CronJob that is due at a time and an hour later."""
    container = {"name": "c", "image": "none:0"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"native-{index}"},
        "spec": {"schedule": f"{due.minute} * * * *", "jobTemplate": {"spec": {"template": template}}},
    }


async def measure(
    connection: KubeConnection, path: str, make: Callable[[int, datetime], dict[str, Any]], count: int, due: datetime
) -> list[float]:
    """Create the objects; return how many seconds after ``due`` each Job appeared."""
    turns = asyncio.Semaphore(16)

    async def create(index: int) -> None:
        async with turns:
            await connection.request("POST", path, body=make(index, due))

    await asyncio.gather(*(create(index) for index in range(count)))
    print(f"created {count} objects, {(due - datetime.now(UTC)).total_seconds():.0f} s before they are due", flush=True)
    listed = await connection.request("GET", JOBS, params={"limit": "1"})
    version = listed["metadata"]["resourceVersion"]
    delays: list[float] = []
    async with asyncio.timeout(LEAD_SECONDS + 60 + GIVE_UP_SECONDS):
        while len(delays) < count:  # the API server ends slow watches: continue from the last event
            params = {"watch": "1", "resourceVersion": version}
            async with connection.stream(JOBS, params, GIVE_UP_SECONDS) as lines:
                async for line in lines:
                    event = json.loads(line)
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] == "ADDED":
                        delays.append((datetime.now(UTC) - due).total_seconds())
                    if len(delays) == count:
                        break
    return sorted(delays)


def report(who: str, delays: list[float]) -> None:
    """Print the percentiles, in seconds."""

    def percentile(percent: int) -> float:
        return delays[max(0, math.ceil(len(delays) * percent / 100) - 1)]

    print(f"{who}: N {len(delays)}, p50 {percentile(50):.2f} s, p99 {percentile(99):.2f} s, last {delays[-1]:.2f} s")


async def run(kubeconfig: str, count: int, *, native: bool) -> None:
    """Measure Carillon, and the CronJob controller if requested."""
    async with KubeConnection(kubeconfig) as connection:
        due = (datetime.now(UTC) + timedelta(seconds=LEAD_SECONDS + count / 100)).replace(microsecond=0)
        report("Carillon", await measure(connection, SCHEDULED_TASKS, scheduled_task, count, due))
        if native:
            due = (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)
            report("native CronJob controller", await measure(connection, CRON_JOBS, cron_job, count, due))


def main() -> int:
    """Start everything, measure, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--native", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carillon-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        postgres = EmbeddedPostgres(Path(folder) / "postgres", fast=True)
        cluster = LocalCluster("bench", folder, build_root=STATE)
        try:
            url = os.environ.get("DATABASE_URL") or postgres.start()
            upgrade(url)
            cluster.start()
            cluster.kubectl("apply", "--server-side", "--filename", str(CRDS))
            cluster.kubectl("wait", "--for=condition=Established", "crd/scheduledtasks.carillon.dev")
            stop([identify(part.pid) for part in cluster.status().parts if part.name == "node" and part.pid], 5)
            return _with_operator(cluster, url, Path(folder) / "operator.log", options.tasks, native=options.native)
        finally:
            cluster.stop()
            cluster.delete()
            postgres.stop()


def _with_operator(cluster: LocalCluster, url: str, log: Path, count: int, *, native: bool) -> int:
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "KUBECONFIG": str(cluster.kubeconfig),
        "CARILLON_RUNNER_IMAGE": "none:0",
        "CARILLON_LOG_LEVEL": "WARNING",
    }
    with log.open("wb") as out:
        operator = subprocess.Popen(
            [sys.executable, "-m", "carillon_operator"], env=environment, stdout=out, stderr=out
        )
        try:
            asyncio.run(run(str(cluster.kubeconfig), count, native=native))
        finally:
            operator.terminate()
            operator.wait(30)
            print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-5:]), file=sys.stderr, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
