"""Reading Jobs and pods: the first definite sign ends an execution."""

from typing import Any

import pytest

from carillon_core.contract import Cause
from carillon_core.domain.execution import execution_id
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.domain.observed.pod_ends import JobPods, PodEnd, given_up_at, pod_end
from carillon_core.resources import RunResult
from support.builders import TASK_UID, at, make_task

OWNER = {"kind": "ScheduledTask", "name": "backup", "uid": TASK_UID, "controller": True}


def raw_job(*conditions: dict[str, str], **meta: Any) -> dict[str, Any]:
    """Return a Job as the API server shows it."""
    return {
        "metadata": {
            "name": "backup-1767225630",
            "namespace": "default",
            "uid": "j1",
            "labels": {"carillon.dev/task-uid": TASK_UID, "carillon.dev/task": "backup"},
            "annotations": {"carillon.dev/slot": "2026-01-01T00:00:30Z"},
            "ownerReferences": [OWNER],
            **meta,
        },
        "status": {"conditions": [{"status": "True", **c} for c in conditions]},
    }


def raw_pod(phase: str, **terminated: Any) -> dict[str, Any]:
    """Return a pod as the API server shows it."""
    state = {"terminated": {"finishedAt": "2026-01-01T00:00:35Z", **terminated}} if terminated else {"running": {}}
    return {"metadata": {"name": "p"}, "status": {"phase": phase, "containerStatuses": [{"state": state}]}}


ENDS: dict[str, tuple[list[dict[str, str]], dict[str, Any] | None, RunResult, str]] = {
    "no sign": ([], None, RunResult.RUNNING, ""),
    "a pod that runs": ([], raw_pod("Running"), RunResult.RUNNING, ""),
    "a pod that succeeded, before the Job says so": ([], raw_pod("Succeeded", exitCode=0), RunResult.SUCCEEDED, ""),
    "SuccessCriteriaMet": ([{"type": "SuccessCriteriaMet"}], None, RunResult.SUCCEEDED, ""),
    "Complete": ([{"type": "Complete"}], None, RunResult.SUCCEEDED, ""),
    "a condition that is False is no sign": ([{"type": "Complete", "status": "False"}], None, RunResult.RUNNING, ""),
    "the runner says failed": ([], raw_pod("Failed", exitCode=1, message="boom"), RunResult.FAILED, "boom"),
    "the runner says timed out": ([], raw_pod("Failed", exitCode=5, message="late"), RunResult.TIMED_OUT, "late"),
    "the runner says cancelled": ([], raw_pod("Failed", exitCode=6), RunResult.CANCELLED, ""),
    "a pod killed for memory": ([], raw_pod("Failed", exitCode=137, reason="OOMKilled"), RunResult.FAILED, ""),
    "FailureTarget": ([{"type": "FailureTarget", "message": "m"}], None, RunResult.FAILED, "m"),
    "the Job's deadline": ([{"type": "Failed", "reason": "DeadlineExceeded"}], None, RunResult.TIMED_OUT, ""),
    "the Job's deadline and the pod it killed": (
        [{"type": "Failed", "reason": "DeadlineExceeded"}],
        raw_pod("Failed", exitCode=137, message="k"),
        RunResult.TIMED_OUT,
        "k",
    ),
    "an evicted pod without containers": (
        [],
        {"metadata": {}, "status": {"phase": "Failed", "reason": "Evicted", "message": "low on disk"}},
        RunResult.FAILED,
        "low on disk",
    ),
}


@pytest.mark.parametrize(("conditions", "pod", "want", "want_message"), ENDS.values(), ids=ENDS.keys())
def test_the_end_of_an_execution(
    conditions: list[dict[str, str]], pod: dict[str, Any] | None, want: RunResult, want_message: str
) -> None:
    """Each sign has its result; without any, the Job is active."""
    end = pod_end(pod) if pod else None
    job = observed_job(raw_job(*conditions), JobPods([end] if end else ()))
    assert job is not None
    assert job.execution_id == str(execution_id(TASK_UID, at("00:00:30"), Cause.SCHEDULE))
    assert job.result is want
    assert job.active is (want is RunResult.RUNNING)
    assert job.message == want_message


