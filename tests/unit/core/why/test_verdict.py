"""Why a task ran, or did not, at an instant: each outcome, and both changes of the clock in Berlin."""

from dataclasses import replace
from typing import Any

import pytest

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import execution_id
from carillon_core.domain.why.question import Case, Present, question_of
from carillon_core.domain.why.revision import TaskRevision
from carillon_core.domain.why.verdict import Outcome, verdict_of
from support.builders import TASK_UID
from support.calendars import utc
from support.past import NIGHTLY, NOW, earlier, present, revision, verdict

DAILY = revision(1, schedule="0 9 * * *")
PAUSED = revision(2, "2026-03-01 00:00", schedule="0 9 * * *", suspend=True)
RAN: dict[str, Any] = {"status": ExecutionStatus.SUCCEEDED, "started_at": utc("2026-02-01 09:00")}
LAST = {"slot": "2026-02-01T09:00:00Z", "jobName": "x-1", "result": "Running"}
SKIP = {"status": "skipped", "reason": "StillActive", "message": "the slot was skipped: x-1 is still active"}

PAST: dict[str, tuple[str, list[TaskRevision], Present | None, dict[str, Any], Outcome, str]] = {
    "it succeeded": ("2026-02-01 09:00", [DAILY], present(), RAN, Outcome.RAN, "09:00:00Z succeeded"),
    "any second of the slot's minute is the slot": ("2026-02-01 09:00:59", [DAILY], present(), RAN, Outcome.RAN, ""),
    "it failed": (
        "2026-02-01 09:00",
        [DAILY],
        present(),
        RAN | {"status": ExecutionStatus.FAILED, "reason": "HTTP5xx", "error": "the server answered 500"},
        Outcome.RAN,
        "09:00:00Z failed: the server answered 500",
    ),
    "it runs": (
        "2026-02-01 09:00",
        [DAILY],
        present(),
        RAN | {"status": ExecutionStatus.RUNNING},
        Outcome.RUNNING,
        "has been running since 2026-02-01T09:00:00Z",
    ),
    "a gate skipped it": (
        "2026-02-01 09:00",
        [DAILY],
        present(),
        {"reason": "StillActive", "message": "the slot was skipped: x-1 is still active"},
        Outcome.SKIPPED,
        "x-1 is still active",
    ),
    "it was missed": (
        "2026-02-01 09:00",
        [DAILY],
        present(),
        {"status": ExecutionStatus.MISSED, "reason": "StartingDeadlineExceeded"},
        Outcome.MISSED,
        "was missed",
    ),
    "its target was missing": (
        "2026-02-01 09:00",
        [DAILY],
        present(),
        {"status": ExecutionStatus.FAILED, "reason": "TargetNotFound", "message": "HTTPTarget x not found"},
        Outcome.NOT_LAUNCHED,
        "failed: HTTPTarget x not found",
    ),
    "it was suspended, says its row": (
        "2026-03-02 09:00",
        [PAUSED, DAILY],
        present(),
        {"reason": "Suspended", "message": "1 slot was skipped: the task was suspended"},
        Outcome.SUSPENDED,
        "it had been suspended by kubectl-edit since 2026-03-01T00:00:00Z",
    ),
    "it is still suspended, and has no row": (
        "2026-03-02 09:00",
        [PAUSED, DAILY],
        present(),
        {},
        Outcome.SUSPENDED,
        "the task was suspended; it had been suspended by kubectl-edit since 2026-03-01T00:00:00Z",
    ),
    "the spec of then counts, not the later one": (
        "2026-02-28 09:00",
        [PAUSED, DAILY],
        present(),
        RAN,
        Outcome.RAN,
        "",
    ),
    "no slot was due": (
        "2026-02-01 10:00",
        [DAILY],
        present(),
        {},
        Outcome.NOT_DUE,
        "no slot was due; the nearest are 2026-02-01T09:00:00Z and 2026-02-02T09:00:00Z",
    ),
    "a series covers its slots and not the time between": (
        "2026-02-01 10:00",
        [DAILY],
        present(),
        {"slot": utc("2026-02-02 09:00"), "first_slot": utc("2026-02-01 09:00")},
        Outcome.NOT_DUE,
        "",
    ),
    "an interval has slots of one second": (
        "2026-02-01 00:00:01",
        [revision(1, intervalSeconds=60)],
        present(),
        {},
        Outcome.NOT_DUE,
        "2026-02-01T00:00:00Z and 2026-02-01T00:01:00Z",
    ),
    "a cron expression with seconds, too": (
        "2026-02-01 00:00:01",
        [revision(1, schedule="0 * * * * *")],
        present(),
        {},
        Outcome.NOT_DUE,
        "",
    ),
    "before it starts": (
        "2026-02-01 09:00",
        [revision(1, schedule="0 9 * * *", startAt="2026-05-01T00:00:00Z")],
        present(),
        {},
        Outcome.BEFORE_START,
        "starts at 2026-05-01T00:00:00Z (spec.startAt); the nearest is 2026-05-01T09:00:00Z",
    ),
    "after its end": (
        "2026-02-01 09:00",
        [revision(1, schedule="0 9 * * *", durationSeconds=86400)],
        present(),
        {},
        Outcome.AFTER_END,
        "ended at 2026-01-02T00:00:00Z (spec.durationSeconds)",
    ),
    "after maxRuns": (
        "2026-02-01 09:00",
        [revision(1, schedule="0 9 * * *", maxRuns=3)],
        present(runs=3, lastScheduleTime="2026-01-03T09:00:00Z"),
        {},
        Outcome.AFTER_END,
        "the task had reached maxRuns",
    ),
    "its spec was invalid": ("2026-02-01 09:00", [revision(1)], present(), {}, Outcome.INVALID_SPEC, "has 4 fields"),
    "its zone is not known": (
        "2026-02-01 09:00",
        [revision(1, schedule="0 9 * * *", timeZone="Mars/Olympus")],
        present(),
        {},
        Outcome.INVALID_SPEC,
        "spec.timeZone",
    ),
    "the row is not written yet, the status knows": (
        "2026-02-01 09:00",
        [DAILY],
        present(unrecorded=[{"slot": "2026-02-03T09:00:00Z", "firstSlot": "2026-02-01T09:00:00Z", **SKIP}]),
        {},
        Outcome.SKIPPED,
        "x-1 is still active",
    ),
    "it was launched, and its pod has not claimed it": (
        "2026-02-01 09:00",
        [DAILY],
        present(lastExecution=LAST | {"id": str(execution_id(TASK_UID, utc("2026-02-01 09:00"), Cause.SCHEDULE))}),
        {},
        Outcome.RUNNING,
        "was launched and has not ended",
    ),
    "a request for the same time was launched": (
        "2026-02-01 09:00",
        [DAILY],
        present(lastExecution=LAST | {"id": "4f0c2a52-7d44-4ad6-9a5c-1f9c3a1d9a11"}),
        {},
        Outcome.UNKNOWN,
        "no execution of it is recorded",
    ),
    "it is owed": (
        "2026-02-01 09:00",
        [DAILY],
        present(backlog={"after": "2026-01-31T09:00:00Z", "until": "2026-02-02T09:00:00Z"}),
        {},
        Outcome.PENDING,
        "still to be launched: missedRunPolicy is All",
    ),
    "no operator has settled it": (
        "2026-02-01 09:00",
        [DAILY],
        present(settledUntil="2026-01-31T09:00:00Z"),
        {},
        Outcome.PENDING,
        "the operator has not handled it yet",
    ),
    "its row has expired": (
        "2026-02-01 09:00",
        [DAILY],
        present(),
        {},
        Outcome.UNKNOWN,
        "no execution of it is recorded",
    ),
    "before it was created": (
        "2025-12-31 09:00",
        [DAILY],
        present(),
        {},
        Outcome.NOT_CREATED,
        "was created at 2026-01-01T00:00:00Z",
    ),
    "no spec is kept from then": (
        "2026-02-01 09:00",
        [revision(7, "2026-03-01 00:00", schedule="0 9 * * *")],
        present(),
        {},
        Outcome.UNKNOWN,
        "the oldest spec is from 2026-03-01T00:00:00Z",
    ),
    "no spec is kept, but a row is": (
        "2026-02-01 09:00",
        [revision(7, "2026-03-01 00:00", schedule="0 9 * * *")],
        present(),
        RAN,
        Outcome.RAN,
        "",
    ),
    "it was deleted": (
        "2026-06-01 09:00",
        [earlier(DAILY, "2026-05-01 00:00")],
        None,
        {},
        Outcome.DELETED,
        "it was last seen at 2026-05-01T00:00:00Z",
    ),
    "a deleted task ran before": ("2026-02-01 09:00", [earlier(DAILY, "2026-05-01 00:00")], None, RAN, Outcome.RAN, ""),
    "an old generation of a deleted task was in force until the next": (
        "2026-02-01 10:00",
        [earlier(PAUSED, "2026-05-01 00:00"), earlier(DAILY, "2026-01-01 00:00")],
        None,
        {},
        Outcome.NOT_DUE,
        "",
    ),
}


