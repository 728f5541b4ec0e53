"""The decision: what is to be done about one task now. One pure function over an ordered chain of gates.

The reconciler gathers a task and its Jobs, calls ``decide``, and carries out
the plan; ``carillon explain`` and the API's previews call the same function.
A gate's verdict is what stops a launch *and* what the condition, the Event
and the execution's row say, so that behaviour and explanation cannot part.

Once a plan has been carried out, the same input yields an empty plan.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import execution_id
from carillon_core.domain.observed import ObservedJob, ObservedTask
from carillon_core.domain.plan import Action, Launch, Notice, Plan, Reason, RecordUnlaunched
from carillon_core.domain.schedule import (
    OneShotSchedule,
    Schedule,
    latest_fire_time,
    schedule_description,
    schedule_of,
    schedule_problems,
)
from carillon_core.domain.status import condition_true, with_condition, with_observed_jobs
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import (
    ConcurrencyPolicy,
    LastSkip,
    ScheduledTaskSpec,
    ScheduledTaskStatus,
)

MAX_COUNTED_SLOTS = 100
"""How far missed slots are counted one by one; beyond, the record says 'more than'."""

TOLERANCE = timedelta(minutes=1)
"""A settled slot further ahead than this was settled by a clock that went wrong, or by hand: it settles nothing."""
REFUSALS = frozenset({Reason.LAUNCH_REFUSED, Reason.NAME_TAKEN})
"""Why a launch was refused after every gate had let it pass: the task is not ready until one succeeds."""
INVALID = frozenset({Reason.INVALID_SPEC, Reason.INVALID_SCHEDULE})


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's no: what becomes of the slot, and why."""

    status: Literal[ExecutionStatus.SKIPPED, ExecutionStatus.MISSED]
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class DueSlot:
    """What the gates of a due slot look at."""

    slot: datetime
    spec: ScheduledTaskSpec
    active: tuple[ObservedJob, ...]
    """The task's Jobs that are active now."""
    now: datetime


Gate = Callable[[DueSlot], Verdict | None]


def past_deadline(due: DueSlot) -> Verdict | None:
    """Stop a slot that is later than its starting deadline."""
    deadline = due.spec.starting_deadline_seconds
    if deadline is None or due.now <= due.slot + timedelta(seconds=deadline):
        return None
    late = int((due.now - due.slot).total_seconds())
    return Verdict(
        ExecutionStatus.MISSED,
        Reason.DEADLINE_EXCEEDED,
        f"the slot of {rfc3339(due.slot)} was seen {late} s late, past startingDeadlineSeconds={deadline}",
    )


def still_active(due: DueSlot) -> Verdict | None:
    """Stop a slot that finds its predecessor active, unless overlap is allowed."""
    if due.spec.concurrency_policy is not ConcurrencyPolicy.FORBID or not due.active:
        return None
    return Verdict(
        ExecutionStatus.SKIPPED,
        Reason.STILL_ACTIVE,
        f"the slot of {rfc3339(due.slot)} was skipped: {due.active[0].name} is still active and "
        "concurrencyPolicy is Forbid",
    )


GATES: tuple[Gate, ...] = (past_deadline, still_active)
"""The gates that a due slot passes, in this order; the first verdict counts."""


