"""How a pod ended, or when it is no longer waited for, read from its status. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from carillon_core.domain.observed.pod_trouble import PodTrouble, utc_second
from carillon_core.resources.names import ANNOTATION_TASK_TYPE

RUNNER_CONTAINER = "runner"
USER_CONTAINER = "task"
"""The name of a user's container, of a ``container`` task."""
WHOLE_JOB = "job"
"""The task type whose Job is the user's from its template on."""
DISRUPTION_TARGET = "DisruptionTarget"
"""The condition of a pod that a drain, a preemption, an eviction or a taint ends."""
END_MARGIN = timedelta(seconds=10)
"""How long after its grace period a pod may take to be reported as ended."""
NODE_LOST = "NodeLost"
"""The reason of Kubernetes for a pod whose node does not respond."""


@dataclass(frozen=True, slots=True)
class PodEnd:
    """How a pod of a Job ended; it is known before the Job's status shows it."""

    succeeded: bool
    finished_at: datetime | None
    exit_code: int | None = None
    reason: str = ""
    """Kubernetes' reason, such as OOMKilled, Evicted, DeadlineExceeded or Error."""
    message: str = ""
    """The container's termination message, else Kubernetes' message."""
    pod_name: str = ""
    started_at: datetime | None = None
    disrupted: bool = False
    """Whether Kubernetes ended it for another cause than its own: a drain, a preemption, pressure on its node."""
    exit_codes: tuple[tuple[str, int], ...] = ()
    """The name and the exit code of each container that ended, if it had several."""
    container: str = ""
    """The container that speaks for the pod; empty if none ended."""


@dataclass(frozen=True, slots=True)
class JobPods:
    """What the pods of a Job show."""

    ends: Sequence[PodEnd] = ()
    """How those that have ended did so."""
    trouble: PodTrouble | None = None
    """Why its newest pod cannot start, or none is created."""
    living: bool = False
    """Whether one of them has not ended, in its grace period or not."""
    seen: bool = False
    """Whether there ever was one."""
    some_work: bool = False
    """Whether one of them lives without trouble."""
    forgotten: int = 0
    """How many more have ended, of which nothing else is kept."""
    forgotten_successes: int = 0
    """How many of those succeeded."""
    newest_name: str = ""
    """The name of the newest that exists."""


NO_PODS = JobPods()


def given_up_at(pod: Mapping[str, Any]) -> datetime | None:
    """Return when a pod that has not ended is no longer waited for, or None if it is waited for without a bound.

    The API server sets a pod's deletion time to the end of its grace period. The
    kubelet kills the containers then; one that does not report this soon
    afterwards, or whose node is known to be lost, is not heard from again.
    """
    deleted_at = utc_second(pod["metadata"].get("deletionTimestamp"))
    if (pod.get("status") or {}).get("reason") == NODE_LOST:
        return deleted_at or utc_second(pod["metadata"].get("creationTimestamp"))
    return None if deleted_at is None else deleted_at + END_MARGIN


def pod_end(pod: Mapping[str, Any]) -> PodEnd | None:
    """Return how a pod ended, or None while it has not."""
    status = pod.get("status") or {}
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    succeeded = status["phase"] == "Succeeded"
    name = pod["metadata"].get("name", "")
    disruption = next((c for c in status.get("conditions") or () if _is_disruption(c)), None)
    word = status.get("reason") or (disruption or {}).get("reason") or ""
    whole = (pod["metadata"].get("annotations") or {}).get(ANNOTATION_TASK_TYPE) == WHOLE_JOB
    for container in sorted(_containers(pod), key=lambda c: _rank(c, succeeded=succeeded, whole=whole)):
        ended = (container.get("state") or {}).get("terminated")
        if ended:
            return PodEnd(
                succeeded=succeeded,
                finished_at=utc_second(ended.get("finishedAt")) or _last_change(status),
                exit_code=ended.get("exitCode"),
                reason=word or ended.get("reason") or "",
                message=ended.get("message") or status.get("message") or "",
                pod_name=name,
                started_at=utc_second(ended.get("startedAt")),
                disrupted=disruption is not None,
                exit_codes=_exit_codes(pod),
                container=container.get("name") or "",
            )
    return PodEnd(
        succeeded=succeeded,
        finished_at=_last_change(status),
        reason=word,
        message=status.get("message") or "",
        pod_name=name,
        started_at=utc_second(status.get("startTime")),
        disrupted=disruption is not None,
    )


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the statuses of a pod's containers; of init containers, those that failed."""
    status = pod["status"]
    begun = [c for c in status.get("initContainerStatuses") or () if _exit_code(c)]
    return [*(status.get("containerStatuses") or ()), *begun]


def _exit_codes(pod: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    ended = [c for c in _containers(pod) if (c.get("state") or {}).get("terminated")]
    return tuple((str(c.get("name")), _exit_code(c)) for c in ended) if len(ended) > 1 else ()


def _rank(container: Mapping[str, Any], *, succeeded: bool, whole: bool) -> tuple[bool, bool]:
    """Return where a container stands among those that may speak for their pod; the least does.

    Sidecars that somebody injected do not count beside the task's own container. Of a pod that failed, one that failed
    explains it. In the pod of a whole Job, names mean nothing.
    """
    injected = not whole and container.get("name") not in {RUNNER_CONTAINER, USER_CONTAINER}
    return injected, not succeeded and not _exit_code(container)


def _exit_code(container: Mapping[str, Any]) -> int:
    return ((container.get("state") or {}).get("terminated") or {}).get("exitCode") or 0


def _is_disruption(condition: Mapping[str, Any]) -> bool:
    return condition.get("type") == DISRUPTION_TARGET and condition.get("status") == "True"


def _last_change(status: Mapping[str, Any]) -> datetime | None:
    times = [utc_second(c.get("lastTransitionTime")) for c in status.get("conditions") or ()]
    return max((t for t in times if t is not None), default=None)
