"""What ``decide`` is given: tasks, requests, targets and Jobs as the cluster shows them, parsed once at the edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Self
from uuid import UUID

from carillon_core.contract import Cause, ExitCode
from carillon_core.domain.execution import execution_id, job_name, request_job_name
from carillon_core.domain.observed.pod_trouble import PodTrouble, utc_second
from carillon_core.errors import FieldProblem, InvalidResourceError
from carillon_core.resources import names
from carillon_core.resources.http_target import HTTPTargetSpec, parse_target_spec
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.run_request import (
    RunRequestSpec,
    RunRequestStatus,
    parse_request_spec,
    parse_request_status,
)
from carillon_core.resources.scheduled_task import (
    RunResult,
    ScheduledTaskSpec,
    ScheduledTaskStatus,
    parse_meta,
    parse_spec,
    parse_status,
)


@dataclass(frozen=True, slots=True)
class ObservedTarget:
    """The HTTPTarget that a task names: its spec, or what is wrong with it; neither if there is none."""

    name: str
    spec: HTTPTargetSpec | None = None
    problems: tuple[FieldProblem, ...] = ()

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> Self:
        """Parse an object from the API server; whatever its spec says, this does not fail."""
        name = raw["metadata"]["name"]
        try:
            return cls(name, parse_target_spec(raw.get("spec"), strict=False))
        except InvalidResourceError as error:
            return cls(name, None, error.problems)


@dataclass(frozen=True, slots=True)
class ObservedTask:
    """A ScheduledTask as it stands in the cluster; one that breaks the rules has problems and no spec."""

    meta: ObjectMeta
    spec: ScheduledTaskSpec | None
    status: ScheduledTaskStatus
    """The status decided last, else the stored one."""
    problems: tuple[FieldProblem, ...] = ()
    stored: ScheduledTaskStatus = field(default_factory=ScheduledTaskStatus)
    """The status that the API server has, which a restarted operator would begin from."""
    target: ObservedTarget | None = None
    """What its HTTP task's targetRef names; None if it names none."""

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> Self:
        """Parse an object from the API server; whatever its spec says, this does not fail."""
        meta = parse_meta(raw["metadata"])
        status = parse_status(raw.get("status"))
        try:
            return cls(meta, parse_spec(raw.get("spec"), strict=False), status, stored=status)
        except InvalidResourceError as error:
            return cls(meta, None, status, error.problems, stored=status)

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
    """A RunRequest as it stands in the cluster; one that breaks the rules has problems and no spec."""

    meta: ObjectMeta
    spec: RunRequestSpec | None
    status: RunRequestStatus
    """The status decided last, else the stored one."""
    problems: tuple[FieldProblem, ...] = ()
    stored: RunRequestStatus = field(default_factory=RunRequestStatus)
    """The status that the API server has."""
    target: ObservedTarget | None = None
    """What its own HTTP task's targetRef names; None if it names none."""

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> Self:
        """Parse an object from the API server; whatever its spec says, this does not fail."""
        meta = parse_meta(raw["metadata"])
        status = parse_request_status(raw.get("status"))
        try:
            return cls(meta, parse_request_spec(raw.get("spec"), strict=False), status, stored=status)
        except InvalidResourceError as error:
            return cls(meta, None, status, error.problems, stored=status)

    @property
    def slot(self) -> datetime:
        """When it is to run: its runAt, else its creation."""
        return (self.spec.run_at if self.spec else None) or _created_at(self.meta)

    @property
    def task_name(self) -> str | None:
        """The ScheduledTask that it names, or None if it has a task of its own."""
        return self.spec.task_ref.name if self.spec and self.spec.task_ref else None

    @property
    def target_name(self) -> str | None:
        """The name of the HTTPTarget that its own task needs, if it needs one."""
        http = self.spec.task.http if self.spec and self.spec.task else None
        return http.target_ref.name if http and http.target_ref else None


