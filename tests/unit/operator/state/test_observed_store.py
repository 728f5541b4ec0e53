"""The operator's view of requests and targets if events arrive out of order."""

from typing import Any

from carillon_core.ports import JobEvent
from carillon_core.resources.run_request import RunRequestStatus
from carillon_operator.state.observed_store import ObservedStore
from support.builders import REQUEST_UID, TASK_UID
from support.jobs import raw_job

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
    """There was no deletion event: the new request does not run the task of the old one."""
    store = ObservedStore()
    store.requests.put(request("a"))
    again = "44444444-8b86-4011-b42d-00c04fc964ff"
    assert store.requests.put(request("b", again, version="2")) == [B]
    assert store.requests.under(A) == []
    assert [each.meta.uid for each in store.requests.under(B)] == [again]
    assert store.requests.drop(("default", "run"), again) == [B]
    assert store.all_keys() == set()


def test_a_deletion_under_a_name_that_was_taken_again_has_the_new_object_decided() -> None:
    """Its decided status may have been dropped with the old object's."""
    store = ObservedStore()
    store.requests.put(request("a", uid="44444444-8b86-4011-b42d-00c04fc964ff", version="2"))
    assert store.requests.drop(("default", "run"), REQUEST_UID) == [A]
    assert [each.meta.name for each in store.requests.under(A)] == ["run"]
    assert store.requests.drop(("default", "unknown"), REQUEST_UID) == []


def test_a_status_sent_for_a_deleted_object_is_not_remembered() -> None:
    """Names of requests are rarely reused, so the memory would never be freed."""
    store = ObservedStore()
    store.requests.put(request("a"))
    store.requests.drop(("default", "run"), REQUEST_UID)
    decided = RunRequestStatus(message="decided")
    store.requests.sending(("default", "run"), decided)
    store.requests.put(request("a", version="2"))
    store.requests.put(request("a", version="3") | {"status": {"message": "decided"}})
    assert store.requests.foreign_statuses(("default", "run")) == 2


def test_a_target_concerns_those_that_name_it() -> None:
    """This holds for tasks and requests, observed before or after it, until they name another target."""
    store = ObservedStore()
    store.tasks.put(task("a", "shop"))
    store.tasks.put(task("b", "shop"))
    store.requests.put(request("other"))
    assert store.targets.put(target("shop")) == [A, B]
    store.tasks.put(task("b", None, version="2"))
    assert store.targets.put(target("shop")) == [A]
    store.tasks.drop(A, f"{TASK_UID[:-1]}a")
    assert store.targets.put(target("shop")) == []
    assert store.targets.put(target("stock")) == []


def test_a_list_of_a_namespace_says_nothing_of_the_others() -> None:
    """Each has its own lists, which may overlap; an object missing from a list is gone in that namespace only."""
    store = ObservedStore()

    def take(kind: Any, raw: dict[str, Any], namespace: str | None = None) -> list[str]:
        """Return the namespaces of the Jobs that an event removes."""
        changes = store.jobs.changes(JobEvent(kind, "Job", raw, namespace))
        return [change.before.namespace for change in changes if change.before and change.after is None]

    take("LISTING", {}, "a")
    take("LISTING", {}, "b")
    for namespace in ("a", "b", "c"):
        take("ADDED", raw_job(namespace))
    assert {name for name in "abc" if store.jobs.under((name, "backup"))} == {*"abc"}
    assert take("SYNCED", {}, "a") == []
    take("LISTING", {}, "a")
    assert take("SYNCED", {}, "b") == []
    assert take("SYNCED", {}, "a") == ["a"]
    take("LISTING", {}, "c")
    store.jobs.put(raw_job("c"))  # created amid the list
    assert take("SYNCED", {}, "c") == []
    take("LISTING", {})
    take("ADDED", raw_job("b"))
    assert take("SYNCED", {}) == ["a", "c"]


def test_a_job_that_its_queue_took_back_is_over_whatever_it_does_then() -> None:
    """If it is admitted again, another pod may even succeed; the Job is still deleted."""
    store = ObservedStore()
    held = raw_job("a")
    held["spec"] = held["spec"] | {"suspend": True, "backoffLimit": 0}
    owner = {"kind": "Job", "controller": True, "name": held["metadata"]["name"], "uid": "a"}

    def pod(uid: str, phase: str) -> dict[str, Any]:
        return {
            "metadata": {"name": uid, "namespace": "a", "uid": uid, "ownerReferences": [owner]},
            "status": {"phase": phase, "message": uid},
        }

    store.jobs.put(held)
    store.jobs.put_pod(pod("first", "Failed"))
    begun = held | {"spec": held["spec"] | {"suspend": False}}
    for event in (begun, begun | {"status": {"active": 1}}):
        store.jobs.put(event)
        (known,) = store.jobs.under(("a", "backup"))
        assert (known.taken_back, known.result, known.active) == (True, "Failed", False)
    store.jobs.put_pod(pod("second", "Succeeded"))
    (known,) = store.jobs.under(("a", "backup"))
    assert (known.taken_back, known.result) == (True, "Failed")
    assert known.message == "suspended by its queue before it finished: first"


def test_the_status_decided_last_is_kept_until_another_writer_changes_it() -> None:
    """The event of our own write may come before its response; this holds for tasks and requests."""
    store = ObservedStore()
    sent = RunRequestStatus(task_uid=TASK_UID)
    later = RunRequestStatus(task_uid=TASK_UID, job_name="run-1")
    store.requests.put(request("a"))
    name = ("default", "run")
    store.requests.sending(name, sent)
    store.requests.set_status(name, REQUEST_UID, later)
    foreign = store.requests.foreign_statuses(name)
    store.requests.put(request("a", version="2") | {"status": sent.model_dump(mode="json")})
    (known,) = store.requests.under(A)
    assert (known.status, known.stored) == (later, sent)
    assert store.requests.foreign_statuses(name) == foreign
    store.requests.put(request("a", version="3") | {"status": {"jobName": "other"}})
    (known,) = store.requests.under(A)
    assert known.status.job_name == "other"
    assert store.requests.foreign_statuses(name) == foreign + 1


def test_a_request_named_like_its_task_does_not_hide_the_tasks_target() -> None:
    """Both are reconciled under the same key, and only the task uses the target."""
    store = ObservedStore()
    store.tasks.put(task("a", "shop"))
    store.requests.put(request("a", name="a"))
    assert store.targets.put(target("shop")) == [A]


def test_a_spec_that_did_not_change_stays_the_same_object() -> None:
    """What was judged of it need not be judged again with each event."""
    store = ObservedStore()
    store.tasks.put(task("a", None))
    before = store.tasks.get(A)
    store.tasks.put(task("a", None, version="2"))
    after = store.tasks.get(A)
    assert before is not None
    assert after is not None
    assert after.spec is before.spec
    assert after.meta.resource_version == "2"
    changed = task("a", None, version="3")
    changed["metadata"]["generation"], changed["spec"]["intervalSeconds"] = 2, 30
    store.tasks.put(changed)
    last = store.tasks.get(A)
    assert last is not None
    assert last.spec is not None
    assert last.spec.interval_seconds == 30
