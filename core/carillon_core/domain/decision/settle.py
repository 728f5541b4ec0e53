"""Settles each slot of a task once: launched, skipped, missed or passed over. Pure; ``decide`` calls it.

``status.settledUntil`` is the instant up to which every slot is settled. With
``missedRunPolicy`` All, ``status.backlog`` holds the missed slots that are still
to be launched. An existing Job settles its slot, even if the status does not
say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, pairwise
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.gates import SLOT_GATES, DueSlot, Verdict, first_verdict, superseded
from carillon_core.domain.decision.plan import Action, EndExecution, Launch, Notice, Reason, RecordUnlaunched
from carillon_core.domain.decision.status import condition_true
from carillon_core.domain.decision.unrecorded import with_unrecorded
from carillon_core.domain.execution import execution_id
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTask
from carillon_core.domain.timetable.schedule import (
    InvalidScheduleError,
    Schedule,
    jitter_offset,
    last_fire_times,
    latest_fire_time,
    schedule_of,
)
from carillon_core.resources.base import MAX_MESSAGE, rfc3339
from carillon_core.resources.scheduled_task import (
    MAX_STRETCHES,
    Backlog,
    Calendar,
    ConcurrencyPolicy,
    LastSkip,
    MissedRunPolicy,
    ScheduledTaskSpec,
    ScheduledTaskStatus,
    Stretch,
)

MAX_SEPARATE = 20
"""The number of missed slots that get a row each; older ones share a row."""
MAX_BACKLOG = 100
"""The maximum number of missed slots of one outage that are launched later."""
MAX_COUNTED = 100
"""The slots of a series are counted up to this number; beyond, the record says 'more than'."""
TOLERANCE = timedelta(hours=2)
"""How far a clock may be set back without running a slot again: a wrong time zone is usually off by an hour. A status
that is settled further ahead comes from a broken clock or a manual edit, and is ignored."""
MICROSECOND = timedelta(microseconds=1)
INVALID = frozenset({Reason.INVALID_SPEC, Reason.INVALID_SCHEDULE, Reason.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Settlement:
    """The result of settling slots."""

    status: ScheduledTaskStatus
    actions: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()
    upcoming: datetime | None = None
    """The next slot, if there is one."""
    offset: timedelta = timedelta()
    """The task's jitter: the delay between each slot and its launch."""
    pending: bool = False
    """Whether slots are waiting for the end of an execution, not for a time."""

    def acting(self, action: Action, *notices: Notice) -> "Settlement":
        """Return a copy with one more action."""
        return replace(self, actions=(*self.actions, action), notices=(*self.notices, *notices))

    def saying(self, **update: object) -> "Settlement":
        """Return a copy with an updated status."""
        return replace(self, status=self.status.model_copy(update=update))


def opened(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    scheduled: Sequence[ObservedJob],
    status: ScheduledTaskStatus,
    now: datetime,
) -> Settlement:
    """Return the status with the instant after which slots are open, and the slots that were passed over.

    The instant is the creation, the last settled slot, or the current time when an
    edit of the calendar, a resume or the correction of an invalid spec is first
    seen, because none of these may cause a surprise run. Slots that are passed
    over are recorded as one series.
    """
    old = task.status
    known = old.settled_until
    if known is not None and known > now + TOLERANCE:
        known = now.replace(microsecond=0)
    base = max(task.created_at, known) if known is not None else task.created_at
    owed = _believable(old.backlog, now)
    launched = [j.slot for j in scheduled if j.slot <= now + TOLERANCE]
    uncounted = [s for s in launched if s > base or any(each.after < s <= each.until for each in owed)]
    settled = max([base, *launched])
    stretches = [left for each in owed if (left := each.without(uncounted))]
    backlog = Backlog.of(stretches)
    begun = Settlement(status).saying(runs=old.runs + len(uncounted), settled_until=settled, backlog=backlog)
    begun = _with_overtaken(task, spec, begun, (base, owed), uncounted)
    ready = next((c for c in old.conditions if c.type == "Ready"), None)
    edited = old.calendar is not None and old.calendar != spec.calendar
    corrected = ready is not None and ready.reason in INVALID
    resumed = condition_true(old, "Suspended") and not spec.suspend
    if not (edited or corrected or resumed):
        return begun
    until = max(settled, now.replace(microsecond=0))
    if condition_true(old, "Suspended"):
        verdict = Verdict(ExecutionStatus.SKIPPED, Reason.SUSPENDED, "the task was suspended")
    elif ready is not None and ready.reason == Reason.QUARANTINED:
        verdict = Verdict(ExecutionStatus.SKIPPED, Reason.QUARANTINED, "the task was set aside")
    elif corrected:
        verdict = Verdict(ExecutionStatus.SKIPPED, Reason.INVALID_SPEC, "the spec was invalid")
    else:
        why = "the schedule was changed before the launch"
        verdict = Verdict(ExecutionStatus.MISSED, Reason.SCHEDULE_CHANGED, why)
    passed = _former_schedule(old.calendar, task.created_at)
    completed = old.calendar is not None and runs_left(old.calendar, begun.status) == 0  # it had no more slots
    if passed is not None and not completed:
        begun = _run_of_slots(task, begun, passed, settled, until, verdict)
        for each in stretches:
            begun = _run_of_slots(task, begun, passed, each.after, each.until, verdict)
    return begun.saying(settled_until=until, backlog=None)


