"""What ``kubectl get scheduledtasks`` shows: ``decide`` sets the fields of the printer columns."""

from typing import Any
from uuid import UUID

import pytest

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.decide import after_refusal, decide
from carillon_core.domain.decision.plan import Plan, Reason, RecordUnlaunched
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.resources import ScheduledTaskStatus
from support.builders import Story, at, make_job, make_manual_job, make_task
from support.plans import FAILED, SUCCEEDED, TARGET, ready


def pod(begun: str | None, ended: str, *, succeeded: bool = True) -> PodEnd:
    """Return the end of a pod that began and ended at these times."""
    return PodEnd(succeeded=succeeded, finished_at=at(ended), started_at=at(begun) if begun else None)


DURATIONS: dict[str, tuple[list[ObservedJob], int | None]] = {
    "nothing has ended": ([make_job("00:01")], None),
    "from the start of its pod": ([make_job("00:01", result=SUCCEEDED, attempts=(pod("00:01:02", "00:01:05"),))], 3),
    "from the start of its first pod": (
        [
            make_job(
                "00:01",
                result=SUCCEEDED,
                attempts=(pod("00:01:01", "00:01:02", succeeded=False), pod("00:01:03", "00:01:05")),
            )
        ],
        4,
    ),
    "from its creation if no pod is known": ([make_job("00:01", result=FAILED, admitted_at=at("00:01:00"))], 5),
    "of the execution that ended, not of the one that runs": (
        [make_job("00:01", result=SUCCEEDED, attempts=(pod("00:01:04", "00:01:05"),)), make_job("00:02")],
        1,
    ),
    "never negative: clocks differ": (
        [make_job("00:01", result=SUCCEEDED, attempts=(pod("00:01:09", "00:01:05"),))],
        0,
    ),
    "unknown": ([make_job("00:01", result=SUCCEEDED)], None),
}


@pytest.mark.parametrize(("jobs", "want"), DURATIONS.values(), ids=DURATIONS.keys())
def test_the_status_has_the_duration_of_the_execution_that_ended_last(
    jobs: list[ObservedJob], want: int | None
) -> None:
    """In whole seconds; the column DURATION shows it."""
    story = Story(make_task().every(60).with_spec(concurrencyPolicy="Allow"))
    story.jobs = jobs
    assert story.turn("00:02:30").status.last_duration_seconds == want


def test_the_duration_stays_when_the_job_is_gone() -> None:
    """A deleted Job does not empty the column."""
    story = Story(make_task().every(3600))
    story.jobs = [make_job("00:01", result=SUCCEEDED, attempts=(pod("00:01:02", "00:01:05"),))]
    story.turn("00:02")
    story.jobs = []
    assert story.turn("00:03").status.last_duration_seconds == 3


def test_a_requested_run_is_the_last_run() -> None:
    """LAST RUN counts runs by request; lastScheduleTime does not."""
    story = Story(make_task().every(3600))
    story.jobs = [make_manual_job("00:10")]
    status = story.turn("00:10:01").status
    assert (status.last_run_time, status.last_schedule_time) == (at("00:10"), None)
    story.jobs = []
    assert story.turn("00:11").status.last_run_time == at("00:10"), "its Job is gone"
    status = story.turn("01:00").status
    assert (status.last_run_time, status.last_schedule_time) == (at("01:00"), at("01:00"))


def test_a_status_of_an_older_release_has_a_last_run() -> None:
    """After an upgrade the column is not empty until the next run."""
    task = make_task().every(3600).observed(ScheduledTaskStatus(last_schedule_time=at("00:00:30")))
    assert decide(task, [], at("00:01")).status.last_run_time == at("00:00:30")


def test_a_refused_launch_is_no_run() -> None:
    """The last run stays the one before."""
    before = ScheduledTaskStatus(last_schedule_time=at("00:01"), last_run_time=at("00:01:30"))
    plan = ScheduledTaskStatus(last_schedule_time=at("00:02"), last_run_time=at("00:02"), runs=2)
    record = RecordUnlaunched(at("00:02"), UUID(int=0), ExecutionStatus.MISSED, Reason.LAUNCH_REFUSED, "no")
    assert after_refusal(plan, before, record).last_run_time == at("00:01:30")


