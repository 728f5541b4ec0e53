"""The ends of whole Jobs: their own conditions say so, not one of their pods."""

from dataclasses import replace
from typing import Any

import pytest

from carillon_core.domain.decision.records import end_of, ended_rows
from carillon_core.domain.observed.endings import exit_code
from carillon_core.domain.observed.job_reading import job_of_pod, observed_job
from carillon_core.domain.observed.pod_ends import JobPods, PodEnd, pod_end
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.resources import RunResult
from support.builders import TASK_UID, at

OWNER = {"kind": "ScheduledTask", "name": "backup", "uid": TASK_UID, "controller": True}
WORDS = {"carillon.dev/slot": "2026-01-01T00:00:30Z", "carillon.dev/task-type": "job"}
OK = PodEnd(succeeded=True, finished_at=at("00:00:40"), exit_code=0, pod_name="ok")
BAD = PodEnd(succeeded=False, finished_at=at("00:00:41"), exit_code=7, reason="Error", message="boom", pod_name="bad")
LAST = PodEnd(succeeded=True, finished_at=at("00:00:42"), exit_code=0, pod_name="last")


def raw_job(*conditions: str, completions: int = 1, **meta: Any) -> dict[str, Any]:
    """Return a whole Job as the API server shows it; its container has the name of a runner."""
    more = {"carillon.dev/completions": str(completions)} if completions > 1 else {}
    return {
        "metadata": {
            "name": "backup-1767225630",
            "namespace": "default",
            "uid": "j1",
            "labels": {"carillon.dev/task-uid": TASK_UID, "carillon.dev/task": "backup"},
            "annotations": WORDS | more,
            "ownerReferences": [OWNER],
            **meta,
        },
        "spec": {"backoffLimit": 0, "template": {"spec": {"containers": [{"name": "runner"}]}}},
        "status": {"conditions": [{"type": each, "status": "True", "message": "m"} for each in conditions]},
    }


DELETED: dict[str, Any] = {"deletionTimestamp": "2026-01-01T00:01:00Z"}
CASES: dict[str, tuple[dict[str, Any], tuple[PodEnd, ...], RunResult]] = {
    "a pod that succeeded is not the end": (raw_job(), (OK,), RunResult.RUNNING),
    "a pod that failed is not the end": (raw_job(), (BAD,), RunResult.RUNNING),
    "complete": (raw_job("Complete"), (OK, BAD), RunResult.SUCCEEDED),
    "its criteria are met, its pods have ended": (raw_job("SuccessCriteriaMet"), (OK, BAD), RunResult.SUCCEEDED),
    "failed": (raw_job("Failed"), (OK, BAD, LAST), RunResult.FAILED),
    "failed, as its target says": (raw_job("FailureTarget"), (BAD,), RunResult.FAILED),
    "deleted, and as many pods succeeded as it needs": (raw_job(**DELETED), (OK,), RunResult.SUCCEEDED),
    "deleted, and more pods had to succeed": (raw_job(completions=2, **DELETED), (OK,), RunResult.RUNNING),
    "deleted, and both that had to succeed did": (
        raw_job(completions=2, **DELETED),
        (OK, BAD, LAST),
        RunResult.SUCCEEDED,
    ),
}


def test_pods_that_are_no_longer_kept_count() -> None:
    """If the Job is deleted, they say whether enough have succeeded."""
    pods = JobPods((OK,), seen=True, forgotten=5, forgotten_successes=4)
    job = observed_job(raw_job(completions=5, **DELETED), pods)
    assert job is not None
    assert job.result is RunResult.SUCCEEDED


@pytest.mark.parametrize("case", CASES)
def test_a_whole_job_ends_by_its_own_conditions(case: str) -> None:
    """Another pod may follow one that has ended."""
    raw, ends, want = CASES[case]
    job = observed_job(raw, JobPods(ends, seen=True))
    assert job is not None
    assert (job.container, job.whole, job.result) == (True, True, want)


def test_the_row_tells_of_the_pod_that_failed() -> None:
    """The others do not explain the failure; of thousands, the last are recorded."""
    many = tuple(PodEnd(succeeded=True, finished_at=at("00:00:31"), pod_name=f"p{n}") for n in range(1000))
    job = observed_job(raw_job("Failed"), JobPods((*many, BAD, LAST), seen=True))
    assert job is not None
    end = end_of(job)
    assert end is not None
    assert (end.message, end.result) == ("boom", {"exitCode": 7, "message": "boom"})
    assert exit_code(job) == 7
    assert ended_rows(job, end, at("00:01"))[0].pod_name == "bad"
    assert ended_rows(replace(job, earlier_pods=50), end, at("00:01"))[0].attempts[-1].number == 1052
    row, _ = ended_rows(job, end, at("00:01"))
    assert len(row.attempts) == 22
    assert [(each.number, each.pod_name) for each in row.attempts[-2:]] == [(1001, "bad"), (1002, "last")]


