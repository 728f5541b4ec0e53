"""Both adapters of ``Cluster``, with controllers and users that act on the cluster, and watches."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Literal, Protocol

import pytest

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeObjectStore
from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.ports import Cluster, JobEvent, JSONObject, ObjectKind, ObjectStore
from carillon_core.resources import names
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.scheduled_task import parse_meta

Kind = Literal["Job", "Pod"]
ABSENT = "absent"
"""A ServiceAccount that does not exist."""


class Given(Protocol):
    """An adapter, a namespace of its own, and what controllers and users do in the cluster."""

    namespace: str

    @property
    def cluster(self) -> Cluster:
        """The adapter."""

    @property
    def tasks(self) -> ObjectStore:
        """The tasks of the same cluster."""

    async def put(self, kind: ObjectKind, name: str, spec: JSONObject) -> JSONObject:
        """Create an object of this kind, as a user does."""

    async def delete_job(self, name: str) -> None:
        """Delete a Job, as a user does."""

    async def start_pod(self, job: str) -> None:
        """Have the Job controller create the Job's pod."""

    def end_pod(self, job: str) -> None:
        """Have the node end the pod of a Job; a real one does so by itself."""

    async def refuse_pod(self, job: str) -> None:
        """Have the API server refuse the pod of a Job whose account is missing."""

    async def label_secret(self, name: str, labels: dict[str, str]) -> None:
        """Create a Secret with these labels."""

    async def secret(self, name: str) -> dict[str, str]:
        """Return a Secret's data, decoded."""

    async def notes(self, uid: str) -> list[tuple[str, str, str, int]]:
        """Return type, reason, message and count of each Event about an object."""

    async def expire_events(self) -> None:
        """Delete all Events, as the API server does after a while."""


class GivenMemory:
    """The adapter in memory."""

    namespace = "test"

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.tasks = self.cluster.tasks

    async def put(self, kind: ObjectKind, name: str, spec: JSONObject) -> JSONObject:
        return self.cluster.put_object(kind, self.namespace, name, spec)

    async def delete_job(self, name: str) -> None:
        self.cluster.delete_job_first(self.namespace, name)

    async def start_pod(self, job: str) -> None:
        self.cluster.start_pod(self.namespace, job)

    def end_pod(self, job: str) -> None:
        self.cluster.finish_pod(self.namespace, job, 143)

    async def refuse_pod(self, job: str) -> None:
        self.cluster.refuse_pod(self.namespace, job, f'serviceaccount "{ABSENT}" not found')

    async def label_secret(self, name: str, labels: dict[str, str]) -> None:
        self.cluster.secret_marks[self.namespace, name] = labels

    async def secret(self, name: str) -> dict[str, str]:
        return self.cluster.secrets[self.namespace, name]

    async def notes(self, uid: str) -> list[tuple[str, str, str, int]]:
        own = [each for each in self.cluster.events.values() if each.meta.uid == uid]
        return [(e.notice.type, str(e.notice.reason), e.notice.message, e.count) for e in own]

    async def expire_events(self) -> None:
        self.cluster.events.clear()


