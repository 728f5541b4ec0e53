"""What ``decide`` is given: the task and its Jobs as the cluster shows them, parsed once at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

from carillon_core.contract import Cause, ExitCode
from carillon_core.domain.execution import execution_id, job_name
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.names import ANNOTATION_SLOT, KIND, LABEL_TASK, LABEL_TASK_UID
from carillon_core.resources.scheduled_task import (
    RunResult,
    ScheduledTaskSpec,
    ScheduledTaskStatus,
    parse_meta,
    parse_spec,
    parse_status,
)


@dataclass(frozen=True, slots=True)
class ObservedTask:
    """A ScheduledTask as it stands in the cluster; one that breaks the rules has problems and no spec."""

    meta: ObjectMeta
    spec: ScheduledTaskSpec | None
    status: ScheduledTaskStatus
    problems: tuple[FieldProblem, ...] = ()

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> Self:
        """Parse an object from the API server; whatever its spec says, this does not fail."""
        meta = parse_meta(raw["metadata"])
        status = parse_status(raw.get("status"))
        try:
            return cls(meta, parse_spec(raw.get("spec"), strict=False), status)
        except InvalidResourceError as error:
            return cls(meta, None, status, error.problems)

    @property
    def created_at(self) -> datetime:
        """The task's creation, which the API server always sets."""
        if self.meta.creation_timestamp is None:
            msg = f"{self.meta.namespace}/{self.meta.name} has no creationTimestamp"
            raise ValueError(msg)
        return self.meta.creation_timestamp


class JobPhase(Enum):
    """Where a Job stands."""

    ACTIVE = "active"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How a Job's pod ended, the first sure sign of an execution's end."""

    succeeded: bool
    finished_at: datetime | None
    exit_code: int | None = None
    reason: str = ""
    """Kubernetes' word, such as OOMKilled, Evicted, DeadlineExceeded, Error."""
    message: str = ""
    """The runner's termination message, else Kubernetes' own."""


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A runner Job of a task."""

    name: str
    uid: str
    task_uid: str
    slot: datetime
    execution_id: str
    phase: JobPhase
    result: RunResult = RunResult.RUNNING
    finished_at: datetime | None = None
    reason: str = ""
    message: str = ""

    @property
    def active(self) -> bool:
        """Whether the execution goes on."""
        return self.phase is JobPhase.ACTIVE


_RESULT_OF_EXIT: dict[int | None, RunResult] = {
    ExitCode.TIMED_OUT: RunResult.TIMED_OUT,
    ExitCode.CANCELLED: RunResult.CANCELLED,
}


def pod_end(pod: Mapping[str, Any]) -> PodEnd | None:
    """Return how a pod ended, or None while it has not."""
    status = pod.get("status") or {}
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return PodEnd(
                succeeded=status["phase"] == "Succeeded",
                finished_at=_time(ended.get("finishedAt")),
                exit_code=ended.get("exitCode"),
                reason=status.get("reason") or ended.get("reason") or "",
                message=ended.get("message") or status.get("message") or "",
            )
    return PodEnd(
        succeeded=status["phase"] == "Succeeded",
        finished_at=None,
        reason=status.get("reason") or "",
        message=status.get("message") or "",
    )


def observed_job(job: Mapping[str, Any], pod: PodEnd | None = None) -> ObservedJob | None:
    """Return a Job as observed, or None if it is none of Carillon's.

    What a Job says of itself is believed only as far as it is consistent: a
    controlling ScheduledTask with the uid of the label, and the one name that
    the slot's Job can have. The execution's id is computed, not read.

    A Job counts as finished at the first sure sign: its pod has ended, or its
    conditions say ``SuccessCriteriaMet``, ``FailureTarget``, ``Complete`` or
    ``Failed``. The Job's own status lags its pod by a second or more.
    """
    seen = _identity(job["metadata"])
    if seen is None:
        return None
    conditions = {c["type"]: c for c in (job.get("status") or {}).get("conditions") or () if c["status"] == "True"}
    if "SuccessCriteriaMet" in conditions or "Complete" in conditions or (pod and pod.succeeded):
        done = conditions.get("Complete") or conditions.get("SuccessCriteriaMet") or {}
        ended = (pod and pod.finished_at) or _time(done.get("lastTransitionTime"))
        return seen.finished(RunResult.SUCCEEDED, ended)
    failure = conditions.get("Failed") or conditions.get("FailureTarget")
    if pod is not None:
        result = _RESULT_OF_EXIT.get(pod.exit_code, RunResult.FAILED)
        if failure and failure.get("reason") == "DeadlineExceeded":
            result = RunResult.TIMED_OUT
        ended = pod.finished_at or _time((failure or {}).get("lastTransitionTime"))
        return seen.finished(result, ended, pod.reason, pod.message)
    if failure:
        result = RunResult.TIMED_OUT if failure.get("reason") == "DeadlineExceeded" else RunResult.FAILED
        ended = _time(failure.get("lastTransitionTime"))
        return seen.finished(result, ended, failure.get("reason") or "", failure.get("message") or "")
    return seen.active()


@dataclass(frozen=True, slots=True)
class _Seen:
    """The part of an ObservedJob that does not depend on how it stands."""

    name: str
    uid: str
    task_uid: str
    slot: datetime
    execution_id: str

    def active(self) -> ObservedJob:
        return ObservedJob(self.name, self.uid, self.task_uid, self.slot, self.execution_id, JobPhase.ACTIVE)

    def finished(self, result: RunResult, at: datetime | None, reason: str = "", message: str = "") -> ObservedJob:
        return ObservedJob(
            self.name,
            self.uid,
            self.task_uid,
            self.slot,
            self.execution_id,
            JobPhase.FINISHED,
            result,
            at,
            reason,
            message,
        )


def _identity(meta: Mapping[str, Any]) -> _Seen | None:
    """Return whose Job it is, or None if it is nobody's or pretends to be somebody's."""
    task_uid = (meta.get("labels") or {}).get(LABEL_TASK_UID)
    task = (meta.get("labels") or {}).get(LABEL_TASK)
    slot = _time((meta.get("annotations") or {}).get(ANNOTATION_SLOT))
    owners = (o for o in meta.get("ownerReferences") or () if o.get("controller") and o.get("kind") == KIND)
    owner = next(owners, None)
    if owner is None or slot is None or (owner.get("name"), owner.get("uid")) != (task, task_uid):
        return None
    try:
        if meta["name"] != job_name(str(task), slot):
            return None
        uid = execution_id(str(task_uid), slot, Cause.SCHEDULE)
    except ValueError:  # the uid is none
        return None
    return _Seen(name=meta["name"], uid=meta["uid"], task_uid=str(task_uid), slot=slot, execution_id=str(uid))


def _time(text: str | None) -> datetime | None:
    """Return a time in UTC, or None for what is none, has no zone or lies outside the calendar."""
    try:
        when = datetime.fromisoformat(text) if text else None
        return when.astimezone(UTC) if when is not None and when.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
