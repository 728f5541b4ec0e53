"""``decide_request``: what is done about a RunRequest, and why. Every case is also checked at its fixed point."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.decide_request import decide_request, refusal_of, refused_launch
from carillon_core.domain.decision.plan import DeleteJob, EndExecution, Launch, Reason, RecordUnlaunched, RequestPlan
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.resources import RunResult
from carillon_core.resources.run_request import RunRequestStatus
from support.builders import (
    REQUEST_UID,
    TASK_UID,
    RequestBuilder,
    at,
    make_job,
    make_manual_job,
    make_request,
    make_target,
    make_task,
    request_to_fixed_point,
    taken_back,
)

SUCCEEDED, FAILED = RunResult.SUCCEEDED, RunResult.FAILED
OWN = {"task": {"sum": {"a": 1, "b": 2}}}
CALLING = {"task": {"http": {"targetRef": {"name": "shop"}}}}


def did(plan: RequestPlan) -> list[str]:
    """Return what a plan does, in a few words for each action."""
    words = ["delete"] if plan.delete else []
    for a in plan.actions:
        match a:
            case Launch():
                words.append(f"launch {a.slot:%H:%M:%S} {a.cause}")
            case RecordUnlaunched():
                words.append(f"{a.status.value} {a.reason.value}")
            case EndExecution():
                words.append(f"{a.status.value} {a.job_name} {a.reason}")
            case DeleteJob():
                words.append(f"delete {a.job_name}")
    return words


def said(plan: RequestPlan, kind: str = "Accepted") -> tuple[str, str] | None:
    """Return a condition's status and reason."""
    return next(((c.status, c.reason) for c in plan.status.conditions if c.type == kind), None)