class GivenKube:
    """The adapter of the API server."""

    def __init__(self, connection: KubeConnection, namespace: str) -> None:
        self.connection = connection
        self.namespace = namespace
        self.cluster = KubeCluster(connection)
        self.tasks = KubeObjectStore(connection)

    async def put(self, kind: ObjectKind, name: str, spec: JSONObject) -> JSONObject:
        body = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
        path = f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{kind.lower()}s"
        return await self.connection.request("POST", path, body=body)

    async def delete_job(self, name: str) -> None:
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}"
        await self.connection.request("DELETE", path, body={"propagationPolicy": "Background"})

    async def start_pod(self, job: str) -> None:
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{job}"
        patch = {"spec": {"suspend": False}}
        await self.connection.request("PATCH", path, body=patch, content_type="application/merge-patch+json")

    def end_pod(self, job: str) -> None:
        pass

    async def refuse_pod(self, job: str) -> None:
        await self.start_pod(job)

    async def label_secret(self, name: str, labels: dict[str, str]) -> None:
        body = {"metadata": {"name": name, "labels": labels}, "stringData": {"k": "v"}}
        await self.connection.request("POST", f"/api/v1/namespaces/{self.namespace}/secrets", body=body)

    async def secret(self, name: str) -> dict[str, str]:
        found = await self.connection.request("GET", f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    async def notes(self, uid: str) -> list[tuple[str, str, str, int]]:
        found = await self.connection.request("GET", f"/api/v1/namespaces/{self.namespace}/events")
        own = [e for e in found["items"] if e["involvedObject"]["uid"] == uid]
        return [(e["type"], e["reason"], e["message"], e["count"]) for e in own]

    async def expire_events(self) -> None:
        await self.connection.request("DELETE", f"/api/v1/namespaces/{self.namespace}/events")


@pytest.fixture(params=["memory", "kube"])
def given(request: pytest.FixtureRequest) -> Given:
    """Provide each adapter in turn."""
    if request.param == "memory":
        return GivenMemory()
    return GivenKube(request.getfixturevalue("connection"), request.getfixturevalue("namespace"))


async def create_task(given: Given, name: str = "backup") -> ObjectMeta:
    """Create a task and return its metadata."""
    body = {"metadata": {"name": name}, "spec": {"intervalSeconds": 60, "task": {"sum": {"a": 1, "b": 2}}}}
    return parse_meta((await given.tasks.create(given.namespace, body))["metadata"])


def job(
    given: Given, name: str, *, owner: ObjectMeta | None = None, ours: bool = True, account: str = "default"
) -> JSONObject:
    """Return a suspended Job, which has no pod until it is started."""
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY} if ours else {}
    manifest: JSONObject = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": given.namespace, "labels": labels},
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "serviceAccountName": account,
                    "containers": [{"name": "runner", "image": "no-such-image:0"}],
                },
            },
        },
    }
    if owner is not None:
        reference: dict[str, Any] = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": owner.name,
            "uid": owner.uid,
        }
        manifest["metadata"]["ownerReferences"] = [reference]
    return manifest


class Watcher:
    """Collects the events of a watch for one namespace."""

    def __init__(self, cluster: Cluster, kind: Kind, namespace: str, *, of: str | None = None) -> None:
        self._cluster = cluster
        self._of = of
        self._kind: Kind = kind
        self._namespace = namespace
        self._news = asyncio.Event()
        self.events: list[JobEvent] = []

    async def run(self) -> None:
        stream: Any = self._cluster.watch_jobs(self._kind, self._of)
        async with aclosing(stream):
            async for event in stream:
                if not event.object or event.object["metadata"]["namespace"] == self._namespace:
                    self.events.append(event)
                    self._news.set()

    @property
    def said(self) -> list[tuple[str, str]]:
        """Return type and name of each event so far."""
        return [(e.type, e.object["metadata"]["name"] if e.object else "") for e in self.events]

    async def until(self, condition: Callable[["Watcher"], bool], seconds: float = 30) -> None:
        """Wait until the events meet the condition."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._news.clear()
                await self._news.wait()

    async def until_said(self, kind: str, name: str = "", seconds: float = 30) -> None:
        """Wait for an event of this type and name."""
        await self.until(lambda w: (kind, name) in w.said, seconds)


@pytest.fixture
async def watch(given: Given) -> AsyncIterator[Callable[..., Watcher]]:
    """Start watches that end with the test."""
    running: list[asyncio.Task[None]] = []

    def start(kind: Kind = "Job", of: str | None = None) -> Watcher:
        watcher = Watcher(given.cluster, kind, given.namespace, of=of)
        running.append(asyncio.ensure_future(watcher.run()))
        return watcher

    yield start
    for task in running:
        task.cancel()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(e, asyncio.CancelledError) for e in ended), ended
