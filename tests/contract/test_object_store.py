"""The contract of ``ObjectStore``, over each adapter; the API server is a real one."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carillon_core.adapters.kube import KubeCluster, KubeObjectStore
from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from carillon_core.ports import Cluster, JSONObject
from carillon_core.resources.scheduled_task import parse_meta

SUM = {"sum": {"a": 1, "b": 2.5}}


@dataclass(frozen=True, slots=True)
class Given:
    """A store, the operator's side of it, and a namespace of the test's own."""

    store: KubeObjectStore | MemoryObjectStore
    cluster: Cluster
    namespace: str

    async def create(self, name: str = "backup", labels: dict[str, str] | None = None, **spec: Any) -> JSONObject:
        """Create a task that sums every minute, unless the spec says otherwise."""
        body = task(name, **({"intervalSeconds": 60, "task": SUM} | spec))
        if labels:
            body["metadata"]["labels"] = labels
        return await self.store.create(self.namespace, body)


@pytest.fixture(params=["memory", "kube"])
def given(request: pytest.FixtureRequest) -> Given:
    """Give each adapter in turn, with an empty namespace."""
    if request.param == "memory":
        memory = MemoryObjectStore(namespaces={"test-memory"})
        return Given(memory, MemoryCluster(memory), "test-memory")
    connection = request.getfixturevalue("connection")
    return Given(KubeObjectStore(connection), KubeCluster(connection), request.getfixturevalue("namespace"))


def task(name: str, **spec: Any) -> JSONObject:
    """Build a task's body."""
    return {
        "apiVersion": "carillon.dev/v1alpha1",
        "kind": "ScheduledTask",
        "metadata": {"name": name},
        "spec": spec,
    }


async def test_a_created_task_is_stored_with_identity_and_defaults(given: Given) -> None:
    """What the API server adds is there, and what the spec left out has its default."""
    created = await given.create("backup", labels={"team": "a"})
    meta = parse_meta(created["metadata"])
    assert (meta.name, meta.namespace, meta.generation) == ("backup", given.namespace, 1)
    assert meta.labels == {"team": "a"}
    assert meta.uid
    assert meta.resource_version
    assert meta.creation_timestamp is not None
    assert abs(datetime.now(UTC) - meta.creation_timestamp) < timedelta(minutes=1)
    assert created["spec"] == {
        "intervalSeconds": 60,
        "task": SUM,
        "suspend": False,
        "jitterSeconds": 0,
        "concurrencyPolicy": "Forbid",
        "missedRunPolicy": "Latest",
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
        "timeoutSeconds": 3600,
    }
    assert "status" not in created
    assert await given.store.get(given.namespace, "backup") == created


async def test_nulls_are_dropped_and_a_status_is_not_the_writers(given: Given) -> None:
    """A field that is null is one left out; a status in a creation is ignored."""
    body = task("backup", schedule="@hourly", timeZone=None, suspend=None, task={"counter": {"name": None}})
    created = await given.store.create(given.namespace, body | {"status": {"active": 7}})
    assert created["spec"]["suspend"] is False
    assert "timeZone" not in created["spec"]
    assert created["spec"]["task"] == {"counter": {}}
    assert "status" not in created


async def test_a_name_is_taken_once(given: Given) -> None:
    """The second creation is told that the name is taken."""
    await given.create("backup")
    with pytest.raises(AlreadyExistsError, match="backup"):
        await given.create("backup")


async def test_a_missing_namespace_is_named(given: Given) -> None:
    """Whoever creates in a namespace that does not exist reads its name."""
    with pytest.raises(NotFoundError, match=r"namespaces.*no-such-namespace"):
        await given.store.create("no-such-namespace", task("backup", intervalSeconds=60, task=SUM))


@pytest.mark.parametrize("name", ["absent", "", "..", "a/b", "Upper", "a?b"])
async def test_what_is_not_there_is_not_found(given: Given, name: str) -> None:
    """No call finds a task that does not exist, nor anything else by a name that no task can have."""
    body = task(name, intervalSeconds=60, task=SUM)
    with pytest.raises(NotFoundError):
        await given.store.get(given.namespace, name)
    with pytest.raises(NotFoundError):
        await given.store.replace(given.namespace, name, body)
    with pytest.raises(NotFoundError):
        await given.store.patch(given.namespace, name, {"spec": {"suspend": True}})
    with pytest.raises(NotFoundError):
        await given.store.delete(given.namespace, name)


