"""``decide_request``: what becomes of a RunRequest, and why; every case also at its fixed point."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.decide_request import decide_request, refusal_of, refused_launch
from carillon_core.domain.decision.plan import DeleteJob, EndExecution, Launch, Reason, RecordUnlaunched, RequestPlan
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.domain.validity.parameters import requested_task
from carillon_core.resources import RunResult
from carillon_core.resources.run_request import RunRequestStatus, parse_request_spec
from carillon_core.resources.tasks import Task
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
    """Return what a plan does, a few words for each action."""
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
        "want_said": None,
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
    """Each sentence holds of a request that was created at 00:10."""
    request: RequestBuilder = case.get("request") or make_request()
    task = case["task"] if "task" in case else make_task().every(60)
    plan = request_to_fixed_point(request, task, case.get("jobs", []), case.get("now", "00:10:01"))
    want = case.get("want", [])
    assert did(plan) == want
    refused = ("False", want[0].split()[1]) if want else None
    assert said(plan) == case.get("want_said", refused)
    if "want_next" in case:
        assert plan.requeue_at == at(case["want_next"])


def test_a_refusal_is_said_everywhere_in_the_same_words() -> None:
    """The row, the Event, the condition and the status carry one reason and one message."""
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
    """What was refused is not launched when the reason has gone, only deleted in the end."""
    request = make_request()
    request_to_fixed_point(request, make_task().every(60), [make_job("00:09:00")], "00:10:01")
    plan = request_to_fixed_point(request, make_task().every(60), [], "00:11:00")
    assert did(plan) == []
    assert plan.requeue_at == at("01:10:01")
    assert did(request_to_fixed_point(request, None, [], "01:10:01")) == ["delete"]


def test_a_replaced_execution_makes_room_for_the_request() -> None:
    """Launched when the pods are gone."""
    request = make_request(concurrencyPolicy="Replace")
    task = make_task().every(60)
    request_to_fixed_point(request, task, [make_job("00:09:00")], "00:10:01")
    gone = make_job("00:09:00", result=RunResult.CANCELLED)
    assert did(request_to_fixed_point(request, task, [gone], "00:10:05")) == ["launch 00:10:00 manual"]


def test_a_request_shows_how_its_execution_goes_and_ends() -> None:
    """Running, then its end with its message; then it is deleted, its time to live counted from that end."""
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
    """What is not stored was told to nobody."""
    request = make_request(ttlSecondsAfterFinished=0)
    done = make_manual_job("00:10:00", result=SUCCEEDED, message="3")
    plan = request_to_fixed_point(request, make_task().every(60), [done], "00:10:06")
    assert (did(plan), plan.status.message) == ([], "3")
    assert did(request_to_fixed_point(request, make_task().every(60), [done], "00:10:07")) == ["delete"]


def test_a_job_that_its_queue_took_back_is_deleted_once_its_end_is_told() -> None:
    """It would be begun again; while nobody is told how it ended, it is what tells that."""
    request, task = make_request(), make_task().every(60)
    taken = taken_back(make_manual_job("00:10:00", result=FAILED))
    told = decide_request(request.observed(), task.observed(), [taken], at("00:10:06"))
    assert (did(told), told.status.result) == ([], FAILED)
    stored = replace(request.observed(), status=told.status, stored=told.status)
    assert did(decide_request(stored, task.observed(), [taken], at("00:10:07"))) == [f"delete {taken.name}"]


def test_a_request_whose_status_was_lost_is_not_launched_twice() -> None:
    """The Job that exists says that it was accepted."""
    plan = request_to_fixed_point(make_request(), make_task().every(60), [make_manual_job("00:10:00")], "00:10:30")
    assert did(plan) == []
    assert said(plan) == ("True", "Accepted")


def test_a_request_whose_job_went_unseen_is_finished_as_unknown() -> None:
    """It is not launched again; the history has how it ended."""
    request, task = make_request(), make_task().every(60)
    request_to_fixed_point(request, task, [], "00:10:01")
    plan = request_to_fixed_point(request, task, [], "00:20:00")
    assert did(plan) == []
    assert plan.status.result is RunResult.UNKNOWN
    assert said(plan, "Finished") == ("True", "Finished")


def test_another_requests_job_is_not_its_own() -> None:
    """Two requests of one instant are two executions."""
    other = make_manual_job("00:10:00", result=SUCCEEDED, origin="11111111-1111-4111-8111-111111111111")
    plan = request_to_fixed_point(make_request(), make_task().every(60), [other], "00:10:01")
    assert did(plan) == ["launch 00:10:00 manual"]


def test_a_request_that_is_being_deleted_is_left_alone() -> None:
    """It is launched no more."""
    request = make_request()
    request.raw["metadata"]["deletionTimestamp"] = "2026-01-01T00:10:00Z"
    assert did(request_to_fixed_point(request, make_task().every(60), [], "00:10:01")) == []


def test_a_requests_pod_that_cannot_start_is_ended() -> None:
    """After the same patience as a slot's."""
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
    """For good, and in its words."""
    request, task = make_request(), make_task().every(60)
    plan = refused_launch(request.observed(), task.observed(), reason, "quota exceeded", at("00:10:01"))
    (record,) = plan.actions
    assert isinstance(record, RecordUnlaunched)
    assert (record.status, record.message) == (want, "quota exceeded")
    assert plan.status.finished_at == at("00:10:01")


