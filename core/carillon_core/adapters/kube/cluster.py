"""The ports of the operator on the API server: launching, watching, reporting."""

import base64
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

from carillon_core.adapters.kube.connection import JSON_PATCH, MERGE_PATCH, Fence, KubeConnection, segment
from carillon_core.adapters.kube.objects import object_path
from carillon_core.adapters.kube.pages import listed
from carillon_core.adapters.kube.watch import Pace, Watch
from carillon_core.domain.observed.pod_trouble import FAILED_CREATE, JOB_CONTROLLER, PodRefusal, pod_refusal
from carillon_core.errors import AlreadyExistsError, ConflictError, NotFoundError, RefusedError
from carillon_core.ports import EventSeries, JobEvent, JSONObject, ObjectKind
from carillon_core.resources import names
from carillon_core.resources.base import rfc3339
from carillon_core.resources.meta import ObjectMeta
from carillon_core.resources.names import LABEL_TASK_UID

COMPONENT = "carillon-operator"
OURS = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
MAX_NOTE = 1024
"""The API server rejects an Event with a longer note."""

_REFUSALS = f"involvedObject.kind=Job,reason={FAILED_CREATE},source={JOB_CONTROLLER}"
"""The API server has no index for it: it reads all Events of the namespace, but returns only these."""
_JOB_OF_POD = "batch.kubernetes.io/controller-uid"

_EVENT_NAME_LENGTH = 253 - 17