def _created_at(meta: ObjectMeta) -> datetime:
    if meta.creation_timestamp is None:
        msg = f"{meta.namespace}/{meta.name} has no creationTimestamp"
        raise ValueError(msg)
    return meta.creation_timestamp


class JobPhase(Enum):
    """Where a Job stands."""

    ACTIVE = "active"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How a pod of a Job ended, the first sure sign of an attempt's end."""

    succeeded: bool
    finished_at: datetime | None
    exit_code: int | None = None
    reason: str = ""
    """Kubernetes' word, such as OOMKilled, Evicted, DeadlineExceeded, Error."""
    message: str = ""
    """The container's termination message, else Kubernetes' own."""
    pod_name: str = ""
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A runner Job: of a task's slot, or of a RunRequest."""

    name: str
    uid: str
    task_uid: str
    """The uid of the task whose execution it is; of a request with a task of its own, the request's."""
    slot: datetime
    execution_id: str
    phase: JobPhase
    result: RunResult = RunResult.RUNNING
    finished_at: datetime | None = None
    reason: str = ""
    message: str = ""
    cause: Cause = Cause.SCHEDULE
    origin: str = ""
    """The RunRequest's uid, of a Job that one asked for; else the task's."""
    container: bool = False
    """Whether its container is the user's, so that nobody but the operator records its execution."""
    ending: bool = False
    """Whether it is being deleted and its pods are not gone yet."""
    waiting: bool = False
    """Whether it waits in a queue, and has no pod."""
    taken_back: bool = False
    """Whether its queue suspended it before it was done, and its execution is over: it would be begun once more."""
    trouble: PodTrouble | None = None
    """Why its pod cannot start, or is not created."""
    admitted_at: datetime | None = None
    """Since when it may have pods: its creation, or when its queue let it begin."""
    attempts: tuple[PodEnd, ...] = ()
    """Its pods that have ended, first to last."""
    namespace: str = ""
    task_name: str = ""
    """Of the task, or of the request that has a task of its own."""
    task_type: str = ""
    retry_of: UUID | None = None
    """The execution that its own repeats."""

    @property
    def active(self) -> bool:
        """Whether the execution goes on."""
        return self.phase is JobPhase.ACTIVE

    @property
    def hindrance(self) -> str:
        """What keeps an execution that is active from beginning, as a sentence; empty if nothing is known to."""
        if not self.active:
            return ""
        return WAITS if self.waiting else self.trouble.sentence if self.trouble is not None else ""


_RESULT_OF_EXIT: dict[int | None, RunResult] = {
    ExitCode.TIMED_OUT: RunResult.TIMED_OUT,
    ExitCode.CANCELLED: RunResult.CANCELLED,
}


def pod_end(pod: Mapping[str, Any]) -> PodEnd | None:
    """Return how a pod ended, or None while it has not."""
    status = pod.get("status") or {}
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    succeeded = status["phase"] == "Succeeded"
    name = pod["metadata"].get("name", "")
    # sidecars that somebody injects do not speak for it
    containers = sorted(
        status.get("containerStatuses") or (), key=lambda c: c.get("name") not in {RUNNER_CONTAINER, USER_CONTAINER}
    )
    for container in containers:
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return PodEnd(
                succeeded=succeeded,
                finished_at=utc_second(ended.get("finishedAt")) or _last_change(status),
                exit_code=ended.get("exitCode"),
                reason=status.get("reason") or ended.get("reason") or "",
                message=ended.get("message") or status.get("message") or "",
                pod_name=name,
                started_at=utc_second(ended.get("startedAt")),
            )
    return PodEnd(
        succeeded=succeeded,
        finished_at=_last_change(status),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        pod_name=name,
        started_at=utc_second(status.get("startTime")),
    )


def _last_change(status: Mapping[str, Any]) -> datetime | None:
    times = [utc_second(c.get("lastTransitionTime")) for c in status.get("conditions") or ()]
    return max((t for t in times if t is not None), default=None)


