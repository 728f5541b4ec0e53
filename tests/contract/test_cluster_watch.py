"""The contract of ``Cluster``: watches of Jobs and pods."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from support.cluster_adapters import Given, Kind, Watcher, given, job, watch

__all__ = ["given", "watch"]


async def test_a_watch_begins_with_a_list(given: Given, watch: Callable[..., Watcher]) -> None:
    """Existing Jobs come between LISTING and SYNCED, and foreign Jobs do not come."""
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
    """The list and later events are of the given namespace, and the list names it."""
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
    """Creations and deletions after the list are reported in order."""
    watcher = watch()
    await watcher.until_said("SYNCED")
    await given.cluster.create_job(job(given, "late"))
    await watcher.until_said("ADDED", "late")
    await given.delete_job("late")
    await watcher.until_said("DELETED", "late")
    assert watcher.said.index(("SYNCED", "")) < watcher.said.index(("ADDED", "late"))


async def test_pods_can_be_watched(given: Given, watch: Callable[..., Watcher]) -> None:
    """The pod of a task's Job is reported with its owner."""
    watcher = watch("Pod")
    await watcher.until_said("SYNCED")
    created = await given.cluster.create_job(job(given, "with-pod"))
    await given.start_pod("with-pod")
    await watcher.until(lambda w: any(e.type == "ADDED" for e in w.events))
    pod = next(e.object for e in watcher.events if e.type == "ADDED")
    owner = next(o for o in pod["metadata"]["ownerReferences"] if o["kind"] == "Job")
    assert (owner["name"], owner["uid"]) == ("with-pod", created["metadata"]["uid"])


async def pod_of(given: Given, watcher: Watcher, name: str) -> None:
    """Create a Job and wait until the watch shows its pod on a node: a pod without a node has no grace period."""
    await given.cluster.create_job(job(given, name))
    await given.start_pod(name)
    await watcher.until(lambda w: any(e.object["spec"].get("nodeName") for e in w.events if e.object))


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
