"""Reads from a pod's status how it ended. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carillon_core.domain.observed.pod_trouble import utc_second

RUNNER_CONTAINER = "runner"
USER_CONTAINER = "task"
"""The name of a user's container, of a ``container`` task."""


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


def pod_end(pod: Mapping[str, Any]) -> PodEnd | None:
    """Return how a pod ended, or None while it has not."""
    status = pod.get("status") or {}
    if status.get("phase") not in {"Succeeded", "Failed"}:
        return None
    succeeded = status["phase"] == "Succeeded"
    name = pod["metadata"].get("name", "")
    # injected sidecars do not count
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
