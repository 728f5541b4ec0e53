"""The cluster in memory: Jobs, pods, Events and Secrets as plain JSON, with watches; for tests of the operator."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.domain.decision.plan import Notice
from carillon_core.domain.observed.pod_trouble import PodRefusal
from carillon_core.errors import (
    AlreadyExistsError,
    CarillonError,
    ConflictError,
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


class MemoryCluster:
    """``Cluster`` over dictionaries; its tasks are those of a ``MemoryObjectStore``.

    Attributes:
        tasks: The tasks whose statuses are set; deleting one deletes its Jobs.
        jobs: The Jobs by namespace and name, as stored.
        pods: The pods by namespace and name, as stored.
        objects: The RunRequests and the HTTPTargets by namespace and name, as stored.
        created: Every Job that was ever created, in order.
        refusals: What the Job controller's Events say of pods that it could not create, by the Job's uid.
        looks: How often it was asked for refusals: of which namespace, of how many Jobs.
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

    async def watch_jobs(self, kind: Kind, namespace: str | None = None) -> AsyncIterator[JobEvent]:
        """Yield Carillon's Jobs (or pods) of a namespace, or of all, for ever, beginning with a list."""
        self._check_readable(namespace)
        queue: asyncio.Queue[JobEvent | None] = asyncio.Queue()
        self._watchers[kind].append(queue)
        queue.put_nowait(None)
        try:
            while True:
                event = await queue.get()
                if event is not None:
                    if namespace in {None, event.object["metadata"]["namespace"]}:
                        yield event
                    continue
                # a list shows what there is now, so that what came before it is no news
                while not queue.empty():
                    queue.get_nowait()
                wanted = [o for (where, _), o in self._objects(kind).items() if namespace in {None, where}]
                listed = [copy.deepcopy(o) for o in wanted if _ours(o)]
                yield JobEvent("LISTING", kind, {}, namespace)
                for item in listed:
                    yield JobEvent("ADDED", kind, item)
                yield JobEvent("SYNCED", kind, {}, namespace)
        finally:
            self._watchers[kind].remove(queue)

    async def uids(self, kind: ObjectKind, namespace: str | None = None) -> Mapping[Key, str]:
        """Return the uid of every object of a kind there is now, in a namespace or in all."""
        found = {}
        async for item in self.list_objects(kind, namespace):
            meta = item["metadata"]
            found[meta["namespace"], meta["name"]] = meta["uid"]
        return found

    async def list_objects(self, kind: ObjectKind, namespace: str | None = None) -> AsyncIterator[JSONObject]:
        """Yield every object of a kind there is now, in a namespace or in all."""
        self._check()
        self._check_readable(namespace)
        listed = await self.tasks.list(None) if kind == "ScheduledTask" else list(self.objects[kind].values())
        for item in listed:
            if namespace in {None, item["metadata"]["namespace"]}:
                yield copy.deepcopy(item)

    async def get_object(self, kind: ObjectKind, namespace: str, name: str) -> JSONObject:
        """Return an object of a kind of ours, or raise ``NotFoundError``."""
        self._check()
        if kind == "ScheduledTask":
            return await self.tasks.get(namespace, name)
        try:
            return copy.deepcopy(self.objects[kind][namespace, name])
        except KeyError:
            raise NotFoundError(f"{kind} {namespace}/{name} not found") from None

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

    async def create_job(self, manifest: JSONObject) -> JSONObject:
        """Create a Job and return it as stored."""
        self._check()
        if self.create_error is not None:
            raise self.create_error
        meta = manifest["metadata"]
        key = (meta["namespace"], meta["name"])
        if key in self.jobs:
            raise AlreadyExistsError(f'jobs.batch "{key[1]}" already exists')
        stored = copy.deepcopy(manifest)
        stored["metadata"] |= {
            "uid": str(uuid4()),
            "creationTimestamp": rfc3339(self._clock()),
            "generation": 1,
        }
        stored.setdefault("status", {})
        self.created.append(copy.deepcopy(stored))
        created = self._put("Job", stored)
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise UnavailableError("API server", "no answer in time")
        return created

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        self._check()
        return copy.deepcopy(self._job(namespace, name))

    async def pod_refusals(self, namespace: str, job_uids: Collection[str]) -> Mapping[str, Sequence[PodRefusal]]:
        """Return why pods of Jobs could not be created, by the Job's uid."""
        self._check()
        self._check_readable(namespace)
        self.looks.append((namespace, len(job_uids)))
        here = {job["metadata"]["uid"] for (where, _), job in self.jobs.items() if where == namespace}
        return {uid: tuple(self.refusals[uid]) for uid in job_uids if uid in here and uid in self.refusals}

    async def pods_of_job(self, namespace: str, job_uid: str) -> Sequence[JSONObject]:
        """Return the pods that a Job has at this moment."""
        self._check()
        pods = [pod for (where, _), pod in self.pods.items() if where == namespace]
        return [copy.deepcopy(pod) for pod in pods if _is_owned_by(pod, job_uid)]

    async def delete_job(self, namespace: str, name: str, uid: str, *, after_pods: bool) -> None:
        """Delete a Job, provided that it is still the same object."""
        self._check()
        job = self._job(namespace, name)
        if job["metadata"]["uid"] != uid:
            raise NotFoundError(f"Job {name} is another object than {uid}")
        if after_pods and (namespace, f"{name}-pod") in self.pods:
            job["metadata"]["deletionTimestamp"] = rfc3339(self._clock())
            self._put("Job", job)
        else:
            self.remove_job(namespace, name)

    async def patch_status(
        self, meta: ObjectMeta, status: JSONObject, kind: ObjectKind = "ScheduledTask"
    ) -> JSONObject:
        """Set an object's status, provided that nobody changed the object since this version, and return the object."""
        self._check()
        stored = await self.get_object(kind, meta.namespace, meta.name)
        if stored["metadata"]["uid"] != meta.uid:
            raise NotFoundError(f"{meta.namespace}/{meta.name} is another object than {meta.uid}")
        if meta.resource_version and meta.resource_version != stored["metadata"]["resourceVersion"]:
            raise ConflictError(f"{meta.namespace}/{meta.name} was changed meanwhile")
        if kind == "ScheduledTask":
            return self.tasks.set_status(meta.namespace, meta.name, status)
        self._version += 1
        found = self.objects[kind][meta.namespace, meta.name]
        found["status"] = copy.deepcopy(status)
        found["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(found)

    async def delete_request(self, meta: ObjectMeta) -> None:
        """Delete a RunRequest, and its Job."""
        found = await self.get_object("RunRequest", meta.namespace, meta.name)
        if found["metadata"]["uid"] != meta.uid:
            raise NotFoundError(f"{meta.namespace}/{meta.name} is another object than {meta.uid}")
        del self.objects["RunRequest"][meta.namespace, meta.name]
        self._collect_garbage(meta.uid)

    async def post_event(
        self, meta: ObjectMeta, notice: Notice, now: datetime, kind: ObjectKind = "ScheduledTask"
    ) -> None:
        """Remember an Event about an object."""
        del kind
        self._check()
        self.events.append((meta, notice, now))

    async def ensure_runner_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or update a Secret; keys that are not named stay."""
        self._check()
        self.secrets.setdefault((namespace, name), {}).update(data)

    def refuse_pod(self, namespace: str, job_name: str, message: str) -> None:
        """Let the API server refuse the Job's pod, and the Job controller say so."""
        now = self._clock()
        refusal = PodRefusal(f'Error creating: pods "{job_name}-{uuid4().hex[:5]}" is forbidden: {message}', now, now)
        self.refusals.setdefault(self._job(namespace, job_name)["metadata"]["uid"], []).append(refusal)

    def start_pod(self, namespace: str, job_name: str) -> JSONObject:
        """Let the Job controller create the Job's pod, running; its name is the Job's and ``-pod``."""
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
        """Let the Job controller say that the Job is complete, or failed with that reason."""
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
        """Let a Job and its pods be gone, as after a user's deletion."""
        job = self._job(namespace, name)
        for key, pod in list(self.pods.items()):
            if _is_owned_by(pod, job["metadata"]["uid"]):
                self._tell("DELETED", "Pod", self.pods.pop(key))
        self._tell("DELETED", "Job", self.jobs.pop((namespace, name)))

    def relist(self) -> None:
        """Have every watch begin anew with a list, as it does after a lost connection."""
        for queues in self._watchers.values():
            for queue in queues:
                queue.put_nowait(None)

    def _check(self) -> None:
        if self.outage is not None:
            raise UnavailableError("API server", self.outage)

    def _check_readable(self, namespace: str | None) -> None:
        if namespace in self.forbidden:
            raise ForbiddenError(f"nothing of the namespace {namespace} may be read")

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
        if _ours(item):
            for queue in self._watchers[kind]:
                queue.put_nowait(JobEvent(change, kind, copy.deepcopy(item)))

    def _collect_garbage(self, task_uid: str) -> None:
        for (namespace, name), job in list(self.jobs.items()):
            if _is_owned_by(job, task_uid):
                self.remove_job(namespace, name)


def _is_owned_by(item: Mapping[str, Any], uid: str) -> bool:
    return any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences") or ())


def _ours(item: Mapping[str, Any]) -> bool:
    return (item["metadata"].get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGED_BY