CASES: dict[str, dict[str, Any]] = {
    "a request is launched at once": {"want": ["launch 00:10:00 manual"], "want_said": ("True", "Accepted")},
    "a request waits for its time": {
        "request": make_request(runAt="2026-01-01T00:20:00Z"),
        "want_said": ("Unknown", "Waiting"),
        "want_next": "00:20:00",
    },
    "a request of a time is launched then": {
        "request": make_request(runAt="2026-01-01T00:20:00Z"),
        "now": "00:20:00",
        "want": ["launch 00:20:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "a request of a time long past is launched at once": {
        "request": make_request(runAt="2026-01-01T00:01:00Z"),
        "want": ["launch 00:01:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "a request of a time a day before its creation is launched at once": {
        "request": make_request(runAt="2025-12-31T00:10:00Z"),
        "want": ["launch 00:10:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "a request of a time more than a day before its creation is refused": {
        "request": make_request(runAt="2025-12-31T00:09:59Z"),
        "want": ["failed InvalidSpec"],
    },
    "a request seen past its deadline is refused": {
        "request": make_request(startingDeadlineSeconds=5),
        "now": "00:10:06",
        "want": ["missed StartingDeadlineExceeded"],
    },
    "a request seen within its deadline is launched": {
        "request": make_request(startingDeadlineSeconds=5),
        "now": "00:10:05",
        "want": ["launch 00:10:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "a request for a task that is not there waits a little": {
        "task": None,
        "now": "00:10:09",
        "want_said": ("Unknown", "Waiting"),
        "want_next": "00:10:10",
    },
    "a request for a task that does not come is refused": {
        "task": None,
        "now": "00:10:10",
        "want": ["failed TaskNotFound"],
    },
    "a request for an invalid task is refused": {
        "task": make_task().every(60).with_spec(schedule="@hourly"),
        "want": ["failed TaskInvalid"],
    },
    "a request that breaks the rules is refused": {
        "request": make_request(**OWN, taskRef={"name": "backup"}),
        "want": ["failed InvalidSpec"],
    },
    "a request with a parameter that its task has not is refused": {
        "request": make_request(parameters={"c": 1}),
        "want": ["failed InvalidParameters"],
    },
    "a request with a parameter that has a NUL is refused": {
        "request": make_request(parameters={"a": "\0"}),
        "task": make_task().every(60).with_spec(task={"container": {"image": "a"}}),
        "want": ["failed InvalidParameters"],
    },
    "a request for a task whose URL no request can be sent to is refused": {
        "task": make_task().every(60).with_spec(task={"http": {"url": "http://a:0/"}}),
        "want": ["failed TaskInvalid"],
    },
    "a request with a task of its own whose template cannot be rendered is refused": {
        "request": make_request(task={"http": {"url": "https://a/{{ task.name }}"}}),
        "task": None,
        "want": ["failed InvalidSpec"],
    },
    "a suspended task can be run by request": {
        "task": make_task().every(60).suspended(),
        "want": ["launch 00:10:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "a task whose schedule is invalid can be run by request": {
        "task": make_task().cron("61 * * * *"),
        "want": ["launch 00:10:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "a request for a task whose target is missing is refused": {
        "task": make_task().every(60).calling(),
        "want": ["failed TargetNotFound"],
    },
    "a request for a task whose target is invalid is refused": {
        "task": make_task().every(60).calling(target={}),
        "want": ["failed TargetInvalid"],
    },
    "a request of its own whose target is missing is refused": {
        "request": make_request(**CALLING),
        "task": None,
        "want": ["failed TargetNotFound"],
    },
    "a request with a task of its own needs no other": {
        "request": make_request(**OWN),
        "task": None,
        "want": ["launch 00:10:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "Forbid by the task refuses while an execution is active": {
        "jobs": [make_job("00:09:00")],
        "want": ["skipped StillActive"],
    },
    "Forbid is about what is active alone": {
        "jobs": [make_job("00:09:00", result=SUCCEEDED)],
        "want": ["launch 00:10:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "Forbid by the request wins over Allow by the task": {
        "task": make_task().every(60).with_spec(concurrencyPolicy="Allow"),
        "request": make_request(concurrencyPolicy="Forbid"),
        "jobs": [make_job("00:09:00")],
        "want": ["skipped StillActive"],
    },
    "Allow by the request wins over Forbid by the task": {
        "request": make_request(concurrencyPolicy="Allow"),
        "jobs": [make_job("00:09:00")],
        "want": ["launch 00:10:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "Allow by the task": {
        "task": make_task().every(60).with_spec(concurrencyPolicy="Allow"),
        "jobs": [make_job("00:09:00")],
        "want": ["launch 00:10:00 manual"],
        "want_said": ("True", "Accepted"),
    },
    "Replace by the request ends what is active first": {
        "request": make_request(concurrencyPolicy="Replace"),
        "jobs": [make_job("00:09:00")],
        "want": [f"cancelled {make_job('00:09:00').name} Replaced"],
        "want_said": ("Unknown", "Waiting"),
    },
    "Replace by the task ends what is active first": {
        "task": make_task().every(60).with_spec(concurrencyPolicy="Replace"),
        "jobs": [make_job("00:09:00")],
        "want": [f"cancelled {make_job('00:09:00').name} Replaced"],
        "want_said": ("Unknown", "Waiting"),
    },
    "what is ending already is not ended again": {
        "request": make_request(concurrencyPolicy="Replace"),
        "jobs": [make_job("00:09:00", ending=True)],
        "want_said": ("Unknown", "Waiting"),
    },
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_at_first_sight(case: dict[str, Any]) -> None:
    """Each case is a request that was created at 00:10 and is seen for the first time now."""
    request: RequestBuilder = case.get("request") or make_request()
    task = case["task"] if "task" in case else make_task().every(60)
    plan = request_to_fixed_point(request, task, case.get("jobs", []), case.get("now", "00:10:01"))
    want = case.get("want", [])
    assert did(plan) == want
    refused = ("False", want[0].split()[1]) if want else None
    assert said(plan) == case.get("want_said", refused)
    if "want_next" in case:
        assert plan.requeue_at == at(case["want_next"])


def test_a_request_of_a_time_that_nobody_means_is_recorded_at_its_creation() -> None:
    """Its row belongs to the month of its creation, and the message names the field."""
    request = make_request(runAt="1970-01-01T00:00:00Z")
    plan = request_to_fixed_point(request, make_task().every(60), [], "00:10:01")
    [refused] = [action for action in plan.actions if isinstance(action, RecordUnlaunched)]
    assert (refused.slot, plan.status.slot) == (at("00:10"), at("00:10"))
    assert refused.message == (
        "spec.runAt: must not be more than a day before the request's creation"
        " (got 1970-01-01T00:00:00Z, created 2026-01-01T00:10:00Z)"
    )


def test_a_refusal_is_said_everywhere_in_the_same_words() -> None:
    """The row, the Event, the condition and the status have the same reason and message."""
    request = make_request()
    plan = request_to_fixed_point(request, make_task().every(60), [make_job("00:09:00")], "00:10:01")
    (record,) = plan.actions
    (notice,) = plan.notices
    assert isinstance(record, RecordUnlaunched)
    assert record.cause is Cause.MANUAL
    assert (record.reason, record.message) == (notice.reason, notice.message) == refusal_of(request.observed())
    assert plan.status.message == record.message
    assert plan.status.execution_id == str(record.execution_id)
    assert plan.status.task_uid == TASK_UID


def test_a_refusal_is_final() -> None:
    """A refused request is not launched when the reason no longer applies; it is deleted after its time to live."""
    request = make_request()
    request_to_fixed_point(request, make_task().every(60), [make_job("00:09:00")], "00:10:01")
    plan = request_to_fixed_point(request, make_task().every(60), [], "00:11:00")
    assert did(plan) == []
    assert plan.requeue_at == at("01:10:01")
    assert did(request_to_fixed_point(request, None, [], "01:10:01")) == ["delete"]


def test_a_replaced_execution_makes_room_for_the_request() -> None:
    """With Replace, the request is launched when the active execution has ended."""
    request = make_request(concurrencyPolicy="Replace")
    task = make_task().every(60)
    request_to_fixed_point(request, task, [make_job("00:09:00")], "00:10:01")
    gone = make_job("00:09:00", result=RunResult.CANCELLED)
    assert did(request_to_fixed_point(request, task, [gone], "00:10:05")) == ["launch 00:10:00 manual"]


def test_a_request_shows_how_its_execution_goes_and_ends() -> None:
    """The status shows Running and then the result; the time to live counts from the end."""
    request, task = make_request(ttlSecondsAfterFinished=60), make_task().every(60)
    plan = request_to_fixed_point(request, task, [], "00:10:01")
    assert (plan.status.result, plan.status.job_name) == (RunResult.RUNNING, f"now-{REQUEST_UID[:8]}")
    plan = request_to_fixed_point(request, task, [make_manual_job("00:10:00")], "00:10:02")
    assert (did(plan), plan.status.result) == ([], RunResult.RUNNING)
    done = make_manual_job("00:10:00", result=FAILED, message="no route")
    plan = request_to_fixed_point(request, task, [done], "00:10:06")
    assert (plan.status.result, plan.status.message) == (FAILED, "no route")
    assert said(plan, "Finished") == ("True", "Finished")
    assert plan.status.finished_at == at("00:10:05")
    assert plan.requeue_at == at("00:11:05")
    assert did(request_to_fixed_point(request, task, [done], "00:11:05")) == ["delete"]


def test_a_time_to_live_of_nothing_waits_until_the_end_is_told() -> None:
    """With a time to live of 0, the request is deleted after its result is stored."""
    request = make_request(ttlSecondsAfterFinished=0)
    done = make_manual_job("00:10:00", result=SUCCEEDED, message="3")
    plan = request_to_fixed_point(request, make_task().every(60), [done], "00:10:06")
    assert (did(plan), plan.status.message) == ([], "3")
    assert did(request_to_fixed_point(request, make_task().every(60), [done], "00:10:07")) == ["delete"]


def test_a_job_that_its_queue_took_back_is_deleted_once_its_end_is_told() -> None:
    """The Job is deleted, or it would run again, but only after its result is stored."""
    request, task = make_request(), make_task().every(60)
    taken = taken_back(make_manual_job("00:10:00", result=FAILED))
    told = decide_request(request.observed(), task.observed(), [taken], at("00:10:06"))
    assert (did(told), told.status.result) == ([], FAILED)
    stored = replace(request.observed(), status=told.status, stored=told.status)
    assert did(decide_request(stored, task.observed(), [taken], at("00:10:07"))) == [f"delete {taken.name}"]


def test_a_request_whose_status_was_lost_is_not_launched_twice() -> None:
    """An existing Job shows that the request was accepted."""
    plan = request_to_fixed_point(make_request(), make_task().every(60), [make_manual_job("00:10:00")], "00:10:30")
    assert did(plan) == []
    assert said(plan) == ("True", "Accepted")


def test_a_request_whose_job_went_unseen_is_finished_as_unknown() -> None:
    """If the Job is gone, the result is Unknown and the request is not launched again."""
    request, task = make_request(), make_task().every(60)
    request_to_fixed_point(request, task, [], "00:10:01")
    plan = request_to_fixed_point(request, task, [], "00:20:00")
    assert did(plan) == []
    assert plan.status.result is RunResult.UNKNOWN
    assert said(plan, "Finished") == ("True", "Finished")


def test_another_requests_job_is_not_its_own() -> None:
    """Two requests for the same time are two executions."""
    other = make_manual_job("00:10:00", result=SUCCEEDED, origin="11111111-1111-4111-8111-111111111111")
    plan = request_to_fixed_point(make_request(), make_task().every(60), [other], "00:10:01")
    assert did(plan) == ["launch 00:10:00 manual"]


def test_a_request_that_is_being_deleted_is_left_alone() -> None:
    """A request with a deletion timestamp is not launched."""
    request = make_request()
    request.raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:10:00Z"
    assert did(request_to_fixed_point(request, make_task().every(60), [], "00:10:01")) == []


def test_a_requests_pod_that_cannot_start_is_ended() -> None:
    """A request's pod has as much time to start as a slot's pod."""
    stuck = make_manual_job("00:10:00", trouble=PodTrouble("ErrImagePull", "none", at("00:10:02")))
    request, task = make_request(), make_task().every(60)
    plan = request_to_fixed_point(request, task, [stuck], "00:10:10")
    assert plan.requeue_at == at("00:10:47")
    plan = request_to_fixed_point(request, task, [stuck], "00:10:47")
    assert did(plan) == [f"failed {stuck.name} ErrImagePull"]


@pytest.mark.parametrize(
    ("reason", "want"),
    [(Reason.LAUNCH_REFUSED, ExecutionStatus.MISSED), (Reason.NAME_TAKEN, ExecutionStatus.MISSED)],
)
def test_a_launch_that_the_api_server_refused_refuses_the_request(reason: Reason, want: ExecutionStatus) -> None:
    """The refusal is final and carries the API server's message."""
    request, task = make_request(), make_task().every(60)
    plan = refused_launch(request.observed(), task.observed(), reason, "quota exceeded", at("00:10:01"))
    (record,) = plan.actions
    assert isinstance(record, RecordUnlaunched)
    assert (record.status, record.message) == (want, "quota exceeded")
    assert plan.status.finished_at == at("00:10:01")


def test_a_request_of_its_own_uses_its_own_target() -> None:
    """A request with its own HTTP task is launched when its target exists."""
    request = make_request(**CALLING)
    request.target = make_target("shop", {"url": "http://shop.example/"})
    assert did(request_to_fixed_point(request, None, [], "00:10:01")) == ["launch 00:10:00 manual"]


def test_the_status_that_nobody_decided_yet_is_the_stored_one() -> None:
    """The first decision about a request starts from the stored status."""
    request = make_request()
    stored = replace(request.observed(), status=RunRequestStatus(), stored=RunRequestStatus())
    now = stored.slot + timedelta(seconds=1)
    assert decide_request(stored, make_task().every(60).observed(), [], now).status.slot == stored.slot
