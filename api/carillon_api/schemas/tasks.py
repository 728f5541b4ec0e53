"""Tasks: bodies, queries and answers."""

from typing import Any, Literal

from pydantic import Field

from carillon_api.schemas.answers import ObjectView, Page, PageQuery
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources import RunResult, ScheduledTaskSpec
from carillon_core.resources.base import Model

TaskType = Literal["sleep", "counter", "http", "sum", "container", "plugin"]


class TaskCreate(Model):
    """A task to be created."""

    name: str
    """The task's name: at most 52 lower-case letters, digits, hyphens and dots, unique in its namespace."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Labels of the task, as in Kubernetes."""
    spec: ScheduledTaskSpec
    """When to run which task; the same words as in the custom resource."""


class TaskReplace(Model):
    """What a task shall be from now on."""

    labels: dict[str, str] | None = Field(default=None, max_length=64)
    """The labels; if left out, they stay as they are."""
    spec: ScheduledTaskSpec
    """The whole spec: what is not in it goes back to its default."""


class TaskPatch(Model):
    """A JSON merge patch (RFC 7396) of a task: what is null is removed, what is left out stays."""

    labels: dict[str, str | None] | None = Field(default=None, max_length=64)
    """Labels to set, or to remove by null."""
    spec: dict[str, Any] | None = None
    """Fields of the spec to set, or to remove by null."""


class TaskView(ObjectView):
    """A task as it stands in the cluster."""

    spec: dict[str, Any]
    """What was asked for."""
    status: dict[str, Any]
    """What the operator observed and decided; empty until it has seen the task."""


class TaskList(Page):
    """A page of tasks, by namespace and name in the API server's order."""

    items: list[TaskView]
    """The tasks."""


class TaskQuery(PageQuery):
    """Which tasks to list."""

    type: TaskType | None = None
    """Only tasks of this type."""
    suspended: bool | None = None
    """Only tasks that are suspended, or only those that are not."""
    last_result: RunResult | None = None
    """Only tasks whose latest finished execution ended so."""


class AllTasksQuery(TaskQuery):
    """Which tasks of all namespaces to list."""

    namespace: NamespaceName | None = None
    """Only this namespace; all of them if left out."""
