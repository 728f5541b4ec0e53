"""Tasks: bodies, query parameters and responses."""

from typing import Any, Literal

from pydantic import Field

from carillon_api.schemas.answers import ObjectFilters, ObjectView, Page, PageQuery
from carillon_api.schemas.changes.dry_runs import OfDryRun
from carillon_api.schemas.names import NamespaceName
from carillon_api.schemas.upcoming import FireTime
from carillon_core.resources import RunResult, ScheduledTaskSpec
from carillon_core.resources.base import Model

TaskType = Literal["sleep", "counter", "http", "sum", "container", "job", "plugin"]


class TaskCreate(Model):
    """A task to create."""

    name: str
    """The task's name: at most 52 lowercase letters, digits, hyphens and dots; unique in its namespace."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """The task's labels, as in Kubernetes."""
    spec: ScheduledTaskSpec
    """When to run which task: the same fields as in the custom resource."""


class TaskReplace(Model):
    """The new labels and spec of a task."""

    labels: dict[str, str] | None = Field(default=None, max_length=64)
    """The new labels. Default: the labels stay as they are."""
    spec: ScheduledTaskSpec
    """The complete new spec: fields that are left out get their default values."""


class TaskPatch(Model):
    """A JSON merge patch (RFC 7396) of a task: null removes a field, and a field that is left out stays as it is."""

    labels: dict[str, str | None] | None = Field(default=None, max_length=64)
    """Labels to set, or to remove with null."""
    spec: dict[str, Any] | None = None
    """Fields of the spec to set, or to remove with null."""


class TaskView(ObjectView):
    """A task as stored in the cluster."""

    spec: dict[str, Any]
    """The task's spec."""
    status: dict[str, Any]
    """What the operator has observed and decided; empty until it has seen the task."""
    schedule_in_words: str | None
    """When the task runs, in English, such as `at 02:30 every day, Europe/Berlin time`. Null if the spec is invalid."""
    next_runs: list[FireTime]
    """The next slots, earliest first, computed for this response: up to five for a single task, one per task in a
    list. Empty if the task is suspended, completed or invalid. A 304 response does not update them."""
    dry_run: OfDryRun = None
    """Only with dryRun=All: what the write would change. Nothing was changed."""


class TaskList(Page):
    """A page of tasks, by namespace and name in the API server's order."""

    items: list[TaskView]
    """The tasks."""


class TaskFilters(ObjectFilters):
    """Which tasks to select."""

    name_contains: str | None = Field(default=None, min_length=1, max_length=253)
    """Only tasks whose names contain this text."""
    type: TaskType | None = None
    """Only tasks of this type."""
    suspended: bool | None = None
    """If true, only suspended tasks; if false, only tasks that are not suspended."""
    last_result: RunResult | None = None
    """Only tasks whose last finished execution has this result."""


class TaskQuery(TaskFilters, PageQuery):
    """Which tasks to list."""


class AllTasksQuery(TaskQuery):
    """Which tasks of all namespaces to list."""

    namespace: NamespaceName | None = None
    """Only tasks in this namespace. Default: all namespaces."""
