"""What goes over the wire, as pydantic models: bodies of requests, queries and answers."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field

from carillon_api.checks import namespace_name, task_name
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.resources import ScheduledTaskSpec
from carillon_core.resources.base import Model, Time

NamespaceName = Annotated[str, AfterValidator(namespace_name)]
TaskName = Annotated[str, AfterValidator(task_name)]


class Answer(Model, extra="ignore"):
    """The base of every answer: clients should expect that later releases say more."""


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


class FireTime(Answer):
    """A time at which a task will run."""

    time: Time
    """The instant in UTC."""
    local_time: str
    """The same instant on the clock of the task's time zone, with its offset."""


class Upcoming(Answer):
    """When a task will run next."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    time_zone: str
    """The zone of the local times: the spec's, or UTC."""
    items: list[FireTime]
    """The next times, soonest first; fewer than asked for if no more are to come."""
    reason: str | None = None
    """Why there are no times, in one word: Suspended, Completed, InvalidSpec, BeingDeleted, …"""
    message: str | None = None
    """The reason as a sentence."""


class TaskFireTime(FireTime):
    """A time at which some task will run."""

    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    time_zone: str
    """The zone of the local time: the spec's, or UTC."""


class UpcomingAll(Answer):
    """What will run next, of all tasks."""

    items: list[TaskFireTime]
    """The next times, soonest first."""


class ExecutionView(Answer):
    """What became of one slot of a task."""

    id: UUID
    """The execution's id."""
    namespace: str
    """The task's namespace."""
    task: str
    """The task's name."""
    task_uid: str
    """The task's identity."""
    task_type: str
    """sleep, counter, http, sum, container or plugin."""
    slot: Time
    """The nominal time; of an item that stands for a run of slots, the latest one."""
    first_slot: Time | None
    """Of an item that stands for a run of slots, the earliest one: each slot from it to slot ended as this item."""
    cause: Cause
    """Why it exists: schedule, or manual for a run that was requested."""
    status: ExecutionStatus
    """What became of it."""
    reason: str | None
    """One word: the gate that stopped it, or the class of its failure."""
    message: str | None
    """The reason as a sentence."""
    job_name: str | None
    """The Job that ran it."""
    pod_name: str | None
    """The pod that ran it."""
    created_at: AwareDatetime | None
    """When it was recorded first."""
    started_at: AwareDatetime | None
    """When the runner began."""
    finished_at: AwareDatetime | None
    """When it ended."""
    duration_seconds: float | None
    """From its start to its end, in seconds; null while it runs, and if it never did."""
    result: dict[str, Any] | None
    """What the task returned."""
    error: str | None
    """What went wrong."""


class ExecutionList(Answer):
    """A page of executions, newest slot first."""

    items: list[ExecutionView]
    """The executions."""
    next_cursor: str | None
    """Pass it as cursor for the next page; null on the last one."""


class TaskQuery(Model):
    """Which tasks to list."""

    label_selector: str = Field(default="", max_length=4096)
    """A label selector, such as app=web,tier in (a, b),!canary."""


class AllTasksQuery(TaskQuery):
    """Which tasks of all namespaces to list."""

    namespace: NamespaceName | None = None
    """Only this namespace; all of them if left out."""


class TaskExecutionsQuery(Model):
    """Which executions of a task to list."""

    status: ExecutionStatus | None = None
    """Only executions of this status."""
    limit: int = Field(default=50, ge=1, le=500)
    """How many at most, 1 to 500."""
    cursor: str | None = Field(default=None, min_length=1, max_length=512)
    """nextCursor of the page before."""


class ExecutionsQuery(TaskExecutionsQuery):
    """Which executions to list."""

    namespace: NamespaceName | None = None
    """Only tasks of this namespace."""
    task: TaskName | None = None
    """Only tasks of this name."""


class UpcomingQuery(Model):
    """How far to look ahead."""

    count: int = Field(default=10, ge=1, le=100)
    """How many times at most, 1 to 100."""


class Health(Answer):
    """The process lives."""

    status: Literal["ok"] = "ok"
    """Always ok: a process that does not live does not answer."""


class Check(Answer):
    """Whether one thing that the facade needs is there."""

    name: str
    """What was asked: database, or API server."""
    ok: bool
    """Whether it answered."""
    why: str | None = None
    """Why it counts as missing."""


class Readiness(Answer):
    """Everything needed is there."""

    status: Literal["ready"] = "ready"
    """Always ready: otherwise the answer is a problem of status 503."""
    checks: list[Check]
    """One by one."""


class ProblemField(Answer):
    """One field at fault."""

    field: str
    """The field's path, such as spec.schedule, or the parameter's name."""
    message: str
    """What is wrong, and the mend."""


class Problem(Answer):
    """An error (RFC 9457)."""

    type: str
    """The kind of problem, a URN that never changes."""
    title: str
    """The kind of problem in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What happened, in a sentence."""
    instance: str
    """The path that was asked for."""
    request_id: str
    """The request's id: X-Request-ID of the answer, request_id in the log."""
    errors: list[ProblemField] = Field(default_factory=list)
    """The fields at fault."""
    checks: list[Check] | None = None
    """Only of /readyz: what is there and what is missing."""
