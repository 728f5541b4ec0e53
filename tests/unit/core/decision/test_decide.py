"""``decide``: what is done about one task now, and why. Every case is also checked at its fixed point."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.decide import after_refusal, decide
from carillon_core.domain.decision.plan import Launch, Plan, Reason, RecordUnlaunched
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTarget
from carillon_core.errors import FieldProblem
from carillon_core.resources import RunResult, ScheduledTaskStatus
from support.builders import TaskBuilder, at, decide_to_fixed_point, make_job, make_task

SUCCEEDED = RunResult.SUCCEEDED


def launches(plan: Plan) -> list[str]:
    """Return the slots that the plan launches."""
    return [f"{a.slot:%H:%M:%S}" for a in plan.actions if isinstance(a, Launch)]


def unlaunched(plan: Plan) -> list[tuple[str, str, str]]:
    """Return the slots that the plan records as skipped or missed."""
    records = [a for a in plan.actions if isinstance(a, RecordUnlaunched)]
    return [(f"{a.slot:%H:%M:%S}", a.status.value, a.reason.value) for a in records]


def condition(status: ScheduledTaskStatus, kind: str) -> tuple[str, str] | None:
    """Return a condition's status and reason."""
    return next(((c.status, c.reason) for c in status.conditions if c.type == kind), None)


