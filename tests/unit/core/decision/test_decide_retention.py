"""``decide`` and retention: which finished Jobs are deleted, and when."""

from typing import Any

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.resources import RunResult, ScheduledTaskStatus
from carillon_core.resources.scheduled_task import Backlog
from support.builders import Story, TaskBuilder, at, make_job, make_manual_job, make_task, taken_back
from support.plans import CANCELLED, FAILED, SUCCEEDED, did, job_name


def kept(story: Story) -> list[str]:
    """Return the slots of the Jobs that are left."""
    return [f"{j.slot:%H:%M}" for j in sorted(story.jobs, key=lambda j: j.slot)]


def settled(task: TaskBuilder, until: str) -> Story:
    """Return a story whose stored status settles all slots up to a time."""
    story = Story(task)
    story.task.status = ScheduledTaskStatus(settled_until=at(until), counted_until=at(until))
    return story


def test_jobs_beyond_the_history_limits_are_deleted_oldest_first() -> None:
    """Succeeded and failed Jobs have separate limits."""
    limits = {"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1}
    story = settled(make_task().every(3600).with_spec(**limits), "00:10")
    ends = (FAILED, SUCCEEDED, CANCELLED, SUCCEEDED)
    story.jobs = [make_job(f"00:0{k}", result=result) for k, result in enumerate(ends, 1)]
    assert did(story.turn("00:20")) == [f"delete {job_name('00:01')}", f"delete {job_name('00:02')}"]
    assert kept(story) == ["00:03", "00:04"]


def test_a_job_is_deleted_when_its_time_to_live_is_over() -> None:
    """The time to live also applies within the limits, and sets the time of the next decision."""
    story = settled(make_task().every(3600).with_spec(ttlSecondsAfterFinished=60), "00:10")
    story.jobs = [make_job("00:01", result=SUCCEEDED), make_job("00:02", result=SUCCEEDED), make_job("00:03")]
    plan = story.turn("00:02:10")
    assert did(plan) == [f"delete {job_name('00:01')}"]
    assert plan.requeue_at == at("00:03:05")


def test_a_job_that_its_queue_took_back_is_deleted() -> None:
    """The Job is deleted, or it would run again, but only after the stored status has its slot and result."""
    story = settled(make_task().every(3600), "00:10")
    story.jobs = [taken_back(make_job("00:01", result=FAILED)), make_job("00:02", result=FAILED)]
    assert did(story.turn("00:02:10")) == [f"delete {job_name('00:01')}"]
    story = settled(make_task().every(3600), "00:00")
    story.jobs = [taken_back(make_job("00:01", result=FAILED))]
    assert "delete" not in " ".join(did(story.turn("00:02:10")))


def test_a_suspended_task_still_cleans_up() -> None:
    """Finished Jobs are also deleted during a suspension."""
    story = settled(make_task().every(3600).suspended().with_spec(ttlSecondsAfterFinished=60), "00:10")
    story.jobs = [make_job("00:01", result=SUCCEEDED), make_job("00:02", result=SUCCEEDED)]
    plan = story.turn("00:02:10")
    assert did(plan) == [f"delete {job_name('00:01')}"]
    assert plan.requeue_at == at("00:03:05")


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ({}, "nothing is settled"),
        ({"settled_until": "00:00:30"}, "its slot is not settled"),
        ({"settled_until": "00:10", "backlog": ("00:00", "00:02")}, "its slot is still owed"),
    ],
)
def test_no_job_is_deleted_before_the_stored_status_settles_its_slot(stored: dict[str, Any], why: str) -> None:
    """Without the stored status, only the Job keeps a restarted operator from launching the slot again."""
    status: dict[str, Any] = {k: at(v) for k, v in stored.items() if k == "settled_until"}
    if "backlog" in stored:
        after, until = stored["backlog"]
        status["backlog"] = Backlog(after=at(after), until=at(until))
    task = make_task().every(3600).with_spec(successfulJobsHistoryLimit=0)
    observed = task.observed(ScheduledTaskStatus(settled_until=at("00:10")), ScheduledTaskStatus(**status))
    assert decide(observed, [make_job("00:01", result=SUCCEEDED)], at("00:20")).actions == (), why


def test_a_job_that_is_being_deleted_is_not_deleted_again() -> None:
    """Jobs that are being deleted, are active or belong to a request are left alone."""
    story = settled(make_task().every(3600).with_spec(successfulJobsHistoryLimit=0), "00:10")
    story.jobs = [
        make_job("00:01", result=SUCCEEDED, ending=True),
        make_job("00:02"),
        make_manual_job("00:03", result=SUCCEEDED),
    ]
    assert did(story.turn("00:20")) == []


def test_a_job_is_deleted_only_when_its_result_is_counted() -> None:
    """The Job is deleted after the stored status counts its result, or a crash would lose the result."""
    task = make_task().every(60).with_spec(suspendAfterFailures=2, failedJobsHistoryLimit=0)
    job: ObservedJob = make_job("00:01:00", result=RunResult.FAILED)
    plan = decide(task.observed(ScheduledTaskStatus(settled_until=at("00:01:00"))), [job], at("00:01:10"))
    assert plan.status.consecutive_failures == 1
    assert plan.actions == ()
    assert len(decide(task.observed(plan.status), [job], at("00:01:11")).actions) == 1
