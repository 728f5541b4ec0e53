"""The contract of ``Cluster``, over each adapter; the API server is a real one."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import uuid4

import pytest

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeObjectStore
from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.errors import AlreadyExistsError, ConflictError, NotFoundError, UnavailableError
from carillon_core.ports import Cluster, JobEvent, JSONObject, ObjectKind, ObjectStore
from carillon_core.resources import names
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.scheduled_task import parse_meta
from support.waiting import eventually

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
Kind = Literal["Job", "Pod"]
ABSENT = "absent"
"""A ServiceAccount that is not there."""


class Given(Protocol):
    """An adapter, a namespace of the test's own, and what the cluster does of its own accord."""

    namespace: str

    @property
    def cluster(self) -> Cluster:
        """The adapter."""

    @property
    def tasks(self) -> ObjectStore:
        """The tasks of the same cluster."""

    async def put(self, kind: ObjectKind, name: str, spec: JSONObject) -> JSONObject:
        """Create an object of that kind, as a user does."""

    async def delete_job(self, name: str) -> None:
        """Delete a Job, as a user does."""

    async def start_pod(self, job: str) -> None:
        """Let the Job controller create the Job's pod."""

    def end_pod(self, job: str) -> None:
        """Let the node end the pod of a Job; a real one does so by itself."""

    async def refuse_pod(self, job: str) -> None:
        """Let the API server refuse the pod of a Job whose account is missing."""

    async def secret(self, name: str) -> dict[str, str]:
        """Return a Secret's data, decoded."""

    async def notes(self, uid: str) -> list[tuple[str, str, str]]:
        """Return type, reason and message of each Event about an object."""


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

    async def secret(self, name: str) -> dict[str, str]:
        return self.cluster.secrets[self.namespace, name]

    async def notes(self, uid: str) -> list[tuple[str, str, str]]:
        return [(n.type, str(n.reason), n.message) for meta, n, _ in self.cluster.events if meta.uid == uid]


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

    async def secret(self, name: str) -> dict[str, str]:
        found = await self.connection.request("GET", f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    async def notes(self, uid: str) -> list[tuple[str, str, str]]:
        found = await self.connection.request("GET", f"/api/v1/namespaces/{self.namespace}/events")
        return [(e["type"], e["reason"], e["message"]) for e in found["items"] if e["involvedObject"]["uid"] == uid]


@pytest.fixture(params=["memory", "kube"])
def given(request: pytest.FixtureRequest) -> Given:
    """Give each adapter in turn."""
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
    """Build a Job that is suspended, so that no pod comes of it before it is wanted."""
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
    """Takes what a watch yields, of one namespace."""

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
        """Type and name of each event so far."""
        return [(e.type, e.object["metadata"]["name"] if e.object else "") for e in self.events]

    async def until(self, condition: Callable[["Watcher"], bool], seconds: float = 30) -> None:
        """Wait until what was yielded meets the condition."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                self._news.clear()
                await self._news.wait()

    async def until_said(self, kind: str, name: str = "", seconds: float = 30) -> None:
        """Wait until that event came."""
        await self.until(lambda w: (kind, name) in w.said, seconds)


@pytest.fixture
async def watch(given: Given) -> AsyncIterator[Callable[..., Watcher]]:
    """Start watches; they end with the test."""
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


async def test_a_watch_begins_with_a_list(given: Given, watch: Callable[..., Watcher]) -> None:
    """What is there comes between LISTING and SYNCED; others' Jobs do not come at all."""
    await given.cluster.create_job(job(given, "one"))
    await given.cluster.create_job(job(given, "foreign", ours=False))
    await given.cluster.create_job(job(given, "two"))
    watcher = watch()
    await watcher.until_said("SYNCED")
    assert watcher.said[0] == ("LISTING", "")
    assert sorted(watcher.said[1:-1]) == [("ADDED", "one"), ("ADDED", "two")]
    assert watcher.said[-1] == ("SYNCED", "")


@pytest.mark.parametrize("kind", ["Job", "Pod"])
async def test_a_watch_of_a_namespace_is_of_that_alone(given: Given, watch: Callable[..., Watcher], kind: Kind) -> None:
    """In the list, which says of which namespace it is, and in what comes after it."""
    await given.cluster.create_job(job(given, "one"))
    await given.start_pod("one")
    mine, other = watch(kind, given.namespace), watch(kind, "kube-public")
    for watcher in (mine, other):
        await watcher.until_said("SYNCED")
    await given.cluster.create_job(job(given, "two"))
    await given.start_pod("two")
    await mine.until(lambda w: len({e.object["metadata"]["uid"] for e in w.events if e.type == "ADDED"}) == 2)
    assert other.said == [("LISTING", ""), ("SYNCED", "")]
    assert {e.namespace for e in mine.events if not e.object} == {given.namespace}
    assert {e.namespace for e in other.events} == {"kube-public"}


async def test_a_watch_goes_on_with_changes(given: Given, watch: Callable[..., Watcher]) -> None:
    """A Job that is created and deleted after the list is told of, in order."""
    watcher = watch()
    await watcher.until_said("SYNCED")
    await given.cluster.create_job(job(given, "late"))
    await watcher.until_said("ADDED", "late")
    await given.delete_job("late")
    await watcher.until_said("DELETED", "late")
    assert watcher.said.index(("SYNCED", "")) < watcher.said.index(("ADDED", "late"))


async def test_pods_can_be_watched(given: Given, watch: Callable[..., Watcher]) -> None:
    """The pod of a Job of ours is told of, with its owner."""
    watcher = watch("Pod")
    await watcher.until_said("SYNCED")
    created = await given.cluster.create_job(job(given, "with-pod"))
    await given.start_pod("with-pod")
    await watcher.until(lambda w: any(e.type == "ADDED" for e in w.events))
    pod = next(e.object for e in watcher.events if e.type == "ADDED")
    owner = next(o for o in pod["metadata"]["ownerReferences"] if o["kind"] == "Job")
    assert (owner["name"], owner["uid"]) == ("with-pod", created["metadata"]["uid"])


async def test_a_job_is_created_once(given: Given) -> None:
    """The name is the lock: the second creation is told so, and can look at the first."""
    created = await given.cluster.create_job(job(given, "once"))
    assert created["metadata"]["uid"]
    assert created["metadata"]["creationTimestamp"]
    with pytest.raises(AlreadyExistsError, match="once"):
        await given.cluster.create_job(job(given, "once"))
    found = await given.cluster.get_job(given.namespace, "once")
    assert found["metadata"]["uid"] == created["metadata"]["uid"]


async def test_a_job_that_is_not_there_is_not_found(given: Given) -> None:
    """Nor is one of a namespace that does not exist."""
    with pytest.raises(NotFoundError):
        await given.cluster.get_job(given.namespace, "absent")
    with pytest.raises(NotFoundError):
        await given.cluster.get_job("no-such-namespace", "absent")


async def test_jobs_go_with_their_task(given: Given, watch: Callable[..., Watcher]) -> None:
    """Deleting a task deletes its Jobs in the background, and the watch tells."""
    watcher = watch()
    owner = await create_task(given)
    await given.cluster.create_job(job(given, "owned", owner=owner))
    await given.cluster.create_job(job(given, "free"))
    await watcher.until_said("ADDED", "free")
    await given.tasks.delete(given.namespace, "backup")
    # the garbage collector looks for new kinds every 30 seconds, and this one may be just installed
    await watcher.until_said("DELETED", "owned", seconds=120)
    assert ("DELETED", "free") not in watcher.said


async def test_a_status_is_set_as_a_whole(given: Given) -> None:
    """What the new status does not say, or says as null, is gone; the generation stays."""
    meta = await create_task(given)
    first = {
        "active": 1,
        "schedule": "every 60s",
        "lastExecution": {
            "id": "x",
            "slot": "2026-01-01T00:00:00Z",
            "jobName": "j",
            "result": "Failed",
            "message": "it broke",
        },
    }
    written = await given.cluster.patch_status(meta, first)
    assert written["status"] == first
    second = {
        "active": 0,
        "schedule": None,
        "lastExecution": {"id": "y", "slot": "2026-01-01T00:01:00Z", "jobName": "k", "result": "Running"},
    }
    task = await given.cluster.patch_status(parse_meta(written["metadata"]), second)
    assert task["status"] == {k: v for k, v in second.items() if v is not None}
    assert task["metadata"]["generation"] == 1
    assert (await given.tasks.get(given.namespace, "backup"))["status"] == task["status"]


async def test_a_status_is_not_for_another_of_the_name(given: Given) -> None:
    """A task that was deleted and made anew keeps clear of the old one's status."""
    old = await create_task(given)
    await given.tasks.delete(given.namespace, "backup")
    with pytest.raises(NotFoundError):
        await given.cluster.patch_status(old, {"active": 1})
    await create_task(given)
    with pytest.raises(NotFoundError):
        await given.cluster.patch_status(old, {"active": 1})
    assert "active" not in (await given.tasks.get(given.namespace, "backup")).get("status", {})


async def test_a_status_is_for_one_version(given: Given) -> None:
    """Who has not seen the latest change does not overwrite it; without a version nobody asks."""
    meta = await create_task(given)
    await given.cluster.patch_status(meta, {"active": 1})
    with pytest.raises(ConflictError):
        await given.cluster.patch_status(meta, {"active": 2})
    assert (await given.tasks.get(given.namespace, "backup"))["status"]["active"] == 1
    await given.cluster.patch_status(meta.model_copy(update={"resource_version": ""}), {"active": 3})
    assert (await given.tasks.get(given.namespace, "backup"))["status"]["active"] == 3


REQUEST = {"taskRef": {"name": "backup"}}


async def test_requests_and_targets_are_found(given: Given) -> None:
    """By their names, and all of a kind, whole or by their uids."""
    target = await given.put("HTTPTarget", "hook", {"url": "http://example.com/"})
    request = await given.put("RunRequest", "now", REQUEST)
    found: list[tuple[ObjectKind, JSONObject]] = [("HTTPTarget", target), ("RunRequest", request)]
    for kind, raw in found:
        name = (given.namespace, raw["metadata"]["name"])
        assert (await given.cluster.uids(kind))[name] == raw["metadata"]["uid"]
        listed = [item async for item in given.cluster.list_objects(kind)]
        (found_item,) = [i for i in listed if (i["metadata"]["namespace"], i["metadata"]["name"]) == name]
        assert (found_item["metadata"]["uid"], found_item["spec"]) == (raw["metadata"]["uid"], raw["spec"])
        assert (await given.cluster.get_object(kind, *name))["metadata"]["uid"] == raw["metadata"]["uid"]
        with pytest.raises(NotFoundError):
            await given.cluster.get_object(kind, given.namespace, "absent")


async def test_a_list_of_a_namespace_is_of_that_alone(given: Given) -> None:
    """Of every kind, whole or by uids."""
    await create_task(given)
    await given.put("HTTPTarget", "hook", {"url": "http://example.com/"})
    await given.put("RunRequest", "now", REQUEST)
    kinds: tuple[ObjectKind, ...] = ("ScheduledTask", "HTTPTarget", "RunRequest")
    for kind in kinds:
        (found,) = [item async for item in given.cluster.list_objects(kind, given.namespace)]
        key = (given.namespace, found["metadata"]["name"])
        assert await given.cluster.uids(kind, given.namespace) == {key: found["metadata"]["uid"]}
        assert [item async for item in given.cluster.list_objects(kind, "kube-public")] == []
        assert await given.cluster.uids(kind, "kube-public") == {}


async def test_a_request_has_a_status_and_is_deleted(given: Given) -> None:
    """Its own and no other of its name."""
    meta = parse_meta((await given.put("RunRequest", "now", REQUEST))["metadata"])
    written = await given.cluster.patch_status(meta, {"message": "hello"}, "RunRequest")
    assert written["status"] == {"message": "hello"}
    with pytest.raises(NotFoundError):
        await given.cluster.delete_request(meta.model_copy(update={"uid": str(uuid4())}))
    await given.cluster.delete_request(meta)
    with pytest.raises(NotFoundError):
        await given.cluster.delete_request(meta)


async def test_a_job_is_deleted_if_it_is_still_the_same(given: Given) -> None:
    """Another of its name stays; one that has no pods is gone soon."""
    made = await given.cluster.create_job(job(given, "old"))
    with pytest.raises(NotFoundError):
        await given.cluster.delete_job(given.namespace, "old", str(uuid4()))
    await given.cluster.delete_job(given.namespace, "old", made["metadata"]["uid"])

    async def gone() -> bool:
        try:
            await given.cluster.get_job(given.namespace, "old")
        except NotFoundError:
            return True
        return False

    await eventually(gone, 30)
    with pytest.raises(NotFoundError):
        await given.cluster.delete_job(given.namespace, "old", made["metadata"]["uid"])


async def pod_of(given: Given, watcher: Watcher, name: str) -> None:
    """Create a Job and wait until the watch shows its pod."""
    await given.cluster.create_job(job(given, name))
    await given.start_pod(name)
    await watcher.until(lambda w: any(change == "ADDED" for change, _ in w.said))


def grace_of(watcher: Watcher) -> datetime:
    """Return the deletion time of the pod that a watch shows."""
    found = [e.object["metadata"].get("deletionTimestamp") for e in watcher.events if e.object]
    return datetime.fromisoformat(next(text for text in found if text))


async def test_a_job_that_is_deleted_waits_for_its_pods(given: Given, watch: Callable[..., Watcher]) -> None:
    """It has a deletion time until they have ended; theirs is the end of their grace period."""
    jobs, pods = watch("Job"), watch("Pod")
    await pods.until_said("SYNCED")
    await pod_of(given, pods, "old")
    uid = (await given.cluster.get_job(given.namespace, "old"))["metadata"]["uid"]
    began = datetime.now(UTC)
    await given.cluster.delete_job(given.namespace, "old", uid)
    await jobs.until(lambda w: any("deletionTimestamp" in e.object["metadata"] for e in w.events if e.object))
    await pods.until(lambda w: any("deletionTimestamp" in e.object["metadata"] for e in w.events if e.object))
    assert grace_of(pods) > began + timedelta(seconds=20)
    given.end_pod("old")
    await jobs.until_said("DELETED", "old")
    assert await given.cluster.pods_of_job(given.namespace, uid) == []


async def test_pods_of_a_job_that_a_user_deletes_live_on_in_their_grace(
    given: Given, watch: Callable[..., Watcher]
) -> None:
    """``kubectl delete job`` lets the Job be gone first."""
    jobs, pods = watch("Job"), watch("Pod")
    await pods.until_said("SYNCED")
    await pod_of(given, pods, "old")
    began = datetime.now(UTC)
    await given.delete_job("old")
    await jobs.until_said("DELETED", "old")
    await pods.until(lambda w: any("deletionTimestamp" in e.object["metadata"] for e in w.events if e.object))
    assert grace_of(pods) > began + timedelta(seconds=20)
    given.end_pod("old")
    await pods.until(lambda w: any(change == "DELETED" for change, _ in w.said))


async def test_why_pods_are_refused_is_told_by_job(given: Given) -> None:
    """Of those asked about, one or several; one that was refused nothing has no answer, nor has another namespace's."""
    began = datetime.now(UTC).replace(microsecond=0)
    uids = {}
    for name in ("one", "two", "idle"):
        made = await given.cluster.create_job(job(given, name, account=ABSENT))
        uids[name] = str(made["metadata"]["uid"])
    wanted = {uids["one"], uids["two"]}
    assert await given.cluster.pod_refusals(given.namespace, wanted) == {}
    for name in ("one", "two"):
        await given.refuse_pod(name)

    async def told() -> bool:
        return set(await given.cluster.pod_refusals(given.namespace, uids.values())) == wanted

    await eventually(told, 30)
    assert set(await given.cluster.pod_refusals(given.namespace, {uids["two"], str(uuid4())})) == {uids["two"]}
    assert await given.cluster.pod_refusals("kube-public", wanted) == {}
    ((uid, (refusal, *_)),) = (await given.cluster.pod_refusals(given.namespace, {uids["one"]})).items()
    assert uid == uids["one"]
    assert refusal.message.startswith('Error creating: pods "one-')
    assert f'serviceaccount "{ABSENT}" not found' in refusal.message
    assert began <= refusal.first <= refusal.last
    assert await given.cluster.pods_of_job(given.namespace, uids["one"]) == []


async def test_the_pods_of_a_job_are_its_own(given: Given) -> None:
    """As they are at this moment; none of another Job's."""
    uids = {}
    for name in ("one", "two", "idle"):
        uids[name] = (await given.cluster.create_job(job(given, name)))["metadata"]["uid"]
    for name in ("one", "two"):
        await given.start_pod(name)

    async def there() -> bool:
        return all([await given.cluster.pods_of_job(given.namespace, uids[name]) for name in ("one", "two")])

    await eventually(there, 30)
    (pod,) = await given.cluster.pods_of_job(given.namespace, uids["one"])
    assert [owner["uid"] for owner in pod["metadata"]["ownerReferences"]] == [uids["one"]]
    assert await given.cluster.pods_of_job(given.namespace, uids["idle"]) == []


async def test_an_event_is_about_the_task(given: Given) -> None:
    """``kubectl describe`` shows type, reason and message."""
    meta = await create_task(given)
    await given.cluster.post_event(meta, Notice("Warning", Reason.STILL_ACTIVE, "skipped: it runs still"), NOW)
    assert await given.notes(meta.uid) == [("Warning", "StillActive", "skipped: it runs still")]


async def test_a_secret_is_made_and_mended(given: Given) -> None:
    """A value that differs is set; the rest of the Secret stays."""
    await given.cluster.ensure_runner_secret(given.namespace, "runner", {"a": "1", "b": "2"})
    assert await given.secret("runner") == {"a": "1", "b": "2"}
    await given.cluster.ensure_runner_secret(given.namespace, "runner", {"a": "1"})
    await given.cluster.ensure_runner_secret(given.namespace, "runner", {"a": "3ü"})
    assert await given.secret("runner") == {"a": "3ü", "b": "2"}


async def test_memory_that_is_down_is_unavailable() -> None:
    """The switches for tests of those who use a cluster."""
    cluster = MemoryCluster()
    cluster.outage = "the test says so"
    with pytest.raises(UnavailableError, match="the test says so"):
        await cluster.get_job("a", "b")
    cluster.outage = None
    cluster.create_error = NotFoundError("gone")
    with pytest.raises(NotFoundError, match="gone"):
        await cluster.create_job(job(GivenMemory(), str(uuid4())))
