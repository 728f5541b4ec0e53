"""The contract of dry runs of ``CallerCluster``: judged as a write is, and nothing is stored."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest

from carillon_core.adapters.kube.caller import KubeAPIServer
from carillon_core.adapters.memory.caller import MemoryAPIServer
from carillon_core.errors import AlreadyExistsError, ConflictError, NotFoundError, RefusedError
from carillon_core.ports import CallerCluster, JSONObject, ObjectStore
from support.store_adapters import SUM, task

JOB_SPEC: JSONObject = {
    "suspend": True,
    "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}},
}


@dataclass(frozen=True, slots=True)
class Given:
    """A cluster as a caller sees it, with a namespace of its own."""

    cluster: CallerCluster
    namespace: str
    connection: Any = None
    """To the real API server; None in memory."""
    memory: MemoryAPIServer | None = None

    @property
    def store(self) -> ObjectStore:
        """The tasks."""
        return self.cluster.objects("ScheduledTask")

    @property
    def dry(self) -> ObjectStore:
        """The tasks, whose writes are judged only."""
        return self.cluster.objects("ScheduledTask", dry_run=True)

    async def create_job(self, name: str, labels: dict[str, str], value: str = "") -> str:
        """Create a Job that has no pod, and return its uid."""
        spec = copy.deepcopy(JOB_SPEC)
        spec["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": value}]
        manifest = {"metadata": {"name": name, "namespace": self.namespace, "labels": labels}, "spec": spec}
        if self.memory is not None:
            created = await self.memory.cluster.create_job(manifest)
        else:
            created = await self.connection.request(
                "POST",
                f"/apis/batch/v1/namespaces/{self.namespace}/jobs",
                body={"apiVersion": "batch/v1", "kind": "Job"} | manifest,
            )
        return str(created["metadata"]["uid"])


@pytest.fixture(params=["memory", "kube"])
def given(request: pytest.FixtureRequest) -> Given:
    """Provide each adapter in turn, with an empty namespace."""
    if request.param == "memory":
        memory = MemoryAPIServer(namespaces={"test-memory"})
        return Given(memory.acting_as(None), "test-memory", memory=memory)
    connection = request.getfixturevalue("connection")
    cluster = KubeAPIServer(connection).acting_as(None)
    return Given(cluster, request.getfixturevalue("namespace"), connection)


def body(name: str = "backup", **spec: Any) -> JSONObject:
    """Return a task that sums."""
    return task(name, **({"intervalSeconds": 60, "task": SUM} | spec))


async def test_a_creation_returns_the_object_with_defaults_and_stores_none(given: Given) -> None:
    """It has a made-up uid and no version; the name is free afterwards."""
    asked = await given.dry.create(given.namespace, body())
    assert asked["spec"]["concurrencyPolicy"] == "Forbid"
    assert asked["metadata"]["uid"]
    assert asked["metadata"]["creationTimestamp"]
    assert "resourceVersion" not in asked["metadata"]
    with pytest.raises(NotFoundError):
        await given.store.get(given.namespace, "backup")
    await given.store.create(given.namespace, body())


async def test_a_change_returns_the_new_spec_and_the_stored_version(given: Given) -> None:
    """The generation is the one that the real write would give; the stored object stays."""
    before = await given.store.create(given.namespace, body())
    replaced = await given.dry.replace(given.namespace, "backup", body(intervalSeconds=5))
    patched = await given.dry.patch(given.namespace, "backup", {"spec": {"suspend": True}})
    assert (replaced["spec"]["intervalSeconds"], patched["spec"]["suspend"]) == (5, True)
    for asked in (replaced, patched):
        assert asked["metadata"]["generation"] == 2
        assert asked["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert await given.store.get(given.namespace, "backup") == before


async def test_a_deletion_deletes_nothing(given: Given) -> None:
    """With the right version and without one."""
    before = await given.store.create(given.namespace, body())
    await given.dry.delete(given.namespace, "backup")
    await given.dry.delete(given.namespace, "backup", before["metadata"]["resourceVersion"])
    assert await given.store.get(given.namespace, "backup") == before


async def test_it_is_refused_as_the_write_would_be(given: Given) -> None:
    """A taken name, an invalid spec, an old version, a missing object and a missing namespace."""
    old = await given.store.create(given.namespace, body())
    await given.store.patch(given.namespace, "backup", {"spec": {"suspend": True}})
    with pytest.raises(AlreadyExistsError):
        await given.dry.create(given.namespace, body())
    with pytest.raises(RefusedError):
        await given.dry.create(given.namespace, body("other", intervalSeconds=-1))
    with pytest.raises(ConflictError):
        await given.dry.replace(given.namespace, "backup", old)
    with pytest.raises(ConflictError):
        await given.dry.delete(given.namespace, "backup", old["metadata"]["resourceVersion"])
    with pytest.raises(NotFoundError):
        await given.dry.delete(given.namespace, "absent")
    with pytest.raises(NotFoundError):
        await given.dry.create("no-such-namespace", body())


async def test_a_job_is_listed_and_its_deletion_only_asked_about(given: Given) -> None:
    """Another uid is another Job; a list has as many as are asked for."""
    uid = await given.create_job("one", {"team": "a"})
    await given.create_job("two", {"team": "a"})
    await given.create_job("three", {"team": "b"})
    await given.cluster.delete_job(given.namespace, "one", uid, dry_run=True)
    with pytest.raises(NotFoundError):
        await given.cluster.delete_job(given.namespace, "two", uid, dry_run=True)
    found = await given.cluster.list_jobs(given.namespace, "team=a", 500)
    assert found.complete
    assert sorted(job["metadata"]["name"] for job in found.items) == ["one", "two"]
    assert not any("deletionTimestamp" in job["metadata"] for job in found.items)
    first = await given.cluster.list_jobs(given.namespace, "team=a", 1)
    assert (len(first.items), first.complete) == (1, False)


async def test_no_more_jobs_are_kept_than_a_page_may_have_bytes(given: Given) -> None:
    """Their owner decides how large they are."""
    for number in range(6):
        await given.create_job(f"large-{number}", {"team": "a"}, "x" * 800_000)
    found = await given.cluster.list_jobs(given.namespace, "team=a", 500)
    assert 3 <= len(found.items) < 6
    assert not found.complete
