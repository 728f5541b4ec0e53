"""The oracle of ``make faults``: it accepts a correct world, and detects each kind of error."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from carillon_core.domain.execution import job_name
from faults.injection.director import Blur, Outage
from faults.verdict.launches import SECOND
from faults.verdict.oracle import ASKED, decided, settled, violations
from faults.verdict.pulses import Pulse, parsed
from faults.verdict.seen import RowSeen
from support.fault_worlds import WorldBuilder, after


def test_a_world_in_which_each_slot_ran_once_is_right() -> None:
    """There is no violation, and nothing to wait for."""
    world = WorldBuilder().world()
    assert violations(world) == []
    assert settled(world)
    assert decided(world)


def out(start: float, end: float | None, task: str = "") -> list[Outage]:
    """Return a period without an operator."""
    return [Outage(after(start), None if end is None else after(end), task)]


RIGHT = {
    "a slot skipped while its predecessor was active for long": (
        WorldBuilder().without(2).without(4).ran(2, for_seconds=3).row(4, "skipped", "StillActive")
    ),
    "a slot missed because the operator was dead until the next": (
        WorldBuilder().without(4).row(4, "missed", "SupersededByLaterSlot", at=3).having(outages=out(3.9, 6.2))
    ),
    "a row that stands for a run of missed slots": (
        WorldBuilder()
        .without(2)
        .without(4)
        .row(4, "missed", "SupersededByLaterSlot", first=2, at=3)
        .having(outages=out(1.5, 6.5))
    ),
    "a skip after an event was held back by a fault": (
        WorldBuilder().without(4).row(4, "skipped", "StillActive").having(blurs=[Blur(after(2.4), after(5))])
    ),
    "a failure of an execution whose pod was killed": (
        WorldBuilder()
        .without(4, job=False, hit=False)
        .row(4, "failed", "Killed")
        .having(killed_pods=frozenset({job_name("api", after(4))}))
    ),
    "a later slot that is not finished yet": WorldBuilder().ran(8).without(8, row=False).row(10, "running"),
}


@pytest.mark.parametrize("case", RIGHT.values(), ids=RIGHT.keys())
def test_what_the_policy_allows_is_no_violation(case: WorldBuilder) -> None:
    """Skips and misses with a correct reason are allowed."""
    assert case.violations() == []


def doubled(builder: WorldBuilder) -> WorldBuilder:
    """Return the world with one of its Jobs created twice."""
    builder.jobs.append(replace(builder.jobs[1], uid="another", seen_at=after(4.8)))
    return builder


def hit_twice(builder: WorldBuilder) -> WorldBuilder:
    """Return the world with one of its executions run twice."""
    builder.hits[builder.id(4)].append(after(5))
    return builder


WRONG = {
    "a lost slot": (WorldBuilder().without(4), "00:00:04: lost: it is due and has no row (no Job)"),
    "a slot that ran and has no row": (
        WorldBuilder().without(4, job=False, hit=False),
        "00:00:04: lost: it is due and has no row (1 Jobs, 1 hits)",
    ),
    "a doubled Job": (doubled(WorldBuilder()), "00:00:04: 2 Jobs were created"),
    "a doubled hit": (hit_twice(WorldBuilder()), "00:00:04: ran twice: 2 hits"),
    "a doubled hit of a later slot": (
        hit_twice(WorldBuilder().ran(8)).having(),
        "00:00:04: ran twice",
    ),
    "a ghost": (
        WorldBuilder().without(6, job=False, hit=False).row(6, "running"),
        "00:00:06: a ghost: its row is still running",
    ),
    "two rows for one slot": (WorldBuilder().row(4, "missed", "SupersededByLaterSlot"), "00:00:04: has 2 rows"),
    "a Job without an effect": (
        WorldBuilder().without(4, job=False).row(4, "skipped", "StillActive"),
        "00:00:04: its row says skipped StillActive, and yet there is Job api-1767225604",
    ),
    "a hit of a slot that is said to be missed": (
        WorldBuilder().without(4, hit=False).row(4, "missed", "SupersededByLaterSlot").having(outages=out(3, 7)),
        "00:00:04: its row says missed, and yet it ran: 1 hits",
    ),
    "a skip while nothing was active": (
        WorldBuilder().without(4).row(4, "skipped", "StillActive"),
        "00:00:04: skipped as StillActive (decided 00:00:04.000000), and no execution was active",
    ),
    "a miss while an operator was there": (
        WorldBuilder().without(4).row(4, "missed", "SupersededByLaterSlot"),
        "00:00:04: missed (decided 00:00:04.000000), and an operator could have launched it in time",
    ),
    "a miss of the latest slot of an outage": (
        WorldBuilder().without(4).row(4, "missed", "SupersededByLaterSlot").having(outages=out(1.5, 4.5)),
        "00:00:04: missed",
    ),
    "a miss during the outage of another task": (
        WorldBuilder().without(4).row(4, "missed", "SupersededByLaterSlot").having(outages=out(3.9, 6.2, "count")),
        "00:00:04: missed",
    ),
    "a skip for a reason that nothing gave": (
        WorldBuilder().without(4).row(4, "missed", "LaunchRefused"),
        "00:00:04: missed for the reason LaunchRefused, which this plan cannot give",
    ),
    "a row that says failed though nothing failed it": (
        WorldBuilder().without(4, job=False).row(4, "failed", "JobDeleted"),
        "00:00:04: its row says failed JobDeleted, no fault did that",
    ),
    "a success that nobody saw": (
        WorldBuilder().without(4, row=False, job=False),
        "00:00:04: its row says succeeded, and there was no hit",
    ),
    "a row without a Job": (
        WorldBuilder().without(4, row=False, hit=False),
        "00:00:04: its row says succeeded, and there never was a Job",
    ),
    "a Job between the slots": (WorldBuilder().ran(5), "00:00:05: Job api-1767225605 is of a time that is no slot"),
    "a row between the slots": (
        WorldBuilder().row(5, "missed", "SupersededByLaterSlot"),
        "00:00:05: a row (missed) is of a time that is no slot",
    ),
    "a Job at the anchor, which is no slot": (WorldBuilder().ran(0), "00:00:00: Job api-1767225600 is of a time"),
    "executions of a Forbid task that overlap": (
        WorldBuilder().without(2).ran(2, for_seconds=3.5),
        "00:00:04: overlap: api-1767225604 was created at 00:00:04.100000",
    ),
}


@pytest.mark.parametrize(("case", "want"), WRONG.values(), ids=WRONG.keys())
def test_each_broken_promise_is_caught(case: WorldBuilder, want: str) -> None:
    """The violation is a sentence that names the slot."""
    found = case.violations()
    assert any(want in violation for violation in found), found


def test_overlapping_executions_are_allowed_where_the_policy_says_so() -> None:
    """With Allow, they are not a violation."""
    assert WorldBuilder(concurrencyPolicy="Allow").without(2).ran(2, for_seconds=3.5).violations() == []


def test_overlapping_executions_are_excused_by_a_second_operator_alone() -> None:
    """A second operator may see everything late; a single operator has no such excuse."""
    for why, want in ((f"{SECOND} sees all 2.6 late", 0), ("the API server was away", 1)):
        overlapping = WorldBuilder().without(2).ran(2, for_seconds=3.5).having(blurs=[Blur(after(0), None, why=why)])
        assert len(overlapping.violations()) == want


def test_a_job_before_its_time_is_caught() -> None:
    """Even a moment too early is a violation."""
    builder = WorldBuilder()
    builder.jobs[1].seen_at = after(3.9)
    assert any("was created before its slot" in violation for violation in builder.violations())


def test_a_job_of_nobodys_is_caught() -> None:
    """Its task is not in the plan."""
    builder = WorldBuilder()
    builder.jobs.append(replace(builder.jobs[0], name="x-1", task="x"))
    assert any("Job x-1 belongs to no task" in violation for violation in builder.violations())


def test_a_row_with_a_foreign_id_is_caught() -> None:
    """The id must be the slot's, whoever writes the row."""
    builder = WorldBuilder()
    builder.rows[0] = replace(builder.rows[0], id="0")
    assert any("which is not the slot's" in violation for violation in builder.violations())