def _believable(backlog: Backlog | None, now: datetime) -> list[Stretch]:
    """Return the stretches of a backlog that are plausible: without overlaps and without future times."""
    found: list[Stretch] = []
    for each in [] if backlog is None else backlog.stretches:
        after = max(each.after, found[-1].until) if found else each.after
        until = min(each.until, now + TOLERANCE)
        if after < until:
            found.append(Stretch(after=after, until=until))
    return found


def _with_overtaken(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    begun: Settlement,
    before: tuple[datetime, Sequence[Stretch]],
    launched: Sequence[datetime],
) -> Settlement:
    """Return the settlement with the slots that were missed before a launch whose status was lost.

    The operator was killed after it created the Job and before it wrote the
    status. The Job settles its slot and all slots before it; those would have
    neither a Job nor a row.
    """
    passed = _former_schedule(task.status.calendar or spec.calendar, task.created_at) if launched else None
    if passed is None:
        return begun
    base, stretches = before
    verdict = Verdict(
        ExecutionStatus.MISSED, Reason.SUPERSEDED, "a later slot was launched, and the record of the decision was lost"
    )
    recent = [base, *sorted(s for s in launched if s > base)]
    paid = [[each.after, *sorted(s for s in launched if each.after < s <= each.until)] for each in stretches]
    for after, slot in chain.from_iterable(map(pairwise, (recent, *paid))):
        begun = _run_of_slots(task, begun, passed, after, slot - MICROSECOND, verdict)
    return begun


def _former_schedule(calendar: Calendar | None, created_at: datetime) -> Schedule | None:
    """Return the schedule of the last decision; None if there was none, or if this release cannot read it."""
    try:
        return schedule_of(calendar, created_at) if calendar is not None else None
    except InvalidScheduleError:
        return None


def settle(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    own: Sequence[ObservedJob],
    begun: Settlement,
    now: datetime,
) -> Settlement:
    """Settle every slot that is due.

    Args:
        task: The task.
        spec: Its spec, valid.
        own: Its Jobs, including those of requests.
        begun: The result of ``opened``.
        now: The current time.

    """
    schedule = schedule_of(spec, task.created_at)
    offset = jitter_offset(task.meta.uid, spec.jitter_seconds)
    done = replace(begun, offset=offset)
    settled = done.status.settled_until or task.created_at
    due_until = now - offset
    active = tuple(j for j in own if j.active)
    if runs_left(spec, done.status) != 0:
        most = MAX_BACKLOG if spec.missed_run_policy is MissedRunPolicy.ALL else MAX_SEPARATE + 1
        slots, more = last_fire_times(schedule, settled, due_until, most)
        if slots:
            done = _settle_due(task, spec, schedule, _Due(settled, slots, active, now, more=more), done)
        done = _pay_backlog(task, spec, schedule, active, done, now)
    if runs_left(spec, done.status) == 0:
        return done.saying(backlog=None)
    after = max(due_until, done.status.settled_until or settled)
    upcoming = schedule.next_fire_time(after)
    return replace(done, upcoming=upcoming, pending=done.pending or done.status.backlog is not None)


@dataclass(frozen=True, slots=True)
class _Due:
    """The open slots up to now."""

    settled: datetime
    slots: list[datetime]
    """The latest of them, oldest first."""
    active: tuple[ObservedJob, ...]
    now: datetime
    more: bool
    """Whether there are earlier open slots."""