def observed_job(
    job: Mapping[str, Any], pods: Sequence[PodEnd] = (), trouble: PodTrouble | None = None
) -> ObservedJob | None:
    """Return a Job as observed, or None if it is none of Carillon's.

    What a Job says of itself is believed only as far as it is consistent: a
    controlling ScheduledTask or RunRequest with the uid of the label, and the
    one name that its Job can have. The execution's id is computed, not read.

    A Job counts as finished at the first sure sign: a pod has ended that ends
    it, or its conditions say ``SuccessCriteriaMet``, ``FailureTarget``,
    ``Complete`` or ``Failed``. The Job's own status lags its pod by a second or
    more. A pod that was lost does not end a Job that may try another.

    Args:
        job: The raw object.
        pods: How its pods ended, those that have.
        trouble: Why its newest pod cannot start, or none is created.

    """
    seen = _identity(job["metadata"])
    if seen is None:
        return None
    containers = ((job.get("spec") or {}).get("template") or {}).get("spec", {}).get("containers") or ()
    seen = replace(
        seen,
        container=any(c.get("name") == USER_CONTAINER for c in containers),
        ending=bool(job["metadata"].get("deletionTimestamp")),
        waiting=bool((job.get("spec") or {}).get("suspend")),
        admitted_at=_admitted_at(job),
        trouble=trouble,
        attempts=tuple(sorted(pods, key=lambda p: (p.finished_at or seen.slot, p.pod_name))),
    )
    conditions = {c["type"]: c for c in (job.get("status") or {}).get("conditions") or () if c["status"] == "True"}
    last = next((p for p in seen.attempts if p.succeeded), seen.attempts[-1] if seen.attempts else None)
    if "SuccessCriteriaMet" in conditions or "Complete" in conditions or (last and last.succeeded):
        done = conditions.get("Complete") or conditions.get("SuccessCriteriaMet") or {}
        ended = (last and last.finished_at) or utc_second(done.get("lastTransitionTime"))
        return _finished(seen, RunResult.SUCCEEDED, ended, message=last.message if last else "")
    failure = conditions.get("Failed") or conditions.get("FailureTarget")
    if failure is None and (last is None or not _ends_job(job, last)):
        return seen
    failure = failure or {}
    deadline = "DeadlineExceeded"
    if last is not None:
        result = RunResult.FAILED if seen.container else _RESULT_OF_EXIT.get(last.exit_code, RunResult.FAILED)
        if deadline in {failure.get("reason"), last.reason}:
            result = RunResult.TIMED_OUT
        ended = last.finished_at or utc_second(failure.get("lastTransitionTime"))
        if seen.waiting and not conditions.keys() & _TERMINAL:
            message = f"{TAKEN_BACK}: {last.message or last.reason}"
            return replace(_finished(seen, result, ended, last.reason, message), taken_back=True)
        return _finished(seen, result, ended, last.reason, last.message)
    result = RunResult.TIMED_OUT if failure.get("reason") == deadline else RunResult.FAILED
    ended = utc_second(failure.get("lastTransitionTime"))
    # of one that never began, that it was late is not yet why
    words = [failure.get("message") or "", seen.hindrance]
    return _finished(seen, result, ended, failure.get("reason") or "", ": ".join(w for w in words if w))


def still_taken_back(before: ObservedJob, after: ObservedJob) -> ObservedJob:
    """Return a Job as it is seen now, or, if its queue took it back, as over as it was: whatever it does since.

    Its queue may admit it again before it is deleted; then it is to be deleted all the same.
    """
    if not before.taken_back:
        return after
    return replace(
        after,
        phase=before.phase,
        waiting=False,
        taken_back=True,
        trouble=None,
        result=before.result,
        finished_at=before.finished_at,
        reason=before.reason,
        message=before.message,
    )


def _admitted_at(job: Mapping[str, Any]) -> datetime | None:
    """Return since when a Job may have pods; the Job controller sets ``startTime`` anew when a queue lets it begin."""
    times = (job["metadata"].get("creationTimestamp"), (job.get("status") or {}).get("startTime"))
    return max((t for t in map(utc_second, times) if t is not None), default=None)


