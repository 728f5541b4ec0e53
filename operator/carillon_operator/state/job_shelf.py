"""The runner Jobs and the state of their pods."""

from collections.abc import Iterator, KeysView, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carillon_core.domain.decision.plan import EndExecution
from carillon_core.domain.decision.records import result_of_deleted
from carillon_core.domain.observed.job_reading import observed_job, still_taken_back
from carillon_core.domain.observed.jobs import ObservedJob, job_key
from carillon_core.domain.observed.pod_trouble import PodTrouble, has_had_pod, is_held
from carillon_core.ports import JobEvent
from carillon_operator.state.observed_pods import ObservedPods
from carillon_operator.state.podless_jobs import PodlessJobs
from carillon_operator.state.work_queue import Key

JobName = tuple[str, str]
"""A Job's namespace and name."""


@dataclass(frozen=True, slots=True)
class JobChange:
    """How an event changed a Job."""

    key: Key
    """The key of its task, or of a request that has a task of its own."""
    before: ObservedJob | None
    after: ObservedJob | None
    """None if the Job is gone."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A Job as the API server shows it, without the parts that are not needed, and parsed."""

    raw: Mapping[str, Any]
    observed: ObservedJob


class JobShelf:
    """The runner Jobs by namespace and name."""

    def __init__(self) -> None:
        """Start empty."""
        self._jobs: dict[JobName, _Job] = {}
        self._by_key: dict[Key, set[JobName]] = {}
        self._deleted: set[str] = set()
        """The uids of Jobs that were deleted while they were active."""
        self._ends: dict[str, tuple[EndExecution, datetime]] = {}
        """How the operator ended Jobs that still exist, by uid."""
        self._pods = ObservedPods()
        self._podless = PodlessJobs()
        self._listed: dict[str | None, set[JobName]] = {}
        """The Jobs named by each list that is being read, by the list's namespace; None is a list of all."""

    def keys(self) -> KeysView[Key]:
        """Return the keys that have Jobs."""
        return self._by_key.keys()

    def under(self, key: Key) -> list[ObservedJob]:
        """Return the Jobs of a key, including those of an older task of the same name."""
        return [self._jobs[name].observed for name in self._by_key.get(key, ())]

    def get(self, namespace: str, name: str) -> ObservedJob | None:
        """Return a Job, or None if it is not known."""
        found = self._jobs.get((namespace, name))
        return found.observed if found else None

    def key_of(self, job: ObservedJob) -> Key:
        """Return the key of a known Job."""
        return job_key(self._jobs[job.namespace, job.name].raw["metadata"])

    def uids(self) -> set[str]:
        """Return the uids of all Jobs."""
        return {job.observed.uid for job in self._jobs.values()}

    def was_deleted(self, job: ObservedJob) -> bool:
        """Return whether a Job was deleted while it was active."""
        return job.uid in self._deleted

    def changes(self, event: JobEvent) -> Iterator[JobChange]:
        """Take an event of the watch; yield the changes of Jobs."""
        if event.kind == "Pod":
            yield from self._pod_changes(event)
        elif event.type == "LISTING":
            self._listed[event.namespace] = set()
        elif event.type == "SYNCED":
            listed = self._listed.pop(event.namespace, set())
            for name in [n for n in self._jobs if event.namespace in {None, n[0]} and n not in listed]:
                if change := self.drop(name):
                    yield change
        else:
            meta = event.object["metadata"]
            name = (meta["namespace"], meta["name"])
            change = self.drop(name, meta["uid"]) if event.type == "DELETED" else self.put(event.object)
            if change:
                yield change

    def put(self, raw: Mapping[str, Any]) -> JobChange | None:
        """Take a Job from the API server; return None if it is not one of ours."""
        meta = raw["metadata"]
        name = (meta["namespace"], meta["name"])
        for place in (None, name[0]):
            if place in self._listed:  # created while a list is read, so perhaps not in it
                self._listed[place].add(name)
        return self._take(raw)

    def _take(self, raw: Mapping[str, Any]) -> JobChange | None:
        meta = raw["metadata"]
        name = (meta["namespace"], meta["name"])
        if (raw.get("spec") or {}).get("suspend"):
            self._pods.hold(meta["uid"])
        observed = observed_job(raw, self._pods.ends(meta["uid"]), self._pods.trouble(meta["uid"]))
        if observed is None:
            return None
        before = self.get(*name)
        if before is not None and before.uid == observed.uid:
            if not before.active and observed.active:
                return None  # an older version: a Job that has ended does not start again
            observed = still_taken_back(before, observed)
        self._jobs[name] = _Job(_kept(raw), observed)
        may_have_pod = observed.active and not (observed.ending or observed.waiting or is_held(raw))
        if may_have_pod and not self._pods.seen(observed.uid) and not has_had_pod(raw):
            self._podless.add(name)
        else:
            self._podless.discard(name)
        key = job_key(meta)
        self._by_key.setdefault(key, set()).add(name)
        return JobChange(key, before, observed)

    def drop(self, name: JobName, uid: str | None = None) -> JobChange | None:
        """Forget a deleted Job; with a uid, only if it is that Job.

        A Job that was deleted while it was active is kept as cancelled, or as
        the operator ended it, until it is dropped again, by the next list or
        when no task or request needs it any more. So its slot stays settled,
        its task's status says how it ended, and a late response does not
        revive it.
        """
        found = self._jobs.get(name)
        if found is None or (uid is not None and found.observed.uid != uid):
            return None
        before = found.observed
        self._pods.forget(before.uid)
        self._podless.discard(name)
        key = job_key(found.raw["metadata"])
        if before.active:
            self._jobs[name] = _Job(found.raw, self._ended(before))
            self._deleted.add(before.uid)
            return JobChange(key, before, None)
        del self._jobs[name]
        self._deleted.discard(before.uid)
        self._ends.pop(before.uid, None)
        siblings = self._by_key.get(key, set())
        siblings.discard(name)
        if not siblings:
            self._by_key.pop(key, None)
        return JobChange(key, before, None)

    def end(self, end: EndExecution, now: datetime) -> None:
        """Remember why the operator deletes a Job, so that its task's status gives that reason."""
        # in whole seconds, as a status keeps it; otherwise the status would be written again and again
        self._ends.setdefault(end.job_uid, (end, now.replace(microsecond=0)))

    def _ended(self, job: ObservedJob) -> ObservedJob:
        """Return how the execution of a Job that was deleted while it was active ended."""
        end, at = self._ends.get(job.uid, (None, None))
        result, reason, message = result_of_deleted(end)
        return job.ended(result, at, reason, message)

    def put_pod(self, raw: Mapping[str, Any]) -> JobChange | None:
        """Take a pod from the API server: how it ended, or why it cannot start, changes its Job."""
        owner = _owning_job(raw)
        if owner is None:
            return None
        news = self._pods.take(owner["uid"], raw)
        name = (raw["metadata"]["namespace"], owner["name"])
        found = self._jobs.get(name)
        if found is None or found.observed.uid != owner["uid"]:
            return None
        self._podless.discard(name)
        return self._take(found.raw) if news else None

    def _pod_changes(self, event: JobEvent) -> Iterator[JobChange]:
        if event.type not in {"ADDED", "MODIFIED", "DELETED"}:
            return
        # the last version of a deleted pod is often the first that says how it ended
        change = self.put_pod(event.object)
        owner = _owning_job(event.object)
        if event.type == "DELETED" and owner:
            if (event.object["metadata"]["namespace"], owner["name"]) in self._jobs:
                self._pods.gone(owner["uid"], event.object["metadata"].get("uid", ""))
            else:
                self._pods.forget(owner["uid"])
        if change:
            yield change

    def namespaces_without_pods(self) -> set[str]:
        """Return the namespaces that have Jobs without a pod."""
        return self._podless.namespaces()

    def lacks_pod(self, job: ObservedJob) -> bool:
        """Return whether a Job may have a pod and never had one."""
        return self._podless.has((job.namespace, job.name))

    def without_pod(self, namespace: str) -> list[tuple[Key, ObservedJob]]:
        """Return the Jobs of a namespace that may have a pod and never had one, each with its key."""
        found = [self._jobs[name] for name in self._podless.of(namespace)]
        return [(job_key(job.raw["metadata"]), job.observed) for job in found]

    def refuse_pod(self, job: ObservedJob, trouble: PodTrouble) -> JobChange | None:
        """Take the reason why a Job has no pod; return None if it has one by now, or is gone."""
        found = self._jobs.get((job.namespace, job.name))
        if found is None or found.observed.uid != job.uid or not self.lacks_pod(job):
            return None
        self._pods.refuse(job.uid, trouble)
        return self._take(found.raw)


def _owning_job(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((o for o in owners if o["kind"] == "Job" and o.get("controller")), None)


def _kept(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parts of a Job that are read again; the rest is most of its size."""
    meta = raw["metadata"]
    wanted = ("name", "namespace", "uid", "labels", "annotations", "ownerReferences")
    times = ("creationTimestamp", "deletionTimestamp")
    spec = raw.get("spec") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    kept_spec = {k: spec[k] for k in ("suspend", "backoffLimit", "podFailurePolicy") if k in spec}
    kept_spec["template"] = {"spec": {"containers": [{"name": c.get("name")} for c in containers]}}
    return {
        "metadata": {k: meta[k] for k in (*wanted, *times) if k in meta},
        "spec": kept_spec,
        "status": raw.get("status") or {},
    }
