"""The contract of ``Cluster``: Jobs, pods, Events and Secrets. Both adapters are tested, one on a real API server."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from carillon_core.adapters.kube.pages import FIRST_PAGE
from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.errors import AlreadyExistsError, NotFoundError, UnavailableError
from carillon_core.ports import EventSeries
from carillon_core.resources import names
from carillon_core.resources.meta import ObjectMeta
from support.cluster_adapters import ABSENT, Given, GivenMemory, Watcher, create_task, given, job, watch
from support.waiting import eventually

__all__ = ["given", "watch"]


NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


async def test_a_job_is_created_once(given: Given) -> None:
    """A second Job of the same name is refused, and the first one can be read."""
    created = await given.cluster.create_job(job(given, "once"))
    assert created["metadata"]["uid"]
    assert created["metadata"]["creationTimestamp"]
    with pytest.raises(AlreadyExistsError, match="once"):
        await given.cluster.create_job(job(given, "once"))
    found = await given.cluster.get_job(given.namespace, "once")
    assert found["metadata"]["uid"] == created["metadata"]["uid"]


async def test_a_job_that_is_not_there_is_not_found(given: Given) -> None:
    """A missing Job and a missing namespace both raise NotFoundError."""
    with pytest.raises(NotFoundError):
        await given.cluster.get_job(given.namespace, "absent")
    with pytest.raises(NotFoundError):
        await given.cluster.get_job("no-such-namespace", "absent")


@pytest.mark.parametrize("others", [0, FIRST_PAGE])
async def test_which_jobs_of_a_task_exist(given: Given, others: int) -> None:
    """However many others it has; a Job of the name that is another task's does not count."""
    wanted = {"last": "this", "other": "that", **{f"a-{number}": "this" for number in range(others)}}
    for name, uid in wanted.items():
        manifest = job(given, name)
        manifest["metadata"]["labels"] = {names.LABEL_TASK_UID: uid}
        await given.cluster.create_job(manifest)
    assert await given.cluster.existing_jobs(given.namespace, "this", ["absent", "other", "last"]) == ["last"]
    assert await given.cluster.existing_jobs("no-such-namespace", "this", ["last"]) == []


async def test_the_log_of_a_pod_that_is_not_there_is_not_found(given: Given) -> None:
    """A pod that is gone took its log with it."""
    with pytest.raises(NotFoundError):
        await given.cluster.container_log(given.namespace, "absent", "main", tail_lines=1, limit_bytes=1)


async def test_jobs_go_with_their_task(given: Given, watch: Callable[..., Watcher]) -> None:
    """Deleting a task deletes its Jobs in the background, and the watch reports it."""
    watcher = watch()
    owner = await create_task(given)
    await given.cluster.create_job(job(given, "owned", owner=owner))
    await given.cluster.create_job(job(given, "free"))
    await watcher.until_said("ADDED", "free")
    await given.tasks.delete(given.namespace, "backup")
    # the garbage collector looks for new kinds every 30 seconds, and this one may be new
    await watcher.until_said("DELETED", "owned", seconds=120)
    assert ("DELETED", "free") not in watcher.said


async def test_a_job_is_deleted_if_it_is_still_the_same(given: Given) -> None:
    """A Job with another uid is not deleted; a Job without pods is gone soon."""
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


async def test_why_pods_are_refused_is_told_by_job(given: Given) -> None:
    """Only the given Jobs with refused pods in the given namespace are reported."""
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
    """Only the current pods of the given Job are returned."""
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
    await given.cluster.post_event(skips(meta, "skipped: it runs still"))
    assert await given.notes(meta.uid) == [("Warning", "StillActive", "skipped: it runs still", 1)]


async def test_an_event_stands_for_several_occurrences(given: Given) -> None:
    """Its count grows, and its message is the latest."""
    meta = await create_task(given)
    name = await given.cluster.post_event(skips(meta, "the first"))
    await given.cluster.update_event(skips(meta, "the seventh", 7), name)
    assert await given.notes(meta.uid) == [("Warning", "StillActive", "the seventh", 7)]


async def test_an_event_that_has_expired_is_not_found(given: Given) -> None:
    """The caller then posts another."""
    meta = await create_task(given)
    name = await given.cluster.post_event(skips(meta, "the first"))
    await given.expire_events()
    with pytest.raises(NotFoundError):
        await given.cluster.update_event(skips(meta, "the second", 2), name)


def skips(meta: ObjectMeta, message: str, count: int = 1) -> EventSeries:
    """Return an Event about slots that were skipped."""
    return EventSeries(meta, "ScheduledTask", Notice("Warning", Reason.STILL_ACTIVE, message), NOW, NOW, count)


async def test_a_secret_is_made_and_mended(given: Given) -> None:
    """A differing value is corrected, and other values stay."""
    await given.cluster.ensure_runner_secret(given.namespace, "runner", {"a": "1", "b": "2"})
    assert await given.secret("runner") == {"a": "1", "b": "2"}
    await given.cluster.ensure_runner_secret(given.namespace, "runner", {"a": "1"})
    await given.cluster.ensure_runner_secret(given.namespace, "runner", {"a": "3ü"})
    assert await given.secret("runner") == {"a": "3ü", "b": "2"}


async def test_memory_that_is_down_is_unavailable() -> None:
    """Tests can make the adapter in memory fail."""
    cluster = MemoryCluster()
    cluster.outage = "the test says so"
    with pytest.raises(UnavailableError, match="the test says so"):
        await cluster.get_job("a", "b")
    cluster.outage = None
    cluster.create_error = NotFoundError("gone")
    with pytest.raises(NotFoundError, match="gone"):
        await cluster.create_job(job(GivenMemory(), str(uuid4())))


async def test_the_labels_of_a_secret_are_read(given: Given) -> None:
    """A Secret without labels has none; a missing Secret is reported as missing."""
    await given.label_secret("marked", {"team": "a"})
    await given.label_secret("plain", {})
    assert await given.cluster.secret_labels(given.namespace, "marked") == {"team": "a"}
    assert await given.cluster.secret_labels(given.namespace, "plain") == {}
    with pytest.raises(NotFoundError):
        await given.cluster.secret_labels(given.namespace, "absent")