CASES: dict[str, dict[str, Any]] = {
    "a slot that is due is launched": {
        "task": make_task().cron("*/5 * * * *"),
        "now": "00:05:00",
        "want_launches": ["00:05:00"],
        "want_next": "00:10:00",
    },
    "before the first slot nothing happens": {
        "task": make_task().cron("*/5 * * * *"),
        "now": "00:04:59",
        "want_next": "00:05:00",
    },
    "an interval counts from the creation": {
        "task": make_task().every(30),
        "now": "00:00:31",
        "want_launches": ["00:00:30"],
        "want_next": "00:01:00",
    },
    "a slot that is launched already is not launched again": {
        "task": make_task().every(30),
        "jobs": [make_job("00:00:30", result=SUCCEEDED)],
        "now": "00:00:31",
        "want_next": "00:01:00",
    },
    "a slot whose predecessor is active is skipped": {
        "task": make_task().every(30),
        "jobs": [make_job("00:00:30")],
        "now": "00:01:00",
        "want_unlaunched": [("00:01:00", "skipped", "StillActive")],
        "want_next": "00:01:30",
    },
    "a predecessor that has finished stops nothing": {
        "task": make_task().every(30),
        "jobs": [make_job("00:00:30", result=SUCCEEDED)],
        "now": "00:01:00",
        "want_launches": ["00:01:00"],
        "want_next": "00:01:30",
    },
    "with Allow an active predecessor stops nothing": {
        "task": make_task().every(30).with_spec(concurrencyPolicy="Allow"),
        "jobs": [make_job("00:00:30")],
        "now": "00:01:00",
        "want_launches": ["00:01:00"],
        "want_next": "00:01:30",
    },
    "an active Job of an older task of the same name stops nothing": {
        "task": make_task().every(30),
        "jobs": [make_job("00:00:30", uid="11111111-1111-4111-8111-111111111111")],
        "now": "00:01:00",
        "want_launches": ["00:01:00"],
        "want_unlaunched": [("00:00:30", "missed", "SupersededByLaterSlot")],
        "want_next": "00:01:30",
    },
    "of the slots missed while nobody watched the latest runs": {
        "task": make_task().cron("*/5 * * * *"),
        "now": "00:17:00",
        "want_launches": ["00:15:00"],
        "want_unlaunched": [
            ("00:05:00", "missed", "SupersededByLaterSlot"),
            ("00:10:00", "missed", "SupersededByLaterSlot"),
        ],
        "want_next": "00:20:00",
    },
    "a slot seen after its deadline is missed": {
        "task": make_task().cron("0 * * * *").with_spec(startingDeadlineSeconds=60),
        "now": "01:01:01",
        "want_unlaunched": [("01:00:00", "missed", "StartingDeadlineExceeded")],
        "want_next": "02:00:00",
    },
    "a slot seen just within its deadline runs": {
        "task": make_task().cron("0 * * * *").with_spec(startingDeadlineSeconds=60),
        "now": "01:01:00",
        "want_launches": ["01:00:00"],
        "want_next": "02:00:00",
    },
    "a suspended task launches nothing": {
        "task": make_task().every(30).suspended(),
        "now": "00:10:00",
        "want_ready": ("True", "Suspended"),
    },
    "a one-shot runs at its time and is completed": {
        "task": make_task().once("06:00"),
        "now": "06:00:00",
        "want_launches": ["06:00:00"],
        "want_ready": ("True", "Completed"),
    },
    "a one-shot waits for its time": {
        "task": make_task().once("06:00"),
        "now": "05:59:59",
        "want_next": "06:00:00",
    },
    "a one-shot that was past when it was created says so": {
        "task": make_task().once("2025-12-31T23:00:00+00:00"),
        "now": "00:00:01",
        "want_ready": ("False", "RunAtInThePast"),
    },
    "a one-shot missed past its deadline is completed": {
        "task": make_task().once("06:00").with_spec(startingDeadlineSeconds=10),
        "now": "07:00:00",
        "want_unlaunched": [("06:00:00", "missed", "StartingDeadlineExceeded")],
        "want_ready": ("True", "Completed"),
    },
    "an unreadable cron is not ready, with the reason": {
        "task": make_task().cron("61 * * * *"),
        "now": "00:10:00",
        "want_ready": ("False", "InvalidSchedule"),
    },
    "an unknown time zone is not ready, with the reason": {
        "task": make_task().cron("0 * * * *", "Europe/Nowhere"),
        "now": "00:10:00",
        "want_ready": ("False", "InvalidSchedule"),
    },
    "a spec that breaks the rules is not ready, with the reason": {
        "task": make_task().cron("0 * * * *").every(5),
        "now": "00:10:00",
        "want_ready": ("False", "InvalidSpec"),
    },
    "a template that no runner can render is not ready, with the reason": {
        "task": make_task().every(30).with_spec(task={"http": {"url": "https://example.com/{{ slto }}"}}),
        "now": "00:10:00",
        "want_ready": ("False", "InvalidSpec"),
    },
    "a URL that no request can be sent to is not ready, with the reason": {
        "task": make_task().every(30).with_spec(task={"http": {"url": "http://0x7f000001/"}}),
        "now": "00:10:00",
        "want_ready": ("False", "InvalidSpec"),
    },
    "a body with a NUL is not ready, with the reason": {
        "task": make_task().every(30).with_spec(task={"http": {"url": "https://example.com/", "body": "a\0"}}),
        "now": "00:10:00",
        "want_ready": ("False", "InvalidSpec"),
    },
    "a task that is being deleted is left alone": {
        "task": make_task().every(30).with_meta(deletionTimestamp="2026-01-01T00:00:10Z"),
        "now": "00:10:00",
        "want_ready": None,
    },
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_decision(case: dict[str, Any]) -> None:
    """Each case has the stated outcome, and deciding again after it is carried out does nothing."""
    builder: TaskBuilder = case["task"]
    jobs: list[ObservedJob] = case.get("jobs", [])
    plan = decide_to_fixed_point(builder, jobs, at(case["now"]))
    assert launches(plan) == case.get("want_launches", [])
    assert unlaunched(plan) == case.get("want_unlaunched", [])
    want_next = case.get("want_next")
    assert plan.requeue_at == (at(want_next) if want_next else None)
    assert condition(plan.status, "Ready") == case.get("want_ready", ("True", "Scheduled"))


def test_a_year_of_missed_seconds_is_one_launch_and_few_records() -> None:
    """The latest missed slots have a record each, and all earlier ones share one record."""
    builder = make_task().cron("* * * * * *")
    plan = decide_to_fixed_point(builder, [], at("2027-01-01T00:00:00+00:00"))
    assert launches(plan) == ["00:00:00"]
    run, *single = [a for a in plan.actions if isinstance(a, RecordUnlaunched)]
    assert run.first_slot == at("00:00:01")
    assert run.message.startswith("more than 100 slots from 2026-01-01T00:00:01Z to 2026-12-31T23:59:39Z were missed")
    assert [r.slot.second for r in single] == list(range(40, 60))
    assert len(plan.notices) == 2


def test_resuming_runs_nothing_that_passed_meanwhile() -> None:
    """Slots count from the time at which the resume is seen."""
    builder = make_task().every(30).suspended()
    decide_to_fixed_point(builder, [], at("00:00:10"))
    builder.suspended(yes=False)
    plan = decide_to_fixed_point(builder, [], at("01:00:05"))
    assert launches(plan) == []
    (record,) = plan.actions
    assert isinstance(record, RecordUnlaunched)
    assert (record.first_slot, record.slot, record.reason) == (at("00:00:30"), at("01:00"), Reason.SUSPENDED)
    assert plan.requeue_at == at("01:00:30")


def test_editing_the_schedule_runs_nothing_that_its_new_form_had_before() -> None:
    """Slots of the new schedule count from the time at which the edit is seen."""
    builder = make_task().cron("0 5 * * *")
    decide_to_fixed_point(builder, [], at("04:00"))
    builder.cron("0 3 * * *")
    plan = decide_to_fixed_point(builder, [], at("04:01"))
    assert launches(plan) == []
    assert plan.requeue_at == at("2026-01-02T03:00:00+00:00")


def test_editing_something_else_keeps_the_slots() -> None:
    """An edit that leaves the schedule unchanged does not drop a slot that is due."""
    builder = make_task().cron("0 5 * * *")
    decide_to_fixed_point(builder, [], at("04:00"))
    builder.with_spec(task={"counter": {}})
    assert launches(decide_to_fixed_point(builder, [], at("05:00"))) == ["05:00:00"]


def test_a_completed_one_shot_runs_again_at_a_new_time() -> None:
    """A new runAt is a new slot, and the Completed condition becomes False."""
    builder = make_task().once("06:00")
    decide_to_fixed_point(builder, [], at("06:00"))
    builder.once("09:00")
    plan = decide_to_fixed_point(builder, [], at("08:00"))
    assert condition(plan.status, "Completed") == ("False", "Scheduled")
    assert launches(decide_to_fixed_point(builder, [], at("09:00"))) == ["09:00:00"]


def test_a_lost_status_does_not_launch_a_slot_twice() -> None:
    """An existing Job settles its slot, even if the status update was never written."""
    builder = make_task().every(30)
    jobs = [make_job("00:00:30", result=SUCCEEDED)]
    plan = decide(builder.observed(ScheduledTaskStatus()), jobs, at("00:00:40"))
    assert plan.actions == ()


def test_what_a_job_said_outlives_the_job() -> None:
    """The last result stays after the Job is deleted."""
    builder = make_task().every(3600)
    done = make_job("01:00", result=RunResult.FAILED)
    plan = decide_to_fixed_point(builder, [done], at("01:00:10"))
    assert plan.status.last_result is RunResult.FAILED
    plan = decide_to_fixed_point(builder, [], at("01:30"))
    assert plan.status.last_result is RunResult.FAILED
    assert plan.status.last_execution is not None
    assert plan.status.last_execution.result is RunResult.FAILED


def test_a_job_that_went_unseen_has_not_failed() -> None:
    """A Job that disappears unobserved does not change the last result: its runner may have recorded a success."""
    builder = make_task().every(3600)
    decide_to_fixed_point(builder, [make_job("01:00", result=SUCCEEDED)], at("01:00:10"))
    decide_to_fixed_point(builder, [make_job("02:00")], at("02:00:01"))
    plan = decide_to_fixed_point(builder, [], at("02:30"))
    assert plan.status.active == 0
    assert plan.status.last_execution is not None
    assert plan.status.last_execution.result is RunResult.UNKNOWN
    assert plan.status.last_result is SUCCEEDED


@pytest.mark.parametrize("broken", ["61 * * * *", "0 0 31 2 *"])
def test_mending_a_schedule_runs_nothing_that_passed_meanwhile(broken: str) -> None:
    """Correcting an invalid schedule launches no earlier slot, whether or not the schedule was valid before."""
    for first in ([broken], ["0 3 * * *", broken]):
        builder = make_task()
        for expression in first:
            builder.cron(expression)
            decide_to_fixed_point(builder, [], at("00:30"))
        builder.cron("0 3 * * *")
        plan = decide_to_fixed_point(builder, [], at("12:00"))
        assert launches(plan) == []
        passed = [("03:00:00", "skipped", "InvalidSpec")] if len(first) > 1 else []
        assert unlaunched(plan) == passed
        assert plan.requeue_at == at("2026-01-02T03:00:00+00:00")


def test_a_clock_that_was_ahead_for_a_moment_stops_nothing_for_years() -> None:
    """Slots that were settled while the clock was ahead become due again."""
    builder = make_task().every(30)
    decide_to_fixed_point(builder, [], at("2035-01-01T00:00:00+00:00"))
    decide_to_fixed_point(builder, [], at("00:10:10"))
    assert launches(decide_to_fixed_point(builder, [], at("00:10:30"))) == ["00:10:30"]


def test_a_clock_that_is_set_back_by_an_hour_runs_nothing_twice() -> None:
    """A slot that ran while the clock was ahead does not run again, even if its Job is gone."""
    builder = make_task().every(600)
    assert launches(decide_to_fixed_point(builder, [], at("02:00:01"))) == ["02:00:00"]
    for when in ("01:00:01", "01:10:01", "01:50:01", "02:00:02"):
        assert launches(decide_to_fixed_point(builder, [], at(when))) == []
    assert launches(decide_to_fixed_point(builder, [], at("02:10:00"))) == ["02:10:00"]


def test_a_one_shot_set_back_into_the_past_says_so_even_if_it_ran_before() -> None:
    """A one-shot with a runAt in the past does not run and is not shown as completed."""
    builder = make_task().once("06:00")
    plan = decide_to_fixed_point(builder, [], at("06:00"))
    assert launches(plan) == ["06:00:00"]
    builder.once("05:00")
    plan = decide_to_fixed_point(builder, [make_job("06:00", result=SUCCEEDED)], at("07:00"))
    assert plan.actions == ()
    assert condition(plan.status, "Ready") == ("False", "RunAtInThePast")


def test_a_refused_launch_is_not_shown_as_a_run() -> None:
    """Ready is False with the reason until a launch succeeds."""
    builder = make_task().every(30)
    before = builder.observed()
    plan = decide(before, [], at("00:00:30"))
    (launch,) = plan.actions
    assert isinstance(launch, Launch)
    refused = RecordUnlaunched(
        launch.slot, launch.execution_id, ExecutionStatus.MISSED, Reason.LAUNCH_REFUSED, "quota exceeded"
    )
    builder.status = after_refusal(plan.status, before.status, refused)
    plan = decide_to_fixed_point(builder, [], at("00:00:31"))
    assert plan.status.last_schedule_time is None
    assert condition(plan.status, "Ready") == ("False", "LaunchRefused")
    plan = decide_to_fixed_point(builder, [], at("00:01:00"))
    assert launches(plan) == ["00:01:00"]
    assert condition(plan.status, "Ready") == ("True", "Scheduled")


def test_success_is_remembered_with_its_time() -> None:
    """The last successful time is that of the newest success, not of the newest execution."""
    builder = make_task().every(60)
    jobs = [make_job("00:01", result=SUCCEEDED), make_job("00:02", result=RunResult.FAILED)]
    plan = decide_to_fixed_point(builder, jobs, at("00:02:30"))
    assert plan.status.last_successful_time == at("00:01:05")
    assert plan.status.last_result is RunResult.FAILED


def test_the_skip_is_said_everywhere_in_the_same_words() -> None:
    """The row, the Event and the status have the same reason and message."""
    plan = decide(make_task().every(30).observed(), [make_job("00:00:30")], at("00:01:00"))
    (record,) = plan.actions
    assert isinstance(record, RecordUnlaunched)
    (notice,) = plan.notices
    assert plan.status.last_skip is not None
    assert record.status is ExecutionStatus.SKIPPED
    assert record.reason == notice.reason == plan.status.last_skip.reason == Reason.STILL_ACTIVE
    assert record.message == notice.message == plan.status.last_skip.message
    assert "backup-1767225630 is still active" in record.message


def test_a_condition_keeps_its_transition_time_while_its_value_stays() -> None:
    """A status that differs only by the passing of time is not written."""
    builder = make_task().cron("0 5 * * *")
    first = decide_to_fixed_point(builder, [], at("01:00")).status
    later = decide(builder.observed(), [], at("01:00") + timedelta(hours=3)).status
    assert later == first


def test_a_condition_is_never_longer_than_the_crd_takes() -> None:
    """A long message is cut, or the API server would refuse the status; cutting it causes no new notice."""
    problems = tuple(FieldProblem(f"spec.headers[{k}]", "x" * 1000) for k in range(64))
    task = make_task().every(60).with_spec(task={"http": {"targetRef": {"name": "crm"}}}).observed()
    task = replace(task, target=ObservedTarget("crm", None, problems))
    plan = decide(task, [], at("00:00:10"))
    assert max(len(c.message) for c in plan.status.conditions) <= 32_768
    assert decide(replace(task, status=plan.status), [], at("00:00:11")).notices == ()