async def test_a_list_is_in_order_and_of_its_namespace(given: Given) -> None:
    """Names come in order; a namespace without tasks gives an empty list."""
    for name in ("c", "a", "b"):
        await given.create(name)
    assert [t["metadata"]["name"] for t in await given.store.list(given.namespace)] == ["a", "b", "c"]
    everywhere = [(t["metadata"]["namespace"], t["metadata"]["name"]) for t in await given.store.list(None)]
    assert everywhere == sorted(everywhere)
    assert {(given.namespace, n) for n in "abc"} <= set(everywhere)
    assert await given.store.list("no-such-namespace") == []


@pytest.mark.parametrize(
    ("selector", "want"),
    [
        ("team=a", ["one", "two"]),
        ("team==a,tier=web", ["one"]),
        ("team!=a", ["four", "three"]),
        ("team in (a, b)", ["one", "three", "two"]),
        ("team notin (a)", ["four", "three"]),
        ("tier", ["one"]),
        ("!team", ["four"]),
        ("team in (a),tier notin (web)", ["two"]),
        ("example.com/owner=x", ["four"]),
    ],
)
async def test_a_list_can_be_selected_by_labels(given: Given, selector: str, want: list[str]) -> None:
    """Selectors are Kubernetes' own."""
    await given.create("one", labels={"team": "a", "tier": "web"})
    await given.create("two", labels={"team": "a"})
    await given.create("three", labels={"team": "b"})
    await given.create("four", labels={"example.com/owner": "x"})
    assert [t["metadata"]["name"] for t in await given.store.list(given.namespace, selector)] == want


@pytest.mark.parametrize("selector", ["team in a", "=a", "team=a=b", "team in (a", "a b"])
async def test_a_selector_that_makes_no_sense_is_refused(given: Given, selector: str) -> None:
    """It selects neither everything nor nothing."""
    with pytest.raises(RefusedError):
        await given.store.list(given.namespace, selector)


async def test_a_replacement_is_the_whole_spec_and_a_new_generation(given: Given) -> None:
    """What the new spec leaves out is gone; identity stays; the version moves."""
    old = await given.create("backup", labels={"team": "a"}, startingDeadlineSeconds=5)
    new = await given.store.replace(given.namespace, "backup", task("backup", schedule="@hourly", task=SUM))
    assert "startingDeadlineSeconds" not in new["spec"]
    assert "intervalSeconds" not in new["spec"]
    assert "labels" not in new["metadata"]
    assert new["metadata"]["uid"] == old["metadata"]["uid"]
    assert new["metadata"]["generation"] == 2
    assert new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]


async def test_a_replacement_of_an_old_version_is_a_conflict(given: Given) -> None:
    """Nobody's change is overwritten unseen; with the current version it works."""
    old = await given.create("backup")
    seen = await given.store.patch(given.namespace, "backup", {"spec": {"suspend": True}})
    with pytest.raises(ConflictError):
        await given.store.replace(given.namespace, "backup", old)
    seen["spec"]["suspend"] = False
    replaced = await given.store.replace(given.namespace, "backup", seen)
    assert replaced["spec"]["suspend"] is False


async def test_a_patch_merges(given: Given) -> None:
    """RFC 7396: named fields change, null removes, the rest stays."""
    await given.create("backup", labels={"team": "a", "tier": "web"})
    patch = {
        "metadata": {"labels": {"team": None, "new": "x"}},
        "spec": {"intervalSeconds": None, "schedule": "@daily"},
    }
    patched = await given.store.patch(given.namespace, "backup", patch)
    assert patched["metadata"]["labels"] == {"tier": "web", "new": "x"}
    assert patched["spec"]["schedule"] == "@daily"
    assert "intervalSeconds" not in patched["spec"]
    assert patched["spec"]["task"] == SUM
    assert patched["metadata"]["generation"] == 2


