"""The input of ``decide``: tasks, requests, targets and Jobs as observed in the cluster, already parsed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from carillon_core.contract import Cause
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.domain.observed.retries import Retries
from carillon_core.domain.observed.spec_writes import UNKNOWN_WRITE, SpecWrite, spec_write
from carillon_core.domain.observed.written import written_schedule
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources import names
from carillon_core.resources.base import rfc3339
from carillon_core.resources.http_target import HTTPTargetSpec, parse_target_spec
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.run_request import (
    RunRequestSpec,
    RunRequestStatus,
    long_past_problem,
    parse_request_spec,
    parse_request_status,
    without_launch,
)
from carillon_core.resources.scheduled_task import (
    RunResult,
    ScheduledTaskSpec,
    ScheduledTaskStatus,
    parse_meta,
    parse_spec,
    parse_status,
)

QUARANTINED = "Quarantined"
"""The reason of the condition of an object that is set aside: the operator did not survive working on it."""


@dataclass(frozen=True, slots=True)
class ObservedTarget:
    """An observed HTTPTarget: its spec, or the problems of an invalid spec."""

    name: str
    spec: HTTPTargetSpec | None = None
    problems: tuple[FieldProblem, ...] = ()

    @classmethod
    def from_object(cls, raw: Mapping[str, Any], quarantined: str = "") -> Self:
        """Parse an object from the API server; an invalid spec becomes problems, and so does being set aside."""
        name = raw["metadata"]["name"]
        if quarantined:
            return cls(name, None, (FieldProblem("spec", quarantined),))
        try:
            return cls(name, parse_target_spec(raw.get("spec"), strict=False))
        except InvalidResourceError as error:
            return cls(name, None, error.problems)


@dataclass(frozen=True, slots=True)
class ObservedTask:
    """An observed ScheduledTask; if its spec is invalid, it has problems and no spec."""

    meta: ObjectMeta
    spec: ScheduledTaskSpec | None
    status: ScheduledTaskStatus
    """The status decided last, else the stored one."""
    problems: tuple[FieldProblem, ...] = ()
    stored: ScheduledTaskStatus = field(default_factory=ScheduledTaskStatus)
    """The status in the API server, which a restarted operator would start from."""
    target: ObservedTarget | None = None
    """What its HTTP task's targetRef names; None if it names none."""
    quarantined: str = ""
    """Why it is set aside, so that its spec is not looked at; empty if it is not."""
    written: str | None = None
    """The schedule as written in an invalid spec, in short form."""
    spec_write: SpecWrite = UNKNOWN_WRITE
    """Who wrote the spec last, and when."""

    @classmethod
    def from_object(cls, raw: Mapping[str, Any], quarantined: str = "") -> Self:
        """Parse an object from the API server; an invalid spec becomes problems, one that is set aside is not parsed.

        Args:
            raw: The object.
            quarantined: Why it is set aside, if it is; its own status may say so too.

        """
        meta = parse_meta(raw["metadata"])
        status = parse_status(raw.get("status"))
        write = spec_write(raw["metadata"])
        if quarantined := quarantined or _set_aside(meta, status):
            return cls(meta, None, status, stored=status, quarantined=quarantined, spec_write=write)
        try:
            return cls(meta, parse_spec(raw.get("spec"), strict=False), status, stored=status, spec_write=write)
        except InvalidResourceError as error:
            written = written_schedule(raw.get("spec"))
            return cls(meta, None, status, error.problems, stored=status, written=written, spec_write=write)

    @property
    def created_at(self) -> datetime:
        """The task's creation, which the API server always sets."""
        return _created_at(self.meta)

    @property
    def target_name(self) -> str | None:
        """The name of the HTTPTarget that the task needs, if it needs one."""
        http = self.spec.task.http if self.spec else None
        return http.target_ref.name if http and http.target_ref else None


