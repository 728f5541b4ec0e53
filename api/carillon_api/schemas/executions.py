"""Executions: queries and answers."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.resources.base import Model, Time

MAX_LOG_BYTES = 1024 * 1024
FIRST_YEAR, LAST_YEAR = 1970, 9998


def _storable(when: datetime) -> datetime:
    """Return an instant that stays one in any time zone."""
    if not FIRST_YEAR <= when.year <= LAST_YEAR:
        raise ValueError(f"is out of reach: name a year from {FIRST_YEAR} to {LAST_YEAR}")
    return when


Instant = Annotated[AwareDatetime, AfterValidator(_storable)]


class ExecutionView(Answer):
    """What became of one slot of a task."""

    id: UUID
    """The execution's id."""
    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    task_uid: str
    """The task's identity."""
    task_type: str
    """sleep, counter, http, sum, container or plugin."""
    slot: Time
    """The nominal time; of an item that stands for a run of slots, the latest one."""
    first_slot: Time | None
    """Of an item that stands for a run of slots, the earliest one: each slot from it to slot ended as this item."""
    cause: Cause
    """Why it exists: schedule, or manual for a run that was requested."""
    status: ExecutionStatus
    """What became of it."""
    reason: str | None
    """One word: the gate that stopped it, or the class of its failure."""
    message: str | None
    """The reason as a sentence."""
    job_name: str | None
    """The Job that ran it."""
    pod_name: str | None
    """The pod that ran it."""
    created_at: AwareDatetime | None
    """When it was recorded first."""
    started_at: AwareDatetime | None
    """When the runner began."""
    finished_at: AwareDatetime | None
    """When it ended."""
    duration_seconds: float | None
    """From its start to its end, in seconds; null while it runs, and if it never did."""
    result: dict[str, Any] | None
    """What the task returned."""
    error: str | None
    """What went wrong."""
    retry_of: UUID | None
    """The execution that this one repeats, at somebody's request."""


class AttemptView(Answer):
    """One try within an execution."""

    number: int
    """From 1."""
    status: ExecutionStatus
    """What became of it."""
    reason: str | None
    """The class of its failure: timeout, dns, http_5xx, PodLost and so on."""
    error: str | None
    """What went wrong."""
    pod_name: str | None
    """The pod that made it; its logs are found by this name."""
    started_at: AwareDatetime | None
    """When it began."""
    finished_at: AwareDatetime | None
    """When it ended."""
    duration_seconds: float | None
    """From its start to its end, in seconds; null while it runs."""


class ExecutionDetail(ExecutionView):
    """An execution with its attempts, and with what repeats it."""

    attempts: list[AttemptView]
    """Its tries, first to last."""
    retried_by: list[UUID]
    """The executions that repeat this one, newest first; at most 100."""


class ExecutionList(Answer):
    """A page of executions, newest slot first."""

    items: list[ExecutionView]
    """The executions."""
    next_cursor: str | None
    """Pass it as cursor for the next page; null on the last one."""


class TaskExecutionsQuery(Model):
    """Which executions of a task to list."""

    status: ExecutionStatus | None = None
    """Only executions of this status."""
    cause: Cause | None = None
    """Only those of the schedule, or only those that were requested."""
    reason: str | None = Field(default=None, min_length=1, max_length=128)
    """Only those that this gate stopped, or that failed in this way: StillActive, PodLost, http_5xx."""
    since: Instant | None = None
    """Only slots at or after this (RFC 3339)."""
    until: Instant | None = None
    """Only slots before this (RFC 3339)."""
    dead_letters: bool = False
    """Only those that failed or timed out, and that nobody has repeated."""
    retry_of: UUID | None = None
    """Only those that repeat this execution."""
    limit: int = Field(default=50, ge=1, le=500)
    """How many at most, 1 to 500."""
    cursor: str | None = Field(default=None, min_length=1, max_length=512)
    """nextCursor of the page before; it goes with the very filters that it came with."""

    @model_validator(mode="after")
    def _window_is_open(self) -> "TaskExecutionsQuery":
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("until is not later than since: no slot lies between them")
        return self


class NamespaceExecutionsQuery(TaskExecutionsQuery):
    """Which executions of a namespace to list."""

    task: TaskName | None = None
    """Only tasks of this name."""


class ExecutionsQuery(NamespaceExecutionsQuery):
    """Which executions to list."""

    namespace: NamespaceName | None = None
    """Only tasks of this namespace."""


class RetryBody(Model):
    """How to repeat an execution."""

    parameters: dict[str, Any] | None = None
    """The parameters of the new run, as in a RunRequest; those of the one that is repeated if left out."""


class RetryAccepted(Answer):
    """A run was requested that repeats an execution."""

    id: UUID
    """The id that the new execution will have; it can be read once the run has begun or was refused."""
    retry_of: UUID
    """The execution that it repeats."""
    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    run: str
    """The RunRequest's name."""
    parameters: dict[str, Any]
    """The parameters that it runs with."""


class CancelAccepted(Answer):
    """An execution is being ended."""

    id: UUID
    """The execution's id."""
    job_name: str | None
    """The Job that was deleted; null if it was gone already."""
    message: str
    """What happens now."""


class LogsQuery(Model):
    """Which part of the logs to read."""

    pod: str | None = Field(default=None, min_length=1, max_length=253)
    """The pod, as an attempt's podName; the newest one if left out."""
    tail_lines: int | None = Field(default=None, ge=1, le=100_000)
    """Only so many lines of the end; all if left out."""
    limit_bytes: int = Field(default=MAX_LOG_BYTES, ge=1, le=MAX_LOG_BYTES)
    """So many bytes at most, 1 to 1048576, counted from the first line that is wanted."""
