"""The answer why a task ran, or did not, at an instant. Pure; ``GET …/why`` shows it.

The row of a slot answers first: it carries the message of the gate that
stopped it. Without a row, the task's status knows the latest slots, and the
spec as it was then says whether a slot was due at all.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.plan import Reason
from carillon_core.domain.decision.settle import runs_left
from carillon_core.domain.execution import ExecutionRecord, execution_id
from carillon_core.domain.timetable.schedule import (
    OneShotSchedule,
    Schedule,
    jitter_offset,
    last_fire_times,
    last_time,
    launch_time,
)
from carillon_core.domain.why.question import Present, Question
from carillon_core.domain.why.revision import Rules, TaskRevision
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import RunResult, UnrecordedSlot

MOST_COUNTED = 1000
"""How many slots before a future one are counted against maxRuns."""


class Outcome(StrEnum):
    """What became of an instant. They are API: never renamed."""

    RAN = "Ran"
    RUNNING = "Running"
    SKIPPED = "Skipped"
    MISSED = "Missed"
    NOT_LAUNCHED = "NotLaunched"
    PENDING = "Pending"
    NOT_DUE = "NotDue"
    SKIPPED_BY_CLOCK_CHANGE = "SkippedByClockChange"
    SUSPENDED = "Suspended"
    INVALID_SPEC = "InvalidSpec"
    BEFORE_START = "BeforeStart"
    AFTER_END = "AfterEnd"
    NOT_CREATED = "NotCreated"
    DELETED = "Deleted"
    WILL_RUN = "WillRun"
    WILL_NOT_RUN = "WillNotRun"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Suspension:
    """Since when a task was suspended."""

    revision: TaskRevision
    """The first revision of the suspension, as far as it is known."""
    since_or_earlier: bool
    """Whether the task may have been suspended before, by revisions that are not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of an instant, and why."""

    outcome: Outcome
    message: str
    """One sentence."""
    reason: str | None = None
    """The gate that stopped the slot, or the class of its failure, in one word."""
    suspension: Suspension | None = None
    """Set if the task was suspended at the instant."""
    by_row: bool = False
    """Whether the row says so."""


def verdict_of(question: Question, row: ExecutionRecord | None) -> Verdict:
    """Return the answer.

    Args:
        question: The question.
        row: The row of the slot ``question.row_at``, or the one that covers it.

    """
    if row is not None and (question.slot is not None or question.schedule is None or row.slot == question.case.at):
        return replace(_by_row(question, row), by_row=True)  # a series covers its slots, and not the time between them
    if question.revision is None:
        return _without_spec(question)
    if (gone := _deleted(question, question.revision)) is not None:
        return gone
    if question.problem is not None or question.revision.rules is None or question.schedule is None:
        why = f"the spec was invalid: {question.problem or question.revision.problem}"
        return Verdict(outcome=Outcome.INVALID_SPEC, reason=Reason.INVALID_SPEC, message=why)
    return _by_spec(question, question.revision, question.revision.rules, question.schedule)


def _by_spec(question: Question, revision: TaskRevision, rules: Rules, schedule: Schedule) -> Verdict:
    """Return the verdict of a valid spec on an instant without a row."""
    if question.slot is None:
        return _no_slot(question, rules, schedule)
    if question.slot > question.case.now:
        return _to_come(question, revision, rules, schedule)
    return _without_row(question, revision, rules, question.slot)


def _by_row(question: Question, row: ExecutionRecord) -> Verdict:
    """Return the verdict that a row gives: its own message is the gate's."""
    subject = f"the slot of {rfc3339(row.slot)}"
    if row.reason == Reason.SUSPENDED:
        return _suspended(question, row.message or f"{subject} was skipped: the task was suspended")
    if row.status is ExecutionStatus.RUNNING:
        began = "" if row.started_at is None else f" since {rfc3339(row.started_at)}"
        return Verdict(outcome=Outcome.RUNNING, message=f"{subject} has been running{began}", reason=row.reason)
    if row.status in {ExecutionStatus.SKIPPED, ExecutionStatus.MISSED}:
        outcome = Outcome.SKIPPED if row.status is ExecutionStatus.SKIPPED else Outcome.MISSED
        message = row.message or f"{subject} was {row.status}"
        return Verdict(outcome=outcome, message=message, reason=row.reason)
    how = {ExecutionStatus.TIMED_OUT: "timed out", ExecutionStatus.CANCELLED: "was cancelled"}
    said = f"{subject} {how.get(row.status, str(row.status))}"
    detail = row.message or row.error
    message = said if not detail else detail if detail.startswith(subject) else f"{said}: {detail}"
    outcome = Outcome.NOT_LAUNCHED
    if row.started_at is not None or row.status is ExecutionStatus.SUCCEEDED:
        outcome = Outcome.RAN
    return Verdict(outcome=outcome, message=message, reason=row.reason)