@dataclass(frozen=True, slots=True)
class ObservedRequest:
    """An observed RunRequest; if its spec is invalid, it has problems and no spec."""

    meta: ObjectMeta
    spec: RunRequestSpec | None
    status: RunRequestStatus
    """The status decided last, else the stored one."""
    problems: tuple[FieldProblem, ...] = ()
    stored: RunRequestStatus = field(default_factory=RunRequestStatus)
    """The status in the API server."""
    target: ObservedTarget | None = None
    """What its own HTTP task's targetRef names; None if it names none."""
    quarantined: str = ""
    """Why it is set aside, so that its spec is not looked at; empty if it is not."""

    @classmethod
    def from_object(cls, raw: Mapping[str, Any], quarantined: str = "") -> Self:
        """Parse an object from the API server; see ``ObservedTask.from_object``."""
        meta = parse_meta(raw["metadata"])
        status = parse_request_status(raw.get("status"))
        if quarantined := quarantined or _set_aside(meta, status):
            return cls(meta, None, status, stored=status, quarantined=quarantined)
        try:
            return cls(meta, parse_request_spec(raw.get("spec"), strict=False), status, stored=status)
        except InvalidResourceError as error:
            return cls(meta, None, status, error.problems, stored=status)

    def lean(self) -> Self:
        """Return a request that has ended without the parts of its spec that only a launch needs.

        What remains says under which key it is reconciled, how it is recorded, and when it is deleted.
        """
        if self.spec is None or self.stored.finished_at is None:
            return self
        return replace(self, spec=without_launch(self.spec))

    @property
    def slot(self) -> datetime:
        """When it is due: its runAt, else its creation; a runAt long before it is refused and does not count."""
        created_at = _created_at(self.meta)
        run_at = self.spec.run_at if self.spec else None
        return created_at if run_at is None or long_past_problem(run_at, created_at) else run_at

    @property
    def task_name(self) -> str | None:
        """The ScheduledTask that it names, or None if it has a task of its own."""
        return self.spec.task_ref.name if self.spec and self.spec.task_ref else None

    @property
    def target_name(self) -> str | None:
        """The name of the HTTPTarget that its own task needs, if it needs one."""
        http = self.spec.task.http if self.spec and self.spec.task else None
        return http.target_ref.name if http and http.target_ref else None


def _set_aside(meta: ObjectMeta, status: ScheduledTaskStatus | RunRequestStatus) -> str:
    """Return why the stored status says that this generation is set aside; empty if it does not say so."""
    said = (c for c in status.conditions if c.reason == QUARANTINED and c.status == "False")
    return next((c.message for c in said if c.observed_generation == meta.generation), "")


def _created_at(meta: ObjectMeta) -> datetime:
    if meta.creation_timestamp is None:
        msg = f"{meta.namespace}/{meta.name} has no creationTimestamp"
        raise ValueError(msg)
    return meta.creation_timestamp


