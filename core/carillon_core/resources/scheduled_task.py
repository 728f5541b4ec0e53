"""The kind ``ScheduledTask``: when to run which task.

Everything that users write is in ``ScheduledTaskSpec``; everything that the
operator says is in ``ScheduledTaskStatus``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.base import Model, Time
from carillon_core.resources.meta import Condition, ObjectMeta
from carillon_core.resources.names import API_VERSION, KIND, MAX_NAME_LENGTH
from carillon_core.resources.pods import PodSettings, QueueName
from carillon_core.resources.tasks import DAY_SECONDS, PATTERN_MENDS, RetryPolicy, Task

MAX_STRETCHES = 10
"""What is owed of so many outages is made up for at the most."""

SCHEDULE_FIELDS = ("schedule", "intervalSeconds", "runAt")
BOUND_FIELDS = ("startAt", "endAt", "durationSeconds", "maxRuns")
YEAR_SECONDS = 366 * DAY_SECONDS


class ConcurrencyPolicy(StrEnum):
    """What becomes of a slot that finds an execution of its task active."""

    FORBID = "Forbid"
    ALLOW = "Allow"
    REPLACE = "Replace"


class MissedRunPolicy(StrEnum):
    """What becomes of slots that passed while no operator watched."""

    LATEST = "Latest"
    ALL = "All"
    SKIP = "Skip"


class Calendar(Model):
    """When the slots of a task are."""

    schedule: str | None = Field(default=None, min_length=1, max_length=256)
    """A cron expression of five fields (minute, hour, day of month, month, day of week), or six with seconds first,
    or a macro such as @hourly, as in a CronJob. L is the last day of the month, LW its last day from Monday to Friday,
    5L the last Friday, 1#2 the second Monday. Day of month and day of week must both match if one of them is *, ? or
    */1; otherwise one is enough. Exactly one of schedule, intervalSeconds and runAt is set."""
    time_zone: str | None = Field(default=None, min_length=1, max_length=64)
    """The IANA time zone in which schedule is read, such as Europe/Berlin. Default: UTC. Only with schedule."""
    interval_seconds: int | None = Field(default=None, ge=1, le=YEAR_SECONDS)
    """Run every so many seconds, counted from startAt (that instant included), else from the task's creation,
    whatever the executions take; 1 to 31622400."""
    run_at: Time | None = None
    """Run once, at this time (RFC 3339, such as 2026-01-02T03:04:05Z)."""
    start_at: Time | None = None
    """No slot lies before this time."""
    end_at: Time | None = None
    """No slot lies after this time."""
    duration_seconds: int | None = Field(default=None, ge=1, le=100 * YEAR_SECONDS)
    """No slot lies later than so many seconds after startAt, else after the task's creation. Not with endAt."""
    max_runs: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """After so many launches of slots the task is completed; skipped and missed slots do not count."""