_TERMINAL = frozenset({"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"})
WAITS = "it waits in its queue until it is admitted"
"""What is said of an execution whose Job is suspended."""
TAKEN_BACK = "its queue took it back before it was done"
"""What is said of one whose Job is suspended after it was begun, before the pod's own words."""
RUNNER_CONTAINER = "runner"
USER_CONTAINER = "task"
"""The name of a user's container, of a ``container`` task."""


def _ends_job(job: Mapping[str, Any], pod: PodEnd) -> bool:
    """Return whether a failed pod is the last of its Job: by its exit code, or because no other may follow."""
    spec = job.get("spec") or {}
    if not spec.get("backoffLimit"):
        return True
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        if rule.get("action") == "FailJob" and pod.exit_code in (rule.get("onExitCodes") or {}).get("values", ()):
            return True
    return False


def _finished(
    seen: ObservedJob, result: RunResult, at: datetime | None, reason: str = "", message: str = ""
) -> ObservedJob:
    return replace(
        seen,
        phase=JobPhase.FINISHED,
        waiting=False,
        result=result,
        finished_at=at,
        reason=reason,
        message=message,
        trouble=None,
    )


def _identity(meta: Mapping[str, Any]) -> ObservedJob | None:
    """Return whose Job it is, as active, or None if it is nobody's or pretends to be somebody's."""
    labels = meta.get("labels") or {}
    slot = utc_second((meta.get("annotations") or {}).get(names.ANNOTATION_SLOT))
    owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
    task_uid = str(labels.get(names.LABEL_TASK_UID))
    if owner is None or slot is None:
        return None
    try:
        if owner.get("kind") == names.KIND:
            cause, origin = Cause.SCHEDULE, task_uid
            wanted = (labels.get(names.LABEL_TASK), task_uid, job_name(str(owner.get("name")), slot))
        elif owner.get("kind") == names.KIND_REQUEST:
            cause, origin = Cause.MANUAL, str(labels.get(names.LABEL_REQUEST_UID))
            wanted = (labels.get(names.LABEL_REQUEST), origin, request_job_name(str(owner.get("name")), origin))
        else:
            return None
        if (owner.get("name"), owner.get("uid"), meta["name"]) != wanted:
            return None
        uid = execution_id(origin, slot, cause)
    except ValueError:  # a uid that is none
        return None
    return ObservedJob(
        name=meta["name"],
        uid=meta["uid"],
        task_uid=task_uid,
        slot=slot,
        execution_id=str(uid),
        phase=JobPhase.ACTIVE,
        cause=cause,
        origin=origin,
        namespace=meta.get("namespace", ""),
        task_name=str(labels.get(names.LABEL_TASK, "")),
        task_type=str((meta.get("annotations") or {}).get(names.ANNOTATION_TASK_TYPE, "unknown")),
        retry_of=_uuid((meta.get("annotations") or {}).get(names.ANNOTATION_RETRY_OF)),
    )


def _uuid(text: str | None) -> UUID | None:
    """Return an id, or None for what is none: it is only a link."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def job_key(meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return the key under which a Job's task, or its request without one, is reconciled; see ``request_key``."""
    labels = meta.get("labels") or {}
    if labels.get(names.LABEL_REQUEST_UID) and labels.get(names.LABEL_REQUEST_UID) == labels.get(names.LABEL_TASK_UID):
        return meta["namespace"], own_key_name(labels.get(names.LABEL_REQUEST, ""))
    return meta["namespace"], labels.get(names.LABEL_TASK, "")


def request_key(request: ObservedRequest) -> tuple[str, str]:
    """Return the key under which a request is reconciled: its task's, so that the two never act at once."""
    return request.meta.namespace, request.task_name or own_key_name(request.meta.name)


def own_key_name(request_name: str) -> str:
    """Return the name in the key of a request that has a task of its own; no object can have this name."""
    return f"{names.PLURAL_REQUESTS}/{request_name}"