ANNOUNCED: dict[str, tuple[dict[str, Any], JobPods, bool]] = {
    # conditions, deletion time and counts; pods; whether it is active
    "FailureTarget, a pod in its grace": ({"say": "FailureTarget"}, JobPods(living=True, seen=True), True),
    "FailureTarget, its pods have ended": ({"say": "FailureTarget", "terminating": 1}, JobPods(seen=True), False),
    "FailureTarget, a pod that no watch has shown": ({"say": "FailureTarget", "terminating": 1}, JobPods(), True),
    "FailureTarget, it never had a pod": ({"say": "FailureTarget"}, JobPods(), False),
    "SuccessCriteriaMet, a pod in its grace": ({"say": "SuccessCriteriaMet"}, JobPods(living=True, seen=True), True),
    "SuccessCriteriaMet, a pod that no watch has shown": ({"say": "SuccessCriteriaMet", "active": 1}, JobPods(), True),
    "Failed, a pod in its grace": ({"say": "Failed"}, JobPods(living=True, seen=True), True),
    "Failed, whatever it counts": ({"say": "Failed", "terminating": 1}, JobPods(), False),
    "a deletion time, a pod in its grace": ({"deleted": True}, JobPods(living=True, seen=True), True),
    "a deletion time": ({"deleted": True}, JobPods(), True),
}


@pytest.mark.parametrize(("job", "pods", "want_active"), ANNOUNCED.values(), ids=ANNOUNCED.keys())
def test_an_announcement_is_no_end(
    job: dict[str, Any],
    pods: JobPods,
    want_active: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """An execution is active until its pods have ended, and no longer."""
    meta = {"deletionTimestamp": "2026-01-01T00:01:00Z"} if job.get("deleted") else {}
    raw = raw_job(*([{"type": job["say"]}] if "say" in job else []), **meta)
    raw["status"] |= {count: job[count] for count in ("active", "terminating") if count in job}
    seen = observed_job(raw, pods)
    assert seen is not None
    assert seen.active is want_active


GRACES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    # metadata, status; until when it is waited for
    "a pod that runs": ({}, {}, None),
    "a pod in its grace": ({"deletionTimestamp": "2026-01-01T00:01:00Z"}, {}, "00:01:10"),
    "a pod in its grace, of a lost node": (
        {"deletionTimestamp": "2026-01-01T00:01:00Z"},
        {"reason": "NodeLost"},
        "00:01:00",
    ),
    "a pod of a lost node": ({"creationTimestamp": "2026-01-01T00:00:30Z"}, {"reason": "NodeLost"}, "00:00:30"),
}


@pytest.mark.parametrize(("meta", "status", "want"), GRACES.values(), ids=GRACES.keys())
def test_how_long_a_pod_is_waited_for(meta: dict[str, Any], status: dict[str, Any], want: str | None) -> None:
    """Its deletion time is the end of its grace; one that is not told to end has no bound."""
    assert given_up_at({"metadata": meta, "status": status}) == (at(want) if want else None)


def test_the_pod_that_had_the_execution_speaks_for_its_job() -> None:
    """One that followed a pod whose row was closed found nothing to do."""
    ends = [
        PodEnd(succeeded=False, finished_at=at("00:00:40"), exit_code=6, message="terminated"),
        PodEnd(succeeded=False, finished_at=at("00:00:50"), exit_code=4, message="already cancelled"),
    ]
    job = observed_job(raw_job({"type": "Failed"}), JobPods(ends, seen=True))
    assert job is not None
    assert (job.result, job.message) == (RunResult.CANCELLED, "terminated")


