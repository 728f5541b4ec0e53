"""What the operator knows of pods ends with the pods: after a new list, and when a newer pod follows."""

from typing import Any

from carillon_core.ports import JobEvent
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.state.observed_store import ObservedStore
from support.jobs import raw_job

NAMESPACE, UID = "a", "a"


def pod(
    name: str, created: str, *, stuck: bool = False, phase: str = "Running", namespace: str = "a"
) -> dict[str, Any]:
    """Return a pod of the Job as the API server shows it; a stuck one waits for its image."""
    owner = {"kind": "Job", "controller": True, "name": raw_job(namespace)["metadata"]["name"], "uid": namespace}
    waiting = {"waiting": {"reason": "ErrImagePull", "message": f"{name} has no image"}}
    status = {"phase": "Pending", "containerStatuses": [{"name": "runner", "state": waiting}]}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"{namespace}/{name}",
            "creationTimestamp": f"2026-01-01T{created}Z",
            "ownerReferences": [owner],
        },
        "status": status if stuck else {"phase": phase},
    }


def store_with_job(*namespaces: str) -> ObservedStore:
    """Return a store that knows the Job of each namespace, by a list."""
    store = ObservedStore()
    for namespace in namespaces or (NAMESPACE,):
        store.jobs.put(raw_job(namespace))
    return store


def list_pods(store: ObservedStore, *pods: dict[str, Any], place: str | None = None) -> list[str]:
    """Have the pods listed anew; return the namespaces of the Jobs that changed."""
    events = [
        JobEvent("LISTING", "Pod", {}, place),
        *(JobEvent("ADDED", "Pod", each) for each in pods),
        JobEvent("SYNCED", "Pod", {}, place),
    ]
    changes = [change for event in events for change in store.jobs.changes(event)]
    return [change.key[0] for change in changes]


def trouble(store: ObservedStore, namespace: str = NAMESPACE) -> str | None:
    """Return the words of the Job's trouble."""
    (job,) = store.jobs.under((namespace, "backup"))
    return job.trouble.message if job.trouble is not None else None


def test_the_trouble_of_a_pod_that_a_new_list_does_not_name_is_over() -> None:
    """Its deletion was missed while the connection was down; the Job is decided about again."""
    store = store_with_job()
    assert list_pods(store, pod("one", "00:01:01", stuck=True)) == ["a"]
    assert trouble(store) == "one has no image"
    assert list_pods(store) == ["a"]
    assert trouble(store) is None


def test_a_list_of_one_namespace_says_nothing_of_the_pods_of_others() -> None:
    """Each namespace that is watched by itself has lists of its own."""
    store = store_with_job("a", "b")
    list_pods(store, pod("one", "00:01:01", stuck=True), pod("one", "00:01:01", stuck=True, namespace="b"))
    assert list_pods(store, place="b") == ["b"]
    assert (trouble(store, "a"), trouble(store, "b")) == ("one has no image", None)


def test_a_pod_that_comes_while_a_list_is_read_stays() -> None:
    """It may be too new for the list."""
    store = store_with_job()
    list(store.jobs.changes(JobEvent("LISTING", "Pod", {})))
    store.jobs.put_pod(pod("one", "00:01:01", stuck=True))
    list(store.jobs.changes(JobEvent("SYNCED", "Pod", {})))
    assert trouble(store) == "one has no image"


def test_the_newest_pod_speaks_for_its_job() -> None:
    """What kept an older pod from starting does not matter once a newer one runs, whichever was seen first."""
    old, new = pod("old", "00:01:01", stuck=True), pod("new", "00:01:30")
    for order in ((old, new), (new, old)):
        store = store_with_job()
        for each in order:
            store.jobs.put_pod(each)
        assert trouble(store) is None
    store.jobs.put_pod(pod("newer", "00:01:40", stuck=True))
    assert trouble(store) == "newer has no image"
    (job,) = store.jobs.under((NAMESPACE, "backup"))
    assert job.pod_name == "newer"