def _without_spec(question: Question) -> Verdict:
    """Return the verdict if no revision from then is known: the task did not exist, or its history begins later."""
    case = question.case
    created = [each.created_at for each in case.revisions]
    if case.present is not None:
        created.append(case.present.created_at)
    if created and min(created) > case.at:
        message = f"the task did not exist: it was created at {rfc3339(min(created))}"
        return Verdict(outcome=Outcome.NOT_CREATED, message=message)
    kept = f": the oldest spec is from {rfc3339(case.revisions[-1].seen_at)}" if case.revisions else ""
    message = f"no spec or execution of the task is kept from that time{kept}"
    return Verdict(outcome=Outcome.UNKNOWN, message=message)


def _deleted(question: Question, revision: TaskRevision) -> Verdict | None:
    """Return the verdict on an instant after the deletion of a task; None if it existed, as far as is known."""
    case = question.case
    seen = max(each.last_seen_at for each in case.revisions if each.task_uid == revision.task_uid)
    if question.same_task is not None or case.at <= seen:
        return None
    message = f"the task was deleted: it was last seen at {rfc3339(seen)}"
    later = [each.created_at for each in case.revisions if each.created_at > case.at]
    if case.present is not None and case.present.created_at > case.at:
        later.append(case.present.created_at)
    if later:
        message += f", and the next task with this name was created at {rfc3339(min(later))}"
    return Verdict(outcome=Outcome.DELETED, message=message)


def _no_slot(question: Question, rules: Rules, schedule: Schedule) -> Verdict:
    """Return why no slot was due at an instant."""
    at, revision = question.case.at, question.revision
    one_shot = isinstance(schedule, OneShotSchedule)
    if rules.start_at is not None and at < rules.start_at and not one_shot:
        message = f"no slot was due: the schedule starts at {rfc3339(rules.start_at)} (spec.startAt)"
        return Verdict(outcome=Outcome.BEFORE_START, message=message + _nearest(question))
    last = None if revision is None or one_shot else last_time(rules, revision.created_at)
    if last is not None and at > last:
        field = "spec.endAt" if rules.duration_seconds is None else "spec.durationSeconds"
        message = f"no slot was due: the schedule ended at {rfc3339(last)} ({field})"
        return Verdict(outcome=Outcome.AFTER_END, message=message + _nearest(question))
    if question.clock_note is not None:
        message = f"no slot was due, because of a clock change: {question.clock_note}"
        return Verdict(outcome=Outcome.SKIPPED_BY_CLOCK_CHANGE, message=message)
    due = "is" if at > question.case.now else "was"
    return Verdict(outcome=Outcome.NOT_DUE, message=f"no slot {due} due{_nearest(question)}")


def _nearest(question: Question) -> str:
    """Return the nearest slots as the end of a sentence."""
    near = [rfc3339(slot) for slot in (question.before, question.after) if slot is not None]
    if not near:
        return ", and the schedule has no other slots"
    return f"; the nearest {'is' if len(near) == 1 else 'are'} {' and '.join(near)}"


def _to_come(question: Question, revision: TaskRevision, rules: Rules, schedule: Schedule) -> Verdict:
    """Return whether a slot in the future will run, as far as is known now."""
    slot, present = question.slot, question.same_task
    if slot is None or present is None:
        return Verdict(outcome=Outcome.DELETED, message="the task no longer exists")
    subject = f"the slot of {rfc3339(slot)} will not run"
    if rules.suspend:
        return Verdict(
            outcome=Outcome.WILL_NOT_RUN,
            reason=Reason.SUSPENDED,
            message=f"{subject} unless spec.suspend is set to false before then",
            suspension=_suspension(question, revision),
        )
    if present.hindrance is not None:
        reason, why = present.hindrance
        return Verdict(outcome=Outcome.WILL_NOT_RUN, reason=reason, message=f"{subject} unless that changes: {why}")
    left = runs_left(rules, present.status)
    if left is not None and left < MOST_COUNTED:
        until = question.case.now
        if left == 0 or last_fire_times(schedule, until, slot, left)[1]:
            message = f"{subject}: the task reaches maxRuns first"
            return Verdict(outcome=Outcome.WILL_NOT_RUN, reason=Reason.COMPLETED, message=message)
    due = launch_time(slot, jitter_offset(revision.task_uid, rules.jitter_seconds))
    message = f"the slot of {rfc3339(slot)} will be launched at {rfc3339(due)}, unless a gate stops it"
    return Verdict(outcome=Outcome.WILL_RUN, message=message)


