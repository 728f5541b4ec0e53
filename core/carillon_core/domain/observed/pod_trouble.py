"""Finds out why a Job's pod cannot start or is not created, from the pod and the Job controller's Events. Pure.

If the kubelet cannot start a pod, the pod's status says why. A pod that the API
server rejects (its ServiceAccount is missing, it violates Pod Security, a
webhook denies it, a quota is used up) does not exist; only Events about the Job
say why, one for each try.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FAILED_CREATE = "FailedCreate"
"""The Job controller's reason for a pod that it could not create, and ours for the execution."""
JOB_CONTROLLER = "job-controller"
MAX_MESSAGE = 768
"""The number of characters kept of a message; it becomes part of other messages, which are cut at 1024."""


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """Why a pod does not start."""

    reason: str
    """Kubernetes' reason, such as ErrImagePull, CreateContainerConfigError or FailedCreate."""
    message: str
    since: datetime
    waits: bool = False
    """Whether it only waits for quota, which other executions release when they end."""
    seen_at: datetime | None = None
    """If no pod was created: when this was last checked. None if the trouble comes from a watch."""

    @property
    def sentence(self) -> str:
        """The trouble as a sentence: why the execution does not start."""
        return f"its pod {'is waiting for quota' if self.waits else 'cannot start'}: {self.reason}: {self.message}"


STUCK = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""The kubelet's reasons for a waiting container that rarely resolve by themselves."""


def pod_trouble(pod: Mapping[str, Any]) -> PodTrouble | None:
    """Return why a pod cannot start, or None if there is no such reason."""
    status = pod.get("status") or {}
    created = utc_second(pod["metadata"].get("creationTimestamp"))
    placed = [
        utc_second(c.get("lastTransitionTime"))
        for c in status.get("conditions") or ()
        if c.get("type") == "PodScheduled" and c.get("status") == "True"
    ]
    # the wait for a node does not count as a wait for the image
    since = max((t for t in (created, *placed) if t is not None), default=None)
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in STUCK and status.get("phase") == "Pending" and since is not None:
            return PodTrouble(waiting["reason"], waiting.get("message") or "", since)
    return None


@dataclass(frozen=True, slots=True)
class PodRefusal:
    """An Event about failed tries to create a Job's pod: one try, or several with the same message."""

    message: str
    first: datetime
    last: datetime


def pod_refusal(event: Mapping[str, Any]) -> PodRefusal | None:
    """Return an Event of the Job controller as a refusal, or None if it has no valid time."""
    times = [
        utc_second(event.get("firstTimestamp")),
        utc_second(event.get("eventTime")),
        utc_second(event["metadata"].get("creationTimestamp")),
        utc_second((event.get("series") or {}).get("lastObservedTime")),
        utc_second(event.get("lastTimestamp")),
    ]
    known = [t for t in times if t is not None]
    return PodRefusal(event.get("message") or "", min(known), max(known)) if known else None


_COMBINED = "(combined from similar events): "
"""After ten tries in ten minutes, all further tries share one Event: the last try's message, the first try's time."""
_FRAME = re.compile(r'(Error creating: )?(pods? "[^"]*" is (forbidden|invalid): )?', re.IGNORECASE)
"""The text before the reason. It contains the pod's name, which differs in each try and would cause a status patch and
an Event for each."""
_NO_ROOM = (
    "exceeded quota: ",
    "status unknown for quota: ",
    "Operation cannot be fulfilled on resourcequotas ",
)
"""Messages of the ResourceQuota admission: the quota is used up, its use is not known yet, or others change its use at
the same time."""


def refused_pod(
    refusals: Sequence[PodRefusal], begun: datetime, seen_at: datetime, known: PodTrouble | None = None
) -> PodTrouble | None:
    """Return why a Job has no pod, from the message of the last try; None if no try is known.

    Args:
        refusals: The Events about the Job, in any order.
        begun: Since when the Job may have pods; earlier tries, from a previous admission by its queue, are ignored.
        seen_at: The time of this check, at which there was no pod.
        known: The result of the previous check: Events may have expired since.

    Returns:
        The trouble. If the last try lacked quota, it dates from the first try that lacked quota; otherwise from the
        first try with another cause. A wait for quota does not count towards the patience with other causes.

    """
    ordered = sorted((r for r in refusals if r.last >= begun), key=lambda r: (r.last, r.first))
    if not ordered:
        return None
    message = _words(ordered[-1].message)
    waits = message.startswith(_NO_ROOM)
    same = [r for r in ordered if _words(r.message).startswith(_NO_ROOM) is waits]
    changed = max([begun, *(r.last for r in ordered if r not in same)])
    times = [_known_since(r) for r in same if r.last >= changed]
    if known is not None and known.waits is waits:
        times.append(known.since)
    since = max(min(times, default=changed), changed)
    return PodTrouble(FAILED_CREATE, message[:MAX_MESSAGE], since, waits, seen_at)


def _known_since(refusal: PodRefusal) -> datetime:
    return refusal.last if refusal.message.startswith(_COMBINED) else refusal.first


def _words(message: str) -> str:
    """Return why a try was refused, without the text around the reason."""
    return _FRAME.sub("", message.removeprefix(_COMBINED), count=1)


def is_held(job: Mapping[str, Any]) -> bool:
    """Return whether the Job controller has not started a Job since its queue admitted it."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Suspended" and c["status"] == "True" for c in conditions)


_COUNTS = ("active", "succeeded", "failed", "terminating")


def has_had_pod(job: Mapping[str, Any]) -> bool:
    """Return whether a Job's own status counts a pod, including pods that no longer exist."""
    status = job.get("status") or {}
    return any(status.get(count) for count in _COUNTS) or any((status.get("uncountedTerminatedPods") or {}).values())


def utc_second(text: str | None) -> datetime | None:
    """Parse a time, in UTC and whole seconds; None if the text is not a time, has no zone or is out of range.

    A finer time would always differ from that in the status, which would then be written again and again.
    """
    try:
        when = datetime.fromisoformat(text) if text else None
        return when.astimezone(UTC).replace(microsecond=0) if when is not None and when.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
