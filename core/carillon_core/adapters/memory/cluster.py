"""The cluster in memory as the operator uses it: the ports over a ``MemoryWorld``; for tests of the operator."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from uuid import uuid4

from carillon_core.adapters.copies import copied
from carillon_core.adapters.memory.world import Key, Kind, MemoryWorld, is_ours, is_owned_by
from carillon_core.domain.observed.pod_trouble import PodRefusal
from carillon_core.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from carillon_core.ports import EventSeries, JobEvent, JSONObject, ObjectKind
from carillon_core.resources.base import rfc3339
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.names import LABEL_TASK_UID


class MemoryCluster(MemoryWorld):
    """``Cluster`` over dictionaries; its tasks are those of a ``MemoryObjectStore``."""

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
                # a list shows the current state, so earlier events are dropped
                while not queue.empty():
                    queue.get_nowait()
                wanted = [o for (where, _), o in self._objects(kind).items() if namespace in {None, where}]
                listed = [copied(o) for o in wanted if is_ours(o)]
                yield JobEvent("LISTING", kind, {}, namespace)
                for item in listed:
                    yield JobEvent("ADDED", kind, item)
                yield JobEvent("SYNCED", kind, {}, namespace)
        finally:
            self._watchers[kind].remove(queue)

    async def uids(self, kind: ObjectKind, namespace: str | None = None) -> Mapping[Key, str]:
        """Return the uid of every existing object of a kind, in a namespace or in all."""
        found = {}
        async for item in self.list_objects(kind, namespace):
            meta = item["metadata"]
            found[meta["namespace"], meta["name"]] = meta["uid"]
        return found

    async def list_objects(self, kind: ObjectKind, namespace: str | None = None) -> AsyncIterator[JSONObject]:
        """Yield every existing object of a kind, in a namespace or in all."""
        self._check()
        self._check_readable(namespace)
        listed = await self.tasks.list(None) if kind == "ScheduledTask" else list(self.objects[kind].values())
        for item in listed:
            if namespace in {None, item["metadata"]["namespace"]}:
                yield copied(item)

    async def get_object(self, kind: ObjectKind, namespace: str, name: str) -> JSONObject:
        """Return an object of a kind of ours, or raise ``NotFoundError``."""
        self._check()
        if kind == "ScheduledTask":
            return await self.tasks.get(namespace, name)
        try:
            return copied(self.objects[kind][namespace, name])
        except KeyError:
            raise NotFoundError(f"{kind} {namespace}/{name} not found") from None

    async def create_job(self, manifest: JSONObject) -> JSONObject:
        """Create a Job and return it as stored."""
        self._check()
        if self.create_error is not None:
            raise self.create_error
        meta = manifest["metadata"]
        key = (meta["namespace"], meta["name"])
        if key in self.jobs:
            raise AlreadyExistsError(f'jobs.batch "{key[1]}" already exists')
        stored = copied(manifest)
        stored["metadata"] |= {
            "uid": str(uuid4()),
            "creationTimestamp": rfc3339(self._clock()),
            "generation": 1,
        }
        stored.setdefault("status", {})
        self.created.append(copied(stored))
        created = self._put("Job", stored)
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise UnavailableError("API server", "no response in time")
        return created

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        self._check()
        self.job_reads.append(name)
        return copied(self._job(namespace, name))

    async def existing_jobs(self, namespace: str, task_uid: str, names: Sequence[str]) -> Sequence[str]:
        """Return those of the names that Jobs have that are labelled with a task's uid."""
        self._check()
        self.job_reads.append(f"of {task_uid}")
        jobs = {name: job for (where, name), job in self.jobs.items() if where == namespace and name in names}
        labels = {name: job["metadata"].get("labels") or {} for name, job in jobs.items()}
        return [name for name in names if labels.get(name, {}).get(LABEL_TASK_UID) == task_uid]

    async def pod_refusals(self, namespace: str, job_uids: Collection[str]) -> Mapping[str, Sequence[PodRefusal]]:
        """Return why pods of Jobs could not be created, by the Job's uid."""
        self._check()
        self._check_readable(namespace)
        self.looks.append((namespace, len(job_uids)))
        here = {job["metadata"]["uid"] for (where, _), job in self.jobs.items() if where == namespace}
        return {uid: tuple(self.refusals[uid]) for uid in job_uids if uid in here and uid in self.refusals}

    async def container_log(
        self, namespace: str, pod: str, container: str, *, tail_lines: int, limit_bytes: int
    ) -> bytes:
        """Return the last lines of a container's log; of those, the first bytes."""
        self.log_reads.append((namespace, pod, container))
        self._check()
        self._check_readable(namespace)
        await self.logs_answer.wait()
        if (namespace, pod) not in self.pods:
            raise NotFoundError(f'pods "{pod}" not found')
        lines = self.logs.get((namespace, pod), b"").splitlines(keepends=True)
        return b"".join(lines[-tail_lines:])[:limit_bytes]

    async def secret_labels(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the labels of a Secret, or raise ``NotFoundError``."""
        self._check()
        try:
            return dict(self.secret_marks[namespace, name])
        except KeyError:
            raise NotFoundError(f"Secret {namespace}/{name} not found") from None

    async def pods_of_job(self, namespace: str, job_uid: str) -> Sequence[JSONObject]:
        """Return the pods that a Job has now."""
        self._check()
        pods = [pod for (where, _), pod in self.pods.items() if where == namespace]
        return [copied(pod) for pod in pods if is_owned_by(pod, job_uid)]

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job once its pods have ended, if it is still the same object."""
        self._check()
        job = self._job(namespace, name)
        if job["metadata"]["uid"] != uid:
            raise NotFoundError(f"Job {name} is another object than {uid}")
        job["metadata"]["deletionTimestamp"] = rfc3339(self._clock())
        self._put("Job", job)
        self.delete_pods(namespace, uid)
        if not any(is_owned_by(pod, uid) for pod in self.pods.values()):
            self.remove_job(namespace, name)

    async def patch_status(
        self, meta: ObjectMeta, status: JSONObject, kind: ObjectKind = "ScheduledTask"
    ) -> JSONObject:
        """Set an object's status, if the object still has this version, and return the object."""
        self._check()
        stored = await self.get_object(kind, meta.namespace, meta.name)
        if stored["metadata"]["uid"] != meta.uid:
            raise NotFoundError(f"{meta.namespace}/{meta.name} with uid {meta.uid} not found")
        if meta.resource_version and meta.resource_version != stored["metadata"]["resourceVersion"]:
            raise ConflictError(f"{meta.namespace}/{meta.name} has been changed in the meantime")
        if kind == "ScheduledTask":
            return self.tasks.set_status(meta.namespace, meta.name, status)
        self._version += 1
        found = self.objects[kind][meta.namespace, meta.name]
        found["status"] = copied(status)
        found["metadata"]["resourceVersion"] = str(self._version)
        return copied(found)

    async def delete_request(self, meta: ObjectMeta) -> None:
        """Delete a RunRequest, and its Job."""
        found = await self.get_object("RunRequest", meta.namespace, meta.name)
        if found["metadata"]["uid"] != meta.uid:
            raise NotFoundError(f"{meta.namespace}/{meta.name} with uid {meta.uid} not found")
        del self.objects["RunRequest"][meta.namespace, meta.name]
        self._collect_garbage(meta.uid)

    async def post_event(self, series: EventSeries) -> str:
        """Create an Event about an object and return its name."""
        self._check()
        name = f"{series.meta.name}.{uuid4().hex[:16]}"
        self.events[series.meta.namespace, name] = series
        return name

    async def update_event(self, series: EventSeries, name: str) -> None:
        """Update an Event about an object."""
        self._check()
        if (series.meta.namespace, name) not in self.events:
            raise NotFoundError(f'events "{name}" not found')
        self.event_updates += 1
        self.events[series.meta.namespace, name] = series

    async def ensure_runner_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or update a Secret; keys that are not named stay."""
        self._check()
        self.secrets.setdefault((namespace, name), {}).update(data)
