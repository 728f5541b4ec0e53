"""Fire and forget: a task of one's own, run at once, and its output; bodies, queries and answers.

The types' own fields are the custom resource's, in its words; ``task_name``
says which type it is.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, RootModel

from carillon_api.schemas.answers import Answer, Parameters
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.contract import ExecutionStatus
from carillon_core.resources.base import Model
from carillon_core.resources.tasks import (
    DAY_SECONDS,
    ContainerTask,
    HTTPTask,
    PluginTask,
    RetryPolicy,
    SleepTask,
    SumTask,
)


class RunOptions(Model):
    """What every type may have beside its own fields."""

    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """The run is ended after so many seconds, 1 to 604800; 3600 if left out."""
    retry: RetryPolicy | None = None
    """What is tried again within the run, and when; nothing if left out."""


class RunSleep(RunOptions, SleepTask):
    """Sleep, and answer the time slept."""

    task_name: Literal["sleep"] = Field(alias="task_name")
    """The type."""


class RunCounter(RunOptions):
    """Increment a named counter, exactly once, and answer its new value."""

    task_name: Literal["counter"] = Field(alias="task_name")
    """The type."""
    name: str = Field(default="run-task", min_length=1, max_length=253)
    """The counter's name, shared by all tasks of the namespace."""


class RunHTTP(RunOptions, HTTPTask):
    """Send one HTTP request; answer its status code, response time and body."""

    task_name: Literal["http"] = Field(alias="task_name")
    """The type."""


class RunSum(RunOptions, SumTask):
    """Add two numbers, and answer the sum."""

    task_name: Literal["sum"] = Field(alias="task_name")
    """The type."""


class RunContainer(RunOptions, ContainerTask):
    """Run any image and command; answer exit code and termination message."""

    task_name: Literal["container"] = Field(alias="task_name")
    """The type."""


class RunPlugin(RunOptions, PluginTask):
    """Run a task type of an installed Python package, and answer what it returns."""

    task_name: Literal["plugin"] = Field(alias="task_name")
    """The type."""


AnyRun = RunSleep | RunCounter | RunHTTP | RunSum | RunContainer | RunPlugin
RUN_TYPES: Mapping[str, type[AnyRun]] = {
    "sleep": RunSleep,
    "counter": RunCounter,
    "http": RunHTTP,
    "sum": RunSum,
    "container": RunContainer,
    "plugin": RunPlugin,
}
"""The body of each type, by its ``task_name``."""


class RunTask(RootModel[Annotated[AnyRun, Field(discriminator="task_name")]]):
    """A task to be run at once; task_name says which type it is."""


class RunTaskQuery(Parameters):
    """Where to run it."""

    namespace: NamespaceName | None = None
    """The namespace; the facade's default one if left out."""


class RunAccepted(Answer):
    """A run that was asked for."""

    id: UUID
    """The id of its execution: what get-task-output takes."""
    namespace: str
    """Where it runs."""
    run: str
    """The name of the RunRequest that asks for it."""
    status: Literal["pending"] = "pending"
    """Nothing is known of it yet."""


class TaskOutputQuery(Parameters):
    """Of which run."""

    id: UUID
    """The id that run-task has answered, or that of any other execution."""
    namespace: NamespaceName | None = None
    """Where it runs. Only for a run that has not begun: who may not list the runs of all namespaces has it found by
    this; the Location of run-task's answer has it."""
    run: TaskName | None = None
    """The name of its RunRequest. Only for a run that has not begun: who may not list runs has it found by this."""


class TaskOutput(Answer):
    """What became of a run."""

    id: UUID
    """The execution's id."""
    namespace: str
    """Where it runs."""
    status: Literal["pending", "running", "completed", "failed"]
    """How it stands: completed and failed are final."""
    task_name: str | None = Field(alias="task_name")
    """Its type: sleep, counter, http, sum, container or plugin; null of a scheduled task's run that has not begun."""
    output: dict[str, Any] | None = None
    """What the task returned, of one that is completed; of one that failed, what it returned all the same."""
    error: str | None = None
    """What went wrong, of one that failed."""
    reason: str | None = None
    """One word for it: the gate that stopped it, or the class of its failure."""
    execution_status: ExecutionStatus | None = None
    """The history's own word for it, which tells apart failed, timed_out, cancelled, skipped and missed."""
    started_at: AwareDatetime | None = None
    """When the runner began."""
    finished_at: AwareDatetime | None = None
    """When it ended."""