def test_a_counter_counts_each_success_once() -> None:
    """Any other value is a violation."""
    builder = WorldBuilder({"counter": {"name": "n"}})
    assert builder.having(counters={"n": 3}).violations() == []
    wrong = builder.having(counters={"n": 4}).violations()
    assert wrong == ["n: the counter is 4 after 3 successful executions"]


def test_what_is_still_to_come_is_waited_for() -> None:
    """A due slot without a row is not settled; a slot without row and Job is not even decided."""
    assert not settled(WorldBuilder().without(4, job=False).world())
    assert decided(WorldBuilder().without(4, job=False).world())
    assert not decided(WorldBuilder().without(4).world())
    assert not settled(WorldBuilder().without(4, job=False).row(4, "running").world())


def test_a_status_that_still_owes_a_record_is_caught() -> None:
    """Decisions must reach the history, and then leave the status."""
    builder = WorldBuilder().having(unrecorded={"api": 1})
    assert not settled(builder.world())
    assert builder.violations() == ["api: slots left to record in its status: 1"]


def test_an_operator_that_is_alive_and_does_nothing_is_caught() -> None:
    """It would launch nothing more, and there is no due slot to show that."""
    builder = WorldBuilder().having(unheeded=frozenset({"api"}))
    assert not settled(builder.world())
    want = "api: its suspension is not acknowledged: the operator runs but does nothing"
    assert builder.violations() == [want]


def pulse(slot: float, first: float, last: float, *, finished: bool = True) -> Pulse:
    """Return the life of a process of a slot."""
    return Pulse("api", job_name("api", after(slot)), after(first), after(last), finished)