@pytest.mark.parametrize("text", ["9" * 5000, "0", "-1", "1e3", "\u0663", ""])
def test_a_number_of_completions_that_is_none_counts_as_one(text: str) -> None:
    """Tenants can write it on their Jobs."""
    raw = raw_job(**DELETED)
    raw["metadata"]["annotations"] = WORDS | {"carillon.dev/completions": text}
    job = observed_job(raw, JobPods((OK,), seen=True))
    assert job is not None
    assert (job.completions, job.result) == (1, RunResult.SUCCEEDED)


def test_a_failure_is_not_told_by_a_pod_that_succeeded() -> None:
    """If the pod that kept the Job from its end never ended, the Job's own words tell it."""
    job = observed_job(raw_job("Failed", completions=2), JobPods((OK,), seen=True))
    assert job is not None
    end = end_of(job)
    assert end is not None
    assert (job.result, end.message, end.result) == (RunResult.FAILED, "m", None)


def test_a_success_is_told_by_a_pod_that_succeeded() -> None:
    """Not by one that failed before it, or after it beyond what the Job needs."""
    job = observed_job(raw_job("Complete"), JobPods((BAD, LAST, BAD), seen=True))
    assert job is not None
    end = end_of(job)
    assert end is not None
    assert (job.finished_at, end.message, end.result) == (LAST.finished_at, None, {"exitCode": 0, "message": ""})


def test_the_job_of_a_pod_is_whole_as_well() -> None:
    """Its pods tell so when the Job is gone, and how many of them must succeed."""
    raw = raw_job(completions=3)["metadata"]
    labels = raw["labels"] | {"batch.kubernetes.io/job-name": raw["name"], "batch.kubernetes.io/controller-uid": "j1"}
    pod = {"metadata": {"namespace": "default", "labels": labels, "annotations": raw["annotations"]}, "spec": {}}
    made = job_of_pod(pod)
    assert made is not None
    job = observed_job(made, JobPods((OK, LAST), seen=True), deleted=True)
    assert job is not None
    assert (job.whole, job.completions, job.result) == (True, 3, RunResult.RUNNING)


def test_one_pod_that_cannot_start_is_no_trouble_of_a_whole_job_with_others() -> None:
    """It would be given up, although the others work."""
    trouble = PodTrouble("ErrImagePull", "no such image", at("00:00:31"))
    alone = observed_job(raw_job(), JobPods((), trouble, living=True, seen=True))
    assert alone is not None
    assert alone.trouble == trouble
    beside = observed_job(raw_job(), JobPods((), trouble, living=True, seen=True, some_work=True))
    assert beside is not None
    assert beside.trouble is None


def terminated(name: str, code: int) -> dict[str, Any]:
    """Return the status of a container that ended."""
    return {"name": name, "state": {"terminated": {"exitCode": code, "message": f"{name} says {code}"}}}


ENDS: dict[str, tuple[str, list[tuple[str, int]], list[tuple[str, int]], int, str]] = {
    # phase; containers; init containers; exit code; message
    "the container that failed speaks": ("Failed", [("a", 0), ("b", 3)], [("i", 0)], 3, "b says 3"),
    "an init container that failed speaks": ("Failed", [], [("i", 4)], 4, "i says 4"),
    "of a success, the first": ("Succeeded", [("a", 0), ("b", 0)], [], 0, "a says 0"),
    "in the pod of a whole Job, names mean nothing": ("Failed", [("proxy", 9), ("task", 0)], [], 9, "proxy says 9"),
    "a task's own container before an injected one that failed": (
        "Failed",
        [("proxy", 9), ("task", 0)],
        [],
        0,
        "task says 0",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_the_container_that_explains_a_pods_end(case: str) -> None:
    """Pods of whole Jobs have several."""
    phase, containers, inits, code, message = ENDS[case]
    words = {"annotations": {"carillon.dev/task-type": "job"}} if "whole" in case else {}
    status = {
        "phase": phase,
        "containerStatuses": [terminated(*each) for each in containers],
        "initContainerStatuses": [terminated(*each) for each in inits],
    }
    end = pod_end({"metadata": {"name": "p", **words}, "status": status})
    assert end is not None
    assert (end.exit_code, end.message) == (code, message)
    several = [*containers, *(each for each in inits if each[1])]
    assert end.exit_codes == (tuple(several) if len(several) > 1 else ())
