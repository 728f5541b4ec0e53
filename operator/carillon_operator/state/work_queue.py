"""The work queue: which task is reconciled next, now or at a later time.

One worker at a time reconciles a key. A key that is added meanwhile, however
often, is reconciled once more. One heap of due times and one sleeper serve all
tasks.
"""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta

Key = tuple[str, str]
"""A task's namespace and name."""

MAX_SLEEP_SECONDS = 5.0
"""The sleeper checks the clock at least this often, since clocks are set and machines are suspended."""


class WorkQueue:
    """Keys to reconcile; used from one event loop."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Take the clock for due times."""
        self._clock = clock
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._earlier = asyncio.Event()
        self._open = True
        self._rested = asyncio.Event()

    def close(self) -> None:
        """Forget all waiting keys and accept none until ``open``; turns in progress continue."""
        self._open = False
        while not self._ready.empty():
            self._ready.get_nowait()
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

    def add(self, key: Key) -> None:
        """Add a key to be reconciled as soon as a worker is free."""
        if not self._open:
            return
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_at(self, key: Key, when: datetime | None) -> None:
        """Set the time at which a key is reconciled, instead of the time set before; None clears it."""
        if when is None or not self._open:
            self._due.pop(key, None)
        elif self._due.get(key) != when:
            self._due[key] = when
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
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Mark a key as reconciled; if it was added meanwhile, it is queued again."""
        self._working.discard(key)
        if not self._working:
            self._rested.set()
        if key in self._again:
            self._again.discard(key)
            self.add(key)

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
            self.add(key)
        return MAX_SLEEP_SECONDS