async def test_a_patch_of_an_old_version_is_a_conflict(given: Given) -> None:
    """A resourceVersion in a patch is a condition."""
    old = await given.create("backup")
    version = old["metadata"]["resourceVersion"]
    conditional = {"metadata": {"resourceVersion": version}, "spec": {"suspend": True}}
    await given.store.patch(given.namespace, "backup", conditional)
    with pytest.raises(ConflictError):
        await given.store.patch(given.namespace, "backup", conditional | {"spec": {"suspend": False}})


async def test_a_change_of_labels_alone_keeps_the_generation(given: Given) -> None:
    """The generation speaks of the spec."""
    await given.create("backup")
    patched = await given.store.patch(given.namespace, "backup", {"metadata": {"labels": {"a": "b"}}})
    assert patched["metadata"]["generation"] == 1


async def test_a_patch_that_changes_nothing_keeps_the_version(given: Given) -> None:
    """Nobody who watches is woken for nothing."""
    created = await given.create("backup")
    patched = await given.store.patch(given.namespace, "backup", {"spec": {"intervalSeconds": 60}})
    assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_writers_of_the_spec_do_not_touch_the_status(given: Given) -> None:
    """Whatever a replacement or a patch says of the status, it stays the operator's."""
    created = await given.create("backup")
    await given.cluster.patch_status(parse_meta(created["metadata"]), {"active": 1})
    body = task("backup", schedule="@hourly", task=SUM) | {"status": {"active": 5}}
    assert (await given.store.replace(given.namespace, "backup", body))["status"] == {"active": 1}
    patched = await given.store.patch(given.namespace, "backup", {"status": {"active": 5}})
    assert patched["status"] == {"active": 1}


async def test_a_deleted_task_is_gone(given: Given) -> None:
    """Its name is free again, for another object."""
    old = await given.create("backup")
    await given.store.delete(given.namespace, "backup")
    with pytest.raises(NotFoundError):
        await given.store.get(given.namespace, "backup")
    assert (await given.create("backup"))["metadata"]["uid"] != old["metadata"]["uid"]


async def test_a_deletion_of_an_old_version_is_a_conflict(given: Given) -> None:
    """What has been changed in the meantime is not deleted."""
    old = await given.create("backup")
    new = await given.store.patch(given.namespace, "backup", {"spec": {"suspend": True}})
    with pytest.raises(ConflictError):
        await given.store.delete(given.namespace, "backup", old["metadata"]["resourceVersion"])
    await given.store.delete(given.namespace, "backup", new["metadata"]["resourceVersion"])


async def test_a_store_that_answers_can_be_pinged(given: Given) -> None:
    """Readiness asks this."""
    await given.store.ping()


def http(**fields: Any) -> JSONObject:
    """Build a spec with an HTTP task."""
    return {"intervalSeconds": 60, "task": {"http": {"url": "https://example.com/"} | fields}}


