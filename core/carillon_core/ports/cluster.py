"""The cluster as the operator sees it, one port for each use: watching, reading, and each kind of write."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from carillon_core.domain.decision.plan import Notice
from carillon_core.domain.observed.pod_trouble import PodRefusal
from carillon_core.ports.objects import JSONObject, ObjectKind
from carillon_core.resources.meta import ObjectMeta


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change of a runner Job or of one of its pods; ``object`` is the raw object."""

    type: Literal["LISTING", "ADDED", "MODIFIED", "DELETED", "SYNCED"]
    """``LISTING`` starts a list and ``SYNCED`` ends it: objects not in between are gone."""
    kind: Literal["Job", "Pod"]
    object: Mapping[str, Any]
    namespace: str | None = None
    """The namespace of the list, for ``LISTING`` and ``SYNCED``; None means all."""


class JobWatch(Protocol):
    """Follows runner Jobs and their pods."""

    def watch_jobs(self, kind: Literal["Job", "Pod"], namespace: str | None = None) -> AsyncIterator[JobEvent]:
        """Yield events of Carillon's Jobs (or pods) in a namespace, or in all, for ever, across lost connections.

        Starts with a list.

        Raises:
            ForbiddenError: They may not be read in this one namespace. For all namespaces it retries instead.

        """
        ...


class ObjectSource(Protocol):
    """Reads the objects of Carillon's kinds."""

    def list_objects(self, kind: ObjectKind, namespace: str | None = None) -> AsyncIterator[JSONObject]:
        """Yield every existing object of a kind, in a namespace or in all, in any order.

        The read is consistent: it reflects every write made before the call.

        Raises:
            ExpiredError: The list took too long: start again.
            ForbiddenError: They may not be read.

        """
        ...

    async def uids(self, kind: ObjectKind, namespace: str | None = None) -> Mapping[tuple[str, str], str]:
        """Return the uid of every existing object of a kind, in a namespace or in all, by namespace and name."""
        ...

    async def get_object(self, kind: ObjectKind, namespace: str, name: str) -> JSONObject:
        """Return an object of a kind of ours, or raise ``NotFoundError``."""
        ...


class JobReader(Protocol):
    """Reads Jobs, their pods, and why pods could not be created."""

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        ...

    async def existing_jobs(self, namespace: str, task_uid: str, names: Sequence[str]) -> Sequence[str]:
        """Return those of the names that Jobs have that are labelled with a task's uid, from a consistent read.

        One short list tells it, unless the task has many Jobs.
        """
        ...

    async def pods_of_job(self, namespace: str, job_uid: str) -> Sequence[JSONObject]:
        """Return the pods that a Job has now, from a consistent read."""
        ...

    async def pod_refusals(self, namespace: str, job_uids: Collection[str]) -> Mapping[str, Sequence[PodRefusal]]:
        """Return why pods of Jobs could not be created, from the Job controller's Events, by the Job's uid.

        Reads the namespace's Events once for all Jobs. Events expire, after an hour by default; a Job without such an
        Event is not in the result.

        Raises:
            ForbiddenError: Events of that namespace may not be listed.
            ExpiredError: The list took too long: start again.

        """
        ...


class JobWriter(Protocol):
    """Creates and deletes Jobs."""

    async def create_job(self, manifest: JSONObject) -> JSONObject:
        """Create a Job and return it as stored.

        Raises:
            AlreadyExistsError: A Job of that name exists, ours or not.
            RefusedError: The API server, a quota or a webhook rejected it.
            ForbiddenError: The operator lacks the permission.
            NotFoundError: The namespace is gone.

        """
        ...

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job, if it is still the same object: its pods are told to end, and it is gone when they are.

        Raises:
            NotFoundError: The Job is gone, or another of its name took its place.

        """
        ...


class StatusPatcher(Protocol):
    """Writes the status of ScheduledTasks and RunRequests."""

    async def patch_status(
        self, meta: ObjectMeta, status: JSONObject, kind: ObjectKind = "ScheduledTask"
    ) -> JSONObject:
        """Set an object's status, if the object still has this version, and return the object.

        Raises:
            NotFoundError: The object is gone or has been replaced by another of its name.
            ConflictError: Its ``resourceVersion`` is not the one in ``meta``, if that has one.

        """
        ...


class RequestDeleter(Protocol):
    """Deletes RunRequests."""

    async def delete_request(self, meta: ObjectMeta) -> None:
        """Delete a RunRequest, and in the background its Job; ``NotFoundError`` if it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class EventSeries:
    """An Event about an object that stands for one occurrence or for several of the same cause."""

    meta: ObjectMeta
    kind: ObjectKind
    notice: Notice
    """What the latest occurrence says."""
    first: datetime
    last: datetime
    count: int = 1


class EventPoster(Protocol):
    """Posts Kubernetes Events."""

    async def post_event(self, series: EventSeries) -> str:
        """Create an Event, best effort, and return its name."""
        ...

    async def update_event(self, series: EventSeries, name: str) -> None:
        """Set the message, the last time and the count of an Event; ``NotFoundError`` if it has expired."""
        ...


class SecretWriter(Protocol):
    """Writes the Secret that runner pods read."""

    async def ensure_runner_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or update the Secret that runner pods of a namespace read."""
        ...


class SecretLabels(Protocol):
    """Reads the labels of Secrets, never their data."""

    async def secret_labels(self, namespace: str, name: str) -> Mapping[str, str]:
        """Return the labels of a Secret, or raise ``NotFoundError``; ``ForbiddenError`` without the permission."""
        ...


class LogReader(Protocol):
    """Reads the logs of containers."""

    async def container_log(
        self, namespace: str, pod: str, container: str, *, tail_lines: int, limit_bytes: int
    ) -> bytes:
        """Return the last lines of a container's log; of those, the first bytes.

        Raises:
            NotFoundError: The pod is gone.
            RefusedError: The container has no log.
            ForbiddenError: Logs of that namespace may not be read.

        """
        ...


class ClusterReader(JobWatch, ObjectSource, JobReader, LogReader, SecretLabels, Protocol):
    """Everything that the operator reads."""


class ClusterWriter(JobWriter, StatusPatcher, RequestDeleter, EventPoster, SecretWriter, Protocol):
    """Everything that the operator writes; only the leader may use it."""


class Cluster(ClusterReader, ClusterWriter, Protocol):
    """Everything that the operator reads and writes."""
