"""The state of the cluster in memory, and what controllers, nodes and users do to it; for tests of the operator."""

import asyncio
import copy
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.domain.decision.plan import Notice
from carillon_core.domain.observed.pod_trouble import PodRefusal
from carillon_core.errors import (
    CarillonError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)
from carillon_core.ports import JobEvent, JSONObject, ObjectKind
from carillon_core.resources.base import rfc3339
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.names import LABEL_MANAGED_BY, MANAGED_BY

Key = tuple[str, str]
"""A namespace and a name."""
Kind = Literal["Job", "Pod"]


class MemoryWorld:
    """Jobs, pods and objects as plain JSON, with watches; a test changes them as controllers and users do.

    Attributes:
        tasks: The tasks whose statuses are set; deleting one deletes its Jobs.
        jobs: The Jobs by namespace and name, as stored.
        pods: The pods by namespace and name, as stored.
        objects: The RunRequests and the HTTPTargets by namespace and name, as stored.
        created: Every Job that was ever created, in order.
        refusals: The Job controller's Events about pods that it could not create, by the Job's uid.
        looks: The queries for refusals: the namespace and the number of Jobs of each.
        events: The Events posted: about which object, what, and when.
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
        self.objects: dict[ObjectKind, dict[Key, JSONObject]] = {"RunRequest": {}, "HTTPTarget": {}}
        self.created: list[JSONObject] = []
        self.events: list[tuple[ObjectMeta, Notice, datetime]] = []
        self.refusals: dict[str, list[PodRefusal]] = {}
        self.looks: list[tuple[str, int]] = []
        self.secrets: dict[Key, dict[str, str]] = {}
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
        stored: JSONObject = {"kind": kind, "metadata": meta, "spec": copy.deepcopy(spec)}
        self.objects[kind][namespace, name] = stored
        return copy.deepcopy(stored)

    def refuse_pod(self, namespace: str, job_name: str, message: str) -> None:
        """Let the API server reject the Job's pod, and the Job controller post an Event about it."""
        now = self._clock()
        refusal = PodRefusal(f'Error creating: pods "{job_name}-{uuid4().hex[:5]}" is forbidden: {message}', now, now)
        self.refusals.setdefault(self._job(namespace, job_name)["metadata"]["uid"], []).append(refusal)

    def start_pod(self, namespace: str, job_name: str) -> JSONObject:
        """Let the Job controller create the Job's pod, running; its name is the Job's plus ``-pod``."""
        job = self._job(namespace, job_name)
        template = job["spec"]["template"]["metadata"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job_name, "uid": job["metadata"]["uid"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{job_name}-pod",
                "namespace": namespace,
                "uid": str(uuid4()),
                "creationTimestamp": rfc3339(self._clock()),
                "labels": dict(template.get("labels") or {}),
                "annotations": dict(template.get("annotations") or {}),
                "ownerReferences": [owner | {"controller": True}],
            },
            "status": {"phase": "Running"},
        }
        job["status"] |= {"active": 1, "startTime": rfc3339(self._clock())}
        self._put("Job", job)
        return self._put("Pod", pod)

    def finish_pod(self, namespace: str, job_name: str, exit_code: int = 0, message: str = "") -> None:
        """Let the Job's pod end; the Job's own status lags, as it does in a cluster."""
        key = (namespace, f"{job_name}-pod")
        if key not in self.pods:
            self.start_pod(namespace, job_name)
        pod = self.pods[key]
        ended = {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "finishedAt": rfc3339(self._clock()),
            "message": message,
        }
        pod["status"] = {
            "phase": "Succeeded" if exit_code == 0 else "Failed",
            "containerStatuses": [{"name": "runner", "state": {"terminated": ended}}],
        }
        self._put("Pod", pod)

    def finish_job(self, namespace: str, job_name: str, *, failed: str | None = None) -> None:
        """Let the Job controller mark the Job as complete, or as failed with that reason."""
        job = self._job(namespace, job_name)
        condition = {
            "type": "Failed" if failed else "Complete",
            "status": "True",
            "reason": failed or "CompletionsReached",
            "message": "",
            "lastTransitionTime": rfc3339(self._clock()),
        }
        count = "failed" if failed else "succeeded"
        job["status"] = job["status"] | {"active": 0, count: 1, "conditions": [condition]}
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

    def _put(self, kind: Kind, item: JSONObject) -> JSONObject:
        meta = item["metadata"]
        key = (meta["namespace"], meta["name"])
        known = key in self._objects(kind)
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        self._objects(kind)[key] = item
        self._tell("MODIFIED" if known else "ADDED", kind, item)
        return copy.deepcopy(item)

    def _tell(self, change: Literal["ADDED", "MODIFIED", "DELETED"], kind: Kind, item: JSONObject) -> None:
        if is_ours(item):
            for queue in self._watchers[kind]:
                queue.put_nowait(JobEvent(change, kind, copy.deepcopy(item)))

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