# parameters

CONTAINER = {"image": "busybox", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | str]] = {
    "sum takes its summands": ({"sum": {"a": 1, "b": 2}}, {"a": 5}, {"sum": {"a": 5, "b": 2}}),
    "sum takes nothing else": (
        {"sum": {"a": 1, "b": 2}},
        {"c": 5},
        "spec.parameters.c is not a parameter of the task type sum: use only a and b",
    ),
    "sum refuses what is no number": (
        {"sum": {"a": 1, "b": 2}},
        {"a": "five"},
        "spec.parameters.a is not a number: write one, without quotes",
    ),
    "sleep takes its duration": (
        {"sleep": {"durationSeconds": 9}},
        {"durationSeconds": 1},
        {"sleep": {"durationSeconds": 1}},
    ),
    "sleep refuses a duration out of bounds": (
        {"sleep": {"durationSeconds": 9}},
        {"durationSeconds": 0},
        "spec.parameters.durationSeconds Input should be greater than or equal to 1",
    ),
    "counter takes nothing": (
        {"counter": {"name": "n"}},
        {"name": "other"},
        "spec.parameters.name is not a parameter of the task type counter: remove it",
    ),
    "http takes anything, for its templates to read": (
        {"http": {"url": "http://a.example/{{ parameters.x }}"}},
        {"x": {"y": [1]}},
        {"http": {"url": "http://a.example/{{ parameters.x }}"}},
    ),
    "container takes environment variables": (
        {"container": CONTAINER},
        {"B": True, "C": 1.5, "D": "$x"},
        {
            "container": {
                "image": "busybox",
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "value": "true"},
                    {"name": "C", "value": "1.5"},
                    {"name": "D", "value": "$x"},
                ],
            }
        },
    ),
    "container refuses what fits no variable": (
        {"container": CONTAINER},
        {"B": [1]},
        "spec.parameters.B must be a string, a number or a boolean: it becomes an environment variable",
    ),
    "plugin takes anything, beside its own": (
        {"plugin": {"name": "report", "parameters": {"a": 1, "b": 1}}},
        {"b": {"c": 2}},
        {"plugin": {"name": "report", "parameters": {"a": 1, "b": {"c": 2}}}},
    ),
}


@pytest.mark.parametrize(("task", "given", "want"), PARAMETERS.values(), ids=PARAMETERS.keys())
def test_parameters(task: dict[str, Any], given: dict[str, Any], want: dict[str, Any] | str) -> None:
    """Each task type has its own, whether the task is named or the request's own."""
    named = parse_request_spec({"taskRef": {"name": "backup"}, "parameters": given}, strict=True)
    own = parse_request_spec({"task": task, "parameters": given}, strict=True)
    for found in (
        requested_task(named, make_task().every(60).with_spec(task=task).observed()),
        requested_task(own, None),
    ):
        if isinstance(want, str):
            assert not isinstance(found, Task)
            assert [f"{p.path} {p.message}" for p in found] == [want]
        else:
            assert isinstance(found, Task)
            assert found == Task.model_validate(want)


def test_a_request_that_names_no_task_that_can_be_run() -> None:
    """Without a valid task there is nothing to give the parameters to."""
    spec = parse_request_spec({"taskRef": {"name": "backup"}}, strict=True)
    problems = requested_task(spec, None)
    assert not isinstance(problems, Task)
    assert [str(p) for p in problems] == ["spec.taskRef: must name an existing, valid ScheduledTask"]


def test_a_request_of_its_own_uses_its_own_target() -> None:
    """It is there: the request is launched."""
    request = make_request(**CALLING)
    request.target = make_target("shop", {"url": "http://shop.example/"})
    assert did(request_to_fixed_point(request, None, [], "00:10:01")) == ["launch 00:10:00 manual"]


def test_the_status_that_nobody_decided_yet_is_the_stored_one() -> None:
    """A request is parsed with what the API server has."""
    request = make_request()
    stored = replace(request.observed(), status=RunRequestStatus(), stored=RunRequestStatus())
    now = stored.slot + timedelta(seconds=1)
    assert decide_request(stored, make_task().every(60).observed(), [], now).status.slot == stored.slot
