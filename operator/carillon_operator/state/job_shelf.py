"""The runner Jobs and the state of their pods."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from carillon_core.domain.decision.plan import earliest
from carillon_core.domain.observed.job_reading import job_of_pod, observed_job, owning_job, still_taken_back
from carillon_core.domain.observed.jobs import ObservedJob, job_key
from carillon_core.domain.observed.pod_trouble import PodTrouble, has_had_pod, is_held
from carillon_core.logs import get_logger
from carillon_core.ports import JobEvent
from carillon_core.resources.names import ANNOTATION_CANCELLED_BY
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.state.decided_ends import DecidedEnds
from carillon_operator.state.job_index import JobIndex
from carillon_operator.state.observed_pods import JobName, ObservedPods
from carillon_operator.state.podless_jobs import PodlessJobs
from carillon_operator.state.work_queue import Key

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobChange:
    """How an event changed a Job."""

    key: Key
    """The key of its task, or of a request that has a task of its own."""
    before: ObservedJob | None
    after: ObservedJob | None
    """None if the Job and its pods are gone."""
    gone: ObservedJob | None = None
    """How a Job that is gone ended, if it was active until then."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A Job as the API server shows it, without the parts that are not needed, and parsed."""

    raw: Mapping[str, Any]
    observed: ObservedJob
    gone: bool = False
    """Whether the Job is deleted. Its pods may live on in their grace period."""


