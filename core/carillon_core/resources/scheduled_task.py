"""The kind ``ScheduledTask``: when to run which task.

Users write ``ScheduledTaskSpec``; the operator writes ``ScheduledTaskStatus``.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from carillon_core.errors import FieldProblem
from carillon_core.resources.base import MAX_MESSAGE, MAX_REASON, Model, Time
from carillon_core.resources.field_problems import validated
from carillon_core.resources.meta import Condition, ObjectMeta
from carillon_core.resources.names import API_VERSION, KIND, MAX_NAME_LENGTH
from carillon_core.resources.pods import PodSettings, QueueName
from carillon_core.resources.tasks import DAY_SECONDS, RetryPolicy, Task

MAX_STRETCHES = 10
"""The maximum number of outages whose missed slots missedRunPolicy All launches."""

SCHEDULE_FIELDS = ("schedule", "intervalSeconds", "runAt")
BOUND_FIELDS = ("startAt", "endAt", "durationSeconds", "maxRuns")
YEAR_SECONDS = 366 * DAY_SECONDS


DEFAULT_REQUESTS_LIMIT = 100
"""The number of finished RunRequests that are kept for a task."""


class ConcurrencyPolicy(StrEnum):
    """What to do with a slot that is due while an execution of its task is active."""

    FORBID = "Forbid"
    ALLOW = "Allow"
    REPLACE = "Replace"


class MissedRunPolicy(StrEnum):
    """What to do with slots that were due while no operator was running."""

    LATEST = "Latest"
    ALL = "All"
    SKIP = "Skip"


class Calendar(Model):
    """When the slots of a task are."""

    schedule: str | None = Field(default=None, min_length=1, max_length=256)
    """A cron expression: minute, hour, day of month, month, day of week, with an optional leading seconds field; or a
    macro such as @hourly. As in a CronJob, with these additions: L is the last day of the month, LW its last weekday
    (Monday to Friday), 5L the last Friday, 1#2 the second Monday. Day of month and day of week must both match if one
    of them is *, ? or */1; otherwise one match is enough. Set exactly one of schedule, intervalSeconds and runAt."""
    time_zone: str | None = Field(default=None, min_length=1, max_length=64)
    """The IANA time zone of schedule, such as Europe/Berlin. Default: UTC. Only valid with schedule."""
    interval_seconds: int | None = Field(default=None, ge=1, le=YEAR_SECONDS)
    """Run every N seconds, however long the executions take. With startAt, the first slot is startAt; otherwise it is N
    seconds after the task's creation. Range: 1 to 31622400. Set exactly one of schedule, intervalSeconds and runAt."""
    run_at: Time | None = None
    """Run once, at this time (RFC 3339, such as 2026-01-02T03:04:05Z). Set exactly one of schedule, intervalSeconds and
    runAt."""
    start_at: Time | None = None
    """The earliest time of a slot (RFC 3339, inclusive). Default: no limit. Not valid with runAt."""
    end_at: Time | None = None
    """The latest time of a slot (RFC 3339, inclusive); must not be before startAt. Default: no limit. Not valid with
    runAt or durationSeconds."""
    duration_seconds: int | None = Field(default=None, ge=1, le=100 * YEAR_SECONDS)
    """The schedule ends this many seconds after startAt, or after the task's creation if startAt is not set. Range: 1
    to 3162240000. Default: no limit. Not valid with runAt or endAt."""
    max_runs: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """The task is completed after this many slots have been launched; skipped and missed slots do not count. Range: 1
    to 1000000000. Default: no limit. Not valid with runAt."""


DEFAULT_TIMEOUT_SECONDS = 3600
"""The time-out of every task but a job."""


