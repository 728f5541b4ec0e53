"""Tasks: bodies, queries and answers."""

from typing import Any

from pydantic import Field

from carillon_api.schemas.answers import Answer
from carillon_api.schemas.names import NamespaceName
from carillon_core.resources import ScheduledTaskSpec
from carillon_core.resources.base import Model, Time


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


class TaskView(Answer):
    """A task as it stands in the cluster."""

    name: str
    """The task's name."""
    namespace: str
    """The task's namespace."""
    uid: str
    """The identity of this task; another one of the same name has another."""
    resource_version: str
    """Changes with every write; the ETag without its quotes."""
    generation: int
    """Grows with every change of the spec."""
    created_at: Time | None
    """When it was created."""
    labels: dict[str, str]
    """Its labels."""
    spec: dict[str, Any]
    """What was asked for."""
    status: dict[str, Any]
    """What the operator observed and decided; empty until it has seen the task."""


class TaskList(Answer):
    """Tasks, ordered by namespace and name."""

    items: list[TaskView]
    """The tasks."""


class TaskQuery(Model):
    """Which tasks to list."""

    label_selector: str = Field(default="", max_length=4096)
    """A label selector, such as app=web,tier in (a, b),!canary."""


class AllTasksQuery(TaskQuery):
    """Which tasks of all namespaces to list."""

    namespace: NamespaceName | None = None
    """Only this namespace; all of them if left out."""
