"""The kind ``RunRequest``: one run of a task, now or at a time, whatever its schedule; or of a task of its own."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import Field, ValidationError, model_validator

from carillon_core.errors import InvalidResourceError
from carillon_core.resources.base import Model, Time
from carillon_core.resources.meta import Condition, ObjectMeta
from carillon_core.resources.names import API_VERSION, KIND_REQUEST
from carillon_core.resources.nesting import FreeObject
from carillon_core.resources.pods import PodSettings, QueueName
from carillon_core.resources.scheduled_task import YEAR_SECONDS, ConcurrencyPolicy, RunResult, field_problems
from carillon_core.resources.tasks import DAY_SECONDS, ObjectName, RetryPolicy, Task


class TaskRef(Model):
    """Names a ScheduledTask of the request's own namespace."""

    name: ObjectName
    """The ScheduledTask's name."""


class RunRequestSpec(Model):
    """What to run once. It cannot be changed: delete the request and make another."""

    task_ref: TaskRef | None = None
    """The ScheduledTask to run. Exactly one of taskRef and task is set."""
    task: Task | None = None
    """A task of the request's own, which no schedule has."""
    run_at: Time | None = None
    """When to run it; at once if left out."""
    parameters: FreeObject = Field(default_factory=dict)
    """What this run has otherwise: a and b of sum, durationSeconds of sleep, any parameter of a plugin; environment
    variables of a container; what the templates of an HTTP task read as parameters. Nothing else can be overridden."""
    concurrency_policy: ConcurrencyPolicy | None = None
    """What happens if an execution of the task is active: the task's own policy if left out. Forbid refuses the
    request."""
    starting_deadline_seconds: int | None = Field(default=None, ge=1, le=YEAR_SECONDS)
    """The request is refused if it could not be launched within so many seconds of its time."""
    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """As in a ScheduledTask; the task's own if left out, else 3600."""
    retry: RetryPolicy | None = None
    """As in a ScheduledTask; the task's own if left out."""
    queue_name: QueueName | None = None
    """The LocalQueue of Kueue, in the task's namespace, that an execution waits in until it is admitted; the
    task's own if left out."""
    pod: PodSettings | None = None
    """As in a ScheduledTask; the task's own if left out."""
    retry_of: UUID | None = None
    """The id of the execution that this run repeats: only a link, which the history keeps."""
    ttl_seconds_after_finished: int = Field(default=3600, ge=0, le=YEAR_SECONDS)
    """The request, and its Job with it, is deleted so many seconds after it was refused or has finished."""

    @model_validator(mode="after")
    def _exactly_one_task(self) -> "RunRequestSpec":
        if (self.task is None) == (self.task_ref is None):
            none = "says no task to run: add taskRef or task"
            raise ValueError(none if self.task is None else "has taskRef and task: keep exactly one of them")
        return self


class RunRequestStatus(Model):
    """What became of the request."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""
    conditions: list[Condition] = Field(default_factory=list)
    """Accepted says whether it was launched, or why not; Finished is True when its execution has ended."""
    execution_id: str | None = None
    """The id of its execution in the history."""
    task_uid: str | None = None
    """The uid of the ScheduledTask that it runs."""
    slot: Time | None = None
    """The time that it was to run at."""
    job_name: str | None = None
    """The Job that runs it."""
    result: RunResult | None = None
    """How its execution stands or ended."""
    message: str = Field(default="", max_length=1024)
    """Why it was refused or has failed, in a sentence; of a success, the task's result if that is short."""
    finished_at: Time | None = None
    """When it was refused or its execution ended."""


class RunRequest(Model):
    """A request to run a task once: a ScheduledTask's, or one of its own."""

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
    try:
        return RunRequestSpec.model_validate(raw, extra="forbid" if strict else "ignore")
    except ValidationError as error:
        raise InvalidResourceError(field_problems(error, prefix)) from error


def parse_request_status(raw: Mapping[str, Any] | None) -> RunRequestStatus:
    """Return ``raw`` as a RunRequest's status; one that cannot be read is an empty one, for it is only derived."""
    try:
        return RunRequestStatus.model_validate(raw or {}, extra="ignore")
    except ValidationError:
        return RunRequestStatus()
