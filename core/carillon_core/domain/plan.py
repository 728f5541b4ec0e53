"""What ``decide`` returns, and the fixed vocabulary of reasons that everything else repeats."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.resources.scheduled_task import ScheduledTaskStatus


class Reason(StrEnum):
    """Reasons of verdicts, conditions, Events and skipped executions. They are API: never renamed."""

    # Ready
    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"
    COMPLETED = "Completed"
    INVALID_SPEC = "InvalidSpec"
    INVALID_SCHEDULE = "InvalidSchedule"
    RUN_AT_IN_THE_PAST = "RunAtInThePast"
    NAME_TAKEN = "JobNameTaken"
    LAUNCH_REFUSED = "LaunchRefused"
    # a slot that is not launched
    STILL_ACTIVE = "StillActive"
    DEADLINE_EXCEEDED = "StartingDeadlineExceeded"
    SUPERSEDED = "SupersededByLaterSlot"
    # what happened
    LAUNCHED = "Launched"
    FAILED = "ExecutionFailed"
    JOB_DELETED = "JobDeleted"


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
    status: Literal[ExecutionStatus.SKIPPED, ExecutionStatus.MISSED]
    reason: Reason
    message: str
    cause: Cause = Cause.SCHEDULE


Action = Launch | RecordUnlaunched


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event to post about the task."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a task now, what to say, and when to look again."""

    status: ScheduledTaskStatus
    actions: tuple[Action, ...] = ()
    notices: tuple[Notice, ...] = ()
    requeue_at: datetime | None = None
    """When the next decision is due; None if only a change can bring one."""
