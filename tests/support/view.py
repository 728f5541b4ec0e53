"""A test's view of Carillon on a cluster: objects, Jobs, pods, rows, executions."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import httpx
import psycopg
import yaml
from psycopg.rows import dict_row

from support.waiting import until

if TYPE_CHECKING:
    from carillon_devcluster import LocalCluster


class View:
    """A cluster, its database and its API, as an administrator sees them. Waits are limited; nothing here sleeps."""

    def __init__(self, cluster: LocalCluster, database_url: str, http: httpx.Client, folder: Path) -> None:
        """Take what there is to look at.

        Args:
            cluster: Where Carillon is.
            database_url: Its history.
            http: Calls its API.
            folder: Where credentials are kept.

        """
        self.cluster = cluster
        self.database_url = database_url
        self.http = http
        self._folder = folder

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
        """Apply objects of any kind with one kubectl call; the default kind is ScheduledTask."""
        common = {"apiVersion": "carillon.dev/v1alpha1", "kind": "ScheduledTask"}
        items = [{**common, **o, "metadata": {"namespace": namespace, **o["metadata"]}} for o in objects]
        listed = {"apiVersion": "v1", "kind": "List", "items": items}
        return self.kubectl("apply", "--filename", "-", stdin=json.dumps(listed), check=check)

    def get(self, path: str, **parameters: str) -> Any:
        """Return the object at a path of the API server, or None if it does not exist; faster than kubectl."""
        answer = self._answer(path, parameters)
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()

    def ours(self, namespace: str, plural: str, name: str) -> dict[str, Any]:
        """Return one of our objects; empty if it does not exist."""
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
        found = self._found(query, namespace, task, task)
        return [row for row in found if not statuses or row["status"] in statuses]

    def attempts(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the attempts of an execution in order."""
        query = "SELECT * FROM attempts WHERE execution_id = %s ORDER BY number"
        return self._found(query, row["id"])

    def await_rows(
        self, namespace: str, task: str | None, count: int, *statuses: str, seconds: float = 60
    ) -> list[dict[str, Any]]:
        """Wait until a task has this many rows with these statuses; return them."""
        try:
            until(lambda: len(self.rows(namespace, task, *statuses)) >= count, seconds, "")
        except TimeoutError:
            there = [(str(r["slot"]), r["status"], r["reason"], r["message"]) for r in self.rows(namespace, task)]
            what = f"{count} rows of {task} are {' or '.join(statuses)}; there are {there}"
            raise TimeoutError(f"after {seconds} s still not so: {what}") from None
        return self.rows(namespace, task, *statuses)

    def await_slot_after(self, namespace: str, task: str, when: datetime, seconds: float = 60) -> None:
        """Wait until a slot after this time has succeeded."""
        until(
            lambda: any(row["slot"] > when for row in self.rows(namespace, task, "succeeded")),
            seconds,
            f"a slot of {task} after {when} has succeeded",
            0.1,
        )

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
        """Return a task's executions from the API, oldest first; only those with the given statuses, if any."""
        answer = self.http.get(f"/api/v1/namespaces/{namespace}/tasks/{name}/executions", params={"limit": 500})
        items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return [i for i in reversed(items) if not statuses or i["status"] in statuses]

    def await_executions(
        self, namespace: str, name: str, count: int, *statuses: str, seconds: float = 60
    ) -> list[dict[str, Any]]:
        """Wait until a task has this many executions with these statuses; return them."""
        what = f"{count} executions of {name} are {' or '.join(statuses)}"
        until(lambda: len(self.executions(namespace, name, *statuses)) >= count, seconds, what)
        return self.executions(namespace, name, *statuses)

    def token(self, namespace: str, account: str) -> str:
        """Return a token of a ServiceAccount (TokenRequest)."""
        return self.kubectl("create", "token", account, "--namespace", namespace, "--duration", "24h").strip()

    def _found(self, query: LiteralString, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            return connection.execute(query, parameters).fetchall()

    def _answer(self, path: str, parameters: Mapping[str, str]) -> httpx.Response:
        """Return the API server's answer to a GET."""
        with self._client_of_cluster() as client:
            return client.get(path, params=parameters)

    def _client_of_cluster(self) -> httpx.Client:
        """Return a new client of the API server that acts as an administrator."""
        return httpx.Client(base_url=self.cluster.api_url, verify=self._admin, trust_env=False, timeout=10)

    @cached_property
    def _admin(self) -> ssl.SSLContext:
        """The administrator's credentials, which survive a restart of the cluster."""
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        user, server = config["users"][0]["user"], config["clusters"][0]["cluster"]
        parts = {"cert": user["client-certificate-data"], "key": user["client-key-data"]}
        for name, encoded in parts.items():
            (self._folder / f"admin.{name}").write_bytes(base64.b64decode(encoded))
        authority = base64.b64decode(server["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(self._folder / "admin.cert", self._folder / "admin.key")
        return context


def instant(text: str) -> datetime:
    """Parse an RFC 3339 time of a response."""
    return datetime.fromisoformat(text).astimezone(UTC)
