"""The state of each Job's pods. The Job shelf keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from carillon_core.domain.observed.pod_ends import NO_PODS, JobPods, PodEnd, given_up_at, pod_end
from carillon_core.domain.observed.pod_trouble import PodTrouble, pod_trouble, utc_second

JobName = tuple[str, str]
"""A Job's namespace and name."""
MOST_ENDS = 100
"""The pods of a Job that have ended and are kept; Jobs of runners and containers have far fewer."""
CONTAINER_UNKNOWN = "ContainerStatusUnknown"
"""The kubelet's reason for a container that it cannot find when the pod ends, for example because it never started."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Pod:
    """What one pod shows, or showed last."""

    name: str
    created_at: datetime
    end: PodEnd | None
    trouble: PodTrouble | None
    given_up_at: datetime | None
    never_started: PodTrouble | None = None
    """Why it had not started when it was seen last before its end."""

    def lives(self, now: datetime) -> bool:
        return self.end is None and (self.given_up_at is None or self.given_up_at > now)


@dataclass(slots=True)
class _Pods:
    """The state of one Job's pods."""

    job: JobName
    refused: PodTrouble | None = None
    """Why the Job has no pod."""
    there: dict[str, _Pod] = field(default_factory=dict)
    """The pods that exist, by uid. A whole Job may have thousands: only ``put`` and ``remove`` change it."""
    endless: set[str] = field(default_factory=set)
    """The uids of those that live without a bound."""
    bounded: set[str] = field(default_factory=set)
    """The uids of those that live until they are given up."""
    untroubled: set[str] = field(default_factory=set)
    """The uids of those without a bound and without trouble."""
    newest: str | None = None
    """The uid of the pod that was created last; of two in the same second, the one that was seen later."""
    ends: dict[str, PodEnd] = field(default_factory=dict)
    """How pods ended, those that are gone too, by the pod's uid."""
    seen: bool = False
    """Whether the Job ever had a pod."""
    forgotten: set[str] = field(default_factory=set)
    """The uids of pods that have ended and of which nothing else is kept."""
    forgotten_successes: int = 0
    now: datetime = _LONG_AGO
    """When it was looked last which pods are given up."""

    def put(self, uid: str, pod: _Pod) -> None:
        """Take the state of a pod that exists."""
        known = self.there.get(self.newest or "")
        if known is None or pod.created_at >= known.created_at:
            self.newest = uid
        self.there[uid] = pod
        for uids, belongs in (
            (self.endless, pod.end is None and pod.given_up_at is None),
            (self.bounded, pod.end is None and pod.given_up_at is not None),
            (self.untroubled, pod.end is None and pod.given_up_at is None and pod.trouble is None),
        ):
            if belongs:
                uids.add(uid)
            else:
                uids.discard(uid)

    def remove(self, uid: str) -> bool:
        """Forget that a pod exists; return whether it did."""
        if self.there.pop(uid, None) is None:
            return False
        for uids in (self.endless, self.bounded, self.untroubled):
            uids.discard(uid)
        if uid == self.newest:
            others = reversed(self.there.items())
            self.newest = max(others, key=lambda item: item[1].created_at, default=(None, None))[0]
        return True

    def living_with_a_bound(self) -> list[_Pod]:
        """Return the pods that live until they are given up."""
        return [pod for pod in map(self.there.__getitem__, self.bounded) if pod.lives(self.now)]

    def forget_oldest(self) -> None:
        """Keep the last pods that ended: a whole Job may have thousands, and each look at it goes through them."""
        while len(self.ends) > MOST_ENDS:
            uid = next(iter(self.ends))
            self.forgotten.add(uid)
            self.forgotten_successes += self.ends.pop(uid).succeeded
            self.remove(uid)


