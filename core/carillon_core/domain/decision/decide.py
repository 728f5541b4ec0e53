"""Decides what to do about one task now: one pure function over an ordered chain of gates.

The reconciler gathers a task and its Jobs, calls ``decide``, and carries out
the plan; ``carillon explain`` and the API's previews call the same function.
A gate's verdict is what stops a launch *and* what the condition, the Event
and the execution's row say, so that behaviour and explanation cannot differ.

Once a plan has been carried out, the same input yields an empty plan.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from carillon_core.contract import Cause
from carillon_core.domain.decision.circuit import with_results
from carillon_core.domain.decision.gates import target_problem
from carillon_core.domain.decision.plan import NO_SLOTS_LEFT, Notice, Plan, Reason, RecordUnlaunched, earliest
from carillon_core.domain.decision.retention import superfluous_jobs
from carillon_core.domain.decision.settle import MICROSECOND, Settlement, opened, runs_left, settle
from carillon_core.domain.decision.status import Statement, condition_true, with_condition, with_observed_jobs
from carillon_core.domain.decision.stuck import no_room_notices, stuck_executions
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTask
from carillon_core.domain.timetable.schedule import (
    OneShotSchedule,
    launch_time,
    schedule_description,
    schedule_of,
    schedule_problems,
)
from carillon_core.domain.validity.future import passed_over
from carillon_core.domain.validity.pod_validity import pod_problems
from carillon_core.domain.validity.problems import task_problems
from carillon_core.errors import FieldProblem
from carillon_core.memo import ByIdentity
from carillon_core.resources.base import MAX_MESSAGE
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import LastExecution, LastSkip, ScheduledTaskSpec, ScheduledTaskStatus

MAX_CONDITION_MESSAGE = 32_000
"""The CRD's maximum. With a longer message in a condition, the API server would reject the whole status."""
REFUSALS = frozenset({Reason.LAUNCH_REFUSED, Reason.NAME_TAKEN, Reason.SECRET_NOT_ALLOWED})
"""Reasons of launches that were refused after all gates: the task is not ready until a launch succeeds."""


def decide(
    task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime, pod_defaults: PodSettings | None = None
) -> Plan:
    """Return what to do about a task.

    Args:
        task: The task as the cluster shows it.
        jobs: Its runner Jobs in any order, including finished ones and those of requests. Jobs of an earlier task of
            the same name (another uid) are ignored.
        now: The current time.
        pod_defaults: The operator's pod settings; None if they are not known here.

    Returns:
        The plan: launches, ends and deletions to make, Events to post, the status that the object should have, and
        when to decide again.

    """
    if task.meta.deletion_timestamp is not None:
        return Plan(task.status)
    if task.quarantined:
        status = task.status.model_copy(
            update={"observed_generation": task.meta.generation, "next_schedule_time": None}
        )
        return _unready(task, status, Reason.QUARANTINED, task.quarantined, now)
    own = tuple(sorted((j for j in jobs if j.task_uid == task.meta.uid), key=lambda j: (j.slot, j.name)))
    stuck, look_again = stuck_executions(own, now)
    notices = tuple(Notice("Warning", Reason.STUCK, end.message, "pod cannot start", end.reason) for end in stuck)
    reason, problems = _problems(task, pod_defaults)
    if task.spec is None or problems:
        status = with_observed_jobs(task.status, own).model_copy(
            update={
                "observed_generation": task.meta.generation,
                "next_schedule_time": None,
                "schedule": task.written if task.spec is None else schedule_description(task.spec),
            }
        )
        plan = _unready(task, status, reason, "; ".join(str(p) for p in problems), now)
    else:
        status = with_results(task.status, task.meta, task.spec, own)
        status = with_observed_jobs(status, own).model_copy(update={"observed_generation": task.meta.generation})
        plan = _decide_valid(task, task.spec, own, status, now)
    notices += _no_room_news(own, task.status.last_execution, plan.status.last_execution)
    return Plan(plan.status, (*stuck, *plan.actions), (*notices, *plan.notices), earliest(plan.requeue_at, look_again))