FAILED = raw_pod("Failed", exitCode=143, reason="Error", message="ended")
TAKEN: dict[str, tuple[bool, int, list[dict[str, str]], bool, str]] = {
    # suspended, backoffLimit, conditions; suspended by its queue, message
    "an end that is an end": (False, 0, [], False, "ended"),
    "suspended at its end": (True, 0, [], True, "suspended by its queue before it finished: ended"),
    "suspended after the Job's own end": (True, 0, [{"type": "Failed"}], False, "ended"),
    "suspended with tries left": (True, 2, [], False, ""),
}


@pytest.mark.parametrize(("suspended", "tries", "conditions", "want", "want_message"), TAKEN.values(), ids=TAKEN.keys())
def test_a_job_that_its_queue_takes_back(
    suspended: bool,  # noqa: FBT001  # a column of the table
    tries: int,
    conditions: list[dict[str, str]],
    want: bool,  # noqa: FBT001  # a column of the table
    want_message: str,
) -> None:
    """It is over if its pod was the last one, as it would get another pod if admitted again; otherwise it waits."""
    end = pod_end(FAILED)
    raw = raw_job(*conditions) | {"spec": {"suspend": suspended, "backoffLimit": tries}}
    job = observed_job(raw, JobPods([end] if end else ()))
    assert job is not None
    assert (job.taken_back, job.message) == (want, want_message)
    assert (job.active, job.waiting) == (tries > 0, tries > 0)


LABELS = {"carillon.dev/task": "backup"}
FOREIGN: dict[str, dict[str, Any]] = {
    "no label": {"labels": {}},
    "no annotations": {"annotations": None},
    "a slot that is no time": {"annotations": {"carillon.dev/slot": "yesterday"}},
    "a slot without a zone": {"annotations": {"carillon.dev/slot": "2026-01-01T00:00:30"}},
    "a slot outside the calendar": {"annotations": {"carillon.dev/slot": "0001-01-01T00:00:00+05:00"}},
    "a slot that is not its name's": {"annotations": {"carillon.dev/slot": "2026-01-01T00:01:00Z"}},
    "a uid that is none": {
        "labels": {**LABELS, "carillon.dev/task-uid": "x"},
        "ownerReferences": [{**OWNER, "uid": "x"}],
    },
    "a label of another task than its owner": {"labels": {**LABELS, "carillon.dev/task-uid": "y"}},
    "no owner": {"ownerReferences": []},
    "an owner that does not control it": {"ownerReferences": [{**OWNER, "controller": False}]},
}


@pytest.mark.parametrize("meta", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_job_that_is_none_of_ours(meta: dict[str, Any]) -> None:
    """It is ignored, even if it resembles one of ours."""
    assert observed_job(raw_job(**meta)) is None


BROKEN: dict[str, Any] = {
    "no spec": None,
    "a spec that is a string": "hello",
    "no task": {"intervalSeconds": 5},
    "a negative interval": {"intervalSeconds": -1, "task": {"counter": {}}},
    "an unknown task type": {"intervalSeconds": 5, "task": {"teleport": {}}},
}


@pytest.mark.parametrize("spec", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_object_has_problems_and_no_spec(spec: Any) -> None:
    """Parsing never fails: problems are kept, to be reported."""
    builder = make_task()
    builder.raw["spec"] = spec
    task = ObservedTask.from_object(builder.raw)
    assert task.spec is None
    assert task.problems


def test_unknown_fields_and_a_broken_status_are_passed_over() -> None:
    """An object written by another release is read as far as possible."""
    builder = make_task().every(5).with_spec(somethingNew=1)
    builder.raw["status"] = {"active": "many"}
    task = ObservedTask.from_object(builder.raw)
    assert task.spec is not None
    assert task.status.active == 0


def test_a_time_outside_the_calendar_is_a_problem_and_no_crash() -> None:
    """An offset may move a time out of the supported years."""
    builder = make_task().with_spec(runAt="9999-12-31T23:59:59-14:00")
    task = ObservedTask.from_object(builder.raw)
    assert task.spec is None
    assert [p.path for p in task.problems] == ["spec.runAt"]
