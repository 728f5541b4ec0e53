"""The work queue: which task is reconciled next, now or at a later time.

One worker at a time reconciles a key. A key that is added meanwhile, however
often, is reconciled once more. One heap of due times and one sleeper serve all
tasks. Keys that are due come before those that have only changed, and within
each of the two the namespaces take turns, so that no tenant's objects delay
the slots of another.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from carillon_operator.guard.slices import Slices

Key = tuple[str, str]
"""A task's namespace and name."""

MAX_SLEEP_SECONDS = 5.0
"""The sleeper checks the clock at least this often, since clocks are set and machines are suspended."""


SOME_STALE = 1000
"""The number of replaced due times that the heap may hold, besides one for each current time."""


class _Lane:
    """Keys that are ready, of all namespaces in turn."""

    def __init__(self) -> None:
        self._keys: dict[str, deque[Key]] = {}
        """The keys of each namespace in the order in which they came; the namespaces in that of their turns."""

    def put(self, key: Key) -> None:
        """Add a key at the end of its namespace."""
        self._keys.setdefault(key[0], deque()).append(key)

    def pop(self) -> Key | None:
        """Return the first key of the namespace whose turn it is, or None if there is no key."""
        namespace = next(iter(self._keys), None)
        if namespace is None:
            return None
        keys = self._keys.pop(namespace)
        key = keys.popleft()
        if keys:
            self._keys[namespace] = keys  # at the end: the next namespace has the next turn
        return key

    def clear(self) -> None:
        """Forget all keys."""
        self._keys.clear()


class WorkQueue:
    """Keys to reconcile; used from one event loop."""

    def __init__(self, clock: Callable[[], datetime], slices: Slices | None = None) -> None:
        """Take the clock for due times, and how long keys are taken without a turn for others."""
        self._clock = clock
        self._slices = slices or Slices()
        self._due_lane, self._changed_lane = _Lane(), _Lane()
        self._ready = asyncio.Semaphore(0)
        """One for each waiting key."""
        self._waiting: dict[Key, bool] = {}
        """The keys in the lanes, each with whether it is due; a key that became due later is in both."""
        self._working: set[Key] = set()
        self._again: dict[Key, bool] = {}
        """The keys to add when their turn ends, each with whether it is due."""
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._earlier = asyncio.Event()
        self._open = True
        self._rested = asyncio.Event()

    def close(self) -> None:
        """Forget all waiting keys and accept none until ``open``; turns in progress continue."""
        self._open = False
        self._due_lane.clear()
        self._changed_lane.clear()
        self._waiting.clear()
        self._again.clear()
        self._due.clear()
        self._heap.clear()

    def open(self) -> None:
        """Accept keys again."""
        self._open = True

    async def rested(self) -> None:
        """Wait until no key is being reconciled."""
        while self._working:
            self._rested.clear()
            await self._rested.wait()

    def add(self, key: Key, *, due: bool = False) -> None:
        """Add a key to be reconciled as soon as a worker is free.

        Args:
            key: The key.
            due: Whether its time has come, so that it goes before the keys that have only changed.

        """
        if not self._open:
            return
        if key in self._working:
            self._again[key] = due or self._again.get(key, False)
        elif key not in self._waiting:
            self._waiting[key] = due
            (self._due_lane if due else self._changed_lane).put(key)
            self._ready.release()
        elif due and not self._waiting[key]:
            self._waiting[key] = True
            self._due_lane.put(key)  # its place among the others is passed over

    def add_at(self, key: Key, when: datetime | None) -> None:
        """Set the time at which a key is reconciled, instead of the time set before; None clears it."""
        if when is None or not self._open:
            self._due.pop(key, None)
        elif self._due.get(key) != when:
            self._due[key] = when
            if len(self._heap) > 2 * len(self._due) + SOME_STALE:
                self._heap = [(at, of) for of, at in self._due.items()]
                heapq.heapify(self._heap)
            else:
                heapq.heappush(self._heap, (when, key))
            if self._heap[0] == (when, key):
                self._earlier.set()

    def due_time(self, key: Key) -> datetime | None:
        """Return when a key is due, or None if no time is set."""
        return self._due.get(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Set a key to be reconciled after a delay, unless it is due earlier."""
        when = self._clock() + timedelta(seconds=seconds)
        due = self._due.get(key)
        self.add_at(key, when if due is None else min(when, due))

    async def take(self) -> Key:
        """Return the next key to reconcile; ``done`` must follow."""
        while True:
            await self._ready.acquire()
            try:
                await self._slices.rest()
            except asyncio.CancelledError:
                self._ready.release()
                raise
            key = self._next()  # only now: a key may have become due meanwhile
            if key is not None:  # else the queue was closed meanwhile
                self._working.add(key)
                return key

    def _next(self) -> Key | None:
        """Return the waiting key that is next, or None if none waits."""
        for lane in (self._due_lane, self._changed_lane):
            while (key := lane.pop()) is not None:
                if self._waiting.pop(key, None) is not None:
                    return key
        return None

    def done(self, key: Key) -> None:
        """Mark a key as reconciled; if it was added meanwhile, it is queued again."""
        self._working.discard(key)
        if not self._working:
            self._rested.set()
        due = self._again.pop(key, None)
        if due is not None:
            self.add(key, due=due)

    async def run_sleeper(self) -> None:
        """Add each key when it is due, for ever."""
        while True:
            self._earlier.clear()
            delay = self._release_due()
            try:
                # not wait_for: up to Python 3.11 it swallows a cancellation that comes together with the event
                async with asyncio.timeout(min(delay, MAX_SLEEP_SECONDS)):
                    await self._earlier.wait()
            except TimeoutError:
                continue

    def _release_due(self) -> float:
        """Add the keys that are due; return the seconds until the next one."""
        now = self._clock()
        while self._heap:
            when, key = self._heap[0]
            if self._due.get(key) != when:  # replaced or dropped since
                heapq.heappop(self._heap)
                continue
            if when > now:
                return (when - now).total_seconds()
            heapq.heappop(self._heap)
            del self._due[key]
            self.add(key, due=True)
        return MAX_SLEEP_SECONDS
