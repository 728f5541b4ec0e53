"""The state of each Job's pods. The Job shelf keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from carillon_core.domain.observed.pod_ends import PodEnd, pod_end
from carillon_core.domain.observed.pod_trouble import PodTrouble, pod_trouble


@dataclass(slots=True)
class _Pods:
    """The state of one Job's pods."""

    seen: bool = False
    """Whether the Job ever had a pod."""
    refused: PodTrouble | None = None
    """Why the Job has no pod."""
    ends: dict[str, PodEnd] = field(default_factory=dict)
    """How pods ended, by the pod's uid."""
    troubles: dict[str, PodTrouble] = field(default_factory=dict)


class ObservedPods:
    """How pods ended, why they cannot start, and which Jobs have none; all by the Job's uid."""

    def __init__(self) -> None:
        """Start empty."""
        self._of: dict[str, _Pods] = {}

    def take(self, job_uid: str, raw: Mapping[str, Any]) -> bool:
        """Take a pod from the API server; return whether this changes the state of its Job's execution."""
        uid = raw["metadata"].get("uid", raw["metadata"]["name"])
        end, trouble = pod_end(raw), pod_trouble(raw)
        pods = self._of.setdefault(job_uid, _Pods())
        news = end is not None or trouble is not None or uid in pods.troubles or pods.refused is not None
        pods.seen, pods.refused = True, None
        if trouble is None:
            pods.troubles.pop(uid, None)
        else:
            pods.troubles[uid] = trouble
        if end is not None:
            pods.ends[uid] = end
        return news

    def refuse(self, job_uid: str, trouble: PodTrouble) -> None:
        """Remember why a Job has no pod."""
        self._of.setdefault(job_uid, _Pods()).refused = trouble

    def hold(self, job_uid: str) -> None:
        """Forget why a Job has no pod: its queue suspends it and will start it again."""
        if pods := self._of.get(job_uid):
            pods.refused = None

    def gone(self, job_uid: str, pod_uid: str) -> None:
        """Forget the trouble of a pod that was deleted."""
        if pods := self._of.get(job_uid):
            pods.troubles.pop(pod_uid, None)

    def forget(self, job_uid: str) -> None:
        """Forget the pods of a Job that is gone."""
        self._of.pop(job_uid, None)

    def seen(self, job_uid: str) -> bool:
        """Return whether the watch ever showed a pod of a Job."""
        pods = self._of.get(job_uid)
        return pods is not None and pods.seen

    def ends(self, job_uid: str) -> Sequence[PodEnd]:
        """Return how the pods of a Job that have ended did so."""
        pods = self._of.get(job_uid)
        return list(pods.ends.values()) if pods else ()

    def trouble(self, job_uid: str) -> PodTrouble | None:
        """Return the trouble of the newest pod that has any, else the reason why the Job has no pod."""
        pods = self._of.get(job_uid)
        return None if pods is None else max(pods.troubles.values(), key=lambda t: t.since, default=pods.refused)