def _no_room_news(
    own: Sequence[ObservedJob], before: LastExecution | None, after: LastExecution | None
) -> tuple[Notice, ...]:
    """Return the Event about the execution in the status, unless the status already had a message about it."""
    if after is None or not own or own[-1].name != after.job_name:
        return ()
    return no_room_notices(own[-1], before.message if before is not None and before.id == after.id else None)


def _problems(task: ObservedTask, pod_defaults: PodSettings | None) -> tuple[Reason, tuple[FieldProblem, ...]]:
    """Return the problems of a task's spec, and their reason."""
    if task.spec is None:
        return Reason.INVALID_SPEC, task.problems
    schedule = schedule_problems(task.spec, task.created_at)
    if schedule:
        return Reason.INVALID_SCHEDULE, schedule
    return Reason.INVALID_SPEC, _lasting_problems(task.spec, pod_defaults)


def _problems_of(spec: ScheduledTaskSpec, pod_defaults: PodSettings | None) -> tuple[FieldProblem, ...]:
    return (*task_problems(spec.task, "spec.task"), *pod_problems(spec, pod_defaults))


_lasting_problems = ByIdentity(_problems_of)
"""To judge a large template takes longer than all else of a turn, and each event of a task or its Jobs makes one."""


def _unready(task: ObservedTask, status: ScheduledTaskStatus, reason: Reason, message: str, now: datetime) -> Plan:
    """Return the plan of a task that cannot run: its condition and, if that is new, an Event."""
    message = message[:MAX_CONDITION_MESSAGE]
    changed = with_condition(status, task.meta, Statement("Ready", "False", reason, message), now)
    old = next((c for c in status.conditions if c.type == "Ready"), None)
    news = old is None or (old.reason, old.message) != (reason, message)
    return Plan(changed, notices=(Notice("Warning", reason, message, "task not ready"),) if news else ())


def _decide_valid(
    task: ObservedTask,
    spec: ScheduledTaskSpec,
    own: tuple[ObservedJob, ...],
    status: ScheduledTaskStatus,
    now: datetime,
) -> Plan:
    scheduled = tuple(j for j in own if j.cause is Cause.SCHEDULE)
    begun = opened(task, spec, scheduled, status, now)
    status = begun.status.model_copy(update={"schedule": schedule_description(spec), "calendar": spec.calendar})
    doomed, next_doomed = superfluous_jobs(spec, task.stored, scheduled, now)
    if spec.suspend:
        message = "no slots are launched until spec.suspend is false"
        status = with_condition(status, task.meta, Statement("Suspended", "True", Reason.SUSPENDED, message), now)
        status = with_condition(status, task.meta, Statement("Ready", "True", Reason.SUSPENDED, message), now)
        status = status.model_copy(update={"next_schedule_time": None})
        return Plan(status, (*begun.actions, *doomed), begun.notices, next_doomed)
    if condition_true(status, "Suspended"):
        status = with_condition(status, task.meta, Statement("Suspended", "False", Reason.SCHEDULED), now)
    settled = settle(task, spec, own, Settlement(status, begun.actions, begun.notices), now)
    plan = _concluded(task, spec, settled, now)
    return Plan(plan.status, (*plan.actions, *doomed), plan.notices, earliest(plan.requeue_at, next_doomed))


def _concluded(task: ObservedTask, spec: ScheduledTaskSpec, settled: Settlement, now: datetime) -> Plan:
    """Return the plan with the next slot and the conditions."""
    schedule = schedule_of(spec, task.created_at)
    status, actions, notices = settled.status, settled.actions, settled.notices
    upcoming = settled.upcoming
    status = status.model_copy(update={"next_schedule_time": _next_launch(task, spec, settled)})
    requeue_at = None if upcoming is None else launch_time(upcoming, settled.offset)
    if upcoming is None and isinstance(schedule, OneShotSchedule) and not _was_settled(schedule.at, settled):
        unready = _unready(task, status, Reason.RUN_AT_IN_THE_PAST, passed_over(schedule.at), now)
        return Plan(unready.status, actions, (*notices, *unready.notices))
    status, news = _with_readiness(task, spec, status, now, waits=upcoming is not None or settled.pending)
    return Plan(status, actions, (*notices, *news), requeue_at)


