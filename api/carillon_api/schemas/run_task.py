"""One-off tasks that run at once, and their output: bodies, query parameters and responses.

Each type has the same fields as in the custom resource; ``task_name`` selects
the type.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, RootModel

from carillon_api.schemas.answers import Answer, Parameters, StatusField
from carillon_api.schemas.changes.dry_runs import OfDryRun
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.resources.base import Model
from carillon_core.resources.containers import ContainerTask, JobTask
from carillon_core.resources.tasks import (
    DAY_SECONDS,
    HTTPTask,
    PluginTask,
    RetryPolicy,
    SleepTask,
    SumTask,
)


class RunOptions(Model):
    """The options that every type has."""

    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """The maximum duration of the run in seconds, 1 to 604800. Default: 3600."""
    retry: RetryPolicy | None = None
    """How failed attempts are retried. Default: no retries."""


class RunSleep(RunOptions, SleepTask):
    """Sleep, and return the time slept."""

    task_name: Literal["sleep"] = Field(alias="task_name")
    """The task's type."""


class RunCounter(RunOptions):
    """Increment a named counter exactly once, and return its new value."""

    task_name: Literal["counter"] = Field(alias="task_name")
    """The task's type."""
    name: str = Field(default="run-task", min_length=1, max_length=253)
    """The counter's name, shared by all tasks in the namespace."""


class RunHTTP(RunOptions, HTTPTask):
    """Send one HTTP request, and return its status code, response time and body."""

    task_name: Literal["http"] = Field(alias="task_name")
    """The task's type."""


class RunSum(RunOptions, SumTask):
    """Add two numbers, and return the sum."""

    task_name: Literal["sum"] = Field(alias="task_name")
    """The task's type."""


class RunContainer(RunOptions, ContainerTask):
    """Run any image and command, and return the exit code and the termination message."""

    task_name: Literal["container"] = Field(alias="task_name")
    """The task's type."""


class RunJob(RunOptions, JobTask):
    """Run a Kubernetes Job of any form, and return the exit code and the termination message."""

    task_name: Literal["job"] = Field(alias="task_name")
    """The task's type."""


class RunPlugin(RunOptions, PluginTask):
    """Run a task type from an installed Python package, and return its result."""

    task_name: Literal["plugin"] = Field(alias="task_name")
    """The task's type."""


AnyRun = RunSleep | RunCounter | RunHTTP | RunSum | RunContainer | RunJob | RunPlugin
RUN_TYPES: Mapping[str, type[AnyRun]] = {
    "sleep": RunSleep,
    "counter": RunCounter,
    "http": RunHTTP,
    "sum": RunSum,
    "container": RunContainer,
    "job": RunJob,
    "plugin": RunPlugin,
}
"""The body model of each type, by its ``task_name``."""


class RunTask(RootModel[Annotated[AnyRun, Field(discriminator="task_name")]]):
    """A task to run at once; task_name selects its type."""


class RunTaskQuery(Parameters):
    """Where to run the task."""

    namespace: NamespaceName | None = None
    """The namespace. Default: the API's default namespace."""
    dry_run: Literal["All"] | None = None
    """All: change nothing, and return what the request would change."""


class RunAccepted(Answer):
    """A run that was requested."""

    id: UUID
    """The ID of its execution: pass it to get-task-output as id."""
    namespace: str
    """The namespace of the run."""
    run: str
    """The name of its RunRequest."""
    status: Literal["pending"] = "pending"
    """Always pending: the run has not started yet."""
    dry_run: OfDryRun = None
    """Only with dryRun=All: what the write would change. Nothing was changed."""


class TaskOutputQuery(Parameters):
    """Which run to read."""

    id: UUID
    """The ID that run-task returned, or the ID of any other execution."""
    namespace: NamespaceName | None = None
    """The namespace of the run. Default: any."""
    run: TaskName | None = None
    """The name of its RunRequest. Set it to find a run that was requested with kubectl and has not started."""


class TaskOutput(Answer):
    """The state and the output of a run."""

    id: UUID
    """The execution's id."""
    namespace: str
    """The namespace of the run."""
    status: Literal["pending", "running", "completed", "failed"]
    """The state of the run; completed and failed are final."""
    task_name: str | None = Field(alias="task_name")
    """The type: sleep, counter, http, sum, container, job or plugin. Null if a scheduled task's run has not started."""
    output: dict[str, Any] | None = None
    """The task's result. A failed run can have one too."""
    error: str | None = None
    """What went wrong, if the run failed."""
    reason: str | None = None
    """Why, in one word: the gate that stopped it, or the class of its failure."""
    execution_status: StatusField | None = None
    """The execution's status, which distinguishes Failed, TimedOut, Cancelled, Skipped and Missed."""
    started_at: AwareDatetime | None = None
    """When the runner started."""
    finished_at: AwareDatetime | None = None
    """When it ended."""
