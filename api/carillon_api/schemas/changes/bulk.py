"""Changes of all objects that a filter matches: bodies and responses."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.changes.dry_runs import OfDryRun
from carillon_api.schemas.executions import ExecutionFilters
from carillon_api.schemas.names import TaskName
from carillon_api.schemas.tasks import TaskFilters
from carillon_core.resources.base import Model

TaskAction = Literal["pause", "resume", "run", "delete"]
ExecutionAction = Literal["retry", "cancel"]


class Bulk(Model):
    """The fields that the bodies share."""

    everything: bool = Field(default=False, alias="all")
    """Must be true if the filter does not narrow the selection: a safeguard against an empty filter."""
    expected_count: int | None = Field(default=None, ge=0)
    """How many objects the caller expects to match: matched from a dry run, or remaining from the previous call. If
    another number matches, nothing is changed (409). Required unless dryRun=All."""
    cursor: str | None = Field(default=None, min_length=1, max_length=2048)
    """nextCursor of the previous call, to continue with the objects that it did not reach."""


class TaskBulk(Bulk):
    """What to do with all tasks that match."""

    action: TaskAction
    """What to do with each of them, as by the request for one task. A run has no parameters."""
    filters: TaskFilters = Field(alias="filter")
    """Which tasks: the filters of the list."""


class BulkExecutionFilters(ExecutionFilters):
    """Which executions to change."""

    task: TaskName | None = None
    """Only executions of the task with this name."""


class ExecutionBulk(Bulk):
    """What to do with all executions that match."""

    action: ExecutionAction
    """What to do with each of them, as by the request for one execution. A retry has the execution's own parameters.
    retry requires deadLetters, or a status that can be retried; cancel applies to running executions only."""
    filters: BulkExecutionFilters = Field(alias="filter")
    """Which executions: the filters of the list."""


class ItemProblem(Answer):
    """Why one object was not changed: the problem that the request for it alone would have had."""

    type: str
    """The type of problem: a URN that never changes."""
    title: str
    """The type of problem in words."""
    status: int
    """The HTTP status code."""
    detail: str
    """What happened, in one sentence."""


class BulkItem(Answer):
    """One object that matched."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    execution_id: UUID | None
    """The execution's ID; null for a task."""
    outcome: Literal["matched", "done", "unchanged", "failed"]
    """done: changed. unchanged: there was nothing to change, such as pausing a suspended task. failed: see problem.
    matched: it was a dry run."""
    created: str | None
    """The name of the RunRequest that run or retry has created."""
    problem: ItemProblem | None
    """Why it failed."""


class BulkResult(Answer):
    """What was done with each object. The call succeeds even if it fails for some objects: check failed."""

    matched: int
    """How many objects matched; with a cursor, only those that remained."""
    done: int
    """How many were changed."""
    unchanged: int
    """How many did not need to be changed."""
    failed: int
    """How many could not be changed."""
    remaining: int
    """How many were not tried, because the call would have taken too long: repeat it with nextCursor and this number as
    expectedCount."""
    next_cursor: str | None
    """Where to continue; null if all were tried."""
    items: list[BulkItem]
    """The objects that were tried, in order; of a dry run, the first 100 that match. Tasks are ordered by namespace and
    name, executions by slot, oldest first."""
    dry_run: OfDryRun = None
    """Only with dryRun=All: nothing was changed, and the matches were only counted."""