@pytest.mark.parametrize(("at", "revisions", "task", "row", "want", "said"), PAST.values(), ids=PAST.keys())
def test_what_became_of_an_instant(  # the cells of a row
    at: str, revisions: list[TaskRevision], task: Present | None, row: dict[str, Any], want: Outcome, said: str
) -> None:
    """The outcome, and what the message says."""
    found = verdict(utc(at), *revisions, task=task, **row)
    assert (found.outcome, said in found.message) == (want, True), found.message


FUTURE: dict[str, tuple[dict[str, Any], Present | None, Outcome, str]] = {
    "it will run": ({}, present(), Outcome.WILL_RUN, "will be launched at 2026-12-05T09:00:00Z"),
    "it is suspended": ({"suspend": True}, present(), Outcome.WILL_NOT_RUN, "unless spec.suspend is set to false"),
    "it is hindered": (
        {},
        present(hindrance=("CircuitOpen", "5 executions failed in a row")),
        Outcome.WILL_NOT_RUN,
        "5 executions failed in a row",
    ),
    "maxRuns ends it before": (
        {"maxRuns": 6},
        present(runs=2),
        Outcome.WILL_NOT_RUN,
        "the task reaches maxRuns first",
    ),
    "maxRuns leaves just enough": ({"maxRuns": 7}, present(runs=2), Outcome.WILL_RUN, ""),
    "it is gone": ({}, None, Outcome.DELETED, ""),
}


