"""The state of the cluster in memory, and what controllers, nodes and users do to it; for tests of the operator."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from carillon_core.adapters.copies import copied
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.domain.observed.pod_trouble import PodRefusal
from carillon_core.errors import (
    CarillonError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from carillon_core.ports import EventSeries, JobEvent, JSONObject, ObjectKind
from carillon_core.resources.base import rfc3339
from carillon_core.resources.names import LABEL_MANAGED_BY, MANAGED_BY

Key = tuple[str, str]
"""A namespace and a name."""
Kind = Literal["Job", "Pod"]
GRACE = 30
"""The seconds that a pod has to end, unless its template says otherwise."""


class MemoryWorld:
    """Jobs, pods and objects as plain JSON, with watches; a test changes them as controllers and users do.

    Attributes:
        tasks: The tasks whose statuses are set; deleting one deletes its Jobs.
        jobs: The Jobs by namespace and name, as stored.
        pods: The pods by namespace and name, as stored.
        gone_pods: The last version of each pod that is gone, in order.
        objects: The RunRequests and the HTTPTargets by namespace and name, as stored.
        created: Every Job that was ever created, in order.
        refusals: The Job controller's Events about pods that it could not create, by the Job's uid.
        job_reads: What each read of Jobs asked for: a name, or the existing Jobs of a task's uid.
        looks: The queries for refusals: the namespace and the number of Jobs of each.
        events: The Events posted: about which object, what, and when.
        logs: What the containers of pods wrote, by namespace and pod.
        log_reads: The namespace, the pod and the container of each read of a log.
        logs_answer: While it is not set, reads of logs wait.
        secret_marks: The labels of the Secrets by namespace and name; a Secret without an entry does not exist.
        secrets: The data of the Secrets by namespace and name, decoded.
        outage: While it is set, every call raises ``UnavailableError`` with it.
        create_error: While it is set, ``create_job`` raises it.
        forbidden: The namespaces that may not be read: their lists and new watches raise ``ForbiddenError``.
        lose_next_answer: The next Job is created, but ``create_job`` raises ``UnavailableError``; then it is unset.

    """

    def __init__(
        self, tasks: MemoryObjectStore | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Begin with no Jobs."""
        self.tasks = tasks or MemoryObjectStore(clock=clock)
        self.jobs: dict[Key, JSONObject] = {}
        self.pods: dict[Key, JSONObject] = {}
        self.gone_pods: list[JSONObject] = []
        self.objects: dict[ObjectKind, dict[Key, JSONObject]] = {"RunRequest": {}, "HTTPTarget": {}}
        self.created: list[JSONObject] = []
        self.events: dict[Key, EventSeries] = {}
        self.event_updates = 0
        self.refusals: dict[str, list[PodRefusal]] = {}
        self.job_reads: list[str] = []
        self.looks: list[tuple[str, int]] = []
        self.logs: dict[Key, bytes] = {}
        self.log_reads: list[tuple[str, str, str]] = []
        self.logs_answer = asyncio.Event()
        self.logs_answer.set()
        self.secrets: dict[Key, dict[str, str]] = {}
        self.secret_marks: dict[Key, dict[str, str]] = {}
        self.outage: str | None = None
        self.create_error: CarillonError | None = None
        self.lose_next_answer = False
        self._clock = clock
        self._version = 0
        self._watchers: dict[Kind, list[asyncio.Queue[JobEvent | None]]] = {"Job": [], "Pod": []}
        self.forbidden: set[str] = set()
        self.tasks.on_delete(self._collect_garbage)

    def put_object(self, kind: ObjectKind, namespace: str, name: str, spec: JSONObject) -> JSONObject:
        """Create a RunRequest or an HTTPTarget, as a user does, and return it as stored."""
        self._version += 1
        meta = {
            "name": name,
            "namespace": namespace,
            "uid": str(uuid4()),
            "generation": 1,
            "resourceVersion": str(self._version),
            "creationTimestamp": rfc3339(self._clock()),
        }
        stored: JSONObject = {"kind": kind, "metadata": meta, "spec": copied(spec)}
        self.objects[kind][namespace, name] = stored
        return copied(stored)

    def refuse_pod(self, namespace: str, job_name: str, message: str) -> None:
        """Let the API server reject the Job's pod, and the Job controller post an Event about it."""
        now = self._clock()
        refusal = PodRefusal(f'Error creating: pods "{job_name}-{uuid4().hex[:5]}" is forbidden: {message}', now, now)
        self.refusals.setdefault(self._job(namespace, job_name)["metadata"]["uid"], []).append(refusal)

    def start_pod(self, namespace: str, job_name: str) -> JSONObject:
        """Let the Job controller create a pod of the Job, running; the first one's name is the Job's and ``-pod``."""
        job = self._job(namespace, job_name)
        template = job["spec"]["template"].get("metadata") or {}
        spec = job["spec"]["template"].get("spec") or {}
        number = sum(is_owned_by(pod, job["metadata"]["uid"]) for pod in self.pods.values()) + 1
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job_name, "uid": job["metadata"]["uid"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{job_name}-pod" if number == 1 else f"{job_name}-pod-{number}",
                "namespace": namespace,
                "uid": str(uuid4()),
                "creationTimestamp": rfc3339(self._clock()),
                "labels": dict(template.get("labels") or {}),
                "annotations": dict(template.get("annotations") or {}),
                "ownerReferences": [owner | {"controller": True}],
            },
            "spec": {
                "nodeName": "memory",
                "containers": copied(spec.get("containers") or []),
                "terminationGracePeriodSeconds": GRACE,
            }
            | {k: spec[k] for k in ("terminationGracePeriodSeconds",) if k in spec},
            "status": {"phase": "Running"},
        }
        job["status"] |= {"active": 1, "startTime": rfc3339(self._clock())}
        self._put("Job", job)
        return self._put("Pod", pod)

    def finish_pod(self, namespace: str, job_name: str, exit_code: int = 0, message: str = "") -> None:
        """Let the pod of the Job end that runs, or one that is started first; the Job's own status lags.

        A pod that was told to end is gone then, and so is a Job that waits for that.
        """
        pod = self._running_pod(namespace, job_name) or self.start_pod(namespace, job_name)
        ended = {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "finishedAt": rfc3339(self._clock()),
            "message": message,
        }
        pod["status"] = {
            "phase": "Succeeded" if exit_code == 0 else "Failed",
            "conditions": pod["status"].get("conditions") or [],
            "containerStatuses": [{"name": "runner", "state": {"terminated": ended}}],
        }
        self._put("Pod", pod)
        if "deletionTimestamp" in pod["metadata"]:
            self.lose_pod(namespace, pod["metadata"]["name"])

    def delete_pods(self, namespace: str, job_uid: str, *, disruption: str | None = None) -> None:
        """Tell the pods of a Job to end, as its controller, the garbage collector or, by its reason, a drain does."""
        for pod in list(self.pods.values()):
            if pod["metadata"]["namespace"] != namespace or not is_owned_by(pod, job_uid):
                continue
            if pod["status"]["phase"] in {"Succeeded", "Failed"}:
                self._tell("DELETED", "Pod", self.pods.pop((namespace, pod["metadata"]["name"])))
                continue
            grace = timedelta(seconds=pod["spec"]["terminationGracePeriodSeconds"])
            pod["metadata"].setdefault("deletionTimestamp", rfc3339(self._clock() + grace))
            if disruption is not None:
                condition = {"type": "DisruptionTarget", "status": "True", "reason": disruption}
                pod["status"]["conditions"] = [condition]
            self._put("Pod", pod)

    def lose_pod(self, namespace: str, name: str) -> None:
        """Let a pod be gone, with the Job that waited for it if it was the last one."""
        pod = self.pods.pop((namespace, name))
        self._tell("DELETED", "Pod", pod)
        owner = pod["metadata"]["ownerReferences"][0]
        job = self.jobs.get((namespace, owner["name"]))
        left = any(is_owned_by(each, owner["uid"]) for each in self.pods.values())
        if job is not None and "deletionTimestamp" in job["metadata"] and not left:
            self.remove_job(namespace, owner["name"])

    def delete_job_first(self, namespace: str, name: str) -> None:
        """Delete a Job as ``kubectl delete`` does: it is gone at once, and its pods are told to end."""
        job = self.jobs.pop((namespace, name))
        self._tell("DELETED", "Job", job)
        self.delete_pods(namespace, job["metadata"]["uid"])

    def finish_job(self, namespace: str, job_name: str, *, failed: str | None = None) -> None:
        """Let the Job controller mark the Job as complete, or as failed with that reason."""
        job = self._job(namespace, job_name)
        condition = {
            "type": "Failed" if failed else "Complete",
            "status": "True",
            "reason": failed or "CompletionsReached",
            "message": f"the Job has failed: {failed}" if failed else "",
            "lastTransitionTime": rfc3339(self._clock()),
        }
        count = "failed" if failed else "succeeded"
        job["status"] = job["status"] | {"active": 0, count: 1, "conditions": [condition]}
        self._put("Job", job)

    def annotate_job(self, namespace: str, name: str, uid: str, annotations: Mapping[str, str]) -> None:
        """Add annotations to a Job, or raise ``NotFoundError``."""
        job = self._job(namespace, name)
        if job["metadata"]["uid"] != uid:
            raise NotFoundError(f"Job {name} is another object than {uid}")
        job["metadata"]["annotations"] = {**(job["metadata"].get("annotations") or {}), **annotations}
        self._put("Job", job)

    def remove_job(self, namespace: str, name: str) -> None:
        """Remove a Job and its pods, as after a user's deletion."""
        job = self._job(namespace, name)
        for key, pod in list(self.pods.items()):
            if is_owned_by(pod, job["metadata"]["uid"]):
                self._tell("DELETED", "Pod", self.pods.pop(key))
        self._tell("DELETED", "Job", self.jobs.pop((namespace, name)))

    def relist(self) -> None:
        """Let every watch start again with a list, as after a lost connection."""
        for queues in self._watchers.values():
            for queue in queues:
                queue.put_nowait(None)

    def _check_readable(self, namespace: str | None) -> None:
        if namespace in self.forbidden:
            raise ForbiddenError(f"reading the namespace {namespace} is forbidden")

    def _check(self) -> None:
        if self.outage is not None:
            raise UnavailableError("API server", self.outage)

    def _objects(self, kind: Kind) -> dict[Key, JSONObject]:
        return self.jobs if kind == "Job" else self.pods

    def _job(self, namespace: str, name: str) -> JSONObject:
        try:
            return self.jobs[namespace, name]
        except KeyError:
            raise NotFoundError(f'jobs.batch "{name}" not found') from None

    def _running_pod(self, namespace: str, job_name: str) -> JSONObject | None:
        """Return the pod of a Job, which may be gone itself, that has not ended; None if there is none."""
        for (where, _), pod in self.pods.items():
            is_its = where == namespace and pod["metadata"]["ownerReferences"][0]["name"] == job_name
            if is_its and pod["status"]["phase"] not in {"Succeeded", "Failed"}:
                return pod
        return None

    def _put(self, kind: Kind, item: JSONObject) -> JSONObject:
        meta = item["metadata"]
        key = (meta["namespace"], meta["name"])
        known = key in self._objects(kind)
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        self._objects(kind)[key] = item
        self._tell("MODIFIED" if known else "ADDED", kind, item)
        return copied(item)

    def _tell(self, change: Literal["ADDED", "MODIFIED", "DELETED"], kind: Kind, item: JSONObject) -> None:
        if (change, kind) == ("DELETED", "Pod"):
            self.gone_pods.append(copied(item))
        if is_ours(item):
            for queue in self._watchers[kind]:
                queue.put_nowait(JobEvent(change, kind, copied(item)))

    def _collect_garbage(self, task_uid: str) -> None:
        for (namespace, name), job in list(self.jobs.items()):
            if is_owned_by(job, task_uid):
                self.remove_job(namespace, name)


def is_owned_by(item: Mapping[str, Any], uid: str) -> bool:
    """Return whether an object has that owner."""
    return any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences") or ())


def is_ours(item: Mapping[str, Any]) -> bool:
    """Return whether Carillon manages an object."""
    return (item["metadata"].get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGED_BY
