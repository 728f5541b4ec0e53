"""``decide`` and the circuit: failures open it; a trial run, a requested run or an edit closes it."""

from typing import Any

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import Launch
from carillon_core.resources import RunResult, ScheduledTaskStatus
from support.builders import Story, at, make_job, make_manual_job, make_task
from support.plans import ALLOW, CANCELLED, FAILED, SUCCEEDED, did, ready


def broken(**more: Any) -> Story:
    """Return a story whose circuit has opened: two failures, at 00:01:05 and 00:02:05."""
    story = Story(make_task().every(60).with_spec(suspendAfterFailures=2, **more))
    story.run("00:01:00", FAILED)
    story.run("00:02:00", FAILED)
    return story


def test_failures_in_a_row_open_the_circuit() -> None:
    """After two failures the next slot is skipped and the task is not ready."""
    story = broken()
    plan = story.turn("00:03:00")
    assert did(plan)[:1] == ["skipped 00:03:00 CircuitOpen"]
    assert ready(plan) == ("False", "CircuitOpen")
    assert plan.status.consecutive_failures == 2


def test_without_a_cooldown_the_circuit_stays_open() -> None:
    """Without cooldownSeconds every further slot is skipped."""
    story = broken()
    story.turn("00:02:06")
    assert did(story.turn("23:59:00"))[-1] == "skipped 23:59:00 CircuitOpen"


def test_after_the_cooldown_one_slot_is_on_trial() -> None:
    """After the cool-down one trial run is launched, and its success closes the circuit."""
    story = broken(cooldownSeconds=100, **ALLOW)
    assert did(story.turn("00:03:00"))[:1] == ["skipped 00:03:00 CircuitOpen"]
    assert did(story.turn("00:04:00"))[:1] == ["launch 00:04:00"]
    assert did(story.turn("00:05:00")) == ["skipped 00:05:00 CircuitOpen"], "only one slot is on trial"
    story.ends("00:04:00", SUCCEEDED, "00:05:30")
    plan = story.turn("00:06:00")
    assert did(plan)[:1] == ["launch 00:06:00"]
    assert ready(plan) == ("True", "Scheduled")
    assert plan.status.consecutive_failures == 0


def test_a_trial_that_fails_opens_the_circuit_anew() -> None:
    """The cool-down starts again at the end of the failed trial run."""
    story = broken(cooldownSeconds=100)
    story.turn("00:03:00")
    story.run("00:04:00", FAILED)
    assert did(story.turn("00:05:00"))[:1] == ["skipped 00:05:00 CircuitOpen"]
    assert story.task.status.circuit_opened_at == at("00:04:05")
    assert did(story.turn("00:06:00"))[:1] == ["launch 00:06:00"]


@pytest.mark.parametrize("end", ["cancelled", "gone"])
def test_a_trial_without_a_result_is_followed_by_another(end: str) -> None:
    """If the trial run is cancelled or its Job is deleted, the next slot is the trial."""
    story = broken(cooldownSeconds=100)
    story.turn("00:03:00")
    story.turn("00:04:00")
    if end == "gone":
        story.gone("00:04:00")
    else:
        story.ends("00:04:00", CANCELLED, "00:04:30")
    assert did(story.turn("00:05:00"))[:1] == ["launch 00:05:00"]


def test_an_edit_closes_the_circuit() -> None:
    """Any edit of the spec closes the circuit, because it may correct the cause."""
    story = broken()
    story.turn("00:03:00")
    story.task.edited(task={"sum": {"a": 2, "b": 2}})
    plan = story.turn("00:04:00")
    assert did(plan)[:1] == ["launch 00:04:00"]
    assert ready(plan) == ("True", "Scheduled")


def test_a_requested_run_that_succeeds_closes_the_circuit() -> None:
    """The success of a requested run closes the circuit."""
    story = broken()
    story.turn("00:03:00")
    story.jobs.append(make_manual_job("00:03:20", result=SUCCEEDED))
    assert did(story.turn("00:04:00"))[:1] == ["launch 00:04:00"]


def test_a_requested_run_of_the_trials_instant_is_not_the_trial() -> None:
    """A failed request at the trial's time leaves the trial pending."""
    story = broken(cooldownSeconds=100)
    story.turn("00:03:00")
    story.turn("00:04:00")
    story.jobs.append(make_manual_job("00:04:00", result=FAILED))
    assert story.turn("00:04:10").status.trial_slot == at("00:04:00")


def test_a_success_in_between_keeps_the_circuit_closed() -> None:
    """Only consecutive failures count."""
    story = Story(make_task().every(60).with_spec(suspendAfterFailures=2))
    for slot, result in (("00:01:00", FAILED), ("00:02:00", SUCCEEDED), ("00:03:00", FAILED)):
        story.run(slot, result)
    assert did(story.turn("00:04:00"))[:1] == ["launch 00:04:00"]


def test_a_trial_whose_job_is_gone_does_not_keep_the_circuit_open_for_ever() -> None:
    """If the trial's Job was deleted while no operator was running, the next slot is the trial."""
    task = make_task().every(60).with_spec(suspendAfterFailures=1, cooldownSeconds=60)
    status = open_circuit(trial="00:02:00")
    plan = decide(task.observed(status), [], at("00:03:00"))
    assert [a.slot for a in plan.actions if isinstance(a, Launch)] == [at("00:03:00")]


def test_a_trial_is_counted_though_another_execution_ended_in_the_same_second() -> None:
    """The failed trial opens the circuit again, and a later slot can be the next trial."""
    task = make_task().every(60).with_spec(suspendAfterFailures=1, cooldownSeconds=60)
    status = open_circuit(trial="00:02:00").model_copy(update={"counted_until": at("00:02:05")})
    trial = make_job("00:02:00", result=RunResult.FAILED)
    assert trial.finished_at == at("00:02:05")
    plan = decide(task.observed(status), [trial], at("00:02:10"))
    assert plan.status.trial_slot is None
    assert plan.status.circuit_opened_at == at("00:02:05")


def open_circuit(trial: str) -> ScheduledTaskStatus:
    """Return the status of a task whose circuit opened at 00:01 and that has a slot on trial."""
    return ScheduledTaskStatus(
        observed_generation=1,
        settled_until=at(trial),
        consecutive_failures=1,
        counted_until=at("00:01:05"),
        circuit_opened_at=at("00:01:05"),
        trial_slot=at(trial),
    )