class JobShelf:
    """The runner Jobs by namespace and name."""

    def __init__(self, changed: Callable[[str], None] = lambda _: None) -> None:
        """Start empty; take what learns of each change of a request's Job, by the request's uid."""
        self.index = JobIndex(changed)
        self.ends = DecidedEnds()
        self.unasked: dict[Key, set[JobName]] = {}
        """The Jobs to ask the API server about before their end is recorded.

        Either they were deleted while they were active and no living pod of theirs was known, or only their pods are
        known, and those have ended.
        """
        self.unread: dict[Key, set[JobName]] = {}
        """The Jobs that ended since their key had a turn."""
        self._jobs: dict[JobName, _Job] = {}
        self._pods = ObservedPods()
        self._podless = PodlessJobs()
        self._listed: dict[str | None, set[JobName]] = {}
        """The Jobs named by each list that is being read, by the list's namespace; None is a list of all."""
        self._complete: set[str | None] = set()
        """The namespaces whose Jobs were listed once; None means all."""
        self.strays: dict[tuple[str, str], Mapping[str, Any]] = {}
        """Jobs that no list or event has shown, by namespace and uid, as the pods tell of them that live."""

    def under(self, key: Key) -> list[ObservedJob]:
        """Return the Jobs of a key that are not retired, including those of an older task of the same name."""
        return [self._jobs[name].observed for name in self.index.under(key)]

    def get(self, namespace: str, name: str) -> ObservedJob | None:
        """Return a Job, or None if it is not known."""
        found = self._jobs.get((namespace, name))
        return found.observed if found else None

    def raw_of(self, job: ObservedJob) -> Mapping[str, Any]:
        """Return what is kept of a known Job, with the identity that it had when it was first seen."""
        return self._jobs[job.namespace, job.name].raw

    def uids(self) -> set[str]:
        """Return the uids of all Jobs."""
        return {job.observed.uid for job in self._jobs.values()}

    def was_deleted(self, job: ObservedJob) -> bool:
        """Return whether a Job was deleted while it was active, and has ended."""
        found = self._jobs.get((job.namespace, job.name))
        return found is not None and found.gone and not job.active

    def changes(self, event: JobEvent) -> Iterator[JobChange]:
        """Take an event of the watch; yield the changes of Jobs."""
        if event.kind == "Pod":
            yield from self._pod_changes(event)
        elif event.type == "LISTING":
            self._listed[event.namespace] = set()
        elif event.type == "SYNCED":
            listed = self._listed.pop(event.namespace, set())
            self._complete.add(event.namespace)
            missing = [n for n in self._jobs if event.namespace in {None, n[0]} and n not in listed]
            strays = [raw for raw in self.strays.values() if event.namespace in {None, raw["metadata"]["namespace"]}]
            found = [self.drop(name) for name in missing] + [self._adopt(raw) for raw in strays]
            yield from (change for change in found if change)
        else:
            meta = event.object["metadata"]
            name = (meta["namespace"], meta["name"])
            change = None
            if event.type != "DELETED" or self.index.is_superseded(name):
                change = self.put(event.object)  # the last version of a superseded one may say that it was cancelled
            if event.type == "DELETED":
                change = self.drop(name, meta["uid"]) or change
            if change:
                yield change

    def put(self, raw: Mapping[str, Any]) -> JobChange | None:
        """Take a Job from the API server; return None if it is not one of ours."""
        meta = raw["metadata"]
        name = (meta["namespace"], meta["name"])
        for place in (None, name[0]):
            if place in self._listed:  # created while a list is read, so perhaps not in it
                self._listed[place].add(name)
        known = self._jobs.get(name)
        if (
            known is not None
            and known.gone
            and known.observed.uid == meta["uid"]
            and (name[0], meta["uid"]) not in self.strays
        ):
            return None  # a late response does not revive it
        # of a stray only what its pod says was known, which lacks a queue, for example
        is_stray = self.strays.pop((name[0], meta["uid"]), None) is not None
        return self._take(raw if known is None or is_stray else as_believed(raw, known.raw))

    def _take(self, raw: Mapping[str, Any], *, gone: bool = False) -> JobChange | None:
        """Read a Job, with what its pods show; return None if that is nothing new, or if the Job is not ours."""
        meta = raw["metadata"]
        name, uid = (meta["namespace"], meta["name"]), meta["uid"]
        if (raw.get("spec") or {}).get("suspend"):
            self._pods.hold(name[0], uid)
        observed = self._read(raw, gone=gone)
        if observed is None:
            return None
        known = self._jobs.get(name)
        before = known.observed if known is not None else None
        if known is not None and before is not None and before.uid == uid and not (known.gone and observed.active):
            newer = _newer(before, observed)
            if newer is None:
                return None
            observed = newer
        self._jobs[name] = _Job(_kept(raw), observed, gone)
        may_have_pod = observed.active and not (
            observed.ending or observed.waiting or is_held(raw) or observed.retry_at
        )
        if may_have_pod and not self._pods.seen(name[0], uid) and not has_had_pod(raw):
            self._podless.add(name)
        else:
            self._podless.discard(name)
        key = job_key(meta)
        self.index.put(key, name, observed)
        if self.index.is_superseded(name):
            newest = self.get(*self.index.newest(observed))
            return JobChange(key, newest, newest)
        if not observed.active and (before is None or before.active or before.uid != uid):
            self.unread.setdefault(key, set()).add(name)
            if observed.ending and observed.retries is not None:
                self.unasked.setdefault(key, set()).add(name)  # it may be deleted because another attempt has followed
        if gone and not observed.active:
            return JobChange(key, before, None, observed)
        return JobChange(key, before, observed)

    def _take_again(self, name: JobName) -> JobChange | None:
        """Read a Job again, because its pods have changed."""
        found = self._jobs[name]
        change = self._take(found.raw, gone=found.gone)
        if change is not None and change.gone is not None and (name[0], found.observed.uid) in self.strays:
            # it may exist and start another pod: its own event, or the answer to its creation, may be late
            self.unasked.setdefault(change.key, set()).add(name)
            return replace(change, gone=None)
        return change

    def _read(self, raw: Mapping[str, Any], *, gone: bool) -> ObservedJob | None:
        """Return a Job as observed; one that is being deleted has ended when its pods have."""
        pods = self._pods.of(raw["metadata"]["namespace"], raw["metadata"]["uid"])
        try:
            observed = observed_job(raw, pods, deleted=gone)
        except Exception:  # tenants can write Jobs: one that we fail to read must not end the watch of the others
            log.exception("cannot read a Job", job="/".join((raw["metadata"]["namespace"], raw["metadata"]["name"])))
            return None
        if observed is None:
            return None
        if observed.active:
            ended = observed.ending and not pods.living and (gone or pods.seen)
        else:
            ended = observed.result is not RunResult.SUCCEEDED and self.ends.has(observed)
        return self.ends.ended(observed) if ended else observed

    def drop(self, name: JobName, uid: str | None = None) -> JobChange | None:
        """Forget a deleted Job; with a uid, only if it is that Job.

        A Job that was deleted while it was active stays active until its pods
        have ended. It is then kept as its containers or the operator ended it,
        or as cancelled, until it is dropped again, by the next list or when no
        task or request needs it any more; and so is one that ended just before.
        So its slot stays settled, its task's status says how it ended, and a
        late response does not revive it.
        """
        found = self._jobs.get(name)
        if found is None or (uid is not None and found.observed.uid != uid):
            return None
        before, key = found.observed, job_key(found.raw["metadata"])
        self._podless.discard(name)
        if self.index.is_superseded(name):
            newest = self.get(*self.index.newest(before))
            ended = found.gone or before.cancelled_by or self.ends.has(before)
            if ended and newest is not None and newest.active:
                # remembered until the later attempt has ended, too
                self._jobs[name] = replace(
                    found, gone=True, observed=self.ends.ended(before) if before.active else before
                )
                return None
        elif not found.gone and (before.active or name in self.unread.get(key, ())):
            change = self._take(found.raw, gone=True)
            if change is not None and change.gone is not None and before.active and not before.waiting:
                self.unasked.setdefault(key, set()).add(name)
                return replace(change, gone=None)  # its pods may tell another end
            return change
        elif before.active:
            return None
        self.unread.get(key, set()).discard(name)
        self._pods.forget(name[0], before.uid)
        self.ends.forget(name[0], before.uid)
        del self._jobs[name]
        superseded = self.index.is_superseded(name)
        self.index.drop(key, name, before)
        return JobChange(key, None if superseded else before, None)

    def give_up(self, key: Key, now: datetime) -> list[JobChange]:
        """Wait no longer for pods whose grace period is long over; return the Jobs that end with that."""
        names = [
            name for name in self.index.under(key) if self._pods.give_up(name[0], self._jobs[name].observed.uid, now)
        ]
        changes = [self._take_again(name) for name in names]
        return [change for change in changes if change is not None]

    def next_give_up(self, key: Key) -> datetime | None:
        """Return when a Job of a key may have pods that are waited for no longer."""
        return earliest(*(self._pods.given_up_at(job.namespace, job.uid) for job in self.under(key) if job.active))

    def put_pod(self, raw: Mapping[str, Any]) -> JobChange | None:
        """Take a pod from the API server: that it lives, how it ended, or why it cannot start, changes its Job."""
        owner = owning_job(raw)
        if owner is None:
            return None
        name, uid = (raw["metadata"]["namespace"], owner["name"]), owner["uid"]
        news = self._pods.take(name, uid, raw)
        found = self._jobs.get(name)
        if found is not None and found.observed.uid == uid:
            self._podless.discard(name)
            return self._take_again(name) if news else None
        stray = job_of_pod(raw)
        if stray is None or not self._pods.of(name[0], uid).living:
            self.strays.pop((name[0], uid), None)
            return None
        self.strays[name[0], uid] = stray
        return self._adopt(stray) if self._complete & {None, name[0]} else None

    def _adopt(self, stray: Mapping[str, Any]) -> JobChange | None:
        """Take a Job that only its living pods tell of, because it is gone or its event is late."""
        meta = stray["metadata"]
        known, place = self._jobs.get((meta["namespace"], meta["name"])), (meta["namespace"], meta["uid"])
        if not self._pods.of(*place).living:  # gone since
            self.strays.pop(place, None)
            return None
        if known is not None and known.observed.uid != meta["uid"] and known.observed.active:
            return None
        return self._take(stray, gone=True)

    def _pod_changes(self, event: JobEvent) -> Iterator[JobChange]:
        names: list[JobName] = []
        if event.type == "LISTING":
            self._pods.begin_list(event.namespace)
        elif event.type == "SYNCED":
            names = self._pods.end_list(event.namespace)
        else:
            # the last version of a deleted pod is often the first that says how it ended
            change = self.put_pod(event.object)
            if change:
                yield change
            owner = owning_job(event.object)
            if event.type == "DELETED" and owner:
                name = (event.object["metadata"]["namespace"], owner["name"])
                if self._pods.gone(name[0], owner["uid"], event.object["metadata"].get("uid", "")):
                    names = [name]
                if name not in self._jobs:
                    self._pods.forget(name[0], owner["uid"])
        for name in names:
            change = self._take_again(name) if name in self._jobs else None
            if change and change.before != change.after:
                yield change

    def lacks_pod(self, job: ObservedJob) -> bool:
        """Return whether a Job may have a pod and never had one."""
        return self._podless.has((job.namespace, job.name))

    def without_pod(self, namespace: str | None = None) -> list[tuple[Key, ObservedJob]]:
        """Return the Jobs of a namespace, or all, that may have a pod and never had one, each with its key."""
        places = self._podless.namespaces() if namespace is None else {namespace}
        found = [self._jobs[name] for place in places for name in self._podless.of(place)]
        return [(job_key(job.raw["metadata"]), job.observed) for job in found]

    def refuse_pod(self, job: ObservedJob, trouble: PodTrouble) -> JobChange | None:
        """Take the reason why a Job has no pod; return None if it has one by now, or is gone."""
        found = self._jobs.get((job.namespace, job.name))
        if found is None or found.observed.uid != job.uid or not self.lacks_pod(job):
            return None
        self._pods.refuse((job.namespace, job.name), job.uid, trouble)
        return self._take(found.raw)


def _newer(before: ObservedJob, now: ObservedJob) -> ObservedJob | None:
    """Return a new view of a Job as far as it is newer than the one before; None if it is older."""
    if not before.active and now.ending > before.ending:
        now = replace(before, ending=True)  # a deletion says nothing of an execution that is over
    elif not before.active and now.active:
        return None  # a Job that has ended does not start again
    return still_taken_back(before, now)


def as_believed(raw: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a newer version of a known Job as the same execution's, whatever its labels say by now.

    A tenant who edits them would otherwise hide the Job's end from the task or request that waits for it.
    """
    meta, before = raw["metadata"], known["metadata"]
    if meta["uid"] != before["uid"]:
        return raw
    identity = {key: before[key] for key in ("labels", "annotations", "ownerReferences") if key in before}
    user = (meta.get("annotations") or {}).get(ANNOTATION_CANCELLED_BY)
    if user is not None:
        identity["annotations"] = {**(before.get("annotations") or {}), ANNOTATION_CANCELLED_BY: user}
    return {**raw, "metadata": {**meta, **identity}}


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