def decide(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Return what is to be done about a task.

    Args:
        task: The task as the cluster shows it.
        jobs: Its runner Jobs, finished ones among them, in any order. Jobs of another task of the same name (another
            uid) are ignored.
        now: This instant, read once at the edge.

    Returns:
        The plan: launches and records to make, Events to post, the status that the object should have, and when to
        decide again.

    """
    if task.meta.deletion_timestamp is not None:
        return Plan(task.status)
    own = tuple(sorted((j for j in jobs if j.task_uid == task.meta.uid), key=lambda j: j.slot))
    status = with_observed_jobs(task.status, own).model_copy(update={"observed_generation": task.meta.generation})
    problems = task.problems or (schedule_problems(task.spec) if task.spec else ())
    if task.spec is None or problems:
        reason = Reason.INVALID_SPEC if task.spec is None else Reason.INVALID_SCHEDULE
        message = "; ".join(str(p) for p in problems)[:32_000]
        stopped = status.model_copy(update={"next_schedule_time": None})
        return _unready(task, stopped, reason, message, now)
    return _decide_valid(task, task.spec, own, status, now)


def _unready(task: ObservedTask, status: ScheduledTaskStatus, reason: Reason, message: str, now: datetime) -> Plan:
    """Return the plan of a task that cannot run: say so, once."""
    changed = with_condition(status, task.meta, "Ready", "False", reason, message, now)
    old = next((c for c in status.conditions if c.type == "Ready"), None)
    news = old is None or (old.reason, old.message) != (reason, message)
    return Plan(changed, notices=(Notice("Warning", reason, message),) if news else ())


def _decide_valid(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    own: tuple[ObservedJob, ...],
    status: ScheduledTaskStatus,
    now: datetime,
) -> Plan:
    schedule = schedule_of(spec, task.created_at)
    settled = _settled_until(task, spec, own, now)
    status = status.model_copy(update={"schedule": schedule_description(spec), "settled_until": settled})
    if spec.suspend:
        message = "nothing is launched until spec.suspend is false"
        status = with_condition(status, task.meta, "Suspended", "True", Reason.SUSPENDED, message, now)
        status = with_condition(status, task.meta, "Ready", "True", Reason.SUSPENDED, message, now)
        return Plan(status.model_copy(update={"next_schedule_time": None}))
    if condition_true(status, "Suspended"):
        status = with_condition(status, task.meta, "Suspended", "False", Reason.SCHEDULED, "", now)

    actions: list[Action] = []
    notices: list[Notice] = []
    slot = latest_fire_time(schedule, settled, now)
    if slot is not None:
        active = tuple(j for j in own if j.active)
        actions, notices, status = _settle(task, spec, schedule, slot, active, status, now)
    upcoming = schedule.next_fire_time(max(now, settled, slot or now))
    status = status.model_copy(update={"next_schedule_time": upcoming})
    if upcoming is None and isinstance(schedule, OneShotSchedule) and not _was_settled(schedule.at, status):
        message = (
            f"spec.runAt {rfc3339(schedule.at)} was already past when the task was created, edited or resumed: "
            "set a time to come"
        )
        return _unready(task, status, Reason.RUN_AT_IN_THE_PAST, message, now)
    status = _with_readiness(task, status, upcoming, now)
    return Plan(status, tuple(actions), tuple(notices), upcoming)


def _was_settled(slot: datetime, status: ScheduledTaskStatus) -> bool:
    """Return whether a one-shot's slot was launched, skipped or missed, and not just passed by."""
    return status.last_schedule_time == slot or (status.last_skip is not None and status.last_skip.slot == slot)


def after_refusal(
    status: ScheduledTaskStatus, before: ScheduledTaskStatus, refused: RecordUnlaunched
) -> ScheduledTaskStatus:
    """Return the status of a plan whose launch was refused: that slot was not launched, and why.

    Args:
        status: The plan's, which took the launch for granted.
        before: The task's status before the plan.
        refused: What is recorded instead of the launch.

    """
    skip = LastSkip(slot=refused.slot, reason=refused.reason, message=refused.message[:1024])
    return status.model_copy(update={"last_schedule_time": before.last_schedule_time, "last_skip": skip})


def _with_readiness(
    task: ObservedTask, status: ScheduledTaskStatus, upcoming: datetime | None, now: datetime
) -> ScheduledTaskStatus:
    skip = status.last_skip
    refused = skip is not None and skip.reason in REFUSALS
    if skip is not None and refused and (status.last_schedule_time is None or status.last_schedule_time < skip.slot):
        return with_condition(status, task.meta, "Ready", "False", skip.reason, skip.message, now)
    if upcoming is not None:
        if condition_true(status, "Completed"):  # an edit gave it new slots
            status = with_condition(status, task.meta, "Completed", "False", Reason.SCHEDULED, "", now)
        return with_condition(status, task.meta, "Ready", "True", Reason.SCHEDULED, "waiting for the next slot", now)
    message = "no slot is left"
    status = with_condition(status, task.meta, "Completed", "True", Reason.COMPLETED, message, now)
    return with_condition(status, task.meta, "Ready", "True", Reason.COMPLETED, message, now)


def _settled_until(
    task: ObservedTask, spec: ScheduledTaskSpec, own: tuple[ObservedJob, ...], now: datetime
) -> datetime:
    """Return the instant after which slots are open.

    It is the creation, the last settled slot, or this instant when an edit of
    the schedule, a resume or the mending of an invalid spec is first seen:
    none of them may cause a surprise run.
    A Job that exists settles its slot even if the status that says so was lost.
    """
    old = task.status
    stored = old.settled_until
    if stored is not None and stored > now + TOLERANCE:
        stored = now.replace(microsecond=0)
    launched = [j.slot for j in own if j.slot <= now + TOLERANCE]
    settled = max([task.created_at, *([stored] if stored else []), *launched])
    ready = next((c for c in old.conditions if c.type == "Ready"), None)
    mended = ready is not None and ready.reason in INVALID
    edited = old.schedule is not None and old.schedule != schedule_description(spec)
    resumed = condition_true(old, "Suspended") and not spec.suspend
    if edited or resumed or mended:
        return max(settled, now.replace(microsecond=0))
    return settled


def _settle(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    schedule: Schedule,
    slot: datetime,
    active: tuple[ObservedJob, ...],
    status: ScheduledTaskStatus,
    now: datetime,
) -> tuple[list[Action], list[Notice], ScheduledTaskStatus]:
    """Settle every open slot up to ``slot``, the latest one due."""
    actions: list[Action] = []
    notices: list[Notice] = []
    settled = status.settled_until or task.created_at
    before = latest_fire_time(schedule, settled, slot - timedelta(microseconds=1))
    if before is not None:
        message = _missed_message(schedule, settled, before)
        missed = Verdict(ExecutionStatus.MISSED, Reason.SUPERSEDED, message)
        status = _unlaunched(task, before, missed, status, actions, notices)
    due = DueSlot(slot, spec, active, now)
    verdict = next((v for gate in GATES if (v := gate(due)) is not None), None)
    if verdict is not None:
        status = _unlaunched(task, slot, verdict, status, actions, notices)
    else:
        actions.append(Launch(slot, execution_id(task.meta.uid, slot, Cause.SCHEDULE)))
        status = status.model_copy(update={"last_schedule_time": slot})
    return actions, notices, status.model_copy(update={"settled_until": slot})


def _unlaunched(
    task: ObservedTask,
    slot: datetime,
    verdict: Verdict,
    status: ScheduledTaskStatus,
    actions: list[Action],
    notices: list[Notice],
) -> ScheduledTaskStatus:
    uid = execution_id(task.meta.uid, slot, Cause.SCHEDULE)
    actions.append(RecordUnlaunched(slot, uid, verdict.status, verdict.reason, verdict.message))
    notices.append(Notice("Warning", verdict.reason, verdict.message))
    skip = LastSkip(slot=slot, reason=verdict.reason, message=verdict.message[:1024])
    return status.model_copy(update={"last_skip": skip})


def _missed_message(schedule: Schedule, settled: datetime, last: datetime) -> str:
    """Say which slots one record stands for, counting no further than ``MAX_COUNTED_SLOTS``."""
    first = slot = schedule.next_fire_time(settled)
    count = 0
    while slot is not None and slot <= last and count <= MAX_COUNTED_SLOTS:
        count += 1
        slot = schedule.next_fire_time(slot)
    if count == 1 or first is None:
        return f"the slot of {rfc3339(last)} was missed: a later one came due before it could be launched"
    number = f"more than {MAX_COUNTED_SLOTS}" if count > MAX_COUNTED_SLOTS else str(count)
    return (
        f"{number} slots from {rfc3339(first)} to {rfc3339(last)} were missed: "
        "a later one came due before they could be launched"
    )
