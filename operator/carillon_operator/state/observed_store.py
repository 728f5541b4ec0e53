"""What the operator has seen: tasks, requests, targets, Jobs, and how pods ended. Plain memory, one event loop."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from carillon_core.domain.decision.plan import EndExecution
from carillon_core.domain.decision.records import result_of_deleted
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.domain.observed.jobs import (
    JobPhase,
    ObservedJob,
    ObservedRequest,
    ObservedTarget,
    ObservedTask,
    job_key,
    observed_job,
    own_key_name,
    request_key,
    still_taken_back,
)
from carillon_core.domain.observed.pod_trouble import PodTrouble, has_had_pod, is_held
from carillon_core.ports import JobEvent, ObjectKind
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.run_request import RunRequestStatus
from carillon_core.resources.scheduled_task import ScheduledTaskStatus
from carillon_operator.state.observed_pods import ObservedPods
from carillon_operator.state.work_queue import Key

JobKey = tuple[str, str]
"""A Job's namespace and name."""


@dataclass(frozen=True, slots=True)
class JobChange:
    """What became of a Job through an event."""

    key: Key
    """The task's, or that of a request with a task of its own."""
    before: ObservedJob | None
    after: ObservedJob | None
    """None if the Job is gone."""


class ObservedStore:
    """The operator's view of the cluster."""

    def __init__(self) -> None:
        """Begin with an empty view."""
        self._tasks: dict[Key, ObservedTask] = {}
        self._sent: dict[Key, ScheduledTaskStatus] = {}
        self._foreign: Counter[Key] = Counter()
        self._requests: dict[Key, ObservedRequest] = {}
        self._requests_of: dict[Key, set[Key]] = {}
        self._targets: dict[Key, tuple[str, ObservedTarget]] = {}
        self._users: dict[Key, set[tuple[ObjectKind, Key]]] = {}
        """Who names a target, whether it is there or not."""
        self._jobs: dict[JobKey, tuple[Mapping[str, Any], ObservedJob]] = {}
        self._by_task: dict[Key, set[JobKey]] = {}
        self._deleted: set[str] = set()
        self._ends: dict[str, tuple[EndExecution, datetime]] = {}
        """How the operator ended Jobs that are not gone yet, by uid."""
        self._pods = ObservedPods()
        self._without_pod: dict[str, set[JobKey]] = {}
        """The Jobs that may have a pod and never had one, by their namespace."""
        self._listed: dict[str | None, set[JobKey]] = {}
        """What the lists of Jobs that are being read have named, by their namespace; None is that of all."""

    def all_keys(self) -> set[Key]:
        """Return every key under which there is something to reconcile."""
        return {*self._tasks, *self._requests_of, *self._by_task}

    def forget_decisions(self) -> None:
        """Go back to the statuses that the API server has: what was decided and not written counts no more."""
        self._sent.clear()
        self._tasks = {key: replace(task, status=task.stored) for key, task in self._tasks.items()}
        self._requests = {name: replace(each, status=each.stored) for name, each in self._requests.items()}

    # tasks

    def put_task(self, raw: Mapping[str, Any]) -> Key:
        """Take a task as the API server shows it; one that is older than what is known is left aside.

        The status that was decided last stays the one to go on from, unless
        somebody else has written another one: then that is.
        """
        task = ObservedTask.from_object(raw)
        key = _key(task.meta)
        old = self._tasks.get(key)
        if old is not None and _older(task.meta, old.meta):
            return key  # also one of a former task: its events and its successor's come in no order
        same = old is not None and old.meta.uid == task.meta.uid
        if old is not None and same and task.stored in (old.stored, self._sent.get(key)):
            task = replace(task, status=old.status)
        else:
            self._foreign[key] += 1
        self._keep_task(key, task)
        return key

    def _keep_task(self, key: Key, task: ObservedTask) -> None:
        self._note_user(("ScheduledTask", key), self._tasks.get(key), task)
        self._tasks[key] = task

    def sending(self, key: Key, status: ScheduledTaskStatus) -> None:
        """Remember a status that is about to be written: its event may come before the answer."""
        self._sent[key] = status

    def adopt_task(self, raw: Mapping[str, Any]) -> None:
        """Take a task with the status that the API server has: what was decided on another one does not count."""
        task = ObservedTask.from_object(raw)
        self._keep_task(_key(task.meta), task)
        self._foreign[_key(task.meta)] += 1

    def foreign_statuses(self, key: Key) -> int:
        """Return how often a task had a status of somebody else: a decision made before does not count."""
        return self._foreign[key]

    def task_stored(self, raw: Mapping[str, Any]) -> None:
        """Remember that a status of ours was written: what the API server has, and its version."""
        written = ObservedTask.from_object(raw)
        key = _key(written.meta)
        task = self._tasks.get(key)
        if task is None or task.meta.uid != written.meta.uid or _older(written.meta, task.meta):
            return
        meta = task.meta.model_copy(update={"resource_version": written.meta.resource_version})
        # a newer spec comes with its own event; its version is newer than this one
        self._tasks[key] = replace(task, meta=meta, stored=written.stored)

    def drop_task(self, key: Key, uid: str) -> None:
        """Forget a task that was deleted, unless another of its name is there already."""
        task = self._tasks.get(key)
        if task is not None and task.meta.uid == uid:
            self._note_user(("ScheduledTask", key), task, None)
            del self._tasks[key]
            self._sent.pop(key, None)
            self._foreign.pop(key, None)

    def set_status(self, key: Key, uid: str, status: ScheduledTaskStatus) -> None:
        """Remember the status that was decided."""
        task = self._tasks.get(key)
        if task is not None and task.meta.uid == uid:
            self._tasks[key] = replace(task, status=status)

    def task(self, key: Key) -> ObservedTask | None:
        """Return a task, with its target, or None if there is none."""
        task = self._tasks.get(key)
        if task is None or task.target_name is None:
            return task
        return replace(task, target=self.target(key[0], task.target_name))

    def uids(self, kind: ObjectKind) -> dict[Key, str]:
        """Return the uid of every object of a kind by namespace and name."""
        if kind == "HTTPTarget":
            return {key: uid for key, (uid, _) in self._targets.items()}
        known: Mapping[Key, ObservedTask | ObservedRequest]
        known = self._tasks if kind == "ScheduledTask" else self._requests
        return {key: item.meta.uid for key, item in known.items()}

    # targets

    def put_target(self, raw: Mapping[str, Any]) -> list[Key]:
        """Take an HTTPTarget; return the keys of those that name it."""
        meta = raw["metadata"]
        self._targets[meta["namespace"], meta["name"]] = (meta["uid"], ObservedTarget.from_object(raw))
        return self._users_of(meta["namespace"], meta["name"])

    def drop_target(self, key: Key, uid: str) -> list[Key]:
        """Forget an HTTPTarget that was deleted; return the keys of those that name it."""
        known = self._targets.get(key)
        if known is not None and known[0] == uid:
            del self._targets[key]
        return self._users_of(*key)

    def target(self, namespace: str, name: str) -> ObservedTarget | None:
        """Return an HTTPTarget, or None if there is none."""
        known = self._targets.get((namespace, name))
        return known[1] if known else None

    def _users_of(self, namespace: str, name: str) -> list[Key]:
        users = self._users.get((namespace, name), ())
        keys = {key if kind == "ScheduledTask" else request_key(self._requests[key]) for kind, key in users}
        return sorted(keys)

    def _note_user(
        self,
        user: tuple[ObjectKind, Key],
        before: ObservedTask | ObservedRequest | None,
        after: ObservedTask | ObservedRequest | None,
    ) -> None:
        """Know which target a task or a request names."""
        for item in (before, after):
            if item is None or item.target_name is None:
                continue
            target = (item.meta.namespace, item.target_name)
            users = self._users.setdefault(target, set())
            users.discard(user)
            if item is after:
                users.add(user)
            if not users:
                del self._users[target]

    # requests

    def put_request(self, raw: Mapping[str, Any]) -> Key:
        """Take a RunRequest as the API server shows it; return the key under which it is reconciled."""
        request = ObservedRequest.from_object(raw)
        name = _key(request.meta)
        old = self._requests.get(name)
        if old is not None and _older(request.meta, old.meta):
            return request_key(old)
        if old is not None and old.meta.uid == request.meta.uid and request.stored == old.stored:
            request = replace(request, status=old.status)
        self._keep_request(name, request)
        return request_key(request)

    def adopt_request(self, raw: Mapping[str, Any]) -> None:
        """Take a RunRequest with the status that the API server has."""
        request = ObservedRequest.from_object(raw)
        self._keep_request(_key(request.meta), request)

    def request_stored(self, raw: Mapping[str, Any]) -> None:
        """Remember that a status of ours was written: what the API server has, and its version."""
        written = ObservedRequest.from_object(raw)
        name = _key(written.meta)
        request = self._requests.get(name)
        if request is None or request.meta.uid != written.meta.uid or _older(written.meta, request.meta):
            return
        meta = request.meta.model_copy(update={"resource_version": written.meta.resource_version})
        self._keep_request(name, replace(request, meta=meta, stored=written.stored))

    def _keep_request(self, name: Key, request: ObservedRequest) -> None:
        before = self._requests.get(name)
        if before is not None and request_key(before) != request_key(request):
            # deleted and made again for another task, and nobody told of it
            self._leave_key(name, before)
        self._note_user(("RunRequest", name), before, request)
        self._requests[name] = request
        self._requests_of.setdefault(request_key(request), set()).add(name)

    def drop_request(self, name: Key, uid: str) -> Key | None:
        """Forget a RunRequest that was deleted; return the key under which it was reconciled."""
        request = self._requests.get(name)
        if request is None or request.meta.uid != uid:
            return None
        self._note_user(("RunRequest", name), request, None)
        del self._requests[name]
        self._leave_key(name, request)
        return request_key(request)

    def _leave_key(self, name: Key, request: ObservedRequest) -> None:
        key = request_key(request)
        siblings = self._requests_of.get(key, set())
        siblings.discard(name)
        if not siblings:
            self._requests_of.pop(key, None)

    def set_request_status(self, name: Key, uid: str, status: RunRequestStatus) -> None:
        """Remember the status that was decided."""
        request = self._requests.get(name)
        if request is not None and request.meta.uid == uid:
            self._requests[name] = replace(request, status=status)

    def requests_of(self, key: Key) -> list[ObservedRequest]:
        """Return the requests that are reconciled under a key, oldest first, each with its target."""
        found = [self._requests[name] for name in self._requests_of.get(key, ())]
        with_targets = [
            replace(r, target=self.target(r.meta.namespace, r.target_name)) if r.target_name else r for r in found
        ]
        return sorted(with_targets, key=lambda r: (r.slot, r.meta.name))

    # Jobs and pods

    def jobs_of(self, key: Key) -> list[ObservedJob]:
        """Return the Jobs of a key, those of an older task of the same name among them."""
        return [self._jobs[job_key][1] for job_key in self._by_task.get(key, ())]

    def job(self, namespace: str, name: str) -> ObservedJob | None:
        """Return a Job by its name, or None if there is none."""
        found = self._jobs.get((namespace, name))
        return found[1] if found else None

    def keys_of_execution(self, entry: ExecutionRecord | Closing) -> list[Key]:
        """Return the keys under which an execution's task, or requests of that name, are reconciled."""
        keys = [(entry.namespace, name) for name in (entry.task, own_key_name(entry.task))]
        return [k for k in keys if k in self._tasks or k in self._requests_of or k in self._by_task]

    def job_uids(self) -> set[str]:
        """Return the uids of all Jobs that are known."""
        return {job.uid for _, job in self._jobs.values()}

    def forget_deleted(self, job: ObservedJob) -> None:
        """Forget a Job that was deleted while it was active, when nobody is left whom it concerns."""
        name = (job.namespace, job.name)
        if job.uid in self._deleted and job.origin not in self._owners(job):
            self.drop_job(name, job.uid)

    def _owners(self, job: ObservedJob) -> set[str]:
        """Return the uids of the task and the requests to which a Job may belong."""
        key = job_key(self._jobs[job.namespace, job.name][0]["metadata"])
        task = self._tasks.get(key)
        return {task.meta.uid if task else "", *(self._requests[n].meta.uid for n in self._requests_of.get(key, ()))}

    def put_job(self, raw: Mapping[str, Any]) -> JobChange | None:
        """Take a Job as the API server showed it; None if it is none of ours."""
        meta = raw["metadata"]
        name = (meta["namespace"], meta["name"])
        for place in (None, name[0]):
            if place in self._listed:  # created while a list is read, so perhaps not in it
                self._listed[place].add(name)
        return self._take_job(raw)

    def _take_job(self, raw: Mapping[str, Any]) -> JobChange | None:
        meta = raw["metadata"]
        name = (meta["namespace"], meta["name"])
        if (raw.get("spec") or {}).get("suspend"):
            self._pods.hold(meta["uid"])
        observed = observed_job(raw, self._pods.ends(meta["uid"]), self._pods.trouble(meta["uid"]))
        if observed is None:
            return None
        before = self._jobs.get(name)
        if before is not None and before[1].uid == observed.uid and not before[1].active and observed.active:
            return None  # an older view: what has ended does not begin again
        if before is not None and before[1].uid == observed.uid:
            observed = still_taken_back(before[1], observed)
        self._jobs[name] = (_kept(raw), observed)
        may_have_pod = observed.active and not (observed.ending or observed.waiting or is_held(raw))
        if may_have_pod and not self._pods.seen(observed.uid) and not has_had_pod(raw):
            self._without_pod.setdefault(name[0], set()).add(name)
        else:
            self._note_pod(name)
        key = job_key(meta)
        self._by_task.setdefault(key, set()).add(name)
        return JobChange(key, before[1] if before else None, observed)

    def drop_job(self, name: JobKey, uid: str | None = None) -> JobChange | None:
        """Forget a Job that was deleted; with a uid, only if it is that one.

        One that was deleted while it was active is kept as cancelled, or as the operator ended it, until it is
        dropped again, with the next list or ``forget_deleted``: so its slot stays settled, its task's
        status says what became of it, and a late answer does not revive it.
        """
        found = self._jobs.get(name)
        if found is None or (uid is not None and found[1].uid != uid):
            return None
        raw, before = found
        self._pods.forget(before.uid)
        self._note_pod(name)
        key = job_key(raw["metadata"])
        if before.active:
            self._jobs[name] = (raw, self._ended(before))
            self._deleted.add(before.uid)
            return JobChange(key, before, None)
        del self._jobs[name]
        self._deleted.discard(before.uid)
        self._ends.pop(before.uid, None)
        siblings = self._by_task.get(key, set())
        siblings.discard(name)
        if not siblings:
            self._by_task.pop(key, None)
        return JobChange(key, before, None)

    def _ended(self, job: ObservedJob) -> ObservedJob:
        """Return how an execution ended whose Job was deleted while it was active: as we decided, or for others."""
        end, at = self._ends.get(job.uid, (None, None))
        result, reason, message = result_of_deleted(end)
        ended = replace(job, phase=JobPhase.FINISHED, result=result, reason=reason, message=message)
        return replace(ended, finished_at=at, trouble=None)

    def end_job(self, end: EndExecution, now: datetime) -> None:
        """Remember why a Job is being deleted: its task's status says that then, and not that somebody deleted it."""
        # in whole seconds, as a status keeps it: else it would be written again and again
        self._ends.setdefault(end.job_uid, (end, now.replace(microsecond=0)))

    def put_pod(self, raw: Mapping[str, Any]) -> JobChange | None:
        """Take a pod: how it ended, or why it cannot start, tells of its Job's execution."""
        owner = _owning_job(raw)
        if owner is None:
            return None
        news = self._pods.take(owner["uid"], raw)
        name = (raw["metadata"]["namespace"], owner["name"])
        found = self._jobs.get(name)
        if found is None or found[1].uid != owner["uid"]:
            return None
        self._note_pod(name)
        return self._take_job(found[0]) if news else None

    def _note_pod(self, name: JobKey) -> None:
        """Know of a Job that it has a pod, had one, or is to have none."""
        others = self._without_pod.get(name[0])
        if others is not None:
            others.discard(name)
            if not others:
                del self._without_pod[name[0]]

    def places_without_pods(self) -> set[str]:
        """Return the namespaces that have Jobs without a pod."""
        return set(self._without_pod)

    def lacks_pod(self, job: ObservedJob) -> bool:
        """Return whether a Job may have a pod and never had one."""
        return (job.namespace, job.name) in self._without_pod.get(job.namespace, ())

    def jobs_without_pod(self, namespace: str) -> list[tuple[Key, ObservedJob]]:
        """Return the Jobs of a namespace that may have a pod and never had one, each with its task's key."""
        found = [self._jobs[name] for name in sorted(self._without_pod.get(namespace, ()))]
        return [(job_key(raw["metadata"]), job) for raw, job in found]

    def refuse_pod(self, job: ObservedJob, trouble: PodTrouble) -> JobChange | None:
        """Take why a Job has no pod; None if it has one by now, or is gone."""
        found = self._jobs.get((job.namespace, job.name))
        if found is None or found[1].uid != job.uid or not self.lacks_pod(job):
            return None
        self._pods.refuse(job.uid, trouble)
        return self._take_job(found[0])

    def changes(self, event: JobEvent) -> Iterator[JobChange]:
        """Take an event of the watch; yield what became of which Job."""
        if event.kind == "Pod":
            yield from self._pod_changes(event)
            return
        if event.type == "LISTING":
            self._listed[event.namespace] = set()
        elif event.type == "SYNCED":
            listed = self._listed.pop(event.namespace, set())
            for name in [k for k in self._jobs if event.namespace in {None, k[0]} and k not in listed]:
                if change := self.drop_job(name):
                    yield change
        else:
            meta = event.object["metadata"]
            name = (meta["namespace"], meta["name"])
            change = self.drop_job(name, meta["uid"]) if event.type == "DELETED" else self.put_job(event.object)
            if change:
                yield change

    def _pod_changes(self, event: JobEvent) -> Iterator[JobChange]:
        if event.type in {"ADDED", "MODIFIED"}:
            change = self.put_pod(event.object)
            if change:
                yield change
        elif event.type == "DELETED":
            # the last view of a pod often is the first that says how it ended
            change = self.put_pod(event.object)
            owner = _owning_job(event.object)
            if owner and (event.object["metadata"]["namespace"], owner["name"]) not in self._jobs:
                self._pods.forget(owner["uid"])
            elif owner:
                self._pods.gone(owner["uid"], event.object["metadata"].get("uid", ""))
            if change:
                yield change


def _key(meta: ObjectMeta) -> Key:
    return meta.namespace, meta.name


def _older(one: ObjectMeta, other: ObjectMeta) -> bool:
    """Return whether the one version is older; versions are integers (KEP-5504), and what is none is not older."""
    try:
        return int(one.resource_version) < int(other.resource_version)
    except ValueError:
        return False


def _owning_job(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((o for o in owners if o["kind"] == "Job" and o.get("controller")), None)


def _kept(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a Job that is looked at again; the rest is most of its size."""
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