def _settle_due(
    task: ObservedTask, spec: ScheduledTaskSpec, schedule: Schedule, due: _Due, done: Settlement
) -> Settlement:
    *earlier, slot = due.slots
    making_up = spec.missed_run_policy is MissedRunPolicy.ALL
    if due.more:
        last = latest_fire_time(schedule, due.settled, due.slots[0] - MICROSECOND)
        if last is not None:
            reason = Reason.TOO_MANY_MISSED if making_up else Reason.SUPERSEDED
            why = f"at most {MAX_BACKLOG} missed slots are launched" if making_up else "a later slot became due first"
            done = _run_of_slots(task, done, schedule, due.settled, last, Verdict(ExecutionStatus.MISSED, reason, why))
    owed = done.status.backlog
    # a slot that is on time while nothing is active queues behind the backlog, or it would overtake that
    stretches = [] if owed is None else owed.stretches
    joins = bool(stretches) and stretches[-1].until == due.settled  # no slot between them has been settled
    queues = joins and not due.active
    if making_up and (earlier or due.more or (queues and spec.concurrency_policy is not ConcurrencyPolicy.ALLOW)):
        new = Stretch(after=due.slots[0] - MICROSECOND, until=slot)
        if joins and not due.more and not last_fire_times(schedule, stretches[-1].after, slot, MAX_BACKLOG)[1]:
            # both count as one outage up to MAX_BACKLOG slots; without this limit the backlog could grow for ever
            new = Stretch(after=stretches.pop().after, until=slot)
        kept = MAX_STRETCHES - 1
        why = "too many later slots were missed"
        verdict = Verdict(ExecutionStatus.MISSED, Reason.TOO_MANY_MISSED, why)
        for each in stretches[: max(0, len(stretches) - kept)]:
            done = _run_of_slots(task, done, schedule, each.after, each.until, verdict)
        stretches = [*stretches[max(0, len(stretches) - kept) :], new]
        return done.saying(backlog=Backlog.of(stretches), settled_until=slot)
    for missed in earlier:
        done = _unlaunched(task, done, missed, superseded(spec, missed), quiet=True)
    if earlier:
        done = done.saying(settled_until=earlier[-1])
        notice = f"{len(earlier)} slots up to {rfc3339(earlier[-1])} were missed"
        done = replace(done, notices=(*done.notices, Notice("Warning", Reason.SUPERSEDED, notice, "slots missed")))
    return _settle_one(task, spec, slot, due.active, done, due.now)


def _settle_one(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    slot: datetime,
    active: tuple[ObservedJob, ...],
    done: Settlement,
    now: datetime,
) -> Settlement:
    """Launch a slot, or settle it without a launch; with concurrencyPolicy Replace, end active executions first."""
    verdict = first_verdict(_due_slot(task, spec, slot, active, done, now), SLOT_GATES)
    if verdict is not None:
        return _unlaunched(task, done, slot, verdict).saying(settled_until=slot)
    if active and spec.concurrency_policy is ConcurrencyPolicy.REPLACE:
        return replace(replaced(done, active, f"by the slot of {rfc3339(slot)}"), pending=True)
    return _launched(task, slot, done).saying(settled_until=slot)


def _due_slot(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    slot: datetime,
    active: tuple[ObservedJob, ...],
    done: Settlement,
    now: datetime,
) -> DueSlot:
    """Return a slot in the form that its gates take."""
    return DueSlot(
        subject=f"the slot of {rfc3339(slot)}",
        due_at=slot + done.offset,
        now=now,
        deadline_seconds=spec.starting_deadline_seconds,
        policy=spec.concurrency_policy,
        active=active,
        target_name=task.target_name,
        target=task.target,
        spec=spec,
        status=done.status,
    )


def replaced(done: Settlement, active: Sequence[ObservedJob], by: str) -> Settlement:
    """Return the settlement with the end of each active execution, except those that are already ending."""
    for job in (j for j in active if not j.ending):
        message = f"{job.name} was replaced {by}"
        end = EndExecution(
            job.name, job.uid, UUID(job.execution_id), ExecutionStatus.CANCELLED, Reason.REPLACED, message
        )
        done = done.acting(end, Notice("Normal", Reason.REPLACED, message, "execution replaced"))
    return done


