"""``decide`` about an execution whose pod the API server refuses."""

from typing import Any

import pytest

from carillon_core.domain.decision.decide_request import decide_request
from carillon_core.domain.decision.plan import EndExecution
from carillon_core.domain.decision.stuck import next_look
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.domain.observed.pod_ends import JobPods
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.resources import RunResult
from support.builders import (
    Story,
    at,
    decide_to_fixed_point,
    make_job,
    make_manual_job,
    make_request,
    make_task,
    request_to_fixed_point,
)
from support.pod_refusals import FULL, NO_ACCOUNT, NO_ROOM


def trouble(message: str = NO_ACCOUNT, seen: str = "01:00:10", *, waits: bool = False) -> PodTrouble:
    """Return what a look at the Job of 01:00 found."""
    return PodTrouble("FailedCreate", message, at("01:00:01"), waits, at(seen))


DECIDED: dict[str, dict[str, Any]] = {
    "a pod that is refused is given time": {
        "trouble": trouble(),
        "now": "01:00:45",
        "want_message": f"its pod cannot start: FailedCreate: {NO_ACCOUNT}",
    },
    "one that was refused for too long is not given up without another look": {
        "trouble": trouble(seen="01:00:45"),
        "now": "01:00:50",
        "want_message": f"its pod cannot start: FailedCreate: {NO_ACCOUNT}",
    },
    "one that is still refused then is given up": {
        "trouble": trouble(seen="01:00:46"),
        "now": "01:00:50",
        "want": "FailedCreate",
        "want_message": f"its pod cannot start: FailedCreate: {NO_ACCOUNT}",
    },
    "one that waits for room is left to its deadline": {
        "trouble": trouble(NO_ROOM, "01:50:00", waits=True),
        "now": "01:50:00",
        "want_message": f"its pod is waiting for quota: FailedCreate: {NO_ROOM}",
        "want_notice": f"backup-1767229200 waits: its pod is waiting for quota: FailedCreate: {NO_ROOM}",
    },
}


@pytest.mark.parametrize("case", DECIDED.values(), ids=DECIDED.keys())
def test_an_execution_without_a_pod(case: dict[str, Any]) -> None:
    """Each case has the stated end, status message and Event; the Event is posted once."""
    story = Story(make_task().every(3600))
    story.jobs = [make_job("01:00", trouble=case["trouble"])]
    plan = story.turn(case["now"])
    ends = [a for a in plan.actions if isinstance(a, EndExecution)]
    assert [e.reason for e in ends] == ([case["want"]] if "want" in case else [])
    last = plan.status.last_execution
    assert last is not None
    assert (last.result, last.message) == (RunResult.RUNNING, case["want_message"])
    wanted = [case["want_notice"]] if "want_notice" in case else [e.message for e in ends]
    assert [n.message for n in plan.notices if n.reason == "PodCannotStart"] == wanted


def test_figures_of_a_quota_that_change_are_shown_and_not_announced_anew() -> None:
    """New figures change the status message but cause no second Event."""
    story = Story(make_task().every(3600))
    for message, want in ((NO_ROOM, 1), (FULL, 0)):
        story.jobs = [make_job("01:00", trouble=trouble(message, waits=True))]
        plan = story.turn("01:01:00")
        assert plan.status.last_execution is not None
        assert message in plan.status.last_execution.message
        assert len(plan.notices) == want


def test_a_slot_that_is_skipped_says_what_the_one_before_waits_for() -> None:
    """The message about the skip says why the active execution has no pod."""
    story = Story(make_task().every(60).with_spec(startAt="2026-01-01T01:00:00Z"))
    story.turn("01:00:00")
    story.jobs = [make_job("01:00", trouble=trouble(NO_ROOM, waits=True))]
    plan = story.turn("01:01:00")
    assert plan.status.last_skip is not None
    assert f"is still active (its pod is waiting for quota: FailedCreate: {NO_ROOM})" in plan.status.last_skip.message


def test_a_request_whose_pod_is_refused_says_so() -> None:
    """A request's status and Event say why its pod is refused; it ends like a slot's execution."""
    request, task = make_request(), make_task().every(3600)
    job = make_manual_job("00:10:00", trouble=PodTrouble("FailedCreate", NO_ROOM, at("00:10:01"), waits=True))
    plan = request_to_fixed_point(request, task, [job], "00:20:00")
    assert plan.status.message == f"its pod is waiting for quota: FailedCreate: {NO_ROOM}"
    assert [str(n.reason) for n in plan.notices] == ["PodCannotStart"]
    job = make_manual_job(
        "00:10:00", trouble=PodTrouble("FailedCreate", NO_ACCOUNT, at("00:10:01"), seen_at=at("00:21:00"))
    )
    plan = decide_request(request.observed(), task.observed(), [job], at("00:21:00"))
    assert [a.reason for a in plan.actions if isinstance(a, EndExecution)] == ["FailedCreate"]


def test_an_end_by_the_deadline_says_what_the_execution_waited_for() -> None:
    """The message of an execution that timed out includes why its pod did not start."""
    builder = make_task().every(3600)
    plan = decide_to_fixed_point(builder, [], at("01:00:00"))
    assert plan.actions
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    meta = {
        "name": "backup-1767229200",
        "namespace": "default",
        "uid": "job",
        "creationTimestamp": "2026-01-01T01:00:00Z",
        "labels": {"carillon.dev/task": "backup", "carillon.dev/task-uid": builder.raw["metadata"]["uid"]},
        "annotations": {"carillon.dev/slot": "2026-01-01T01:00:00Z"},
        "ownerReferences": [
            {
                "kind": "ScheduledTask",
                "name": "backup",
                "uid": builder.raw["metadata"]["uid"],
                "controller": True,
            }
        ],
    }
    raw = {"metadata": meta, "status": {"conditions": [failed]}}
    job = observed_job(raw, JobPods(trouble=trouble(NO_ROOM, waits=True)))
    assert job is not None
    assert job.result is RunResult.TIMED_OUT
    assert job.message == f"too long: its pod is waiting for quota: FailedCreate: {NO_ROOM}"


@pytest.mark.parametrize(
    ("known", "now", "want"),
    [
        (None, "01:00:00", "01:00:10"),
        (None, "01:00:10", "01:00:25"),
        (None, "01:00:40", "01:01:20"),
        (None, "01:20:00", "01:21:00"),
        (trouble(), "01:00:10", "01:00:46"),
        (trouble(), "01:00:40", "01:00:55"),
        (trouble(), "01:00:46", "01:01:32"),
        (trouble(NO_ROOM, waits=True), "01:00:10", "01:00:25"),
        (trouble(NO_ROOM, waits=True), "01:30:00", "01:31:00"),
    ],
)
def test_it_is_looked_again_ever_more_rarely(known: PodTrouble | None, now: str, want: str) -> None:
    """Looks become rarer, from 15 to 60 seconds apart, except the one that decides whether to give up."""
    job = make_job("01:00", trouble=known, admitted_at=at("01:00:00"))
    assert next_look(job, at(now)) == at(want)
