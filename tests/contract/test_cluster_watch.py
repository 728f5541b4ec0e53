"""The contract of ``Cluster``: watches of Jobs and pods."""

from collections.abc import Callable

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
