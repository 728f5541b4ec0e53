"""Deletes in the background: Jobs beyond their limits, and RunRequests whose time to live has passed.

Launches do not wait for it. A deletion that a restart loses is decided again.
A deletion that fails is tried again here, since nothing else may ever
reconcile its task.
"""

import asyncio
from collections.abc import Callable, Coroutine

from carillon_core.errors import CarillonError, NotFoundError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import ClusterWriter
from carillon_core.resources.meta import ObjectMeta
from carillon_operator.state.observed_store import ObservedStore

log = get_logger(__name__)

WORKERS = 8
"""The number of deletions at a time."""
RETRY_SECONDS = 5.0
REFUSED_RETRY_SECONDS = 60.0
"""The wait after a deletion that a policy or a missing permission refuses."""


class Janitor:
    """The queue of deletions and the process that makes them."""

    def __init__(self, cluster: ClusterWriter, store: ObservedStore) -> None:
        """Take the cluster to delete in, and the store that forgets what is gone."""
        self._cluster = cluster
        self._store = store
        self._waiting: asyncio.Queue[tuple[str, Callable[[], Coroutine[None, None, None]]]] = asyncio.Queue()
        self._known: set[str] = set()

    def delete_job(self, namespace: str, name: str, uid: str) -> None:
        """Delete a finished Job later."""

        async def delete() -> None:
            try:
                await self._cluster.delete_job(namespace, name, uid)
            except NotFoundError:
                self._store.jobs.drop((namespace, name), uid)

        self._put(uid, delete)

    def delete_request(self, meta: ObjectMeta) -> None:
        """Delete a RunRequest later."""

        async def delete() -> None:
            try:
                await self._cluster.delete_request(meta)
            except NotFoundError:
                self._store.requests.drop((meta.namespace, meta.name), meta.uid)

        self._put(meta.uid, delete)

    def _put(self, uid: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        if uid not in self._known:
            self._known.add(uid)
            self._waiting.put_nowait((uid, work))

    async def run(self) -> None:
        """Make the deletions of the queue, several at a time, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._run_worker())

    async def _run_worker(self) -> None:
        while True:
            uid, work = await self._waiting.get()
            try:
                await work()
            except CarillonError as error:  # this one alone: the others do not wait
                wait = RETRY_SECONDS if isinstance(error, UnavailableError) else REFUSED_RETRY_SECONDS
                log.info("not deleted, trying again", uid=uid, why=str(error), retry_in_s=wait)
                asyncio.get_running_loop().call_later(wait, self._waiting.put_nowait, (uid, work))
            except Exception:
                log.exception("not deleted", uid=uid)
                self._known.discard(uid)
            else:
                self._known.discard(uid)

    async def drained(self) -> None:
        """Make all waiting deletions; for tests, which run no process."""
        while not self._waiting.empty():
            uid, work = self._waiting.get_nowait()
            self._known.discard(uid)
            await work()