def _launched(task: ObservedTask, slot: datetime, done: Settlement) -> Settlement:
    status = done.status
    last = max(slot, status.last_schedule_time) if status.last_schedule_time else slot
    trial = slot if status.circuit_opened_at is not None else status.trial_slot
    done = done.acting(Launch(slot, execution_id(task.meta.uid, slot, Cause.SCHEDULE)))
    update = {"last_schedule_time": last, "last_run_time": max(last, status.last_run_time or last)}
    return done.saying(**update, runs=status.runs + 1, trial_slot=trial)


def _pay_backlog(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    schedule: Schedule,
    active: tuple[ObservedJob, ...],
    done: Settlement,
    now: datetime,
) -> Settlement:
    """Launch the backlog: all of it if executions may overlap, else its oldest slot once no execution is active."""
    paid = 0
    while (backlog := done.status.backlog) is not None and runs_left(spec, done.status) != 0:
        launching = any(isinstance(action, Launch) for action in done.actions)
        if spec.concurrency_policy is not ConcurrencyPolicy.ALLOW and (active or launching):
            return replace(done, pending=True)
        slot = schedule.next_fire_time(backlog.after)
        if slot is None or slot > backlog.until:
            done = done.saying(backlog=Backlog.of(backlog.then))
            continue
        paid += 1
        if paid > MAX_BACKLOG * MAX_STRETCHES:  # the operator never writes such a backlog
            why = f"at most {MAX_BACKLOG} missed slots of an outage are launched"
            given_up = Verdict(ExecutionStatus.MISSED, Reason.TOO_MANY_MISSED, why)
            done = _run_of_slots(task, done, schedule, backlog.after, backlog.until, given_up)
            done = done.saying(backlog=Backlog.of(backlog.then))
            continue
        left = backlog.stretches[0].without([slot])
        done = done.saying(backlog=Backlog.of([left, *backlog.then] if left else backlog.then))
        verdict = first_verdict(_due_slot(task, spec, slot, (), done, now), SLOT_GATES)
        done = _launched(task, slot, done) if verdict is None else _unlaunched(task, done, slot, verdict, quiet=True)
    return done


def _unlaunched(
    task: ObservedTask, done: Settlement, slot: datetime, verdict: Verdict, *, quiet: bool = False
) -> Settlement:
    """Settle a slot without a launch; ``quiet`` if one Event for many slots covers it."""
    uid = execution_id(task.meta.uid, slot, Cause.SCHEDULE)
    record = RecordUnlaunched(slot, uid, verdict.status, verdict.reason, verdict.message)
    return _recorded(done, record, quiet=quiet)


def _recorded(done: Settlement, record: RecordUnlaunched, *, quiet: bool) -> Settlement:
    skip = LastSkip(slot=record.slot, reason=record.reason, message=record.message[:MAX_MESSAGE])
    news = f"{'slots' if record.first_slot is not None else 'slot'} {record.status}"
    notices = () if quiet else (Notice("Warning", record.reason, record.message, news),)
    done = replace(done.acting(record, *notices), status=with_unrecorded(done.status, record))
    return done.saying(last_skip=skip)


def _run_of_slots(
    task: ObservedTask, done: Settlement, schedule: Schedule, after: datetime, until: datetime, verdict: Verdict
) -> Settlement:
    """Settle the slots in ``(after, until]`` without a launch, as one record."""
    first, last = schedule.next_fire_time(after), latest_fire_time(schedule, after, until)
    if first is None or last is None:
        return done
    counted, more = last_fire_times(schedule, after, until, MAX_COUNTED)
    number = f"more than {MAX_COUNTED}" if more else str(len(counted))
    slots = (
        f"the slot of {rfc3339(last)} was"
        if first == last
        else (f"{number} slots from {rfc3339(first)} to {rfc3339(last)} were")
    )
    record = RecordUnlaunched(
        last,
        execution_id(task.meta.uid, last, Cause.SCHEDULE),
        verdict.status,
        verdict.reason,
        f"{slots} {verdict.status}: {verdict.message}",
        first_slot=None if first == last else first,
    )
    return _recorded(done, record, quiet=False)


def runs_left(spec: Calendar, status: ScheduledTaskStatus) -> int | None:
    """Return how many slots may still be launched, or None if there is no limit."""
    return None if spec.max_runs is None else max(0, spec.max_runs - status.runs)
