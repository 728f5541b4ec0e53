"""The writing ports of the cluster, which check before each write that this operator still leads."""

from collections.abc import Callable, Mapping
from datetime import datetime

from carillon_core.domain.decision.plan import Notice
from carillon_core.errors import UnavailableError
from carillon_core.ports import ClusterWriter, JSONObject, ObjectKind
from carillon_core.resources.meta import ObjectMeta

Fence = Callable[[], None]


def fence(leads: Callable[[], bool]) -> Fence:
    """Return what raises ``UnavailableError`` unless this operator leads at that moment."""

    def check() -> None:
        if not leads():
            raise UnavailableError("the lease", "it has expired, another operator may be leading")

    return check


class FencedWriter:
    """``ClusterWriter`` that writes only while this operator leads.

    A leader whose Lease has run out is told to stop, but a process that was
    held up, or that slept, finds its clock far ahead and may go on with a
    write before it hears of that. Hence the look at the clock before each. An
    adapter that lets writes wait, or repeats them, takes the same fence and
    looks again whenever it sends.
    """

    def __init__(self, cluster: ClusterWriter, leads: Callable[[], bool]) -> None:
        """Take the cluster, and what says whether it may be written to at this moment."""
        self._cluster = cluster
        self._check = fence(leads)

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