BAD_SPECS: dict[str, tuple[JSONObject, str, str]] = {
    "no time to run": ({"task": SUM}, "spec", "must set exactly one of schedule, intervalSeconds, runAt"),
    "two times to run": (
        {"schedule": "@hourly", "intervalSeconds": 5, "task": SUM},
        "spec",
        "has schedule and intervalSeconds: keep exactly one of them",
    ),
    "three times to run": (
        {"schedule": "@hourly", "intervalSeconds": 5, "runAt": "2027-01-01T00:00:00Z", "task": SUM},
        "spec",
        "has schedule and intervalSeconds and runAt: keep exactly one of them",
    ),
    "a time zone without a cron schedule": (
        {"intervalSeconds": 5, "timeZone": "Europe/Berlin", "task": SUM},
        "spec.timeZone",
        "is only valid with schedule: remove it, or set schedule",
    ),
    "no task": ({"intervalSeconds": 5}, "spec.task", "is required: add it"),
    "no task type": ({"intervalSeconds": 5, "task": {}}, "spec.task", "add exactly one of sleep, counter, http, sum"),
    "two task types": (
        {"intervalSeconds": 5, "task": SUM | {"counter": {}}},
        "spec.task",
        "task types .*counter.* sum.*: keep exactly one",
    ),
    "an interval of nothing": (
        {"intervalSeconds": 0, "task": SUM},
        "spec.intervalSeconds",
        "greater than or equal to 1",
    ),
    "an interval of over a year": (
        {"intervalSeconds": 31622401, "task": SUM},
        "spec.intervalSeconds",
        "less than or equal to 31622400",
    ),
    "an interval that is no number": ({"intervalSeconds": "often", "task": SUM}, "spec.intervalSeconds", "integer"),
    "a time that is none": ({"runAt": "tomorrow", "task": SUM}, "spec.runAt", "date"),
    "an empty schedule": ({"schedule": "", "task": SUM}, "spec.schedule", "at least 1 char"),
    "a time-out of nothing": (
        {"intervalSeconds": 5, "timeoutSeconds": 0, "task": SUM},
        "spec.timeoutSeconds",
        "greater than or equal to 1",
    ),
    "a policy that there is not": (
        {"intervalSeconds": 5, "concurrencyPolicy": "Perhaps", "task": SUM},
        "spec.concurrencyPolicy",
        "Forbid.*Allow",
    ),
    "a field that there is not": (
        {"intervalSeconds": 5, "paused": True, "task": SUM},
        "spec.paused",
        "is not a field of this kind: remove it or correct its spelling",
    ),
    "a nested field that there is not": (
        {"intervalSeconds": 5, "task": {"sleep": {"durationSeconds": 1, "unit": "s"}}},
        "spec.task.sleep.unit",
        "is not a field of this kind",
    ),
    "a sleep without a duration": (
        {"intervalSeconds": 5, "task": {"sleep": {}}},
        "spec.task.sleep.durationSeconds",
        "is required: add it",
    ),
    "a sum of text": ({"intervalSeconds": 5, "task": {"sum": {"a": "one", "b": 2}}}, "spec.task.sum.a", "number"),
    "a URL of another scheme": (
        http(url="ftp://example.com"),
        "spec.task.http.url",
        "must be an absolute URL that begins with http:// or https:// and names a host",
    ),
    "a method that there is not": (http(method="FETCH"), "spec.task.http.method", "GET"),
    "a status code beyond HTTP": (http(expectedStatuses=[99]), "spec.task.http.expectedStatuses[0]", "100"),
    "a header's name with a space": (http(headers={"a b": "c"}), "spec.task.http.headers", "HTTP does not allow|match"),
    "a one-shot that begins": (
        {"runAt": "2027-01-01T00:00:00Z", "startAt": "2027-01-01T00:00:00Z", "task": SUM},
        "spec.startAt",
        "is not valid with runAt: remove it",
    ),
    "a one-shot that ends": (
        {"runAt": "2027-01-01T00:00:00Z", "endAt": "2027-01-01T00:00:00Z", "task": SUM},
        "spec.endAt",
        "is not valid with runAt: remove it",
    ),
    "a one-shot that lasts": (
        {"runAt": "2027-01-01T00:00:00Z", "durationSeconds": 60, "task": SUM},
        "spec.durationSeconds",
        "is not valid with runAt: remove it",
    ),
    "a one-shot that is counted": (
        {"runAt": "2027-01-01T00:00:00Z", "maxRuns": 1, "task": SUM},
        "spec.maxRuns",
        "is not valid with runAt: remove it",
    ),
    "two ends": (
        {"schedule": "@hourly", "endAt": "2027-01-01T00:00:00Z", "durationSeconds": 60, "task": SUM},
        "spec.durationSeconds",
        "is not valid with endAt: remove one of them",
    ),
    "an end before the start": (
        {"schedule": "@hourly", "startAt": "2027-01-01T00:00:00+01:00", "endAt": "2026-12-31T22:59:59Z", "task": SUM},
        "spec.endAt",
        "must not be before startAt: set a later time",
    ),
    "a cool-down of no circuit": (
        {"intervalSeconds": 5, "cooldownSeconds": 60, "task": SUM},
        "spec.cooldownSeconds",
        "is only valid with suspendAfterFailures: set it, or remove cooldownSeconds",
    ),
    "all missed runs, each ending the one before": (
        {"intervalSeconds": 5, "missedRunPolicy": "All", "concurrencyPolicy": "Replace", "task": SUM},
        "spec.missedRunPolicy",
        "must not be All if concurrencyPolicy is Replace, which would end each run: use Latest",
    ),
    "a jitter of over a day": (
        {"intervalSeconds": 5, "jitterSeconds": 86401, "task": SUM},
        "spec.jitterSeconds",
        "86400",
    ),
    "a retry that shrinks": (
        {"intervalSeconds": 5, "retry": {"factor": 0.5}, "task": SUM},
        "spec.retry.factor",
        "greater than or equal to 1",
    ),
    "a request to nowhere": (
        {"intervalSeconds": 5, "task": {"http": {"method": "GET"}}},
        "spec.task.http",
        "has neither url nor targetRef: add one",
    ),
    "a request to two places": (
        http(targetRef={"name": "hook"}),
        "spec.task.http",
        "has url and targetRef: keep exactly one of them",
    ),
    "an environment variable that is none": (
        {"intervalSeconds": 5, "task": {"container": {"image": "busybox", "env": [{"name": "1=x"}]}}},
        "spec.task.container.env[0].name",
        "is not a valid environment variable name: use letters, digits, '-', '_' and '.', not a digit first",
    ),
    "a container as root": (
        {"intervalSeconds": 5, "task": {"container": {"image": "busybox", "runAsUser": 0}}},
        "spec.task.container.runAsUser",
        "greater than or equal to 1",
    ),
    "a plugin without a name": (
        {"intervalSeconds": 5, "task": {"plugin": {"parameters": {"a": 1}}}},
        "spec.task.plugin.name",
        "is required: add it",
    ),
    "a header's value of two lines": (
        http(headers={"a": "b\nc"}),
        "spec.task.http.headers",
        "HTTP does not allow|match",
    ),
}


