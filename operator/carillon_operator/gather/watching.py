"""Keeps the store up to date: watches of Jobs and pods, and lists of all objects. ``Application`` runs it.

With a list of namespaces, each is watched and listed separately. A namespace
that cannot be read, because it or the operator's role in it is gone, does not
block the others: nothing in it is decided until it can be read again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from carillon_core.backoff import Backoff, Tries
from carillon_core.domain.scope import SETTING, Scope
from carillon_core.errors import CarillonError, ForbiddenError, OwnAccountError
from carillon_core.logs import get_logger
from carillon_core.ports import ClusterReader, JobEvent, ObjectKind
from carillon_operator.guard.slices import Slices
from carillon_operator.leadership.endings import end
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key

log = get_logger(__name__)

KINDS: tuple[ObjectKind, ...] = ("ScheduledTask", "RunRequest", "HTTPTarget")
JobKind = Literal["Job", "Pod"]
WATCHED: tuple[JobKind, ...] = ("Job", "Pod")
RETRIES = Backoff(first=1.0, longest=30.0)
HINT = f"grant the operator its roles in the namespace, or remove it from {SETTING} (watch.namespaces of the chart)"

Watched = tuple[JobKind, str | None]
"""The subject of a watch: a kind, and a namespace or None for all."""


class Watching:
    """The watches of Jobs and pods, and the comparisons of the store with the cluster."""

    def __init__(
        self,
        cluster: ClusterReader,
        view: View,
        scope: Scope,
        take: Callable[[JobEvent], None],
        slices: Slices | None = None,
    ) -> None:
        """Take what is watched; nothing runs yet.

        Args:
            cluster: What is watched.
            view: Where objects and their keys go, and which namespaces cannot be read.
            scope: The namespaces to watch.
            take: Called with each event of a Job or a pod.
            slices: How long objects are taken without a turn for others.

        """
        self._cluster = cluster
        self._view = view
        self._store = view.store
        self._queue = view.queue
        self._places = scope.places
        self._unseen = view.ownership.unseen
        self._take = take
        self._slices = slices or Slices()
        self._synced: dict[Watched, asyncio.Event] = {
            (kind, place): asyncio.Event() for kind in WATCHED for place in self._places
        }
        self._refused: set[Watched] = set()
        self._watches: dict[Watched, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Start to watch."""
        self._watches = {each: asyncio.ensure_future(self._watch(*each)) for each in self._synced}

    async def stop(self, *others: asyncio.Task[None]) -> None:
        """End the other tasks, which may be waiting for a new list, and then the watches."""
        await end(others)
        await end(self._watches.values())

    async def synced(self) -> None:
        """Return once each first list has been read or refused."""
        for event in self._synced.values():
            await event.wait()

    async def catch_up(self) -> None:
        """Read the current state of everything; retry until that succeeds.

        The previous leader launches nothing any more, but a watch may lag behind its launches, by a lot if the
        connection has died silently. Then a Forbid task would run twice at once, or a settled slot would run again; and
        pods outlive their Jobs.
        A list without a version is a consistent read: one that starts now contains everything ever written.
        """
        began, tries = asyncio.get_running_loop().time(), Tries(RETRIES)
        while True:
            try:
                await self._see(self._places)
            except Exception as error:  # a restart would not help
                defect = None if isinstance(error, CarillonError) else error
                log.warning("cannot read the current state, trying again", why=str(error), exc_info=defect)
                await asyncio.sleep(tries.failed())
            else:
                took = round((asyncio.get_running_loop().time() - began) * 1000)
                log.info("caught up", keys=len(self._store.all_keys()), took_ms=took)
                return

    async def compare(self) -> set[str]:
        """Forget the objects that are gone; return the namespaces that have tasks or requests."""
        found: set[str] = set()
        for kind in KINDS:
            for place in self._places:
                if place not in self._unseen:
                    found |= await self._compared(kind, place)
        return found

    async def _compared(self, kind: ObjectKind, place: str | None) -> set[str]:
        # Read before the list, so that an object created after the list does not count as gone.
        known = self._known(kind, place)
        try:
            present = await self._cluster.uids(kind, place)
        except ForbiddenError as error:
            self._lose(place, error)
            return set()
        for key, uid in known.items():
            if present.get(key) != uid:
                self._view.drop(kind, key, uid)
        return set() if kind == "HTTPTarget" else {namespace for namespace, _ in present}

    async def look_again(self) -> None:
        """Try the unreadable namespaces again, for ever; soon at first, since a role may just have been granted."""
        tries = Tries(RETRIES)
        while True:
            await asyncio.sleep(tries.failed())
            try:
                await self._see_unseen()
            except Exception as error:  # as in ``catch_up``
                defect = None if isinstance(error, CarillonError) else error
                log.info("unreadable namespaces not read, trying again", why=str(error), exc_info=defect)
            if not self._unseen:
                tries.succeeded()

    async def _see_unseen(self) -> None:
        for namespace in sorted(self._unseen):
            await self._see([namespace])
            if namespace in self._unseen:
                continue
            log.info("namespace readable again", namespace=namespace)
            for key in self._store.all_keys():
                if key[0] == namespace:
                    self._queue.add(key)

    async def _see(self, places: Sequence[str | None]) -> None:
        """List everything in some namespaces again."""
        again: list[Watched] = [(kind, place) for place in places for kind in WATCHED]
        await asyncio.gather(*map(self._begin_again, again))
        for place in places:
            try:
                for kind in KINDS:
                    await self._relist(kind, place)
            except ForbiddenError as error:
                self._lose(place, error)
            else:
                if place is not None and not any((kind, place) in self._refused for kind in WATCHED):
                    self._unseen.discard(place)

    async def _begin_again(self, each: Watched) -> None:
        """Start a watch again, and wait for its list."""
        try:
            await end([self._watches[each]])
        finally:
            self._synced[each].clear()
            self._watches[each] = asyncio.ensure_future(self._watch(*each))
        await self._synced[each].wait()

    async def _relist(self, kind: ObjectKind, place: str | None) -> None:
        known = self._known(kind, place)
        async for raw in self._cluster.list_objects(kind, place):
            self._view.put(kind, raw)
            await self._slices.rest()
            known.pop((raw["metadata"]["namespace"], raw["metadata"]["name"]), None)
        for key, uid in known.items():
            self._view.drop(kind, key, uid)

    def _known(self, kind: ObjectKind, place: str | None) -> dict[Key, str]:
        return {key: uid for key, uid in self._store.shelf(kind).uids().items() if place in {None, key[0]}}

    async def _watch(self, kind: JobKind, place: str | None) -> None:
        each: Watched = (kind, place)
        while True:
            try:
                async for event in self._cluster.watch_jobs(kind, place):
                    self._take(event)
                    await self._slices.rest()
                    if event.type == "SYNCED":
                        self._refused.discard(each)
                        self._synced[each].set()
            except Exception as error:  # a bug with one object, or a missing permission
                if place is None or not isinstance(error, ForbiddenError) or isinstance(error, OwnAccountError):
                    log.exception(
                        "watch failed, starting again", kind=kind, **{} if place is None else {"namespace": place}
                    )
                    await asyncio.sleep(RETRIES.first)
                    continue
                self._refused.add(each)
                self._lose(place, error)
                self._synced[each].set()  # the other namespaces do not wait for it
                await asyncio.sleep(RETRIES.longest)

    def _lose(self, place: str | None, error: ForbiddenError) -> None:
        """Mark a namespace as unreadable, and log that once.

        Raises:
            ForbiddenError: No namespace can be read, for example because the credentials are rejected.

        """
        if place is None or isinstance(error, OwnAccountError):
            raise error
        if place not in self._unseen:
            log.warning(
                "namespace unreadable, nothing in it is scheduled until it can be read",
                namespace=place,
                why=str(error),
                hint=HINT,
            )
        self._unseen.add(place)