def test_how_a_pod_ended_is_known_after_it_is_gone() -> None:
    """The attempts of an execution outlive their pods; one that a list does not name has no more end than it showed."""
    store = store_with_job()
    list_pods(store, pod("one", "00:01:01", phase="Succeeded"))
    list_pods(store)
    (job,) = store.jobs.under((NAMESPACE, "backup"))
    assert (job.result, [end.pod_name for end in job.attempts]) == (RunResult.SUCCEEDED, ["one"])


def test_a_job_whose_pod_is_gone_unseen_is_active_until_it_says_more() -> None:
    """Its controller may start another pod."""
    store = store_with_job()
    list_pods(store, pod("one", "00:01:01"))
    list_pods(store)
    (job,) = store.jobs.under((NAMESPACE, "backup"))
    assert job.active


def list_jobs(store: ObservedStore) -> None:
    """Have the Jobs listed anew; there is none."""
    for event in (JobEvent("LISTING", "Job", {}), JobEvent("SYNCED", "Job", {})):
        list(store.jobs.changes(event))


def stray(phase: str = "Running") -> dict[str, Any]:
    """Return a pod of a Job that is gone."""
    raw, made = raw_job(NAMESPACE)["metadata"], pod("one", "00:01:01", phase=phase)
    made["metadata"] |= {"labels": raw["labels"], "annotations": raw["annotations"]}
    return made


def test_a_pod_whose_job_is_gone_stands_for_it_while_it_lives() -> None:
    """The operator was started after the deletion. Nothing is left afterwards, however the pod's end is learnt."""
    for first in ("jobs", "pods"):
        store = ObservedStore()
        if first == "jobs":
            list_jobs(store)
        list_pods(store, stray())
        list_jobs(store)
        (job,) = store.jobs.under((NAMESPACE, "backup"))
        assert (job.active, job.ending) == (True, True)
        if first == "jobs":
            list_pods(store)
        else:
            store.jobs.put_pod(stray("Failed"))
        (job,) = store.jobs.under((NAMESPACE, "backup"))
        assert (job.active, job.result) == (False, RunResult.CANCELLED)
        for _ in range(2):
            list_jobs(store)
            assert store.jobs.under((NAMESPACE, "backup")) == []


def test_a_pod_that_is_seen_before_its_job_makes_way_for_it() -> None:
    """Its event was late: the Job is as it says itself."""
    store = ObservedStore()
    list_jobs(store)
    list_pods(store, stray())
    store.jobs.put(raw_job(NAMESPACE))
    (job,) = store.jobs.under((NAMESPACE, "backup"))
    assert (job.active, job.ending) == (True, False)


def test_a_pod_that_is_orphaned_goes_on_with_the_execution() -> None:
    """``kubectl delete job --cascade=orphan`` takes the owner away; the labels of the Job controller stay."""
    store = store_with_job()
    list_jobs_with = [JobEvent("LISTING", "Job", {}), JobEvent("ADDED", "Job", raw_job(NAMESPACE))]
    for event in (*list_jobs_with, JobEvent("SYNCED", "Job", {})):
        list(store.jobs.changes(event))
    list_pods(store, stray())
    list(store.jobs.changes(JobEvent("DELETED", "Job", raw_job(NAMESPACE))))
    for phase, want in (("Running", True), ("Succeeded", False)):
        orphan = stray(phase)
        (owner,) = orphan["metadata"].pop("ownerReferences")
        orphan["metadata"]["labels"] |= {
            "batch.kubernetes.io/job-name": owner["name"],
            "batch.kubernetes.io/controller-uid": owner["uid"],
        }
        store.jobs.put_pod(orphan)
        (job,) = store.jobs.under((NAMESPACE, "backup"))
        assert job.active is want
    assert job.result is RunResult.SUCCEEDED
