"""The kind ``RunRequest``: one run of a ScheduledTask, or of a task defined in the request, now or at a given time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import Field, ValidationError, model_validator

from carillon_core.errors import FieldProblem
from carillon_core.resources.base import MAX_MESSAGE, MAX_REASON, Model, Time, rfc3339
from carillon_core.resources.containers import ObjectName
from carillon_core.resources.field_problems import validated
from carillon_core.resources.meta import Condition, ObjectMeta
from carillon_core.resources.names import API_VERSION, KIND_REQUEST
from carillon_core.resources.nesting import FreeObject
from carillon_core.resources.pods import PodSettings, QueueName
from carillon_core.resources.scheduled_task import YEAR_SECONDS, ConcurrencyPolicy, RunResult
from carillon_core.resources.tasks import DAY_SECONDS, RetryPolicy, Task

LONG_PAST = timedelta(days=1)
"""How much earlier than its creation a request's runAt may be: clocks differ, and files are applied late."""


class TaskRef(Model):
    """A reference to a ScheduledTask in the same namespace."""

    name: ObjectName
    """The name of the ScheduledTask."""


class RunRequestSpec(Model):
    """What to run once. The spec is immutable: to change it, delete the request and create another."""

    task_ref: TaskRef | None = None
    """The ScheduledTask to run. Set exactly one of taskRef and task."""
    task: Task | None = None
    """The task to run, if it is not that of a ScheduledTask. Set exactly one of taskRef and task."""
    run_at: Time | None = None
    """When to run (RFC 3339). A time more than a day before the request's creation is refused. Default: immediately."""
    parameters: FreeObject = Field(default_factory=dict)
    """Parameters of this run: a and b of sum, durationSeconds of sleep, environment variables of container, any
    parameter of plugin, or the parameters variable in the templates of http. Other fields cannot be overridden."""
    concurrency_policy: ConcurrencyPolicy | None = None
    """What to do if an execution of the task is active. Forbid refuses the request; Allow launches it; Replace cancels
    the active execution first. Default: the policy of the task."""
    starting_deadline_seconds: int | None = Field(default=None, ge=1, le=YEAR_SECONDS)
    """The request is refused if it has not been launched this many seconds after its time. Range: 1 to 31622400.
    Default: no deadline."""
    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """The maximum duration of the execution in seconds, as in a ScheduledTask. Range: 1 to 604800. Default: that of the
    ScheduledTask if it sets one, otherwise the default described there."""
    retry: RetryPolicy | None = None
    """How failed attempts are retried. Default: as in the ScheduledTask, or no retries."""
    queue_name: QueueName | None = None
    """The Kueue LocalQueue, in the request's namespace, in which the execution waits for admission. Default: that of
    the ScheduledTask."""
    pod: PodSettings | None = None
    """Settings for the pod, instead of those of the ScheduledTask."""
    retry_of: UUID | None = None
    """The id of the execution that this run repeats. It is recorded in the history and has no other effect."""
    ttl_seconds_after_finished: int = Field(default=3600, ge=0, le=YEAR_SECONDS)
    """The request and its Job are deleted this many seconds after the request was refused or its execution finished.
    Range: 0 to 31622400. Default: 3600."""

    @model_validator(mode="after")
    def _exactly_one_task(self) -> "RunRequestSpec":
        if (self.task is None) == (self.task_ref is None):
            none = "must set taskRef or task"
            raise ValueError(none if self.task is None else "has taskRef and task: keep exactly one of them")
        return self


class RunRequestStatus(Model):
    """What the operator has done about the request."""

    observed_generation: int | None = None
    """The metadata.generation that this status is based on."""
    conditions: list[Condition] = Field(default_factory=list)
    """Accepted says whether the request was launched, and if not, why. Finished is True when the execution has
    ended."""
    execution_id: str | None = None
    """The id of the execution in the history."""
    task_uid: str | None = None
    """The uid of the ScheduledTask."""
    slot: Time | None = None
    """The time at which the request was due."""
    job_name: str | None = None
    """The name of the Job."""
    result: RunResult | None = None
    """The current or final state of the execution."""
    reason: str = Field(default="", max_length=MAX_REASON)
    """Why the request is in its current state, in one CamelCase word, such as Waiting, Launched, StillActive or
    ExecutionFailed."""
    exit_code: int | None = None
    """The exit code of the container that failed. Not set for tasks that a runner runs."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """The reason as a sentence. If the execution succeeded, its result, if short."""
    finished_at: Time | None = None
    """When the request was refused or the execution ended."""


class RunRequest(Model):
    """A request to run a task once, either the task of a ScheduledTask or one defined in the request."""

    api_version: str = API_VERSION
    kind: str = KIND_REQUEST
    metadata: ObjectMeta
    spec: RunRequestSpec
    status: RunRequestStatus = Field(default_factory=RunRequestStatus)


def parse_request_spec(raw: Any, *, strict: bool, prefix: str = "spec") -> RunRequestSpec:
    """Return ``raw`` as a RunRequest's spec; see ``parse_spec``.

    Raises:
        InvalidResourceError: With every problem found.

    """
    return validated(RunRequestSpec, raw, strict=strict, prefix=prefix)


def parse_request_status(raw: Mapping[str, Any] | None) -> RunRequestStatus:
    """Return ``raw`` as a RunRequest's status; empty if it is invalid, because it can be derived again."""
    try:
        return RunRequestStatus.model_validate(raw or {}, extra="ignore")
    except ValidationError:
        return RunRequestStatus()


def long_past_problem(run_at: datetime | None, created_at: datetime) -> FieldProblem | None:
    """Return the problem of a request whose time was long past when it was created, or None.

    Nobody means such a time, and each would belong to a month of its own in
    the history. CEL cannot check this: its rules cannot read the creation time.
    """
    if run_at is None or created_at - run_at <= LONG_PAST:
        return None
    got = f"got {rfc3339(run_at)}, created {rfc3339(created_at)}"
    return FieldProblem("spec.runAt", f"must not be more than a day before the request's creation ({got})")


def without_launch(spec: RunRequestSpec) -> RunRequestSpec:
    """Return the spec of a finished request: of its own task, the type alone; no parameters and no settings of pods."""
    task = spec.task
    if task is not None:
        settings = getattr(task, task.type)
        task = Task.model_construct(**{task.type: type(settings).model_construct()})
    return spec.model_copy(update={"task": task, "parameters": {}, "pod": None, "retry": None})
