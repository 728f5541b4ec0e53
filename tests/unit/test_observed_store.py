"""What the operator knows of requests and targets, when events do not come in the order of life."""

from typing import Any

from carillon_operator.observed_store import ObservedStore
from support.builders import REQUEST_UID, TASK_UID

A, B = ("default", "a"), ("default", "b")


def request(task: str, uid: str = REQUEST_UID, name: str = "run", version: str = "1") -> dict[str, Any]:
    """Return a RunRequest as the API server shows it."""
    meta = {"name": name, "namespace": "default", "uid": uid, "resourceVersion": version}
    spec = {"taskRef": {"name": task}}
    return {"metadata": {**meta, "creationTimestamp": "2026-01-01T00:10:00Z", "generation": 1}, "spec": spec}


def task(name: str, target: str | None, version: str = "1") -> dict[str, Any]:
    """Return a ScheduledTask that calls a target, or none."""
    kind = {"http": {"targetRef": {"name": target}}} if target else {"counter": {}}
    meta = {"name": name, "namespace": "default", "uid": f"{TASK_UID[:-1]}{name}", "resourceVersion": version}
    metadata = {**meta, "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}
    return {"metadata": metadata, "spec": {"intervalSeconds": 60, "task": kind}}


def target(name: str) -> dict[str, Any]:
    """Return an HTTPTarget."""
    meta = {"name": name, "namespace": "default", "uid": "33333333-8b86-4011-b42d-00c04fc964ff"}
    return {"metadata": meta, "spec": {"url": "https://example.com/"}}


def test_a_request_that_is_made_again_for_another_task_leaves_the_first() -> None:
    """Though nobody told of its deletion: it is not run with the task that its namesake named."""
    store = ObservedStore()
    store.put_request(request("a"))
    again = "44444444-8b86-4011-b42d-00c04fc964ff"
    assert store.put_request(request("b", again, version="2")) == B
    assert store.requests_of(A) == []
    assert [each.meta.uid for each in store.requests_of(B)] == [again]
    assert store.drop_request(("default", "run"), again) == B
    assert store.all_keys() == set()


def test_a_target_concerns_those_that_name_it() -> None:
    """Tasks and requests, whether they came before it or after, and no longer once they name another."""
    store = ObservedStore()
    store.put_task(task("a", "shop"))
    store.put_task(task("b", "shop"))
    store.put_request(request("other"))
    assert store.put_target(target("shop")) == [A, B]
    store.put_task(task("b", None, version="2"))
    assert store.put_target(target("shop")) == [A]
    store.drop_task(A, f"{TASK_UID[:-1]}a")
    assert store.put_target(target("shop")) == []
    assert store.put_target(target("stock")) == []