WAITS = "it is waiting in its queue for admission"
"""The message of an execution whose Job is suspended."""
JobResult = Literal[RunResult.SUCCEEDED, RunResult.FAILED, RunResult.TIMED_OUT, RunResult.CANCELLED]
"""How a Job can end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """The fields that active and finished Jobs share."""

    name: str
    uid: str
    task_uid: str
    """The uid of its task; for a request with a task of its own, the request's."""
    slot: datetime
    execution_id: str
    cause: Cause = Cause.SCHEDULE
    origin: str = ""
    """The uid of the RunRequest that asked for it, else the task's."""
    container: bool = False
    """Whether it runs the user's containers without a runner, so that the operator records its execution."""
    whole: bool = False
    """Whether the whole Job is the user's: only its own conditions say that it has ended, not a pod that has."""
    completions: int = 1
    """How many pods of a whole Job must succeed, as far as is known."""
    earlier_pods: int = 0
    """How many pods ended before its first attempt: of a whole Job with many, only the last are kept."""
    ending: bool = False
    """Whether it is being deleted and its pods still exist."""
    admitted_at: datetime | None = None
    """Since when it may have pods: its creation, or its admission by its queue."""
    attempts: tuple[PodEnd, ...] = ()
    """Its pods that have ended, first to last."""
    pod_name: str = field(default="", compare=False)
    """The name of its newest pod that exists, for its record; a pod that begins changes nothing else."""
    namespace: str = ""
    task_name: str = ""
    """The name of the task, or of the request that has a task of its own."""
    task_type: str = ""
    retry_of: UUID | None = None
    """The execution that this one retries."""
    cancelled_by: str = ""
    """The user who cancelled it by the REST API, if one did."""
    first_name: str = ""
    """The name of the Job of its first attempt, which is in the row."""
    number: int = 1
    """Which attempt it is."""
    retries: Retries | None = None
    """How its execution is retried, if each attempt has a Job of its own."""

    def ended(
        self,
        result: JobResult,
        at: datetime | None,
        reason: str = "",
        message: str = "",
        *,
        taken_back: bool = False,
    ) -> "FinishedJob":
        """Return this Job as finished.

        Args:
            result: How it ended.
            at: When it ended, if that is known.
            reason: Kubernetes' reason, such as ``OOMKilled``.
            message: The reason as a sentence.
            taken_back: See ``FinishedJob``.

        """
        common: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(_Job)}
        return FinishedJob(
            **common, result=result, finished_at=at, reason=reason, message=message, taken_back=taken_back
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveJob(_Job):
    """A runner Job whose execution has not ended."""

    waiting: bool = False
    """Whether it is suspended in a queue and has no pod."""
    trouble: PodTrouble | None = None
    """Why its pod cannot start, or is not created."""
    retry_at: datetime | None = None
    """The attempt has failed, and the next one, in a Job of its own, is due at this time."""

    @property
    def active(self) -> Literal[True]:
        """Whether the execution is active."""
        return True

    @property
    def result(self) -> Literal[RunResult.RUNNING]:
        """Running."""
        return RunResult.RUNNING

    @property
    def finished_at(self) -> None:
        """Not yet."""
        return

    @property
    def reason(self) -> str:
        """Nothing."""
        return ""

    @property
    def message(self) -> str:
        """Nothing."""
        return ""

    @property
    def taken_back(self) -> Literal[False]:
        """Whether its queue ended it; see ``FinishedJob``."""
        return False

    @property
    def hindrance(self) -> str:
        """What keeps the execution from running, as a sentence; empty if nothing is known."""
        if self.retry_at is not None:
            why = next((f" ({pod.reason})" for pod in self.attempts[-1:] if pod.reason), "")
            return f"attempt {self.number} failed{why}; the next one is due at {rfc3339(self.retry_at)}"
        return WAITS if self.waiting else self.trouble.sentence if self.trouble is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob(_Job):
    """A runner Job whose execution has ended."""

    result: JobResult
    finished_at: datetime | None = None
    reason: str = ""
    message: str = ""
    taken_back: bool = False
    """Whether its queue suspended it after it had started: the execution is over, but Kubernetes would restart it."""

    @property
    def active(self) -> Literal[False]:
        """Whether the execution is active."""
        return False

    @property
    def waiting(self) -> Literal[False]:
        """Whether it waits in a queue."""
        return False

    @property
    def trouble(self) -> None:
        """Why its pod cannot start."""
        return

    @property
    def retry_at(self) -> None:
        """When the next attempt is due: none follows."""
        return

    @property
    def hindrance(self) -> str:
        """Empty: it has started."""
        return ""


ObservedJob = ActiveJob | FinishedJob
"""A runner Job of a task's slot or of a RunRequest, as the cluster shows it."""


def job_key(meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key under which a Job's task, or its request without one, is reconciled; see ``request_key``."""
    labels = meta.get("labels") or {}
    if labels.get(names.LABEL_REQUEST_UID) and labels.get(names.LABEL_REQUEST_UID) == labels.get(names.LABEL_TASK_UID):
        return meta["namespace"], own_key_name(labels.get(names.LABEL_REQUEST, ""))
    return meta["namespace"], labels.get(names.LABEL_TASK, "")


def request_key(request: ObservedRequest) -> tuple[str, str]:
    """Return the key under which a request is reconciled: its task's, so that both are never reconciled at once."""
    return request.meta.namespace, request.task_name or own_key_name(request.meta.name)


def own_key_name(request_name: str) -> str:
    """Return the name in the key of a request that has a task of its own; no object can have this name."""
    return f"{names.PLURAL_REQUESTS}/{request_name}"