class ScheduledTaskSpec(Calendar):
    """When to run which task, and how."""

    jitter_seconds: int = Field(default=0, ge=0, le=DAY_SECONDS)
    """The maximum delay between a slot and its launch, in seconds. The actual delay is a fixed number for each task,
    which spreads tasks that share a schedule; the slot keeps its nominal time. Range: 0 to 86400. Default: 0."""
    suspend: bool = False
    """If true, no slots are launched; active executions continue. Slots that pass while the task is suspended are
    skipped and not launched later. Default: false."""
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.FORBID
    """What to do with a slot that is due while an execution of this task is active. Forbid skips the slot; Allow
    launches it; Replace cancels the active execution and launches the slot when that has ended. Default: Forbid."""
    missed_run_policy: MissedRunPolicy = MissedRunPolicy.LATEST
    """What to do with slots that were due while no operator was running. Latest launches the latest one, however late.
    All launches each one, oldest first, up to the latest 100 of an outage; one at a time unless concurrencyPolicy is
    Allow, and not valid with Replace. Skip launches none that is more than 30 seconds late. Slots that are not launched
    are recorded as missed. Default: Latest."""
    starting_deadline_seconds: int | None = Field(default=None, ge=1, le=YEAR_SECONDS)
    """A slot that has not been launched this many seconds after its time, jitter included, is recorded as missed and
    not launched. Range: 1 to 31622400. Default: no deadline."""
    successful_jobs_history_limit: int = Field(default=3, ge=0, le=100)
    """The number of succeeded Jobs to keep. Executions stay in the history when their Job is deleted. Range: 0 to 100.
    Default: 3."""
    failed_jobs_history_limit: int = Field(default=1, ge=0, le=100)
    """The number of failed, timed-out and cancelled Jobs to keep. Executions stay in the history when their Job is
    deleted. Range: 0 to 100. Default: 1."""
    finished_requests_history_limit: int = Field(default=DEFAULT_REQUESTS_LIMIT, ge=0, le=1000)
    """The number of finished RunRequests of the task to keep; the oldest are deleted first, even before their
    ttlSecondsAfterFinished. Executions stay in the history. Range: 0 to 1000. Default: 100."""
    ttl_seconds_after_finished: int | None = Field(default=None, ge=0, le=YEAR_SECONDS)
    """A Job is deleted this many seconds after it finishes, even if the history limits would keep it. Range: 0 to
    31622400. Default: no limit."""
    suspend_after_failures: int | None = Field(default=None, ge=1, le=1000)
    """The circuit opens after this many consecutive failures. While it is open, slots are skipped. It closes when a
    trial run (see cooldownSeconds) or a requested run succeeds, or when the spec changes. Range: 1 to 1000. Default:
    the circuit never opens."""
    cooldown_seconds: int | None = Field(default=None, ge=1, le=YEAR_SECONDS)
    """After this many seconds, one trial run is launched while the circuit is open. If it succeeds, the circuit closes;
    if it fails, the cooldown starts again. Range: 1 to 31622400. Default: no trial run. Only valid with
    suspendAfterFailures."""
    timeout_seconds: int | None = Field(default=None, ge=1, le=7 * DAY_SECONDS)
    """The maximum duration of an execution in seconds, including all attempts and the delays between them. An execution
    that takes longer is ended and recorded as timed out. For a job, it overrides the template's activeDeadlineSeconds.
    Range: 1 to 604800. Default: that of the HTTPTarget, if the task uses one that sets it; for a job, the template's
    activeDeadlineSeconds, or no limit if that is not set; otherwise 3600."""
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    """How failed attempts are retried. Default: no retries."""
    queue_name: QueueName | None = None
    """The Kueue LocalQueue, in the task's namespace, in which executions wait for admission. Default: the operator's
    default queue, if it has one."""
    pod: PodSettings = Field(default_factory=PodSettings)
    """Settings for the task's pods. They are merged with the operator's defaults."""
    task: Task
    """What to run: exactly one task type."""

    @model_validator(mode="after")
    def _exactly_one_schedule(self) -> "ScheduledTaskSpec":
        given = [
            name
            for name, value in zip(SCHEDULE_FIELDS, (self.schedule, self.interval_seconds, self.run_at), strict=True)
            if value is not None
        ]
        if not given:
            msg = f"must set exactly one of {', '.join(SCHEDULE_FIELDS)} (got none)"
            raise ValueError(msg)
        if len(given) > 1:
            msg = f"has {' and '.join(given)}: keep exactly one of them"
            raise ValueError(msg)
        if self.time_zone is not None and self.schedule is None:
            msg = "is only valid with schedule: remove it, or set schedule"
            raise PydanticCustomError("field", msg, {"field": "timeZone"})
        return self

    @model_validator(mode="after")
    def _rules_between_fields(self) -> "ScheduledTaskSpec":
        bounds = (self.start_at, self.end_at, self.duration_seconds, self.max_runs)
        for field, broken, msg in (
            *(
                (field, self.run_at is not None and bound is not None, "is not valid with runAt: remove it")
                for field, bound in zip(BOUND_FIELDS, bounds, strict=True)
            ),
            (
                "durationSeconds",
                self.end_at is not None and self.duration_seconds is not None,
                "is not valid with endAt: remove one of them",
            ),
            (
                "endAt",
                self.start_at is not None and self.end_at is not None and self.end_at < self.start_at,
                "must not be before startAt: set a later time",
            ),
            (
                "cooldownSeconds",
                self.cooldown_seconds is not None and self.suspend_after_failures is None,
                "is only valid with suspendAfterFailures: set it, or remove cooldownSeconds",
            ),
            (
                "missedRunPolicy",
                self.missed_run_policy is MissedRunPolicy.ALL and self.concurrency_policy is ConcurrencyPolicy.REPLACE,
                "must not be All if concurrencyPolicy is Replace, which would end each run: use Latest",
            ),
        ):
            if broken:
                raise PydanticCustomError("field", msg, {"field": field})
        return self

    @property
    def calendar(self) -> Calendar:
        """The part of the spec that says when the slots are."""
        return Calendar.model_construct(**{name: getattr(self, name) for name in Calendar.model_fields})


