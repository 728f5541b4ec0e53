"""The question why a task ran, or did not, at an instant: which spec was in force, and which slot is meant. Pure.

The slot of an instant is the one in its minute if the schedule is a cron
expression with five fields, and the one in its second otherwise. A slot that a
clock change moved is found at the time at which it would have been.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from carillon_core.domain.timetable.schedule import (
    BoundedSchedule,
    CronSchedule,
    Schedule,
    just_before,
    schedule_of,
    schedule_problems,
)
from carillon_core.domain.timetable.zones import UnknownZoneError, time_zone
from carillon_core.domain.why.clock_notes import missed_reading, note_of_slot
from carillon_core.domain.why.revision import Rules, TaskRevision
from carillon_core.resources.scheduled_task import ScheduledTaskStatus

SECOND = timedelta(seconds=1)
FIELDS_WITHOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Present:
    """The task as it is in the cluster."""

    uid: str
    created_at: datetime
    status: ScheduledTaskStatus
    hindrance: tuple[str, str] | None = None
    """Why no slot is launched at present: a reason and a sentence; None if slots are."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that is known before the slot is."""

    at: datetime
    """The instant asked about."""
    now: datetime
    revisions: Sequence[TaskRevision]
    """What is kept of all tasks with the name, newest first."""
    present: Present | None
    """None if no task has the name now."""
    authors: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """The users who made revisions, as far as they are known, by the revision's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The slot that is meant, and its surroundings."""

    case: Case
    revision: TaskRevision | None = None
    """The spec in force at the instant; None if none is known."""
    problem: str | None = None
    """Why that spec is invalid."""
    slot: datetime | None = None
    """The slot at the instant; None if there is none."""
    clock_note: str | None = None
    """What a clock change did to the slot, or to the one that would have been at the instant."""
    before: datetime | None = None
    """The latest slot before, by that spec."""
    after: datetime | None = None
    """The earliest slot after, by that spec."""
    schedule: Schedule | None = None

    @property
    def row_at(self) -> datetime:
        """The slot whose row is the answer, if there is one."""
        return self.slot or self.case.at

    @property
    def same_task(self) -> Present | None:
        """The task in the cluster, if the question is about it and not about an earlier one of its name."""
        present = self.case.present
        if present is None or (self.revision is not None and present.uid != self.revision.task_uid):
            return None
        return present


def question_of(case: Case) -> Question:
    """Return the question that an instant asks. Takes a bounded number of steps for any spec."""
    revision = next((each for each in case.revisions if each.seen_at <= case.at), None)
    if revision is None or revision.rules is None:
        return Question(case=case, revision=revision, problem=None if revision is None else revision.problem)
    if problems := schedule_problems(revision.rules, revision.created_at):
        return Question(case=case, revision=revision, problem="; ".join(map(str, problems)))
    schedule = schedule_of(revision.rules, revision.created_at)
    start, length = _span(schedule, case.at)
    slot, note = _slot_in(schedule, start, length), None
    cron = _cron(schedule)
    if slot is not None:
        note = None if cron is None else note_of_slot(cron, slot)
    elif cron is not None and (missed := missed_reading(cron, start, length // SECOND)) is not None:
        note = missed.message
        moved = None if missed.moved_to is None else _slot_in(schedule, missed.moved_to, SECOND)
        slot = moved
    return Question(
        case=case,
        revision=revision,
        slot=slot,
        clock_note=note,
        before=schedule.previous_fire_time(just_before(slot or case.at)),
        after=schedule.next_fire_time(slot or case.at),
        schedule=schedule,
    )


def zone_of(rules: Rules | None) -> str:
    """Return the time zone of a spec; UTC if it has none, or one that does not exist."""
    zone = None if rules is None else rules.time_zone
    if zone is None:
        return "UTC"
    try:
        time_zone(zone)
    except UnknownZoneError:
        return "UTC"
    return zone


def instant_of(local: datetime, zone: str) -> datetime:
    """Return the instant of a local time without an offset in a zone.

    A repeated time is its first occurrence. A skipped one is read by the offset before the gap, so that it is after
    the gap, where ``question_of`` looks for it.
    """
    return local.replace(tzinfo=time_zone(zone), fold=0).astimezone(UTC)


def _span(schedule: Schedule, at: datetime) -> tuple[datetime, timedelta]:
    """Return the start and the length of the time whose slot an instant means."""
    cron = _cron(schedule)
    if cron is not None and len(cron.expression.split()) == FIELDS_WITHOUT_SECONDS:
        return at.replace(second=0, microsecond=0), timedelta(minutes=1)
    return at.replace(microsecond=0), SECOND


def _cron(schedule: Schedule) -> CronSchedule | None:
    inner = schedule.unbounded if isinstance(schedule, BoundedSchedule) else schedule
    return inner if isinstance(inner, CronSchedule) else None


def _slot_in(schedule: Schedule, start: datetime, length: timedelta) -> datetime | None:
    slot = schedule.next_fire_time(just_before(start))
    return None if slot is None or slot >= start + length else slot
