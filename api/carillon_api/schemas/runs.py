"""Runs, which are RunRequests in the cluster: bodies, query parameters and responses."""

from typing import Any
from uuid import UUID

from pydantic import Field

from carillon_api.schemas.answers import ObjectView, Page, PageQuery
from carillon_api.schemas.changes.dry_runs import OfDryRun
from carillon_api.schemas.names import NamespaceName, TaskName
from carillon_core.resources import ConcurrencyPolicy, RunResult
from carillon_core.resources.base import Model, Time
from carillon_core.resources.nesting import FreeObject
from carillon_core.resources.tasks import DAY_SECONDS


class TaskRun(Model):
    """How to run a task outside its schedule. Every field is optional."""

    parameters: FreeObject = Field(default_factory=dict)
    """Overrides for this run: a and b of sum, durationSeconds of sleep, any parameter of a plugin, environment
    variables of a container, and the parameters that the templates of an HTTP task read. Nothing else can be
    overridden."""
    run_at: Time | None = None
    """When to run it, a time in the future. Default: now."""
    concurrency_policy: ConcurrencyPolicy | None = None
    """What happens if an execution of the task is active. Forbid refuses the run. Default: the task's own policy."""
    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """The maximum duration of the run in seconds, 1 to 604800. Default: the task's own timeoutSeconds."""


class RunView(ObjectView):
    """A requested run, as stored in the cluster. Its execution stays in the history after the run is removed."""

    task: str | None
    """The scheduled task that it runs; null if the run defines its own task."""
    spec: dict[str, Any]
    """The RunRequest's spec."""
    execution_id: UUID
    """The ID of its execution, which can be read at /executions/{id} once the run has started or was refused."""
    slot: Time
    """When it is due: its runAt, else its creation."""
    accepted: bool | None
    """True if it was launched, false if it was refused, null until the operator has decided."""
    reason: str | None
    """Why it was accepted, was refused or is waiting, in one word."""
    message: str | None
    """The reason as a sentence. For a finished run, why it failed, or its result if that is short."""
    result: RunResult | None
    """The current or final status of its execution; null before the launch or if the run was refused."""
    job_name: str | None
    """The Job that runs it."""
    finished_at: Time | None
    """When it was refused or its execution ended. The run is removed some time later."""
    dry_run: OfDryRun = None
    """Only with dryRun=All: what the write would change. Nothing was changed."""


class RunList(Page):
    """A page of runs, by namespace and name in the API server's order."""

    items: list[RunView]
    """The runs."""


class RunQuery(PageQuery):
    """Which runs to list."""

    task: TaskName | None = None
    """Only runs of this scheduled task."""
    finished: bool | None = None
    """If true, only runs that were refused or have ended; if false, only runs that are waiting or running."""


class AllRunsQuery(RunQuery):
    """Which runs of all namespaces to list."""

    namespace: NamespaceName | None = None
    """Only runs in this namespace. Default: all namespaces."""