def _without_row(question: Question, revision: TaskRevision, rules: Rules, slot: datetime) -> Verdict:
    """Return the verdict on a slot that has passed and has no row."""
    if rules.suspend:
        return _suspended(question, f"the slot of {rfc3339(slot)} was not launched: the task was suspended")
    present = question.same_task
    known = None if present is None else _by_status(present, rules, slot)
    if known is not None:
        return known
    due = launch_time(slot, jitter_offset(revision.task_uid, rules.jitter_seconds))
    if due > question.case.now:
        message = f"the slot of {rfc3339(slot)} will be launched at {rfc3339(due)}, because of spec.jitterSeconds"
        return Verdict(outcome=Outcome.PENDING, message=message)
    if present is not None and _unsettled(present, slot):
        why = "the operator has not handled it yet"
        if present.hindrance is not None:
            why = present.hindrance[1]
        message = f"the slot of {rfc3339(slot)} was due and is not settled: {why}"
        return Verdict(outcome=Outcome.PENDING, message=message)
    message = (
        f"the slot of {rfc3339(slot)} was due, but no execution of it is recorded: its row may have expired, its pod"
        " may not have started yet, or the spec may have changed before the operator saw it"
    )
    return Verdict(outcome=Outcome.UNKNOWN, message=message)


def _by_status(present: Present, rules: Rules, slot: datetime) -> Verdict | None:
    """Return the verdict on a slot that the status tells more of than the history; None if it does not."""
    status, subject = present.status, f"the slot of {rfc3339(slot)}"
    for entry in status.unrecorded:
        if (entry.first_slot or entry.slot) <= slot <= entry.slot:
            return _by_entry(entry)
    last = status.last_execution
    if last is not None and last.id == str(execution_id(present.uid, slot, Cause.SCHEDULE)):
        outcome = Outcome.RUNNING if last.result in {RunResult.RUNNING, RunResult.UNKNOWN} else Outcome.RAN
        how = {RunResult.RUNNING: "was launched and has not ended", RunResult.UNKNOWN: "was launched"}
        said = f"{subject} {how.get(last.result, f'ended as {last.result}')}"
        message = f"{said}: {last.message}" if last.message else said
        return Verdict(outcome=outcome, reason=last.reason or None, message=message)
    if status.last_skip is not None and status.last_skip.slot == slot:
        skip = status.last_skip
        return Verdict(outcome=Outcome.SKIPPED, reason=skip.reason, message=skip.message or f"{subject} was skipped")
    if status.backlog is not None and status.backlog.owes(slot):
        message = f"{subject} was missed, and is still to be launched: missedRunPolicy is All"
        return Verdict(outcome=Outcome.PENDING, message=message)
    complete = runs_left(rules, status) == 0
    if complete and (status.last_schedule_time is None or slot > status.last_schedule_time):
        message = f"{subject} was not launched: the task had reached maxRuns"
        return Verdict(outcome=Outcome.AFTER_END, reason=Reason.COMPLETED, message=message)
    return None


def _by_entry(entry: UnrecordedSlot) -> Verdict:
    outcome = {"skipped": Outcome.SKIPPED, "missed": Outcome.MISSED}.get(entry.status, Outcome.NOT_LAUNCHED)
    message = entry.message or f"the slot of {rfc3339(entry.slot)} was {entry.status}"
    return Verdict(outcome=outcome, reason=entry.reason, message=message)


def _unsettled(present: Present, slot: datetime) -> bool:
    settled = present.status.settled_until
    return settled is None or slot > settled


def _suspended(question: Question, message: str) -> Verdict:
    found = None if question.revision is None else _suspension(question, question.revision)
    if found is not None:
        author = question.case.authors.get(found.revision.id) or found.revision.manager
        by = f" by {author}" if author else ""
        since = f"since {rfc3339(found.revision.seen_at)}{' or earlier' if found.since_or_earlier else ''}"
        message += f"; it had been suspended{by} {since}"
    return Verdict(outcome=Outcome.SUSPENDED, reason=Reason.SUSPENDED, message=message, suspension=found)


def _suspension(question: Question, revision: TaskRevision) -> Suspension | None:
    """Return since when a task has been suspended without a break, by the revisions that are kept."""
    own = [each for each in question.case.revisions if each.task_uid == revision.task_uid]
    first = None
    for each in own[own.index(revision) :]:
        if each.rules is None or not each.rules.suspend:
            return None if first is None else Suspension(first, since_or_earlier=False)
        first = each
    return None if first is None else Suspension(first, since_or_earlier=first.generation > 1)
