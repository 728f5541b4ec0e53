"""The plan that ``decide`` returns, and the reasons that conditions, Events and rows share."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.observed.jobs import QUARANTINED
from carillon_core.resources.run_request import RunRequestStatus
from carillon_core.resources.scheduled_task import ScheduledTaskStatus


class Reason(StrEnum):
    """Reasons of verdicts, conditions, Events and skipped executions. They are API: never renamed."""

    # Ready
    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    INVALID_SPEC = "InvalidSpec"
    INVALID_SCHEDULE = "InvalidSchedule"
    QUARANTINED = QUARANTINED
    RUN_AT_IN_THE_PAST = "RunAtInThePast"
    NAME_TAKEN = "JobNameTaken"
    LAUNCH_REFUSED = "LaunchRefused"
    SECRET_NOT_ALLOWED = "SecretNotAllowed"  # noqa: S105  # a reason
    CIRCUIT_OPEN = "CircuitOpen"
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_INVALID = "TargetInvalid"
    # a slot that is not launched
    STILL_ACTIVE = "StillActive"
    DEADLINE_EXCEEDED = "StartingDeadlineExceeded"
    SUPERSEDED = "SupersededByLaterSlot"
    MISSED_RUN_POLICY = "MissedRunPolicy"
    TOO_MANY_MISSED = "TooManyMissed"
    SCHEDULE_CHANGED = "ScheduleChanged"
    # a request
    WAITING = "Waiting"
    ACCEPTED = "Accepted"
    TASK_NOT_FOUND = "TaskNotFound"
    TASK_INVALID = "TaskInvalid"
    INVALID_PARAMETERS = "InvalidParameters"
    FINISHED = "Finished"
    # what happened
    LAUNCHED = "Launched"
    SUCCEEDED = "ExecutionSucceeded"
    FAILED = "ExecutionFailed"
    JOB_DELETED = "JobDeleted"
    REPLACED = "Replaced"
    STUCK = "PodCannotStart"


NO_SLOTS_LEFT = "the schedule has no more slots"
"""The message of ``Reason.COMPLETED`` unless ``maxRuns`` ended the task."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Create the runner Job of a slot."""

    slot: datetime
    execution_id: UUID
    cause: Cause = Cause.SCHEDULE


@dataclass(frozen=True, slots=True)
class RecordUnlaunched:
    """Record that a slot was skipped or missed, for good."""

    slot: datetime
    execution_id: UUID
    status: Literal[ExecutionStatus.SKIPPED, ExecutionStatus.MISSED, ExecutionStatus.FAILED]
    """Failed: it could not be tried, because something that it needs is missing or invalid."""
    reason: Reason
    message: str
    cause: Cause = Cause.SCHEDULE
    first_slot: datetime | None = None
    """For a series of slots, the earliest; ``slot`` is the latest."""


@dataclass(frozen=True, slots=True)
class EndExecution:
    """End an active execution: its row is closed, its Job deleted when its pods are gone."""

    job_name: str
    job_uid: str
    execution_id: UUID
    status: Literal[ExecutionStatus.CANCELLED, ExecutionStatus.FAILED]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a finished Job that exceeds the history limits or its maximum age, or that its queue would start again."""

    job_name: str
    job_uid: str


Action = Launch | RecordUnlaunched | EndExecution | DeleteJob


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event to post about the task, and the line to log about it."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str
    happened: str = ""
    """What happened, as a fixed phrase: the message of the log line."""
    cause: str = ""
    """Distinguishes Events that have the same reason. Events of one cause are one Event with a count."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a task now, which Events to post, and when to decide again."""

    status: ScheduledTaskStatus
    actions: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()
    requeue_at: datetime | None = None
    """When the next decision is due; None if only a change can bring one."""


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """What to do about one RunRequest now."""

    status: RunRequestStatus
    actions: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()
    requeue_at: datetime | None = None
    delete: bool = False
    """Whether its time to live is over."""


def earliest(*times: datetime | None) -> datetime | None:
    """Return the earliest of the times that are set, or None if none is."""
    return min((t for t in times if t is not None), default=None)