def _next_launch(task: ObservedTask, spec: ScheduledTaskSpec, settled: Settlement) -> datetime | None:
    """Return the next slot that no gate is known to stop, or None."""
    upcoming, opened_at = settled.upcoming, settled.status.circuit_opened_at
    if upcoming is None or target_problem(task.target_name, task.target) is not None:
        return None
    if opened_at is None or spec.suspend_after_failures is None:
        return upcoming
    if spec.cooldown_seconds is None or settled.status.trial_slot is not None:
        return None
    trial_after = opened_at + timedelta(seconds=spec.cooldown_seconds) - settled.offset
    if upcoming >= trial_after:
        return upcoming
    return schedule_of(spec, task.created_at).next_fire_time(trial_after - MICROSECOND)


def _was_settled(slot: datetime, settled: Settlement) -> bool:
    """Return whether a one-shot's slot was launched, skipped or missed, or is about to be; else it was passed over."""
    status = settled.status
    skipped = status.last_skip is not None and status.last_skip.slot == slot
    return settled.pending or skipped or status.last_schedule_time == slot


def after_refusal(
    status: ScheduledTaskStatus, before: ScheduledTaskStatus, refused: RecordUnlaunched
) -> ScheduledTaskStatus:
    """Return the status of a plan whose launch was refused.

    Args:
        status: The plan's, which assumes that the launch succeeds.
        before: The task's status before the plan.
        refused: What is recorded instead of the launch.

    """
    skip = LastSkip(slot=refused.slot, reason=refused.reason, message=refused.message[:MAX_MESSAGE])
    update = {
        "last_schedule_time": before.last_schedule_time,
        "last_run_time": before.last_run_time,
        "last_skip": skip,
        "runs": max(0, status.runs - 1),
        "trial_slot": None if status.trial_slot == refused.slot else status.trial_slot,
    }
    return status.model_copy(update=update)


def _with_readiness(
    task: ObservedTask, spec: ScheduledTaskSpec, status: ScheduledTaskStatus, now: datetime, *, waits: bool
) -> tuple[ScheduledTaskStatus, tuple[Notice, ...]]:
    """Return the status with the conditions of a task whose spec is valid, and the Events about their changes."""
    circuit = status.circuit_opened_at is not None and spec.suspend_after_failures is not None
    if circuit or condition_true(status, "CircuitOpen"):
        message = f"{status.consecutive_failures} executions failed in a row" if circuit else ""
        value: Literal["True", "False"] = "True" if circuit else "False"
        reason = Reason.CIRCUIT_OPEN if circuit else Reason.SCHEDULED
        status = with_condition(status, task.meta, Statement("CircuitOpen", value, reason, message), now)
    if not waits:
        message = "the task has reached maxRuns" if runs_left(spec, status) == 0 else NO_SLOTS_LEFT
        status = with_condition(status, task.meta, Statement("Completed", "True", Reason.COMPLETED, message), now)
    elif condition_true(status, "Completed"):  # an edit gave it new slots
        status = with_condition(status, task.meta, Statement("Completed", "False", Reason.SCHEDULED), now)
    skip = status.last_skip
    refused = skip is not None and skip.reason in REFUSALS
    if skip is not None and refused and (status.last_schedule_time is None or status.last_schedule_time < skip.slot):
        return with_condition(status, task.meta, Statement("Ready", "False", skip.reason, skip.message), now), ()
    if not waits:
        return with_condition(status, task.meta, Statement("Ready", "True", Reason.COMPLETED, message), now), ()
    if circuit:
        return _unready_status(task, status, Reason.CIRCUIT_OPEN, message, now)
    problem = target_problem(task.target_name, task.target)
    if problem is not None:
        return _unready_status(task, status, *problem, now)
    ready = with_condition(
        status, task.meta, Statement("Ready", "True", Reason.SCHEDULED, "waiting for the next slot"), now
    )
    return ready, ()


def _unready_status(
    task: ObservedTask, status: ScheduledTaskStatus, reason: Reason, message: str, now: datetime
) -> tuple[ScheduledTaskStatus, tuple[Notice, ...]]:
    plan = _unready(task, status, reason, message, now)
    return plan.status, plan.notices
