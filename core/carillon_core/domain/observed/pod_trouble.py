"""Why a Job's pod cannot start, or is not even created: what pods and the Job controller's Events tell of it. Pure.

A pod that the kubelet cannot start says so in its own status. A pod that the
API server refuses (its ServiceAccount is missing, it violates Pod Security, a
webhook denies it, a quota is used up) does not exist: only Events about the
Job tell of it, one for each try.
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
"""What is kept of a message: it is repeated within others, which are cut at 1024."""


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """Why a pod cannot start, and will not without help."""

    reason: str
    """Kubernetes' word, such as ErrImagePull, CreateContainerConfigError or FailedCreate."""
    message: str
    since: datetime
    waits: bool = False
    """Whether only room in a quota is missing, which comes when others end: that is waited for."""
    seen_at: datetime | None = None
    """Of a pod that was refused: when the API server was asked last, and had none. None of what a watch tells."""

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
"""The kubelet's reasons to wait that rarely pass by themselves."""


def pod_trouble(pod: Mapping[str, Any]) -> PodTrouble | None:
    """Return why a pod cannot start, or None if nothing keeps it."""
    status = pod.get("status") or {}
    created = utc_second(pod["metadata"].get("creationTimestamp"))
    placed = [
        utc_second(c.get("lastTransitionTime"))
        for c in status.get("conditions") or ()
        if c.get("type") == "PodScheduled" and c.get("status") == "True"
    ]
    # what waited for a node has not waited for its image yet
    since = max((t for t in (created, *placed) if t is not None), default=None)
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in STUCK and status.get("phase") == "Pending" and since is not None:
            return PodTrouble(waiting["reason"], waiting.get("message") or "", since)
    return None


@dataclass(frozen=True, slots=True)
class PodRefusal:
    """What one Event says of the tries to create a Job's pod: one, or several that were refused in the same words."""

    message: str
    first: datetime
    last: datetime


def pod_refusal(event: Mapping[str, Any]) -> PodRefusal | None:
    """Return what an Event of the Job controller says, or None if it has no time that can be read."""
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
"""After ten tries in ten minutes all others share one Event, with the words of the last and the time of the first."""
_FRAME = re.compile(r'(Error creating: )?(pods? "[^"]*" is (forbidden|invalid): )?', re.IGNORECASE)
"""What is about the words that tell why. Each try has another pod's name; a message that changes with each try would
make a status patch and an Event of each."""
_NO_ROOM = ("exceeded quota: ", "status unknown for quota: ")
"""How admission by ResourceQuota says that there is no room, or that it has not counted yet."""


def refused_pod(
    refusals: Sequence[PodRefusal], begun: datetime, seen_at: datetime, known: PodTrouble | None = None
) -> PodTrouble | None:
    """Return why a Job has no pod, by the words of the last try; None if no try is known.

    Args:
        refusals: What the Events about the Job say, in any order.
        begun: Since when the Job may have pods; tries before, in an earlier admission by its queue, count no more.
        seen_at: When that was asked for; there was no pod then.
        known: What was found when it was asked for before: Events may have been forgotten since.

    Returns:
        The trouble. It lasts since the first try that was refused for want of room, if the last was, or for another
        cause, if the last was: a wait for room counts for nothing once something else is wrong.

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
    """Return why a try was refused, without what is said around it."""
    return _FRAME.sub("", message.removeprefix(_COMBINED), count=1)


def is_held(job: Mapping[str, Any]) -> bool:
    """Return whether the Job controller still holds a Job back: it has not begun it since its queue let it go."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Suspended" and c["status"] == "True" for c in conditions)


_COUNTS = ("active", "succeeded", "failed", "terminating")


def has_had_pod(job: Mapping[str, Any]) -> bool:
    """Return whether a Job's own status tells of a pod, one that is gone by now among them."""
    status = job.get("status") or {}
    return any(status.get(count) for count in _COUNTS) or any((status.get("uncountedTerminatedPods") or {}).values())


def utc_second(text: str | None) -> datetime | None:
    """Return a time in UTC in whole seconds, or None for what is none, has no zone or lies outside the calendar.

    Finer ones would never be the same as what a status keeps, which would be written again and again.
    """
    try:
        when = datetime.fromisoformat(text) if text else None
        return when.astimezone(UTC).replace(microsecond=0) if when is not None and when.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
