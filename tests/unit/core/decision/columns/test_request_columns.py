"""What ``kubectl get runrequests`` and Events say about a request, from its creation to its end."""

from typing import Any

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import RequestPlan
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.resources import RunResult
from support.builders import at, make_job, make_manual_job, make_request, make_task, request_to_fixed_point
from support.plans import CANCELLED, FAILED, SUCCEEDED

NO_IMAGE = PodTrouble("ImagePullBackOff", "Back-off pulling image x:1", at("00:10:02"))


def pod(code: int, reason: str, message: str = "") -> PodEnd:
    """Return the end of a pod of a container task."""
    return PodEnd(succeeded=False, finished_at=at("00:10:05"), exit_code=code, reason=reason, message=message)


def job(result: RunResult, **more: Any) -> ObservedJob:
    """Return the request's Job."""
    return make_manual_job("00:10", result=result, **more)


STATES: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "it waits for its time": (
        {"runAt": "2026-01-01T01:00:00Z"},
        ("Waiting", "waiting until 2026-01-01T01:00:00Z"),
    ),
    "it waits for its task": (
        {"task": None},
        ("Waiting", "waiting for ScheduledTask backup, which does not exist yet"),
    ),
    "it waits to replace": (
        {"concurrencyPolicy": "Replace", "jobs": [make_job("00:09")]},
        ("Waiting", "waiting for the active execution to end"),
    ),
    "it is refused": (
        {"jobs": [make_job("00:09")]},
        (
            "StillActive",
            "the request was skipped: backup-1767226140 is still active and concurrencyPolicy is Forbid",
        ),
    ),
    "it is launched": ({}, ("Launched", "")),
    "it runs": ({"jobs": [job(RunResult.RUNNING)]}, ("Launched", "")),
    "it waits in its queue": (
        {"jobs": [job(RunResult.RUNNING, waiting=True)]},
        ("Waiting", "it is waiting in its queue for admission"),
    ),
    "its image is missing": (
        {"jobs": [job(RunResult.RUNNING, trouble=NO_IMAGE)]},
        ("ImagePullBackOff", "its pod cannot start: ImagePullBackOff: Back-off pulling image x:1"),
    ),
    "it has succeeded": ({"jobs": [job(SUCCEEDED)]}, ("ExecutionSucceeded", "")),
    "it has failed without a word": ({"jobs": [job(FAILED)]}, ("ExecutionFailed", "the pod failed")),
    "it was cancelled": (
        {"jobs": [job(CANCELLED, reason="JobDeleted", message="its Job was deleted")]},
        ("JobDeleted", "its Job was deleted"),
    ),
}


def plan_of(*, jobs: tuple[ObservedJob, ...] = (), task: Any = "backup", **spec: Any) -> RequestPlan:
    """Return the plan for a request at 00:10:06."""
    wanted = None if task is None else make_task().every(60)
    return request_to_fixed_point(make_request(**spec), wanted, list(jobs), "00:10:06")


@pytest.mark.parametrize(("given", "want"), STATES.values(), ids=STATES.keys())
def test_a_request_says_why_it_is_where_it_is(given: dict[str, Any], want: tuple[str, str]) -> None:
    """The columns REASON and MESSAGE are those of its present state."""
    status = plan_of(**given).status
    assert (status.reason, status.message) == want


def test_a_failed_container_says_exit_code_reason_and_message() -> None:
    """``kubectl describe runrequest`` shows all three, in the status and in the Event."""
    ended = job(FAILED, container=True, reason="Error", message="no paper", attempts=(pod(3, "Error", "no paper"),))
    plan = plan_of(jobs=(ended,))
    assert (plan.status.exit_code, plan.status.reason, plan.status.message) == (3, "Error", "no paper")
    (notice,) = plan.notices
    assert notice.message == f"Job {ended.name} failed with exit code 3 (Error): no paper"


def test_a_failed_container_without_a_message_says_its_exit_code() -> None:
    """The message is never empty."""
    ended = job(FAILED, container=True, reason="Error", attempts=(pod(4, "Error"),))
    assert plan_of(jobs=(ended,)).status.message == "the container exited with code 4"


def test_the_exit_code_of_a_runner_is_not_shown() -> None:
    """It is a matter between the runner and the operator."""
    assert plan_of(jobs=(job(FAILED, attempts=(pod(1, "Error"),)),)).status.exit_code is None


@pytest.mark.parametrize(
    ("result", "want"),
    [
        (SUCCEEDED, ("Normal", "ExecutionSucceeded")),
        (FAILED, ("Warning", "ExecutionFailed")),
        (RunResult.TIMED_OUT, ("Warning", "ExecutionFailed")),
        (CANCELLED, ("Warning", "ExecutionFailed")),
    ],
)
def test_the_end_of_a_request_is_an_event(result: RunResult, want: tuple[str, str]) -> None:
    """One Event, and it is not repeated: the fixed point has none."""
    assert [(n.type, str(n.reason)) for n in plan_of(jobs=(job(result),)).notices] == [want]


def test_a_request_whose_job_disappeared_says_so() -> None:
    """Its result is unknown, which is worth a Warning."""
    request = make_request()
    request_to_fixed_point(request, make_task().every(60), [job(RunResult.RUNNING)], "00:10:01")
    plan = request_to_fixed_point(request, make_task().every(60), [], "00:10:06")
    assert (plan.status.result, plan.status.reason, plan.status.finished_at) == (
        RunResult.UNKNOWN,
        "JobDeleted",
        at("00:10:06"),
    )
    assert [(n.type, str(n.reason)) for n in plan.notices] == [("Warning", "JobDeleted")]


def test_a_failed_execution_of_a_task_says_exit_code_and_reason() -> None:
    """``kubectl describe scheduledtask`` shows them under Last Execution."""
    ended = make_job("00:01", result=FAILED, container=True, reason="OOMKilled", attempts=(pod(137, "OOMKilled"),))
    task = make_task().every(3600)
    last = decide(task.observed(), [ended], at("00:02")).status.last_execution
    assert last is not None
    assert (last.exit_code, last.reason, last.message) == (137, "OOMKilled", "the container exited with code 137")