class RunResult(StrEnum):
    """The state of a launched execution, as the operator sees it in the cluster."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    UNKNOWN = "Unknown"
    """Its Job disappeared while no operator watched; the history has the result."""


class LastExecution(Model):
    """The most recent launched execution."""

    id: str
    """The id of the execution in the history."""
    slot: Time
    """The nominal time of the slot."""
    job_name: str
    """The name of its Job."""
    result: RunResult
    """Its current or final state."""
    reason: str = Field(default="", max_length=MAX_REASON)
    """Why it failed, or why it has not started, in one CamelCase word."""
    exit_code: int | None = None
    """The exit code of the container that failed. Not set for tasks that a runner runs."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """The reason as a sentence."""


class LastSkip(Model):
    """The most recent slot that was not launched, and why."""

    slot: Time
    """The nominal time of the slot."""
    reason: str = Field(max_length=MAX_REASON)
    """Why it was not launched, in one CamelCase word."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """Why it was not launched, as a sentence."""


class UnrecordedSlot(Model):
    """A slot, or a series of slots, that was not launched and has not been recorded in the history yet."""

    slot: Time
    """The nominal time of the slot; for a series, of the latest slot."""
    first_slot: Time | None = None
    """The nominal time of the earliest slot of a series."""
    status: Literal["skipped", "missed", "failed"]
    """The status to record."""
    reason: str = Field(max_length=MAX_REASON)
    """Why it was not launched, in one CamelCase word."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """Why it was not launched, as a sentence."""


class Stretch(Model):
    """The slots of an interval of time."""

    after: Time
    """The start of the interval (exclusive)."""
    until: Time
    """The end of the interval (inclusive)."""

    def without(self, settled: Iterable[datetime]) -> "Stretch | None":
        """Return the rest of the interval after the last of these slots in it, or None if nothing is left."""
        last = max((slot for slot in settled if self.after < slot <= self.until), default=self.after)
        return None if last >= self.until else Stretch(after=last, until=self.until)


class Backlog(Stretch):
    """Missed slots still to be launched because missedRunPolicy is All."""

    then: list[Stretch] = Field(default_factory=list, max_length=MAX_STRETCHES - 1)
    """The missed slots of later outages."""

    @property
    def stretches(self) -> list[Stretch]:
        """All intervals, oldest first."""
        return [Stretch(after=self.after, until=self.until), *self.then]

    @classmethod
    def of(cls, stretches: Sequence[Stretch]) -> "Backlog | None":
        """Return a backlog of these intervals; None if there are none."""
        if not stretches:
            return None
        first, *then = stretches
        return cls(after=first.after, until=first.until, then=then)

    def owes(self, slot: datetime) -> bool:
        """Return whether a slot is in the backlog."""
        return any(each.after < slot <= each.until for each in self.stretches)


class ScheduledTaskStatus(Model):
    """What the operator has observed and decided."""

    observed_generation: int | None = None
    """The metadata.generation that this status is based on."""
    conditions: list[Condition] = Field(default_factory=list)
    """Ready summarizes the task. Suspended, Completed and CircuitOpen explain why no slots are launched."""
    schedule: str | None = None
    """The schedule in short form: the cron expression with its time zone, 'every 30s' or 'at 2026-01-02T03:04:05Z'. If
    the spec is invalid, the schedule as written there."""
    active: int = 0
    """The number of active executions, not counting those that wait in a queue."""
    waiting: int = 0
    """The number of executions waiting in a Kueue queue."""
    last_schedule_time: Time | None = None
    """The slot that was launched last."""
    last_run_time: Time | None = None
    """The time of the slot or RunRequest that was launched last."""
    last_successful_time: Time | None = None
    """When an execution last succeeded."""
    next_schedule_time: Time | None = None
    """The next slot to be launched. Not set if no slot will be launched; the Ready condition says why."""
    settled_until: Time | None = None
    """Slots up to this time have been launched, skipped or recorded as missed, or do not count because they are before
    the creation, an edit of the schedule or a resume."""
    last_execution: LastExecution | None = None
    """The most recent launched execution."""
    last_result: RunResult | None = None
    """The result of the execution that finished last."""
    last_duration_seconds: int | None = None
    """The duration in seconds of the execution that finished last, from the start of its first pod."""
    last_skip: LastSkip | None = None
    """The most recent slot that was not launched, and why."""
    calendar: Calendar | None = None
    """The schedule that was in effect at the last decision; used to detect edits."""
    runs: int = 0
    """The number of slots launched."""
    consecutive_failures: int = 0
    """The number of consecutive failed executions, up to countedUntil."""
    counted_until: Time | None = None
    """Results up to this time are included in consecutiveFailures."""
    circuit_opened_at: Time | None = None
    """When the circuit opened; not set while it is closed."""
    trial_slot: Time | None = None
    """The slot launched as a trial run while the circuit was open."""
    backlog: Backlog | None = None
    """Missed slots still to be launched because missedRunPolicy is All."""
    unrecorded: list[UnrecordedSlot] = Field(default_factory=list)
    """Slots that were not launched and have not been recorded in the history yet."""


class ScheduledTask(Model):
    """A task that runs on a cron schedule, at a fixed interval, or once."""

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: ScheduledTaskSpec
    status: ScheduledTaskStatus = Field(default_factory=ScheduledTaskStatus)


def parse_spec(raw: Any, *, strict: bool, prefix: str = "spec") -> ScheduledTaskSpec:
    """Return ``raw`` as a spec.

    Args:
        raw: The value of ``spec``, as decoded from JSON.
        strict: Reject unknown fields (a user's input) or ignore them (an object from the cluster, which a newer
            or an older release may have written).
        prefix: The path under which problems are reported.

    Raises:
        InvalidResourceError: With every problem found.

    """
    return validated(ScheduledTaskSpec, raw, strict=strict, prefix=prefix)


def parse_status(raw: Any) -> ScheduledTaskStatus:
    """Return ``raw`` as a status; empty if it is invalid, because it can be derived again."""
    try:
        return ScheduledTaskStatus.model_validate(raw or {}, extra="ignore")
    except ValidationError:
        return ScheduledTaskStatus()


def parse_meta(raw: Mapping[str, Any]) -> ObjectMeta:
    """Return an object's ``metadata``, which the API server has validated."""
    return ObjectMeta.model_validate(raw, extra="ignore")


def parse_scheduled_task(raw: Mapping[str, Any]) -> ScheduledTask:
    """Return an object from the cluster as a ScheduledTask, tolerantly.

    Raises:
        InvalidResourceError: If the spec is invalid, for example because the object is older than a rule.

    """
    return ScheduledTask(
        metadata=parse_meta(raw["metadata"]),
        spec=parse_spec(raw.get("spec"), strict=False),
        status=parse_status(raw.get("status")),
    )


def name_problems(name: str) -> tuple[FieldProblem, ...]:
    """Return the problems of a task's or a request's name that the API server does not check."""
    if len(name) > MAX_NAME_LENGTH:
        message = f"must be at most {MAX_NAME_LENGTH} characters long (got {len(name)})"
        return (FieldProblem("metadata.name", message),)
    return ()