def test_processes_that_lived_at_the_same_time_overlap_whatever_the_api_said() -> None:
    """A pod in its grace is active although its Job has been deleted; with Allow that is no violation."""
    pulses = [pulse(2, 2.1, 4.3), pulse(4, 4.2, 4.5)]
    found = WorldBuilder().having(pulses=pulses).violations()
    began, lived = "api-1767225604 began at 00:00:04.200000", "api-1767225602 lived until 00:00:04.300000"
    assert found == [f"api slot 00:00:04: overlap: a process of {began}, and one of {lived}"]
    assert WorldBuilder(concurrencyPolicy="Allow").having(pulses=pulses).violations() == []
    assert WorldBuilder().having(pulses=[pulse(2, 2.1, 4.1), pulse(4, 4.2, 4.5)]).violations() == []


def test_a_row_must_say_what_its_process_did() -> None:
    """Succeeded if it ran to its end, once; anything else if it did not; a killed pod may not have told its end."""
    name = job_name("api", after(4))
    half = WorldBuilder().having(pulses=[pulse(4, 4.1, 4.3, finished=False)])
    assert half.violations() == ["api slot 00:00:04: its row says succeeded , and it did not run to its end"]
    cancelled = WorldBuilder().without(4, job=False).row(4, "cancelled", "JobDeleted")
    cancelled.having(disturbed=frozenset({name}))
    assert cancelled.having(pulses=[pulse(4, 4.1, 4.3, finished=False)]).violations() == []
    wrong = ["api slot 00:00:04: its row says cancelled JobDeleted, and it ran to its end"]
    assert cancelled.having(pulses=[pulse(4, 4.1, 4.4)]).violations() == wrong
    assert cancelled.having(pulses=[pulse(4, 4.1, 4.4)], killed_pods=frozenset({name})).violations() == []
    silent = WorldBuilder({"container": {"image": "busybox"}}).having(pulses=[pulse(2, 2.1, 2.4), pulse(6, 6.1, 6.4)])
    assert silent.violations() == ["api slot 00:00:04: its row says succeeded , and it did not run to its end"]
    twice = WorldBuilder().having(pulses=[pulse(4, 4.1, 4.4), pulse(4, 4.5, 4.8)])
    assert twice.violations() == ["api slot 00:00:04: ran to its end 2 times"]


def test_a_deleted_job_is_active_until_its_last_pod_has_ended() -> None:
    """A skip in its grace is right; one after it is not."""
    name = job_name("api", after(2))
    builder = WorldBuilder().without(4).row(4, "skipped", "StillActive").having(disturbed=frozenset({name}))
    builder.jobs[0].last_end_at = after(4.2)
    assert builder.violations() == []
    builder.jobs[0].last_end_at = after(2.4)
    assert any("no execution was active" in violation for violation in builder.violations())
    builder.without(2, job=False, hit=False).row(2, "succeeded", at=2.2)  # by its next pod
    assert builder.violations() == []


def test_a_job_that_retries_is_active_between_its_pods() -> None:
    """The end of its first pod is not its end."""
    builder = WorldBuilder(retry={"limit": 1}).without(4).row(4, "skipped", "StillActive")
    builder.jobs[0].last_end_at = after(4.2)
    assert builder.violations() == []
    once = WorldBuilder().without(4).row(4, "skipped", "StillActive")
    once.jobs[0].last_end_at = after(4.2)
    assert any("no execution was active" in violation for violation in once.violations())


def test_pulses_are_read_as_they_are_written() -> None:
    """One process for each start; half a line is ignored."""
    text = "api api-1 100.5 100.5 beat\napi api-1 100.5 100.7 end\napi api-1 101.5 101.6 beat\napi api-2 10"
    assert [(each.job, each.last.timestamp(), each.finished) for each in parsed(text)] == [
        ("api-1", 100.7, True),
        ("api-1", 101.6, False),
    ]


def asked(seconds: float, status: str = "succeeded") -> RowSeen:
    """Return the row of a request."""
    return RowSeen(f"request-{seconds}", ASKED, after(seconds), None, status, None, after(seconds), after(seconds))


def test_each_request_has_a_row_that_ended() -> None:
    """A request without one, or one that is running, is caught and waited for; its Jobs belong to no slot."""
    builder = WorldBuilder().having(requests=2)
    builder.rows += [asked(3), asked(3.5, "skipped")]
    builder.jobs.append(replace(builder.jobs[0], name="asked-1", task=ASKED))
    assert builder.violations() == []
    assert settled(builder.world())
    lost = builder.having(requests=3)
    assert not settled(lost.world())
    assert lost.violations() == ["asked: 3 requests have 2 rows"]
    builder.rows.append(asked(4, "running"))
    assert builder.violations() == ["asked: ghosts: 1 rows of requests are still running"]


def test_a_job_before_its_time_is_excused_up_to_the_step_of_a_clock() -> None:
    """An operator whose clock is ahead launches early by that step, and no earlier."""
    builder = WorldBuilder()
    builder.jobs[1].seen_at = after(3.5)
    assert builder.having(ahead=timedelta(seconds=1)).violations() == []
    early = builder.having(ahead=timedelta(seconds=0.4)).violations()
    assert any("was created before its slot" in violation for violation in early)
