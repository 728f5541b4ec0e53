"""Runs, which are RunRequests in the cluster: bodies, queries and answers."""

from typing import Any
from uuid import UUID

from pydantic import Field

from carillon_api.schemas.answers import ObjectView, Page, PageQuery
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.resources import ConcurrencyPolicy, RunResult
from carillon_core.resources.base import Model, Time
from carillon_core.resources.tasks import DAY_SECONDS


class TaskRun(Model):
    """How a task is run out of turn; nothing of it is needed."""

    parameters: dict[str, Any] = Field(default_factory=dict)
    """What this run has otherwise: a and b of sum, durationSeconds of sleep, any parameter of a plugin; environment
    variables of a container; what the templates of an HTTP task read as parameters. Nothing else can be overridden."""
    run_at: Time | None = None
    """When to run it, a time to come; at once if left out."""
    concurrency_policy: ConcurrencyPolicy | None = None
    """What happens if an execution of the task is active: the task's own policy if left out. Forbid refuses the run."""
    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """The run is ended after so many seconds, 1 to 604800; the task's own timeoutSeconds if left out."""


class RunView(ObjectView):
    """A run that was asked for, as it stands in the cluster; its execution stays in the history when it is gone."""

    task: str | None
    """The scheduled task that it runs; null if it has a task of its own."""
    spec: dict[str, Any]
    """What was asked for: the RunRequest's spec."""
    execution_id: UUID
    """The id of its execution: /executions/{id} knows it from the moment it begins or is refused."""
    slot: Time
    """When it is to run: its runAt, else its creation."""
    accepted: bool | None
    """Whether it was launched (true) or refused (false); null until the operator has decided."""
    reason: str | None
    """Why it is accepted, refused or still waits, in one word."""
    message: str | None
    """The reason as a sentence; of one that has finished, why it failed, or the result if that is short."""
    result: RunResult | None
    """How its execution stands or ended; null until it is launched, and if it was refused."""
    job_name: str | None
    """The Job that runs it."""
    finished_at: Time | None
    """When it was refused or its execution ended; some time later, the run is removed."""


class RunList(Page):
    """A page of runs, by namespace and name in the API server's order."""

    items: list[RunView]
    """The runs."""


class RunQuery(PageQuery):
    """Which runs to list."""

    task: TaskName | None = None
    """Only runs of this scheduled task."""
    finished: bool | None = None
    """Only runs that were refused or have ended, or only those that wait or run."""


class AllRunsQuery(RunQuery):
    """Which runs of all namespaces to list."""

    namespace: NamespaceName | None = None
    """Only this namespace; all of them if left out."""
