"""The gates that a slot or a request passes before it is launched, in their order. Pure.

``decide`` passes due slots through ``SLOT_GATES``, ``decide_request`` passes due
requests through ``REQUEST_GATES``; a rule that holds for both is one gate in
both. A gate's verdict is what stops the launch *and* what the Event, the
status and the execution's row say, so behaviour and explanation cannot differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.plan import Reason
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTarget, ObservedTask
from carillon_core.domain.validity.pod_validity import retry_problems, task_pod_problems
from carillon_core.domain.validity.problems import target_problems, task_problems
from carillon_core.errors import FieldProblem
from carillon_core.json_values import text_problems
from carillon_core.resources.base import rfc3339
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.run_request import RunRequestSpec, long_past_problem
from carillon_core.resources.scheduled_task import (
    ConcurrencyPolicy,
    MissedRunPolicy,
    ScheduledTaskSpec,
    ScheduledTaskStatus,
)
from carillon_core.resources.tasks import Task

ON_TIME = timedelta(seconds=30)
"""How late missedRunPolicy Skip still launches a slot, unless startingDeadlineSeconds says otherwise."""

UnlaunchedStatus = Literal[ExecutionStatus.SKIPPED, ExecutionStatus.MISSED, ExecutionStatus.FAILED]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a gate stops a launch, and the status of the row."""

    status: UnlaunchedStatus
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A slot or a request that is due, as the gates see it."""

    subject: str
    """Its name in messages: ``the slot of 2026-01-01T00:10:00Z``, or ``the request``."""
    due_at: datetime
    """When it should be launched: for a slot, its time plus jitter."""
    now: datetime
    deadline_seconds: int | None
    """Its startingDeadlineSeconds."""
    policy: ConcurrencyPolicy
    active: Sequence[ObservedJob]
    """The task's Jobs that are active now."""
    target_name: str | None
    """The HTTPTarget that the task needs, if it needs one."""
    target: ObservedTarget | None
    """That HTTPTarget; None if it does not exist."""

    @property
    def late(self) -> int:
        """How many seconds it is late."""
        return int((self.now - self.due_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSlot(Candidate):
    """A slot of a task."""

    spec: ScheduledTaskSpec
    status: ScheduledTaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRequest(Candidate):
    """A RunRequest."""

    spec: RunRequestSpec
    task: ObservedTask | None
    """The task that it names; None if it does not exist, or if the request has a task of its own."""
    wanted: Task | tuple[FieldProblem, ...]
    """The task to run, or why there is none; see ``requested_task``."""
    pod_defaults: PodSettings | None


def past_deadline(due: Candidate) -> Verdict | None:
    """Stop a slot or request that is past its starting deadline."""
    if due.deadline_seconds is None or due.now <= due.due_at + timedelta(seconds=due.deadline_seconds):
        return None
    message = f"{due.subject} was missed: {due.late} s late, startingDeadlineSeconds is {due.deadline_seconds}"
    return Verdict(ExecutionStatus.MISSED, Reason.DEADLINE_EXCEEDED, message)


def still_active(due: Candidate) -> Verdict | None:
    """Stop a slot or request while an execution of its task is active, if concurrencyPolicy is Forbid."""
    if due.policy is not ConcurrencyPolicy.FORBID or not due.active:
        return None
    first = due.active[0]
    if first.ending:
        stands = f"{first.name} is being deleted and its pod has not ended"
    elif first.retry_at is not None:
        stands = f"{first.name} has failed and will be retried at {rfc3339(first.retry_at)}"
    else:
        stands = f"{first.name} {'is still waiting in its queue' if first.waiting else 'is still active'}"
    if first.trouble is not None:
        stands = f"{stands} ({first.trouble.sentence})"
    message = f"{due.subject} was skipped: {stands} and concurrencyPolicy is Forbid"
    return Verdict(ExecutionStatus.SKIPPED, Reason.STILL_ACTIVE, message)


def target_missing(due: Candidate) -> Verdict | None:
    """Fail a slot or request whose HTTPTarget does not exist or is invalid."""
    problem = target_problem(due.target_name, due.target)
    if problem is None:
        return None
    reason, message = problem
    return Verdict(ExecutionStatus.FAILED, reason, f"{due.subject} failed: {message}")


def target_problem(name: str | None, target: ObservedTarget | None) -> tuple[Reason, str] | None:
    """Return why a task's HTTPTarget cannot be used; None if it can, or if the task needs none."""
    if name is None:
        return None
    if target is None:
        message = f"HTTPTarget {name} not found in the task's namespace: create it, or correct task.http.targetRef"
        return Reason.TARGET_NOT_FOUND, message
    problems = target.problems if target.spec is None else target_problems(target.spec)
    if problems or target.spec is None:
        return Reason.TARGET_INVALID, f"HTTPTarget {name} is invalid: {'; '.join(str(p) for p in problems)}"
    return None


def too_late_for_skip(due: DueSlot) -> Verdict | None:
    """Stop a slot that is more than ``ON_TIME`` late, if missedRunPolicy is Skip."""
    if due.spec.missed_run_policy is not MissedRunPolicy.SKIP or due.deadline_seconds is not None:
        return None
    if due.now <= due.due_at + ON_TIME:
        return None
    message = f"{due.subject} was missed: {due.late} s late, missedRunPolicy is Skip"
    return Verdict(ExecutionStatus.MISSED, Reason.MISSED_RUN_POLICY, message)


def superseded(spec: ScheduledTaskSpec, slot: datetime) -> Verdict:
    """Return the verdict on a missed slot after which another slot became due."""
    if spec.missed_run_policy is MissedRunPolicy.SKIP:
        why = f"the slot of {rfc3339(slot)} was missed: no operator was running, missedRunPolicy is Skip"
        return Verdict(ExecutionStatus.MISSED, Reason.MISSED_RUN_POLICY, why)
    why = f"the slot of {rfc3339(slot)} was missed: a later slot was due before it could be launched"
    return Verdict(ExecutionStatus.MISSED, Reason.SUPERSEDED, why)


def circuit_open(due: DueSlot) -> Verdict | None:
    """Stop a slot while the circuit is open, except for one trial run after the cooldown."""
    opened = due.status.circuit_opened_at
    if opened is None or due.spec.suspend_after_failures is None:
        return None
    failures = f"{due.status.consecutive_failures} executions failed in a row"
    if due.spec.cooldown_seconds is None:
        why = f"{failures}; change the spec, or create a RunRequest that succeeds"
    elif due.now < (again := opened + timedelta(seconds=due.spec.cooldown_seconds)):
        why = f"{failures}; the next slot after {rfc3339(again)} is launched as a trial"
    elif due.status.trial_slot is not None:
        why = f"{failures}; the trial run of {rfc3339(due.status.trial_slot)} has not ended"
    else:
        return None
    return Verdict(ExecutionStatus.SKIPPED, Reason.CIRCUIT_OPEN, f"{due.subject} was skipped: {why}")


def long_past(due: DueRequest) -> Verdict | None:
    """Fail a request whose runAt was long past when it was created; it is due at its creation."""
    problem = long_past_problem(due.spec.run_at, due.due_at)
    return None if problem is None else Verdict(ExecutionStatus.FAILED, Reason.INVALID_SPEC, str(problem))


def task_missing(due: DueRequest) -> Verdict | None:
    """Fail a request whose ScheduledTask does not exist or is invalid."""
    if due.spec.task_ref is None:
        return None
    if due.task is None:
        message = f"ScheduledTask {due.spec.task_ref.name} not found in the request's namespace"
        return Verdict(ExecutionStatus.FAILED, Reason.TASK_NOT_FOUND, message)
    if due.task.spec is None:
        problems = "; ".join(str(p) for p in due.task.problems)
        return _invalid_task(due.task, problems)
    return None


def unfit_parameters(due: DueRequest) -> Verdict | None:
    """Fail a request with parameters that its task does not accept."""
    if isinstance(due.wanted, Task):
        return None
    return Verdict(ExecutionStatus.FAILED, Reason.INVALID_PARAMETERS, "; ".join(str(p) for p in due.wanted))


def unfit_task(due: DueRequest) -> Verdict | None:
    """Fail a request whose task, or whose parameters, the webhook would have refused."""
    if problems := "; ".join(str(p) for p in text_problems(due.spec.parameters, "spec.parameters")):
        return Verdict(ExecutionStatus.FAILED, Reason.INVALID_PARAMETERS, problems)
    given = due.spec.task or (due.task.spec.task if due.task and due.task.spec else None)
    problems = "; ".join(str(p) for p in task_problems(given, "spec.task")) if given else ""
    if not problems:
        return None
    if due.task is None:
        return Verdict(ExecutionStatus.FAILED, Reason.INVALID_SPEC, problems)
    return _invalid_task(due.task, problems)


def unfit_pod(due: DueRequest) -> Verdict | None:
    """Fail a request whose pod the API server would reject, because of its own settings or its task's."""
    if not isinstance(due.wanted, Task):
        return None
    pod = due.spec.pod or (due.task.spec.pod if due.task and due.task.spec else PodSettings())
    own = retry_problems(due.wanted, due.spec.retry)
    problems = "; ".join(str(p) for p in (*own, *task_pod_problems(due.wanted, pod, due.pod_defaults)))
    if not problems:
        return None
    if due.task is None or own or (due.spec.pod is not None and due.wanted.container is None):
        return Verdict(ExecutionStatus.FAILED, Reason.INVALID_SPEC, problems)
    return _invalid_task(due.task, problems)


def _invalid_task(task: ObservedTask, problems: str) -> Verdict:
    message = f"ScheduledTask {task.meta.name} is invalid: {problems}"
    return Verdict(ExecutionStatus.FAILED, Reason.TASK_INVALID, message)


SLOT_GATES: tuple[Callable[[DueSlot], Verdict | None], ...] = (
    past_deadline,
    too_late_for_skip,
    circuit_open,
    still_active,
    target_missing,
)
"""The gates of a due slot, in this order; the first verdict counts."""

REQUEST_GATES: tuple[Callable[[DueRequest], Verdict | None], ...] = (
    long_past,
    task_missing,
    past_deadline,
    unfit_parameters,
    unfit_task,
    unfit_pod,
    target_missing,
    still_active,
)
"""The gates of a due request, in this order; the first verdict counts."""

_Due = TypeVar("_Due", bound=Candidate)


def first_verdict(due: _Due, gates: Sequence[Callable[[_Due], Verdict | None]]) -> Verdict | None:
    """Return the verdict of the first gate that stops a candidate, or None if it may be launched."""
    return next((verdict for gate in gates if (verdict := gate(due)) is not None), None)