@pytest.mark.parametrize(("rules", "task", "want", "said"), FUTURE.values(), ids=FUTURE.keys())
def test_what_will_become_of_a_slot(rules: dict[str, Any], task: Present | None, want: Outcome, said: str) -> None:
    """The fifth slot from now."""
    found = verdict(utc("2026-12-05 09:00"), revision(1, schedule="0 9 * * *", **rules), task=task)
    assert (found.outcome, said in found.message) == (want, True), found.message


CLOCKS: dict[str, tuple[dict[str, Any], str, Outcome, str | None, str | None]] = {
    "before spring's change": (NIGHTLY, "2026-03-28 01:30", Outcome.RAN, "2026-03-28 01:30", None),
    "what the gap swallowed is where it moved to": (
        NIGHTLY,
        "2026-03-29 01:30",
        Outcome.RAN,
        "2026-03-29 01:00",
        "02:30 does not exist; it fires at 03:00 instead",
    ),
    "the end of the gap says why it ran then": (
        NIGHTLY,
        "2026-03-29 01:00",
        Outcome.RAN,
        "2026-03-29 01:00",
        "it fires at 03:00 instead",
    ),
    "a schedule that follows the clock does not fire for the gap": (
        {"schedule": "*/5 2 * * *", "timeZone": "Europe/Berlin"},
        "2026-03-29 01:30",
        Outcome.SKIPPED_BY_CLOCK_CHANGE,
        None,
        "do not exist and do not fire",
    ),
    "another time after the gap was just not due": (NIGHTLY, "2026-03-29 01:31", Outcome.NOT_DUE, None, None),
    "autumn's first pass": (NIGHTLY, "2026-10-25 00:30", Outcome.RAN, "2026-10-25 00:30", None),
    "autumn's second pass": (
        NIGHTLY,
        "2026-10-25 01:30",
        Outcome.SKIPPED_BY_CLOCK_CHANGE,
        None,
        "02:30 occurs twice and fires only the first time",
    ),
    "a schedule that follows the clock fires in both": (
        {"schedule": "*/30 * * * *", "timeZone": "Europe/Berlin"},
        "2026-10-25 01:30",
        Outcome.RAN,
        "2026-10-25 01:30",
        "fire both times",
    ),
}


@pytest.mark.parametrize(("rules", "at", "want", "slot", "note"), CLOCKS.values(), ids=CLOCKS.keys())
def test_both_sides_of_a_clock_change(  # the cells of a row
    rules: dict[str, Any], at: str, want: Outcome, slot: str | None, note: str | None
) -> None:
    """The slot that is meant, and what the change did to it."""
    spec = revision(1, **rules)
    asked = question_of(Case(at=utc(at), now=NOW, revisions=[spec], present=present()))
    row = RAN if asked.slot is not None else {}
    assert asked.slot == (utc(slot) if slot else None)
    assert verdict(utc(at), spec, task=present(), **row).outcome == want
    assert note is None if asked.clock_note is None else note is not None and note in asked.clock_note


def test_a_suspension_begins_with_the_first_of_its_revisions() -> None:
    """It may be older than the revisions that are kept."""
    later = revision(3, "2026-04-01 00:00", schedule="0 10 * * *", suspend=True)
    for kept, open_end in (((later, PAUSED, DAILY), False), ((later, PAUSED), True)):
        found = verdict(utc("2026-05-01 10:00"), *kept, task=present())
        assert found.suspension is not None
        assert (found.suspension.revision, found.suspension.since_or_earlier) == (PAUSED, open_end)


def test_a_suspension_names_its_user_if_the_audit_does() -> None:
    """Otherwise it names the program."""
    case = Case(at=utc("2026-03-02 09:00"), now=NOW, revisions=[PAUSED, DAILY], present=present())
    said = verdict_of(question_of(replace(case, authors={PAUSED.id: "alice"})), None)
    assert said.message.endswith("it had been suspended by alice since 2026-03-01T00:00:00Z")


def test_a_later_task_of_the_name_is_not_the_deleted_one() -> None:
    """Between the two there was none, and before the first there was none either."""
    old = earlier(revision(1, "2025-01-01 00:00", schedule="0 9 * * *"), "2025-06-01 00:00")
    found = verdict(utc("2025-07-01 09:00"), DAILY, old, task=present())
    assert found.outcome == Outcome.DELETED
    assert "the next task with this name was created at 2026-01-01T00:00:00Z" in found.message