class ScheduledTaskSpec(Calendar):
    """When to run which task."""

    jitter_seconds: int = Field(default=0, ge=0, le=DAY_SECONDS)
    """Each launch comes later than its slot by a number of seconds from 0 to this one, always the same for a task, so
    that many tasks of one schedule spread; 0 to 86400. The slot keeps its nominal time."""
    suspend: bool = False
    """While true, nothing is launched; what runs goes on. Slots that pass meanwhile are not made up for."""
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.FORBID
    """Forbid: a slot that comes due while an execution of this task is active is skipped, for good, and recorded as
    skipped. Allow: executions of this task may overlap. Replace: the active execution is cancelled, and the slot is
    launched when it has ended."""
    missed_run_policy: MissedRunPolicy = MissedRunPolicy.LATEST
    """Of slots that passed while no operator watched, Latest launches the latest one, however late; All launches each,
    oldest first, one after another unless concurrencyPolicy is Allow, at most the latest 100; Skip launches none that
    is seen more than 30 seconds late. What is not launched is recorded as missed."""
    starting_deadline_seconds: int | None = Field(default=None, ge=1, le=YEAR_SECONDS)
    """A slot that could not be launched within so many seconds of its time is missed and not launched any more."""
    successful_jobs_history_limit: int = Field(default=3, ge=0, le=100)
    """How many Jobs that succeeded are kept; the history keeps their executions."""
    failed_jobs_history_limit: int = Field(default=1, ge=0, le=100)
    """How many Jobs that did not succeed are kept; the history keeps their executions."""
    ttl_seconds_after_finished: int | None = Field(default=None, ge=0, le=YEAR_SECONDS)
    """A Job is deleted so many seconds after it has finished, even within the history limits."""
    suspend_after_failures: int | None = Field(default=None, ge=1, le=1000)
    """After so many failures in a row the circuit opens: slots are skipped, until cooldownSeconds are over, the spec is
    changed, or a requested run succeeds."""
    cooldown_seconds: int | None = Field(default=None, ge=1, le=YEAR_SECONDS)
    """So long after the circuit opened one slot is launched on trial: its success closes the circuit, its failure opens
    it for as long again. Only with suspendAfterFailures."""
    timeout_seconds: int = Field(default=3600, ge=1, le=7 * DAY_SECONDS)
    """An execution that runs longer, all its attempts and the waits between them together, is ended and recorded as
    timed out; 1 to 604800 seconds."""
    retry: RetryPolicy = Field(default_factory=RetryPolicy)
    """What is tried again within an execution, and when; nothing if left out."""
    queue_name: QueueName | None = None
    """The LocalQueue of Kueue, in the task's namespace, that an execution waits in until it is admitted; the operator's
    default if left out, which may be none."""
    pod: PodSettings = Field(default_factory=PodSettings)
    """Where and how the pods run, beside what the operator's default says."""
    task: Task
    """What to run."""

    @model_validator(mode="after")
    def _exactly_one_schedule(self) -> "ScheduledTaskSpec":
        given = [
            name
            for name, value in zip(SCHEDULE_FIELDS, (self.schedule, self.interval_seconds, self.run_at), strict=True)
            if value is not None
        ]
        if not given:
            msg = f"says no time to run: add exactly one of {', '.join(SCHEDULE_FIELDS)}"
            raise ValueError(msg)
        if len(given) > 1:
            msg = f"has {' and '.join(given)}: keep exactly one of them"
            raise ValueError(msg)
        if self.time_zone is not None and self.schedule is None:
            msg = "is set without a schedule: a time zone only applies to schedule, remove it"
            raise PydanticCustomError("field", msg, {"field": "timeZone"})
        return self

    @model_validator(mode="after")
    def _rules_between_fields(self) -> "ScheduledTaskSpec":
        bounds = (self.start_at, self.end_at, self.duration_seconds, self.max_runs)
        for field, broken, msg in (
            *(
                (field, self.run_at is not None and bound is not None, "has no meaning beside runAt: remove it")
                for field, bound in zip(BOUND_FIELDS, bounds, strict=True)
            ),
            (
                "durationSeconds",
                self.end_at is not None and self.duration_seconds is not None,
                "is set beside endAt: keep one of them",
            ),
            (
                "endAt",
                self.start_at is not None and self.end_at is not None and self.end_at < self.start_at,
                "is before startAt: set a later time",
            ),
            (
                "cooldownSeconds",
                self.cooldown_seconds is not None and self.suspend_after_failures is None,
                "only applies to suspendAfterFailures: add that, or remove this",
            ),
            (
                "missedRunPolicy",
                self.missed_run_policy is MissedRunPolicy.ALL and self.concurrency_policy is ConcurrencyPolicy.REPLACE,
                "All has no meaning with concurrencyPolicy Replace, each run would end the one before: use Latest",
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
    """How a launched execution stands, as the operator sees it in the cluster."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    UNKNOWN = "Unknown"
    """Its Job went while no operator watched; the history has how it ended."""


class LastExecution(Model):
    """The latest launched execution in brief."""

    id: str
    """The execution's id, as in the history."""
    slot: Time
    """The slot's nominal time."""
    job_name: str
    """The Job that ran it."""
    result: RunResult
    """How it stands or ended."""
    message: str = Field(default="", max_length=1024)
    """Why it failed, or what keeps it from beginning, in a sentence."""


class LastSkip(Model):
    """The latest slot that was not launched, and why."""

    slot: Time
    """The slot's nominal time."""
    reason: str
    """One CamelCase word: the gate that stopped it."""
    message: str = Field(default="", max_length=1024)
    """The reason as a sentence."""


class UnrecordedSlot(Model):
    """A slot, or a run of slots, that was settled without a launch and is still to be recorded in the history."""

    slot: Time
    """The slot's nominal time; of a run of slots, the latest."""
    first_slot: Time | None = None
    """The earliest slot of a run of slots."""
    status: Literal["skipped", "missed", "failed"]
    """What its row will say."""
    reason: str
    """One CamelCase word: the gate that stopped it."""
    message: str = Field(default="", max_length=1024)
    """The reason as a sentence."""


class Stretch(Model):
    """Slots one after another."""

    after: Time
    """Slots later than this."""
    until: Time
    """And no later than this."""


class Backlog(Stretch):
    """Missed slots that missedRunPolicy All still owes."""

    then: list[Stretch] = Field(default_factory=list, max_length=MAX_STRETCHES - 1)
    """Those of later outages; the slots between were settled when they came due."""

    @property
    def stretches(self) -> list[Stretch]:
        """All that is owed, oldest first."""
        return [Stretch(after=self.after, until=self.until), *self.then]

    @classmethod
    def of(cls, stretches: Sequence[Stretch]) -> "Backlog | None":
        """Return what is owed; None if that is nothing."""
        if not stretches:
            return None
        first, *then = stretches
        return cls(after=first.after, until=first.until, then=then)

    def owes(self, slot: datetime) -> bool:
        """Return whether a slot is among what is owed."""
        return any(each.after < slot <= each.until for each in self.stretches)


class ScheduledTaskStatus(Model):
    """What the operator observed and decided."""

    observed_generation: int | None = None
    """The generation of the spec that this status speaks of."""
    conditions: list[Condition] = Field(default_factory=list)
    """Ready is the summary; Suspended and Completed say why nothing is launched."""
    schedule: str | None = None
    """The schedule in words: the cron expression with its zone, 'every 30s', or 'at 2026-01-02T03:04:05Z'."""
    active: int = 0
    """How many executions are active, those apart that wait in a queue."""
    waiting: int = 0
    """How many executions wait in a queue of Kueue."""
    last_schedule_time: Time | None = None
    """The slot that was launched last."""
    last_successful_time: Time | None = None
    """When an execution succeeded last."""
    next_schedule_time: Time | None = None
    """The next slot."""
    settled_until: Time | None = None
    """Slots up to this time are settled: launched, skipped, missed, or before the creation, edit or resume from
    which slots count."""
    last_execution: LastExecution | None = None
    """The latest launched execution in brief."""
    last_result: RunResult | None = None
    """How the latest finished execution ended."""
    last_skip: LastSkip | None = None
    """The latest slot that was not launched, and why."""
    calendar: Calendar | None = None
    """The calendar that was acted on last, to tell an edit of it."""
    runs: int = 0
    """How many slots were launched."""
    consecutive_failures: int = 0
    """How many executions failed in a row, up to countedUntil."""
    counted_until: Time | None = None
    """Results up to this time are counted."""
    circuit_opened_at: Time | None = None
    """Since when the circuit is open, if it is."""
    trial_slot: Time | None = None
    """The slot launched on trial while the circuit was open."""
    backlog: Backlog | None = None
    """Missed slots that missedRunPolicy All still owes."""
    unrecorded: list[UnrecordedSlot] = Field(default_factory=list)
    """Slots settled without a launch that are still to be recorded in the history."""


class ScheduledTask(Model):
    """A task that runs at its times: a cron schedule, an interval, or once."""

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: ScheduledTaskSpec
    status: ScheduledTaskStatus = Field(default_factory=ScheduledTaskStatus)


def field_problems(error: ValidationError, prefix: str = "") -> tuple[FieldProblem, ...]:
    """Return pydantic's complaints as problems with the paths that users write.

    Args:
        error: What pydantic raised.
        prefix: Where the validated value stands, such as ``spec``.

    """
    problems: list[FieldProblem] = []
    for detail in error.errors(include_url=False):
        path = prefix
        for part in detail["loc"]:
            if isinstance(part, int):
                path += f"[{part}]"
            elif part not in {"int", "float", "[key]"}:  # the arms of a union are no fields, nor is a map's key
                path += f".{part}" if path else part
        if detail["type"] == "field":  # a rule about several fields says which one to mend
            path += f".{detail['ctx']['field']}"
        pattern = detail.get("ctx", {}).get("pattern", "")
        message = (
            _MENDS.get(detail["type"]) or PATTERN_MENDS.get(pattern) or detail["msg"].removeprefix("Value error, ")
        )
        if detail["type"].startswith(("datetime_", "timezone_")):
            message = "is not a date and time: write it as 2027-01-01T00:00:00Z, with its zone"
        elif {"int", "float"} <= _arms(error, path, prefix):
            message = "is not a number: write one, without quotes"
        problem = FieldProblem(path or "(body)", message)
        if problem not in problems:
            problems.append(problem)
    return tuple(problems)


_MENDS = {
    "extra_forbidden": "is not a field of this kind: remove it or correct its spelling",
    "missing": "is required: add it",
    "dict_type": "must be an object: write 'name: value' lines under it, or {}",
    "list_type": "must be a list: write '- value' lines under it, or []",
}


def _arms(error: ValidationError, path: str, prefix: str) -> set[str]:
    """Return which arms of a union complained about a path."""
    start = f"{prefix}." if prefix else ""
    return {
        str(detail["loc"][-1])
        for detail in error.errors(include_url=False)
        if detail["loc"] and start + ".".join(str(part) for part in detail["loc"][:-1]) == path
    }


def parse_spec(raw: Any, *, strict: bool, prefix: str = "spec") -> ScheduledTaskSpec:
    """Return ``raw`` as a spec.

    Args:
        raw: What stands under ``spec``, as decoded from JSON.
        strict: Refuse unknown fields (a user's input) or ignore them (an object from the cluster, which a newer
            or an older release may have written).
        prefix: The path under which problems are reported.

    Raises:
        InvalidResourceError: With every problem found.

    """
    try:
        return ScheduledTaskSpec.model_validate(raw, extra="forbid" if strict else "ignore")
    except ValidationError as error:
        raise InvalidResourceError(field_problems(error, prefix)) from error


def parse_status(raw: Any) -> ScheduledTaskStatus:
    """Return ``raw`` as a status; a status that cannot be read is an empty one, for it is only derived."""
    try:
        return ScheduledTaskStatus.model_validate(raw or {}, extra="ignore")
    except ValidationError:
        return ScheduledTaskStatus()


def parse_meta(raw: Mapping[str, Any]) -> ObjectMeta:
    """Return an object's ``metadata``; the API server vouches for its form."""
    return ObjectMeta.model_validate(raw, extra="ignore")


def parse_scheduled_task(raw: Mapping[str, Any]) -> ScheduledTask:
    """Return an object from the cluster as a ScheduledTask, tolerantly.

    Raises:
        InvalidResourceError: If the spec breaks the rules, as an object may that is older than they are.

    """
    return ScheduledTask(
        metadata=parse_meta(raw["metadata"]),
        spec=parse_spec(raw.get("spec"), strict=False),
        status=parse_status(raw.get("status")),
    )


def name_problems(name: str) -> tuple[FieldProblem, ...]:
    """Return what is wrong with a task's or a request's name beyond what the API server checks."""
    if len(name) > MAX_NAME_LENGTH:
        return (
            FieldProblem(
                "metadata.name",
                f"is {len(name)} characters long: shorten it to {MAX_NAME_LENGTH}, so that a Job's name can "
                "carry what tells the run",
            ),
        )
    return ()