def broken(**more: Any) -> Story:
    """Return a story whose circuit opened at 00:02:05."""
    story = Story(make_task().every(60).with_spec(suspendAfterFailures=2, **more))
    story.run("00:01:00", FAILED)
    story.run("00:02:00", FAILED)
    return story


def shown(plan: Plan) -> tuple[str, str]:
    """Return the columns NEXT RUN and REASON."""
    upcoming = plan.status.next_schedule_time
    return f"{upcoming:%H:%M:%S}" if upcoming else "", ready(plan)[1]


def test_an_open_circuit_has_no_next_run() -> None:
    """Without cooldownSeconds, no slot will be launched; the operator still settles each slot when it is due."""
    plan = broken().turn("00:02:30")
    assert shown(plan) == ("", "CircuitOpen")
    assert plan.requeue_at == at("00:03:00")


def test_the_next_run_of_an_open_circuit_is_its_trial() -> None:
    """The first slot after the cooldown is launched; while that runs, no other."""
    story = broken(cooldownSeconds=100, concurrencyPolicy="Allow")
    assert shown(story.turn("00:02:30")) == ("00:04:00", "CircuitOpen")
    story.turn("00:03:00")
    assert shown(story.turn("00:03:30")) == ("00:04:00", "CircuitOpen")
    story.turn("00:04:00")
    assert shown(story.turn("00:04:10")) == ("", "CircuitOpen")
    story.ends("00:04:00", SUCCEEDED, "00:04:20")
    assert shown(story.turn("00:04:30")) == ("00:05:00", "Scheduled")


def test_the_slot_at_the_end_of_the_cooldown_is_the_trial() -> None:
    """The gate lets it through at that very instant, and with jitter an earlier slot, too."""
    assert shown(broken(cooldownSeconds=55).turn("00:02:30"))[0] == "00:03:00"
    assert shown(broken(cooldownSeconds=56).turn("00:02:30"))[0] == "00:04:00"


def test_a_missing_target_has_no_next_run() -> None:
    """The slot will fail at the gate; when the target exists, NEXT RUN shows the slot."""
    story = Story(make_task().every(60).calling())
    assert shown(story.turn("00:00:30")) == ("", "TargetNotFound")
    story.task.calling(target=TARGET)
    assert shown(story.turn("00:00:40")) == ("00:01:00", "Scheduled")


def test_a_suspended_task_has_no_next_run() -> None:
    """REASON says why."""
    assert shown(Story(make_task().every(60).suspended()).turn("00:00:30")) == ("", "Suspended")


WRITTEN: dict[str, tuple[dict[str, Any], str | None]] = {
    "an invalid cron expression": ({"schedule": "61 * * * *"}, "61 * * * *"),
    "an unknown time zone": ({"schedule": "@daily", "timeZone": "Mars/Olympus"}, "@daily Mars/Olympus"),
    "two schedules": ({"schedule": "@daily", "intervalSeconds": 90}, "@daily and every 90s"),
    "no schedule": ({}, None),
    "a task that is invalid": (
        {"intervalSeconds": 30, "startAt": "2026-01-01T00:00:00Z", "task": {}},
        "every 30s from 2026-01-01T00:00:00Z",
    ),
    "a schedule of a wrong type": ({"schedule": {"a": [1]}, "intervalSeconds": True}, None),
    "a schedule that is too long": ({"schedule": "1" * 100_000, "endAt": "soon"}, "1" * 255 + "…"),
}


@pytest.mark.parametrize(("spec", "want"), WRITTEN.values(), ids=WRITTEN.keys())
def test_after_an_invalid_edit_the_schedule_is_what_the_spec_says(spec: dict[str, Any], want: str | None) -> None:
    """Not the last valid one: the user has to see the mistake."""
    before = ScheduledTaskStatus(schedule="every 60s")
    plan = decide(make_task().with_spec(**spec).observed(before), [], at("00:01"))
    assert plan.status.schedule == want
    assert shown(plan)[0] == ""
    assert ready(plan)[0] == "False"