class KubeCluster:
    """``Cluster`` over a connection."""

    def __init__(
        self,
        connection: KubeConnection,
        instance: str | None = None,
        pace: Pace | None = None,
        fence: Fence | None = None,
    ) -> None:
        """Take the connection; the caller closes it.

        Args:
            connection: To the API server.
            instance: The operator that posts Events, such as its pod's name; None means that there is only one.
            pace: The timeouts of watches; None means the defaults.
            fence: Called before each write is sent; raises if it must not be sent any more.

        """
        self._connection = connection
        self._instance = instance or COMPONENT
        self._pace = pace or Pace()
        self._fence = fence

    def watch_jobs(self, kind: Literal["Job", "Pod"], namespace: str | None = None) -> AsyncIterator[JobEvent]:
        """Yield Carillon's Jobs (or pods) of a namespace, or of all, for ever; survives lost connections."""
        path = jobs_path(namespace) if kind == "Job" else _pods_path(namespace)
        return Watch(self._connection, path, kind, OURS, self._pace, namespace).events()

    async def uids(self, kind: ObjectKind, namespace: str | None = None) -> Mapping[tuple[str, str], str]:
        """Return the uid of every existing object of a kind, in a namespace or in all."""
        found = {}
        async for page in listed(self._connection, object_path(kind, namespace), metadata_only=True):
            for item in page.items:
                meta = item["metadata"]
                found[meta["namespace"], meta["name"]] = meta["uid"]
        return found

    async def list_objects(self, kind: ObjectKind, namespace: str | None = None) -> AsyncIterator[JSONObject]:
        """Yield every existing object of a kind: a list without a version is read from a quorum of etcd."""
        async for page in listed(self._connection, object_path(kind, namespace)):
            for item in page.items:
                yield item

    async def get_object(self, kind: ObjectKind, namespace: str, name: str) -> JSONObject:
        """Return an object of a kind of ours, or raise ``NotFoundError``."""
        return await self._connection.request("GET", object_path(kind, namespace, name))

    async def create_job(self, manifest: JSONObject) -> JSONObject:
        """Create a Job and return it as stored."""
        return await self._write("POST", jobs_path(manifest["metadata"]["namespace"]), body=manifest)

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        return await self._connection.request("GET", f"{jobs_path(namespace)}/{segment(name)}")

    async def existing_jobs(self, namespace: str, task_uid: str, names: Sequence[str]) -> Sequence[str]:
        """Return those of the names that a task's Jobs have: from the first page of a list, or else one by one."""
        of_task, found = f"{LABEL_TASK_UID}={task_uid}", list[set[str]]()
        async for page in listed(self._connection, jobs_path(namespace), of_task, metadata_only=True):
            if found:
                return [name for name in names if await _is_job_of(self._connection, task_uid, namespace, name)]
            found.append({job["metadata"]["name"] for job in page.items})
        return [name for name in names if name in found[0]]

    async def pod_refusals(self, namespace: str, job_uids: Collection[str]) -> Mapping[str, Sequence[PodRefusal]]:
        """Return why pods of Jobs could not be created, by the Job's uid."""
        only = f",involvedObject.uid={next(iter(job_uids))}" if len(job_uids) == 1 else ""
        found: dict[str, list[PodRefusal]] = {}
        path = _events_path(namespace)
        async for page in listed(self._connection, path, field_selector=_REFUSALS + only):
            for event in page.items:
                uid = event["involvedObject"].get("uid")
                refusal = pod_refusal(event) if uid in job_uids else None
                if refusal is not None:
                    found.setdefault(uid, []).append(refusal)
        return found

    async def container_log(
        self, namespace: str, pod: str, container: str, *, tail_lines: int, limit_bytes: int
    ) -> bytes:
        """Return the last lines of a container's log; of those, the first bytes."""
        params = {"container": container, "tailLines": str(tail_lines), "limitBytes": str(limit_bytes)}
        return await self._connection.read(f"{_pods_path(namespace)}/{segment(pod)}/log", params=params)

    async def secret_labels(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the labels of a Secret: its data does not leave the API server."""
        found = await self._connection.metadata_of(f"/api/v1{_within(namespace)}/secrets/{segment(name)}")
        return found["metadata"].get("labels") or {}

    async def pods_of_job(self, namespace: str, job_uid: str) -> Sequence[JSONObject]:
        """Return the pods that a Job has now: a list without a version is read from a quorum of etcd."""
        pages = listed(self._connection, _pods_path(namespace), f"{_JOB_OF_POD}={job_uid}")
        return [pod async for page in pages for pod in page.items]

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job once its pods have ended, if it is still the same object."""
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        await self._delete(f"{jobs_path(namespace)}/{segment(name)}", options)

    async def patch_status(
        self, meta: ObjectMeta, status: JSONObject, kind: ObjectKind = "ScheduledTask"
    ) -> JSONObject:
        """Set an object's status, if the object still has this version, and return the object.

        A merge patch with ``metadata.uid`` is no guard here: on the status subresource of a custom resource the
        API server drops the metadata, including the uid, and writes the status to any object of that name. Hence
        the JSON patch (RFC 6902) with tests. It also sets the status as a whole, nothing of the old one stays.
        """
        path = object_path(kind, meta.namespace, meta.name)
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": meta.uid},
            {"op": "add", "path": "/status", "value": _without_nulls(status)},
        ]
        if meta.resource_version:
            patch.insert(1, {"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version})
        try:
            return await self._write("PATCH", f"{path}/status", body=patch, content_type=JSON_PATCH)
        except RefusedError:
            # a failed test and a status that breaks the schema are both a 422
            found = (await self._connection.request("GET", path))["metadata"]
            if found["uid"] != meta.uid:
                message = f"{meta.namespace}/{meta.name} with uid {meta.uid} not found"
                raise NotFoundError(message) from None
            if meta.resource_version and found["resourceVersion"] != meta.resource_version:
                raise ConflictError(f"{meta.namespace}/{meta.name} has been changed in the meantime") from None
            raise

    async def delete_request(self, meta: ObjectMeta) -> None:
        """Delete a RunRequest, and in the background its Job."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": meta.uid}}
        await self._delete(object_path("RunRequest", meta.namespace, meta.name), options)

    async def _write(self, method: str, path: str, **more: Any) -> JSONObject:
        return await self._connection.write(self._fence, method, path, **more)

    async def _delete(self, path: str, options: JSONObject) -> None:
        try:
            await self._write("DELETE", path, body=options)
        except ConflictError as error:  # the object has another uid
            raise NotFoundError(f"{path} with uid {options['preconditions']['uid']} not found") from error

    async def post_event(self, series: EventSeries) -> str:
        """Create an Event about an object. Best effort: Events are for people."""
        meta, notice = series.meta, series.notice
        name = f"{meta.name[:_EVENT_NAME_LENGTH]}.{uuid4().hex[:16]}"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta.namespace},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": series.kind,
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
            },
            "type": notice.type,
            "reason": str(notice.reason),
            # core/v1 fields instead of events.k8s.io's series, since `kubectl get events` sorts by and shows them
            "firstTimestamp": rfc3339(series.first),
            **_latest(series),
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }
        await self._write("POST", _events_path(meta.namespace), body=event)
        return name

    async def update_event(self, series: EventSeries, name: str) -> None:
        """Set the message, the last time and the count of an Event."""
        path = f"{_events_path(series.meta.namespace)}/{segment(name)}"
        await self._write("PATCH", path, body=_latest(series), content_type=MERGE_PATCH)

    async def ensure_runner_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or update the Secret that runner pods of a namespace read; keys that are not named stay."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        path = f"/api/v1/namespaces/{segment(namespace)}/secrets"
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": name, "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}},
            "data": encoded,
        }
        try:
            await self._write("POST", path, body=secret)
        except AlreadyExistsError:
            path = f"{path}/{segment(name)}"
            known = (await self._connection.request("GET", path)).get("data") or {}
            if known.items() >= encoded.items():
                return
            await self._write("PATCH", path, body={"data": encoded}, content_type=MERGE_PATCH)


async def try_job(connection: KubeConnection, manifest: JSONObject) -> JSONObject:
    """Have the API server judge a Job as strictly as it can, without storing it; return it as it would be stored.

    Raises:
        CarillonError: As for a creation; an unknown field is refused as well.

    """
    params = {"dryRun": "All", "fieldValidation": "Strict"}
    path = jobs_path(manifest["metadata"]["namespace"])
    return await connection.request("POST", path, params=params, body=manifest)


def jobs_path(namespace: str | None) -> str:
    """Return the path of the Jobs of a namespace, or of all."""
    return f"/apis/batch/v1{_within(namespace)}/jobs"


def _events_path(namespace: str) -> str:
    return f"/api/v1{_within(namespace)}/events"


def _latest(series: EventSeries) -> JSONObject:
    """Return what each occurrence changes in an Event."""
    note = series.notice.message
    return {
        "message": note if len(note) <= MAX_NOTE else note[: MAX_NOTE - 1] + "…",
        "lastTimestamp": rfc3339(series.last),
        "count": series.count,
    }


def _pods_path(namespace: str | None) -> str:
    return f"/api/v1{_within(namespace)}/pods"


def _within(namespace: str | None) -> str:
    return "" if namespace is None else f"/namespaces/{segment(namespace)}"


def _without_nulls(value: Any) -> Any:
    """Return a status without unset fields, because the CRD's schema allows no null."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


async def _is_job_of(connection: KubeConnection, task_uid: str, namespace: str, name: str) -> bool:
    try:
        found = await connection.metadata_of(f"{jobs_path(namespace)}/{segment(name)}")
    except NotFoundError:
        return False
    labels = found["metadata"].get("labels") or {}
    return bool(labels.get(LABEL_TASK_UID) == task_uid)
