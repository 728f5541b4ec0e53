"""``decide`` and time: jitter, the bounds of a schedule, and a clock that steps back."""

from datetime import timedelta
from uuid import uuid4

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.timetable.schedule import jitter_offset
from carillon_core.ports import JSONObject
from support.builders import TASK_UID, Story, at, make_task
from support.plans import SUCCEEDED, completed, did


def test_jitter_moves_the_launch_and_leaves_the_slot() -> None:
    """Jitter delays the launch; the Job's name and the status keep the nominal time."""
    late = jitter_offset(TASK_UID, 40)
    assert timedelta() < late < timedelta(seconds=40)
    story = Story(make_task().cron("* * * * *").with_spec(jitterSeconds=40))
    plan = decide(story.task.observed(), [], at("00:00:59"))
    assert plan.requeue_at == at("00:01:00") + late
    assert plan.status.next_schedule_time == at("00:01:00")
    before = f"{at('00:01:00') + late - timedelta(seconds=1):%H:%M:%S}"
    assert did(story.turn(before)) == []
    plan = story.turn(f"{at('00:01:00') + late:%H:%M:%S}")
    assert did(plan) == ["launch 00:01:00"]
    assert plan.status.next_schedule_time == at("00:02:00")


def test_a_deadline_counts_from_the_launch_that_jitter_wants() -> None:
    """The starting deadline counts from the slot's time plus jitter."""
    late = jitter_offset(TASK_UID, 3000)
    story = Story(make_task().cron("0 * * * *").with_spec(jitterSeconds=3000, startingDeadlineSeconds=5))
    assert did(story.turn(f"{at('01:00') + late + timedelta(seconds=5):%H:%M:%S}")) == ["launch 01:00:00"]


def test_a_completed_task_launches_nothing_more() -> None:
    """A task that reached maxRuns launches nothing, even after its Jobs are deleted."""
    story = Story(make_task().every(60).with_spec(maxRuns=2))
    story.run("00:01:00", SUCCEEDED)
    assert not completed(story.run("00:02:00", SUCCEEDED)) or story.task.status.runs == 2
    for when in ("00:03:00", "01:00:00"):
        plan = story.turn(when)
        assert (did(plan), completed(plan), plan.requeue_at) == ([], True, None)
    story.jobs = []
    assert did(story.turn("02:00:00")) == []


def test_skipped_slots_do_not_count_as_runs() -> None:
    """Only launches count towards maxRuns."""
    story = Story(make_task().every(60).with_spec(maxRuns=2))
    story.turn("00:01:00")
    assert did(story.turn("00:02:00")) == ["skipped 00:02:00 StillActive"]
    story.ends("00:01:00", SUCCEEDED, "00:02:30")
    plan = story.turn("00:03:00")
    assert did(plan) == ["launch 00:03:00"]
    assert completed(plan)


def test_a_raise_of_max_runs_runs_nothing_that_passed_meanwhile() -> None:
    """Raising maxRuns neither launches nor records slots from the time the task was completed."""
    story = Story(make_task().every(60).with_spec(maxRuns=1))
    story.run("00:01:00", SUCCEEDED)
    story.turn("00:02:00")
    story.task.edited(maxRuns=2)
    plan = story.turn("01:00:30")
    assert did(plan) == []
    assert not completed(plan)
    assert plan.requeue_at == at("01:01:00")
    assert did(story.turn("01:01:00")) == ["launch 01:01:00"]


def test_a_raise_of_end_at_runs_nothing_that_passed_meanwhile() -> None:
    """After endAt is raised, slots count from the edit."""
    story = Story(make_task().every(60).with_spec(endAt="2026-01-01T00:01:30Z"))
    story.run("00:01:00", SUCCEEDED)
    assert completed(story.turn("00:02:00"))
    story.task.edited(endAt="2026-01-01T02:00:00Z")
    plan = story.turn("01:00:30")
    assert did(plan) == []
    assert plan.requeue_at == at("01:01:00")


def test_a_clock_a_little_behind_runs_nothing_twice() -> None:
    """A clock set back by less than a minute does not repeat a settled slot, even if its Job is gone."""
    story = Story(make_task().every(10))
    story.run("00:01:00", SUCCEEDED)
    story.jobs = []
    for when in ("00:00:10", "00:00:50", "00:01:05"):
        plan = story.turn(when)
        assert did(plan) == []
        assert plan.requeue_at == at("00:01:10")


@pytest.mark.parametrize(
    "spec",
    [
        {"runAt": "9999-12-31T23:59:59Z", "jitterSeconds": 86400},
        {"schedule": "* * * * *", "startAt": "0001-01-01T00:00:00Z"},
        {"schedule": "* * * * *", "startAt": "0001-01-01T00:00:00Z", "endAt": "9999-12-31T23:59:59Z"},
        {"intervalSeconds": 1, "startAt": "0001-01-01T00:00:00Z", "jitterSeconds": 86400},
        {"intervalSeconds": 31622400, "startAt": "9999-12-31T23:59:59Z", "jitterSeconds": 86400},
        {"schedule": "* * * * *", "startAt": "9999-12-31T23:59:00Z", "durationSeconds": 3162240000},
    ],
)
def test_times_at_the_ends_of_the_calendar_are_decided_about(spec: JSONObject) -> None:
    """Times in the years 1 and 9999 give a status instead of an error."""
    task = make_task().with_spec(**spec)
    uids = (str(uuid4()) for _ in range(20))
    for uid in uids:
        assert decide(task.with_meta(uid=uid).observed(), [], at("00:02:00")).status.conditions
