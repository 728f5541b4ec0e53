"""Executions: query parameters, bodies and responses."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from carillon_api.schemas.answers import Answer, StatusField
from carillon_api.schemas.changes.dry_runs import OfDryRun
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.contract import Cause
from carillon_core.resources import base
from carillon_core.resources.base import Model, Time
from carillon_core.resources.nesting import FreeObject

MAX_LOG_BYTES = 1024 * 1024
FIRST_YEAR, LAST_YEAR = 1970, 9998


def _storable(when: datetime) -> datetime:
    """Return a time that every time zone can express."""
    if not FIRST_YEAR <= when.year <= LAST_YEAR:
        raise ValueError(f"must be in a year from {FIRST_YEAR} to {LAST_YEAR}")
    return when


Instant = Annotated[base.Instant, AfterValidator(_storable)]


class ExecutionView(Answer):
    """The record of one slot of a task."""

    id: UUID
    """The execution's ID."""
    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    task_uid: str
    """The task's UID."""
    task_type: str
    """The task's type: sleep, counter, http, sum, container, job or plugin."""
    slot: Time
    """The scheduled time. For an item that covers several slots, the latest of them."""
    first_slot: Time | None
    """For an item that covers several slots, the earliest of them: every slot from firstSlot to slot ended this way."""
    cause: Cause
    """Why it exists: schedule, or manual for a requested run."""
    status: StatusField
    """The current or final status."""
    reason: str | None
    """Why, in one word: the gate that stopped it, or the class of its failure."""
    message: str | None
    """The reason as a sentence."""
    job_name: str | None
    """The Job that ran it; for a container that is retried, the Job of the first attempt."""
    pod_name: str | None
    """The pod that ran it; for a container or a job, set when it ends. A job may have had other pods: see attempts."""
    created_at: AwareDatetime | None
    """When it was first recorded."""
    started_at: AwareDatetime | None
    """When the runner started; for a container or a job, when its Job was created."""
    finished_at: AwareDatetime | None
    """When it ended. For a container or a job, Kubernetes reports whole seconds; the time has a fraction only if the
    operator saw the end within that second."""
    duration_seconds: float | None
    """The time from start to end, in seconds; null while it runs and if it never ran."""
    result: dict[str, Any] | None
    """The task's result."""
    error: str | None
    """What went wrong."""
    retry_of: UUID | None
    """The execution that this one retries."""


class AttemptView(Answer):
    """One attempt within an execution."""

    number: int
    """The attempt's number, starting at 1."""
    status: StatusField
    """The current or final status."""
    reason: str | None
    """The class of its failure: Timeout, DNS, HTTP5xx, PodLost and so on."""
    error: str | None
    """What went wrong."""
    pod_name: str | None
    """The attempt's pod: pass this name to /logs as pod while the pod exists."""
    started_at: AwareDatetime | None
    """When it started."""
    finished_at: AwareDatetime | None
    """When it ended."""
    duration_seconds: float | None
    """The time from start to end, in seconds; null while it runs."""
    status_code: int | None
    """The HTTP status of the response; null if the task is not http or there was no response."""
    response_time_ms: float | None
    """The time from sending the HTTP request to the end of the response, in milliseconds; null if statusCode is."""


class ExecutionDetail(ExecutionView):
    """An execution with its attempts and its retries."""

    attempts: list[AttemptView]
    """The attempts, in order."""
    retried_by: list[UUID]
    """The executions that retry this one, newest first; at most 100."""


class ExecutionList(Answer):
    """A page of executions, newest slot first."""

    items: list[ExecutionView]
    """The executions."""
    next_cursor: str | None
    """The cursor of the next page; null on the last page."""


class ExecutionFilters(Model):
    """Which executions to select."""

    status: StatusField | None = None
    """Only executions with this status."""
    cause: Cause | None = None
    """Only executions from the schedule, or only requested ones."""
    reason: str | None = Field(default=None, min_length=1, max_length=128)
    """Only executions with this reason, such as StillActive, PodLost or HTTP5xx."""
    since: Instant | None = None
    """Only slots at or after this time (RFC 3339)."""
    until: Instant | None = None
    """Only slots before this time (RFC 3339)."""
    dead_letters: bool = False
    """Only executions that failed or timed out and were not retried."""
    retry_of: UUID | None = None
    """Only retries of this execution."""

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("until must be later than since")
        return self


class TaskExecutionsQuery(ExecutionFilters):
    """Which executions of a task to list."""

    limit: int = Field(default=50, ge=1, le=500)
    """The maximum number of items per page, 1 to 500."""
    cursor: str | None = Field(default=None, min_length=1, max_length=512)
    """nextCursor of the previous page; valid with the same filters only."""


class NamespaceExecutionsQuery(TaskExecutionsQuery):
    """Which executions of a namespace to list."""

    task: TaskName | None = None
    """Only executions of the task with this name."""


class ExecutionsQuery(NamespaceExecutionsQuery):
    """Which executions to list."""

    namespace: NamespaceName | None = None
    """Only executions of tasks in this namespace."""


class RetryBody(Model):
    """How to retry an execution."""

    parameters: FreeObject | None = None
    """The parameters of the new run, as in a RunRequest. Default: those of the retried execution."""


class RetryAccepted(Answer):
    """A retry of an execution was requested."""

    id: UUID
    """The ID of the new execution, which can be read once the run has started or was refused."""
    retry_of: UUID
    """The execution that it retries."""
    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    run: str
    """The name of the RunRequest."""
    parameters: dict[str, Any]
    """The parameters of the new run."""
    dry_run: OfDryRun = None
    """Only with dryRun=All: what the write would change. Nothing was changed."""


class CancelAccepted(Answer):
    """An execution is being cancelled."""

    id: UUID
    """The execution's ID."""
    job_name: str | None
    """The Job that was deleted; null if there was none left."""
    message: str
    """What happens next."""
    dry_run: OfDryRun = None
    """Only with dryRun=All: what the write would change. Nothing was changed."""


class LogsQuery(Model):
    """Which logs to read."""

    pod: str | None = Field(default=None, min_length=1, max_length=253)
    """The pod, an attempt's podName. It must still exist. Default: the newest pod."""
    tail_lines: int | None = Field(default=None, ge=1, le=100_000)
    """The number of lines to return, counted from the end. Default: all lines."""
    limit_bytes: int = Field(default=MAX_LOG_BYTES, ge=1, le=MAX_LOG_BYTES)
    """The maximum number of bytes to return, 1 to 1048576, counted from the first line."""
