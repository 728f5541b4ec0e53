"""Executions: queries and answers."""

from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Field

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.resources.base import Model, Time


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
    limit: int = Field(default=50, ge=1, le=500)
    """How many at most, 1 to 500."""
    cursor: str | None = Field(default=None, min_length=1, max_length=512)
    """nextCursor of the page before."""


class ExecutionsQuery(TaskExecutionsQuery):
    """Which executions to list."""

    namespace: NamespaceName | None = None
    """Only tasks of this namespace."""
    task: TaskName | None = None
    """Only tasks of this name."""
