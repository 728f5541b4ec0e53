"""The writing ports of the cluster, which check before each write that this operator still leads."""

from collections.abc import Callable, Mapping

from carillon_core.errors import UnavailableError
from carillon_core.ports import ClusterWriter, EventSeries, JSONObject, ObjectKind
from carillon_core.resources.meta import ObjectMeta

Fence = Callable[[], None]


def fence(leads: Callable[[], bool]) -> Fence:
    """Return a check that raises ``UnavailableError`` unless this operator leads now."""

    def check() -> None:
        if not leads():
            raise UnavailableError("the lease", "it has expired, another operator may be leading")

    return check


class FencedWriter:
    """``ClusterWriter`` that writes only while this operator leads.

    A leader whose Lease has expired is told to stop. But a process that was
    suspended, or that slept, may continue with a write before it learns that.
    So each write first compares the clock with the Lease. An adapter that queues
    or repeats writes takes the same fence and checks again before it sends.
    """

    def __init__(self, cluster: ClusterWriter, leads: Callable[[], bool]) -> None:
        """Take the cluster, and a function that returns whether this operator leads now."""
        self._cluster = cluster
        self._check = fence(leads)

    async def create_job(self, manifest: JSONObject) -> JSONObject:
        """Create a Job and return it as stored."""
        self._check()
        return await self._cluster.create_job(manifest)

    async def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a Job, if it is still the same object."""
        self._check()
        await self._cluster.delete_job(namespace, name, uid)

    async def patch_status(
        self, meta: ObjectMeta, status: JSONObject, kind: ObjectKind = "ScheduledTask"
    ) -> JSONObject:
        """Set an object's status, if the object still has this version, and return the object."""
        self._check()
        return await self._cluster.patch_status(meta, status, kind)

    async def delete_request(self, meta: ObjectMeta) -> None:
        """Delete a RunRequest, and in the background its Job."""
        self._check()
        await self._cluster.delete_request(meta)

    async def post_event(self, series: EventSeries) -> str:
        """Create an Event about an object and return its name."""
        self._check()
        return await self._cluster.post_event(series)

    async def update_event(self, series: EventSeries, name: str) -> None:
        """Update an Event about an object."""
        self._check()
        await self._cluster.update_event(series, name)

    async def ensure_runner_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or update the Secret that runner pods of a namespace read."""
        self._check()
        await self._cluster.ensure_runner_secret(namespace, name, data)
