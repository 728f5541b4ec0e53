"""What the operator has seen: tasks by key, Jobs by task, ended pods by Job. Plain memory, one event loop."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from carillon_core.domain.observed import JobPhase, ObservedJob, ObservedTask, PodEnd, observed_job, pod_end
from carillon_core.domain.plan import Reason
from carillon_core.ports import JobEvent
from carillon_core.resources.names import LABEL_TASK
from carillon_core.resources.scheduled_task import RunResult, ScheduledTaskStatus
from carillon_operator.work_queue import Key

JobKey = tuple[str, str]
"""A Job's namespace and name."""
DELETED_WHILE_ACTIVE = "its Job was deleted while it was active"


@dataclass(frozen=True, slots=True)
class JobChange:
    """What became of a Job through an event."""

    key: Key
    """The task's."""
    before: ObservedJob | None
    after: ObservedJob | None
    """None if the Job is gone."""


class ObservedStore:
    """The operator's view of the cluster."""

    def __init__(self) -> None:
        """Begin with an empty view."""
        self._tasks: dict[Key, ObservedTask] = {}
        self._jobs: dict[JobKey, tuple[Mapping[str, Any], ObservedJob]] = {}
        self._by_task: dict[Key, set[JobKey]] = {}
        self._pod_ends: dict[str, PodEnd] = {}
        self._listed: dict[str, set[JobKey | str]] = {}

    def put_task(self, raw: Mapping[str, Any]) -> Key:
        """Take a task as an event shows it.

        The status of a task once seen is the one last decided: the operator
        alone writes it, and an event may be older than the last decision.
        """
        task = ObservedTask.from_object(raw)
        key = (task.meta.namespace, task.meta.name)
        old = self._tasks.get(key)
        if old is not None and old.meta.uid == task.meta.uid:
            task = replace(task, status=old.status)
        self._tasks[key] = task
        return key

    def drop_task(self, key: Key, uid: str) -> None:
        """Forget a task that was deleted, unless another of its name is there already."""
        task = self._tasks.get(key)
        if task is not None and task.meta.uid == uid:
            del self._tasks[key]

    def set_status(self, key: Key, uid: str, status: ScheduledTaskStatus) -> None:
        """Remember the status that was decided."""
        task = self._tasks.get(key)
        if task is not None and task.meta.uid == uid:
            self._tasks[key] = replace(task, status=status)

    def task(self, key: Key) -> ObservedTask | None:
        """Return a task, or None if there is none."""
        return self._tasks.get(key)

    def uids(self) -> dict[Key, str]:
        """Return the uid of every task by its key."""
        return {key: task.meta.uid for key, task in self._tasks.items()}

    def jobs_of(self, key: Key) -> list[ObservedJob]:
        """Return the Jobs of a task, those of an older task of the same name among them."""
        return [self._jobs[job_key][1] for job_key in self._by_task.get(key, ())]

    def job(self, namespace: str, name: str) -> ObservedJob | None:
        """Return a Job by its name, or None if there is none."""
        found = self._jobs.get((namespace, name))
        return found[1] if found else None

    def put_job(self, raw: Mapping[str, Any]) -> JobChange | None:
        """Take a Job as the API server showed it; None if it is none of ours."""
        meta = raw["metadata"]
        job_key = (meta["namespace"], meta["name"])
        if "Job" in self._listed:  # created while a list is read, so perhaps not in it
            self._listed["Job"].add(job_key)
        observed = observed_job(raw, self._pod_ends.get(meta["uid"]))
        if observed is None:
            return None
        before = self._jobs.get(job_key)
        if before is not None and before[1].uid == observed.uid and not before[1].active and observed.active:
            return None  # an older view: what has ended does not begin again
        self._jobs[job_key] = (_kept(raw), observed)
        key = (meta["namespace"], meta["labels"].get(LABEL_TASK, ""))
        self._by_task.setdefault(key, set()).add(job_key)
        return JobChange(key, before[1] if before else None, observed)

    def drop_job(self, job_key: JobKey, uid: str | None = None) -> JobChange | None:
        """Forget a Job that was deleted; with a uid, only if it is that one.

        One that was deleted while it was active is kept as failed until it is
        dropped again, with the next list: so its slot stays settled, its task's
        status says what became of it, and a late answer does not revive it.
        """
        found = self._jobs.get(job_key)
        if found is None or (uid is not None and found[1].uid != uid):
            return None
        raw, before = found
        self._pod_ends.pop(before.uid, None)
        if before.active:
            failed = replace(
                before,
                phase=JobPhase.FINISHED,
                result=RunResult.FAILED,
                reason=Reason.JOB_DELETED,
                message=DELETED_WHILE_ACTIVE,
            )
            self._jobs[job_key] = (raw, failed)
            return JobChange((job_key[0], raw["metadata"]["labels"].get(LABEL_TASK, "")), before, None)
        del self._jobs[job_key]
        key = (job_key[0], raw["metadata"]["labels"].get(LABEL_TASK, ""))
        siblings = self._by_task.get(key, set())
        siblings.discard(job_key)
        if not siblings:
            self._by_task.pop(key, None)
        return JobChange(key, before, None)

    def put_pod(self, raw: Mapping[str, Any]) -> JobChange | None:
        """Take a pod: once it has ended, so has its Job's execution."""
        owner = _owning_job(raw)
        end = pod_end(raw)
        if owner is None or end is None:
            return None
        self._pod_ends[owner["uid"]] = end
        found = self._jobs.get((raw["metadata"]["namespace"], owner["name"]))
        return self.put_job(found[0]) if found else None

    def changes(self, event: JobEvent) -> Iterator[JobChange]:
        """Take an event of the watch; yield what became of which Job."""
        if event.kind == "Pod":
            yield from self._pod_changes(event)
            return
        if event.type == "LISTING":
            self._listed["Job"] = set()
        elif event.type == "SYNCED":
            listed = self._listed.pop("Job", set())
            for job_key in [k for k in self._jobs if k not in listed]:
                if change := self.drop_job(job_key):
                    yield change
        else:
            meta = event.object["metadata"]
            job_key = (meta["namespace"], meta["name"])
            change = self.drop_job(job_key, meta["uid"]) if event.type == "DELETED" else self.put_job(event.object)
            if change:
                yield change

    def _pod_changes(self, event: JobEvent) -> Iterator[JobChange]:
        if event.type in {"ADDED", "MODIFIED"}:
            change = self.put_pod(event.object)
            if change:
                yield change
        elif event.type == "DELETED":
            owner = _owning_job(event.object)
            if owner and (event.object["metadata"]["namespace"], owner["name"]) not in self._jobs:
                self._pod_ends.pop(owner["uid"], None)


def _owning_job(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((o for o in pod["metadata"].get("ownerReferences") or () if o["kind"] == "Job"), None)


def _kept(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a Job that is looked at again; the rest is most of its size."""
    meta = raw["metadata"]
    wanted = ("name", "namespace", "uid", "labels", "annotations", "ownerReferences")
    return {"metadata": {k: meta[k] for k in wanted if k in meta}, "status": raw.get("status") or {}}