class ObservedPods:
    """How pods ended, which live, why they cannot start, and which Jobs have none; by namespace and uid of the Job.

    The uid alone does not do: a pod names its Job as its author likes.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._of: dict[tuple[str, str], _Pods] = {}
        self._listed: dict[str | None, set[str]] = {}
        """The uids of pods named by each list that is being read, by the list's namespace; None is a list of all."""

    def begin_list(self, namespace: str | None) -> None:
        """Note that a list of the pods of a namespace, or of all, begins."""
        self._listed[namespace] = set()

    def end_list(self, namespace: str | None) -> list[JobName]:
        """Forget the pods that a list did not name; return the Jobs that had such pods."""
        listed = self._listed.pop(namespace, set())
        changed = []
        for pods in self._of.values():
            if namespace in {None, pods.job[0]} and (gone := pods.there.keys() - listed):
                for uid in gone:
                    pods.remove(uid)
                changed.append(pods.job)
        return changed

    def take(self, job: JobName, job_uid: str, raw: Mapping[str, Any]) -> bool:
        """Take a pod from the API server; return whether it changes what is known of its Job's execution."""
        meta = raw["metadata"]
        uid = meta.get("uid", meta["name"])
        for place in (None, job[0]):
            if place in self._listed:
                self._listed[place].add(uid)
        created_at = utc_second(meta.get("creationTimestamp")) or _LONG_AGO
        pods = self._of.setdefault((job[0], job_uid), _Pods(job))
        before = pods.there.get(uid)
        trouble = pod_trouble(raw)
        never_started = trouble
        if before is not None and (raw.get("status") or {}).get("phase") != "Running":
            never_started = trouble or before.never_started
        end = _explained(pod_end(raw), never_started)
        pod = _Pod(meta["name"], created_at, end, trouble, given_up_at(raw), never_started)
        news = pods.refused is not None or before != pod
        pods.seen, pods.refused = True, None
        if uid in pods.forgotten:
            return False
        pods.put(uid, pod)
        if pod.end is not None:
            pods.ends[uid] = pod.end
            pods.forget_oldest()
        return news

    def refuse(self, job: JobName, job_uid: str, trouble: PodTrouble) -> None:
        """Remember why a Job has no pod."""
        self._of.setdefault((job[0], job_uid), _Pods(job)).refused = trouble

    def hold(self, namespace: str, job_uid: str) -> None:
        """Forget why a Job has no pod: its queue suspends it and will start it again."""
        if pods := self._of.get((namespace, job_uid)):
            pods.refused = None

    def gone(self, namespace: str, job_uid: str, pod_uid: str) -> bool:
        """Forget a pod that was deleted, except how it ended; return whether it was known."""
        pods = self._of.get((namespace, job_uid))
        return pods is not None and pods.remove(pod_uid)

    def forget(self, namespace: str, job_uid: str) -> None:
        """Forget the pods of a Job that is gone."""
        self._of.pop((namespace, job_uid), None)

    def seen(self, namespace: str, job_uid: str) -> bool:
        """Return whether the watch ever showed a pod of a Job."""
        pods = self._of.get((namespace, job_uid))
        return pods is not None and pods.seen

    def of(self, namespace: str, job_uid: str) -> JobPods:
        """Return what the pods of a Job show: their ends, whether one lives, and the trouble of the newest."""
        pods = self._of.get((namespace, job_uid))
        if pods is None:
            return NO_PODS
        newest, bounded = pods.there.get(pods.newest or ""), pods.living_with_a_bound()
        trouble = pods.refused if newest is None else newest.trouble
        some_work = bool(pods.untroubled) or any(pod.trouble is None for pod in bounded)
        living = bool(pods.endless or bounded)
        ends, forgotten = list(pods.ends.values()), len(pods.forgotten)
        successes, name = pods.forgotten_successes, "" if newest is None else newest.name
        return JobPods(ends, trouble, living, pods.seen, some_work, forgotten, successes, name)

    def give_up(self, namespace: str, job_uid: str, now: datetime) -> bool:
        """Wait no longer for pods whose time is over; return whether there are any."""
        pods = self._of.get((namespace, job_uid))
        if pods is None:
            return False
        before, pods.now = pods.now, max(pods.now, now)
        bounded = map(pods.there.__getitem__, pods.bounded)
        return any(pod.lives(before) and not pod.lives(pods.now) for pod in bounded)

    def given_up_at(self, namespace: str, job_uid: str) -> datetime | None:
        """Return when the last living pod of a Job is given up; None if none lives, or one without a bound."""
        pods = self._of.get((namespace, job_uid))
        if pods is None or pods.endless:
            return None
        return max((pod.given_up_at for pod in pods.living_with_a_bound() if pod.given_up_at is not None), default=None)


def _explained(end: PodEnd | None, never_started: PodTrouble | None) -> PodEnd | None:
    """Return the end of a pod; if no container of it ever started, with the reason for that."""
    if end is None or never_started is None or end.succeeded:
        return end
    if end.started_at is not None and end.exit_code is not None and end.reason != CONTAINER_UNKNOWN:
        return end  # it did start, after all
    if end.message and end.reason != CONTAINER_UNKNOWN:
        return end
    return replace(end, reason=end.reason or never_started.reason, message=never_started.sentence)
