"""The cluster for one who may have lost the right to write in it: each write asks anew."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

from carillon_core.domain.decision.plan import Notice
from carillon_core.domain.observed.pod_trouble import PodRefusal
from carillon_core.errors import UnavailableError
from carillon_core.ports import Cluster, JobEvent, JSONObject, ObjectKind
from carillon_core.resources.meta import ObjectMeta

Fence = Callable[[], None]


def fence(leads: Callable[[], bool]) -> Fence:
    """Return what raises ``UnavailableError`` unless this operator leads at that moment."""

    def check() -> None:
        if not leads():
            raise UnavailableError("the lease", "it has ended, another operator may decide by now")

    return check


class FencedCluster:
    """``Cluster`` that writes only while this operator leads; it reads at any time.

    A leader whose Lease has run out is told to stop, but a process that was
    held up, or that slept, finds its clock far ahead and may go on with a
    write before it hears of that. Hence the look at the clock before each. An
    adapter that lets writes wait, or repeats them, takes the same fence and
    looks again whenever it sends.
    """

    def __init__(self, cluster: Cluster, leads: Callable[[], bool]) -> None:
        """Take the cluster, and what says whether it may be written to at this moment."""
        self._cluster = cluster
        self._check = fence(leads)

    def watch_jobs(self, kind: Literal["Job", "Pod"], namespace: str | None = None) -> AsyncIterator[JobEvent]:
        """Yield Carillon's Jobs (or pods) of a namespace, or of all, for ever, beginning with a list."""
        return self._cluster.watch_jobs(kind, namespace)

    async def uids(self, kind: ObjectKind, namespace: str | None = None) -> Mapping[tuple[str, str], str]:
        """Return the uid of every object of a kind there is now, in a namespace or in all."""
        return await self._cluster.uids(kind, namespace)

    def list_objects(self, kind: ObjectKind, namespace: str | None = None) -> AsyncIterator[JSONObject]:
        """Yield every object of a kind there is now, in a namespace or in all."""
        return self._cluster.list_objects(kind, namespace)

    async def get_object(self, kind: ObjectKind, namespace: str, name: str) -> JSONObject:
        """Return an object of a kind of ours, or raise ``NotFoundError``."""
        return await self._cluster.get_object(kind, namespace, name)

    async def get_job(self, namespace: str, name: str) -> JSONObject:
        """Return a Job, or raise ``NotFoundError``."""
        return await self._cluster.get_job(namespace, name)

    async def pod_refusals(self, namespace: str, job_uids: Collection[str]) -> Mapping[str, Sequence[PodRefusal]]:
        """Return why pods of Jobs could not be created, by the Job's uid."""
        return await self._cluster.pod_refusals(namespace, job_uids)

    async def pods_of_job(self, namespace: str, job_uid: str) -> Sequence[JSONObject]:
        """Return the pods that a Job has at this moment."""
        return await self._cluster.pods_of_job(namespace, job_uid)

    async def create_job(self, manifest: JSONObject) -> JSONObject:
        """Create a Job and return it as stored."""
        self._check()
        return await self._cluster.create_job(manifest)

    async def delete_job(self, namespace: str, name: str, uid: str, *, after_pods: bool) -> None:
        """Delete a Job, provided that it is still the same object."""
        self._check()
        await self._cluster.delete_job(namespace, name, uid, after_pods=after_pods)

    async def patch_status(
        self, meta: ObjectMeta, status: JSONObject, kind: ObjectKind = "ScheduledTask"
    ) -> JSONObject:
        """Set an object's status, provided that nobody changed the object since this version, and return the object."""
        self._check()
        return await self._cluster.patch_status(meta, status, kind)

    async def delete_request(self, meta: ObjectMeta) -> None:
        """Delete a RunRequest, and in the background its Job."""
        self._check()
        await self._cluster.delete_request(meta)

    async def post_event(
        self, meta: ObjectMeta, notice: Notice, now: datetime, kind: ObjectKind = "ScheduledTask"
    ) -> None:
        """Post an Event about an object."""
        self._check()
        await self._cluster.post_event(meta, notice, now, kind)

    async def ensure_runner_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or update the Secret that runner pods of a namespace read."""
        self._check()
        await self._cluster.ensure_runner_secret(namespace, name, data)
