"""The gates that a due slot passes before it is launched, in their order. Pure; ``decide`` calls them.

A gate's verdict is what stops the launch *and* what the Event, the status and
the execution's row say, so that behaviour and explanation cannot part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.plan import Reason
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTarget
from carillon_core.resources.base import rfc3339
from carillon_core.resources.scheduled_task import (
    ConcurrencyPolicy,
    MissedRunPolicy,
    ScheduledTaskSpec,
    ScheduledTaskStatus,
)

ON_TIME = timedelta(seconds=30)
"""How late missedRunPolicy Skip still launches a slot, unless startingDeadlineSeconds says otherwise."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's no: what becomes of the slot, and why."""

    status: Literal[ExecutionStatus.SKIPPED, ExecutionStatus.MISSED, ExecutionStatus.FAILED]
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class DueSlot:
    """What the gates of a due slot look at."""

    slot: datetime
    due_at: datetime
    """When it is to be launched: the slot, and its task's jitter."""
    spec: ScheduledTaskSpec
    status: ScheduledTaskStatus
    active: tuple[ObservedJob, ...]
    """The task's Jobs that are active now."""
    target_name: str | None
    """The HTTPTarget that the task needs, if it needs one."""
    target: ObservedTarget | None
    """The HTTPTarget as it stands; None if there is none."""
    now: datetime


Gate = Callable[[DueSlot], Verdict | None]


def past_deadline(due: DueSlot) -> Verdict | None:
    """Stop a slot that is later than its starting deadline."""
    deadline = due.spec.starting_deadline_seconds
    if deadline is None or due.now <= due.due_at + timedelta(seconds=deadline):
        return None
    late = int((due.now - due.due_at).total_seconds())
    return Verdict(
        ExecutionStatus.MISSED,
        Reason.DEADLINE_EXCEEDED,
        f"the slot of {rfc3339(due.slot)} was seen {late} s late, past startingDeadlineSeconds={deadline}",
    )


def missed_and_not_made_up_for(due: DueSlot) -> Verdict | None:
    """Stop a slot that passed while no operator watched, if the policy makes up for none."""
    if due.spec.missed_run_policy is not MissedRunPolicy.SKIP or due.spec.starting_deadline_seconds is not None:
        return None
    if due.now <= due.due_at + ON_TIME:
        return None
    late = int((due.now - due.due_at).total_seconds())
    return Verdict(
        ExecutionStatus.MISSED,
        Reason.MISSED_RUN_POLICY,
        f"the slot of {rfc3339(due.slot)} was seen {late} s late, and missedRunPolicy is Skip",
    )


def circuit_open(due: DueSlot) -> Verdict | None:
    """Stop a slot while the circuit is open, but for the one on trial once it has cooled down."""
    opened = due.status.circuit_opened_at
    if opened is None or due.spec.suspend_after_failures is None:
        return None
    failures = f"{due.status.consecutive_failures} executions failed in a row"
    if due.spec.cooldown_seconds is None:
        why = f"{failures}; change the spec, or request a run that succeeds"
    elif due.now < (again := opened + timedelta(seconds=due.spec.cooldown_seconds)):
        why = f"{failures}; a slot is launched on trial after {rfc3339(again)}"
    elif due.status.trial_slot is not None:
        why = f"{failures}; the slot of {rfc3339(due.status.trial_slot)} is on trial"
    else:
        return None
    return Verdict(ExecutionStatus.SKIPPED, Reason.CIRCUIT_OPEN, f"the slot of {rfc3339(due.slot)} was skipped: {why}")


def still_active(due: DueSlot) -> Verdict | None:
    """Stop a slot that finds its predecessor active, if overlap is forbidden."""
    if due.spec.concurrency_policy is not ConcurrencyPolicy.FORBID or not due.active:
        return None
    first = due.active[0]
    stands = f"{first.name} {'still waits in its queue' if first.waiting else 'is still active'}"
    if first.trouble is not None:
        stands = f"{stands} ({first.trouble.sentence})"
    why = f"the slot of {rfc3339(due.slot)} was skipped: {stands} and concurrencyPolicy is Forbid"
    return Verdict(ExecutionStatus.SKIPPED, Reason.STILL_ACTIVE, why)


def target_missing(due: DueSlot) -> Verdict | None:
    """Fail a slot whose HTTPTarget is not there or cannot be used."""
    problem = target_problem(due.target_name, due.target)
    if problem is None:
        return None
    reason, message = problem
    return Verdict(ExecutionStatus.FAILED, reason, f"the slot of {rfc3339(due.slot)} could not be tried: {message}")


def target_problem(name: str | None, target: ObservedTarget | None) -> tuple[Reason, str] | None:
    """Return why a task's HTTPTarget cannot be used, or None if it can, or if the task needs none."""
    if name is None:
        return None
    if target is None:
        message = f"there is no HTTPTarget {name} in its namespace: create it, or correct task.http.targetRef"
        return Reason.TARGET_NOT_FOUND, message
    if target.spec is None:
        return Reason.TARGET_INVALID, f"HTTPTarget {name} is invalid: {'; '.join(str(p) for p in target.problems)}"
    return None


GATES: tuple[Gate, ...] = (past_deadline, missed_and_not_made_up_for, circuit_open, still_active, target_missing)
"""The gates that a due slot passes, in this order; the first verdict counts."""


def verdict_of(due: DueSlot) -> Verdict | None:
    """Return the verdict of the first gate that stops a slot, or None if it is to be launched."""
    return next((v for gate in GATES if (v := gate(due)) is not None), None)
