"""``decide`` at its first look at a task: missed slots, targets, bounds, and pods that cannot start."""

from typing import Any

import pytest

from carillon_core.domain.observed.pod_trouble import PodTrouble
from support.builders import Story, at, make_job, make_manual_job, make_task
from support.plans import ALL, ALLOW, TARGET, did, ready

FIRST_LOOK: dict[str, dict[str, Any]] = {
    "Latest: the latest runs, the others are superseded": {
        "task": make_task().every(60),
        "now": "00:03:10",
        "want": ["missed 00:01:00 SupersededByLaterSlot", "missed 00:02:00 SupersededByLaterSlot", "launch 00:03:00"],
    },
    "Latest within a deadline: the latest runs if it is in time": {
        "task": make_task().every(60).with_spec(startingDeadlineSeconds=10),
        "now": "00:02:10",
        "want": ["missed 00:01:00 SupersededByLaterSlot", "launch 00:02:00"],
    },
    "Latest past a deadline: nothing runs": {
        "task": make_task().every(60).with_spec(startingDeadlineSeconds=9),
        "now": "00:02:10",
        "want": ["missed 00:01:00 SupersededByLaterSlot", "missed 00:02:00 StartingDeadlineExceeded"],
    },
    "Skip: what is seen more than 30 seconds late does not run": {
        "task": make_task().every(60).with_spec(missedRunPolicy="Skip"),
        "now": "00:02:31",
        "want": ["missed 00:01:00 MissedRunPolicy", "missed 00:02:00 MissedRunPolicy"],
    },
    "Skip: what is seen at once runs": {
        "task": make_task().every(60).with_spec(missedRunPolicy="Skip"),
        "now": "00:02:30",
        "want": ["missed 00:01:00 MissedRunPolicy", "launch 00:02:00"],
    },
    "Skip with a deadline: the deadline says how late": {
        "task": make_task().every(60).with_spec(missedRunPolicy="Skip", startingDeadlineSeconds=50),
        "now": "00:02:50",
        "want": ["missed 00:01:00 MissedRunPolicy", "launch 00:02:00"],
    },
    "Skip with a deadline, past it": {
        "task": make_task().every(60).with_spec(missedRunPolicy="Skip", startingDeadlineSeconds=49),
        "now": "00:02:50",
        "want": ["missed 00:01:00 MissedRunPolicy", "missed 00:02:00 StartingDeadlineExceeded"],
    },
    "All with Forbid: the oldest first, one at a time": {
        "task": make_task().every(60).with_spec(**ALL),
        "now": "00:03:10",
        "want": ["launch 00:01:00"],
    },
    "All with Allow: everything at once": {
        "task": make_task().every(60).with_spec(**ALL, **ALLOW),
        "now": "00:03:10",
        "want": ["launch 00:01:00", "launch 00:02:00", "launch 00:03:00"],
    },
    "All with a deadline: what is past it is missed": {
        "task": make_task().every(60).with_spec(**ALL, **ALLOW, startingDeadlineSeconds=100),
        "now": "00:03:10",
        "want": ["missed 00:01:00 StartingDeadlineExceeded", "launch 00:02:00", "launch 00:03:00"],
    },
    "All while a request's Job is active: nothing yet": {
        "task": make_task().every(60).with_spec(**ALL),
        "jobs": [make_manual_job("00:01:30")],
        "now": "00:03:10",
        "want": [],
    },
    "a target that is missing fails its slot": {
        "task": make_task().every(60).calling(),
        "now": "00:01:00",
        "want": ["failed 00:01:00 TargetNotFound"],
        "want_ready": ("False", "TargetNotFound"),
    },
    "a target that is invalid fails its slot": {
        "task": make_task().every(60).calling(target={"url": "nowhere"}),
        "now": "00:01:00",
        "want": ["failed 00:01:00 TargetInvalid"],
        "want_ready": ("False", "TargetInvalid"),
    },
    "a target that no request can be sent to fails its slot": {
        "task": make_task().every(60).calling(target={"url": "http://exa mple.com/"}),
        "now": "00:01:00",
        "want": ["failed 00:01:00 TargetInvalid"],
        "want_ready": ("False", "TargetInvalid"),
    },
    "a target that is missing is told before a slot is due": {
        "task": make_task().every(60).calling(),
        "now": "00:00:10",
        "want": [],
        "want_ready": ("False", "TargetNotFound"),
    },
    "a target that is there stops nothing": {
        "task": make_task().every(60).calling(target=TARGET),
        "now": "00:01:00",
        "want": ["launch 00:01:00"],
    },
    "startAt is an interval's first slot": {
        "task": make_task().every(60).with_spec(startAt="2026-01-01T00:00:45Z"),
        "now": "00:00:45",
        "want": ["launch 00:00:45"],
        "want_next": "00:01:45",
    },
    "no slot of a cron comes before startAt": {
        "task": make_task().cron("* * * * *").with_spec(startAt="2026-01-01T00:02:30Z"),
        "now": "00:02:40",
        "want": [],
        "want_next": "00:03:00",
    },
    "a slot at endAt is the last": {
        "task": make_task().cron("* * * * *").with_spec(endAt="2026-01-01T00:01:00Z"),
        "now": "00:01:00",
        "want": ["launch 00:01:00"],
        "want_ready": ("True", "Completed"),
    },
    "durationSeconds counts from the creation": {
        "task": make_task().cron("* * * * *").with_spec(durationSeconds=90),
        "now": "00:01:00",
        "want": ["launch 00:01:00"],
        "want_ready": ("True", "Completed"),
    },
    "durationSeconds counts from startAt": {
        "task": make_task().every(60).with_spec(startAt="2026-01-01T00:05:00Z", durationSeconds=60),
        "now": "00:06:00",
        "want": ["missed 00:05:00 SupersededByLaterSlot", "launch 00:06:00"],
        "want_ready": ("True", "Completed"),
    },
    "maxRuns completes a task": {
        "task": make_task().every(60).with_spec(maxRuns=1),
        "now": "00:01:00",
        "want": ["launch 00:01:00"],
        "want_ready": ("True", "Completed"),
    },
    "a backlog never launches more than maxRuns": {
        "task": make_task().every(60).with_spec(**ALL, **ALLOW, maxRuns=2),
        "now": "00:05:00",
        "want": ["launch 00:01:00", "launch 00:02:00"],
        "want_ready": ("True", "Completed"),
    },
    "a pod that cannot start is given time": {
        "task": make_task().every(3600),
        "jobs": [make_job("01:00", trouble=PodTrouble("ErrImagePull", "no such image", at("01:00:01")))],
        "now": "01:00:45",
        "want": [],
        "want_next": "01:00:46",
    },
    "a pod that could not start for too long is ended": {
        "task": make_task().every(3600),
        "jobs": [make_job("01:00", trouble=PodTrouble("ErrImagePull", "no such image", at("01:00:01")))],
        "now": "01:00:46",
        "want": ["failed backup-1767229200 ErrImagePull"],
    },
    "a pod that could not start is ended even if the spec is invalid by now": {
        "task": make_task().cron("61 * * * *"),
        "jobs": [make_job("01:00", trouble=PodTrouble("InvalidImageName", "", at("01:00:01")))],
        "now": "01:10:00",
        "want": ["failed backup-1767229200 InvalidImageName"],
        "want_ready": ("False", "InvalidSchedule"),
    },
}


@pytest.mark.parametrize("case", FIRST_LOOK.values(), ids=FIRST_LOOK.keys())
def test_at_first_sight(case: dict[str, Any]) -> None:
    """Each case is a task that was created at midnight and is seen for the first time now."""
    story = Story(case["task"])
    story.jobs = case.get("jobs", [])
    plan = story.turn(case["now"])
    assert did(plan) == case["want"]
    assert ready(plan) == case.get("want_ready", ("True", "Scheduled"))
    if "want_next" in case:
        assert plan.requeue_at == at(case["want_next"])
