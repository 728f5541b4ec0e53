"""The id of an execution, the name of its Job, and its record."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.resources.base import rfc3339

REPEATS_EARLIER = timedelta(days=1)
"""How much earlier the slot of a retry may be than its original's, since clocks differ. An execution that claims to be
earlier is not a retry, so older months need not be searched."""

MOST_JOBS = 21
"""The most attempts of one execution: the first, and as many as ``spec.retry.limit`` may allow."""
_SECOND = "g"


def earliest_repeat(slot: datetime) -> datetime:
    """Return the earliest slot that a retry of an execution of this slot may have."""
    try:
        return slot - REPEATS_EARLIER
    except OverflowError:  # the earliest date
        return slot


def execution_id(task_uid: str, slot: datetime, cause: Cause) -> UUID:
    """Return the id of a slot's execution, which is derived: ``uuid5(task uid, slot, cause)``."""
    return uuid5(UUID(task_uid), f"{rfc3339(slot)}/{cause}")


def job_name(task_name: str, slot: datetime) -> str:
    """Return the only name that the Job of this slot can have, so that it cannot be created twice."""
    return f"{task_name}-{int(slot.timestamp()):010d}"


def request_job_name(request_name: str, request_uid: str) -> str:
    """Return the only name that the Job of a RunRequest can have; it differs from the names of all slots' Jobs."""
    return f"{request_name}-{request_uid[:8]}"


def attempt_job_name(first: str, slot: datetime, cause: Cause, number: int) -> str:
    """Return the only name that the Job of an attempt can have.

    It ends in a letter from g (the second attempt) to z (the 21st), which ends the name of no first attempt. The slot
    is in hexadecimal, so that the name is no longer than that of the first.

    Args:
        first: The name of the first attempt's Job.
        slot: The slot of the execution.
        cause: Its cause.
        number: The attempt, from 1.

    """
    if number == 1:
        return first
    letter = chr(ord(_SECOND) + number - 2)
    if cause is Cause.MANUAL:
        return first + letter
    return f"{first.rpartition('-')[0]}-{int(slot.timestamp()):09x}{letter}"


def attempt_number(name: str, first: str, slot: datetime, cause: Cause) -> int | None:
    """Return which attempt's Job has this name; None if it is that of no attempt of this execution."""
    if name == first:
        return 1
    number = ord(name[-1:] or _SECOND) - ord(_SECOND) + 2
    in_range = 1 < number <= MOST_JOBS
    return number if in_range and name == attempt_job_name(first, slot, cause, number) else None


def later_job_names(first: str, slot: datetime, cause: Cause, number: int) -> list[str]:
    """Return the names of the Jobs of all attempts that may follow the attempt of this number."""
    return [attempt_job_name(first, slot, cause, each) for each in range(number + 1, MOST_JOBS + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try within an execution."""

    number: int
    """From 1."""
    status: ExecutionStatus
    reason: str | None = None
    """The class of its failure: ``Timeout``, ``DNS``, ``HTTP5xx``, ``PodLost`` and so on."""
    error: str | None = None
    """What went wrong, for people."""
    pod_name: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    status_code: int | None = None
    """Of the response to an HTTP task; None if there was none, and in rows of earlier versions."""
    response_time_ms: float | None = None
    """From sending the request to the end of the response; None as ``status_code`` is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """One row of the history. Times are aware; a time is None if the event has not happened."""

    id: UUID
    task_uid: str
    namespace: str
    task: str
    """The task's name."""
    task_type: str
    """``sleep``, ``counter``, ``http``, ``sum``, ``container`` or ``plugin``."""
    slot: datetime
    """The nominal time; for a row that covers a series of slots, the latest one."""
    cause: Cause
    status: ExecutionStatus
    reason: str | None = None
    """One CamelCase word: the gate that stopped it, or the class of its failure."""
    message: str | None = None
    """The reason as a sentence."""
    job_name: str | None = None
    pod_name: str | None = None
    created_at: datetime | None = None
    """When the row was first written."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: dict[str, Any] | None = None
    """What the task returned: ``{"sum": 3}``."""
    error: str | None = None
    """What went wrong, for people."""
    origin: str | None = None
    """The uid of the RunRequest that asked for it; None means the task's uid."""
    first_slot: datetime | None = None
    """For a row that covers a series of slots, the earliest one: each slot from it to ``slot`` ended like this row."""
    retry_of: UUID | None = None
    """The execution that this one repeats, on request."""
    attempts: tuple[Attempt, ...] = ()
    """Its attempts in order; listings omit them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """The end of an execution whose runner could not record it itself."""

    id: UUID
    namespace: str
    """The task's namespace; an execution of another namespace is never closed."""
    task: str = ""
    """The task's name, to find the task that waits for the closing; it does not select the row."""
    slot: datetime
    """The execution's slot: only its month is searched for the row."""
    status: ExecutionStatus
    reason: str | None
    message: str | None
    """Also the row's error, unless it succeeded."""
    finished_at: datetime
    result: dict[str, Any] | None = None
    """The result of a user's container, which has no runner to record it."""
    pod_name: str | None = None
    """The pod of a user's container, for the row that was written before there was one."""
    expected: bool = False
    """Whether no runner was to record this end: a container has none, or the operator decided on the end itself."""
    explains: bool = False
    """Whether it also gives its reason and message to a row that its runner closed as terminated."""


def job_names_of(record: ExecutionRecord) -> list[str]:
    """Return the names that a Job of an execution may have: of a container, that of its last possible attempt first."""
    if not record.job_name:
        return []
    is_retried = record.task_type == "container"
    later = later_job_names(record.job_name, record.slot, record.cause, 1) if is_retried else []
    return [*reversed(later), record.job_name]