@pytest.mark.parametrize(("spec", "path", "want"), BAD_SPECS.values(), ids=BAD_SPECS)
async def test_a_bad_spec_is_refused_with_the_mend(given: Given, spec: JSONObject, path: str, want: str) -> None:
    """The field is named, and the sentence tells what to do."""
    with pytest.raises(RefusedError) as refused:
        await given.store.create(given.namespace, task("bad", **spec))
    problems = [p for p in refused.value.problems if p.path.startswith(path)]
    assert problems, [str(p) for p in refused.value.problems]
    assert any(re.search(want, p.message) for p in problems), [str(p) for p in problems]
    assert await given.store.list(given.namespace) == []


async def test_a_missing_spec_is_refused(given: Given) -> None:
    """An object without a spec is no task."""
    body = task("bad")
    del body["spec"]
    with pytest.raises(RefusedError) as refused:
        await given.store.create(given.namespace, body)
    assert [str(p) for p in refused.value.problems] == ["spec: is required: add it"]


async def test_a_patch_to_a_bad_spec_is_refused(given: Given) -> None:
    """What a creation may not say, a change may not either."""
    await given.create("backup")
    with pytest.raises(RefusedError, match="keep exactly one"):
        await given.store.patch(given.namespace, "backup", {"spec": {"schedule": "@hourly"}})


@pytest.mark.parametrize(
    ("name", "want"),
    {
        "a" * 53: "must be at most 52 characters long",
        "Upper_Case": "lowercase RFC 1123 subdomain",
    }.items(),
)
async def test_a_bad_name_is_refused_with_the_mend(given: Given, name: str, want: str) -> None:
    """A Job's name must have room for the slot's time."""
    with pytest.raises(RefusedError) as refused:
        await given.create(name)
    (problem,) = refused.value.problems
    assert problem.path == "metadata.name"
    assert want in problem.message
    assert (await given.create("a" * 52))["metadata"]["name"] == "a" * 52


async def test_memory_that_is_down_is_unavailable() -> None:
    """The switch for tests of those who use a store."""
    store = MemoryObjectStore()
    store.outage = "the test says so"
    with pytest.raises(UnavailableError, match="the test says so"):
        await store.ping()
    with pytest.raises(UnavailableError):
        await store.list(None)
