"""Cached responses of the API server: whose token it is, what a user may do, which API keys exist.

``access`` has one cache per question. Concurrent requests for a key share one
call; while the API server is unavailable, a cached response is served until
it is too old.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger

PATIENCE_SECONDS = 3.0
"""How long to wait for a new response while a cached one can be served."""
RESPITE_SECONDS = 5.0
"""How long a cached response is served after a failed call, so that not every request waits for a timeout."""

log = get_logger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a response is valid, in seconds."""

    fresh: float
    """How long the response is served without a new call."""
    stale: float = 0.0
    """How long the response is served while the API server is unavailable, counted from the call."""


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    fresh_until: float
    stale_until: float


class Cache(Generic[K, V]):
    """Responses by key; the least recently used are dropped first."""

    def __init__(self, lifetime: Callable[[V], Lifetime], clock: Callable[[], float], most: int) -> None:
        """Create an empty cache.

        Args:
            lifetime: How long a response is valid.
            clock: A monotonic clock in seconds.
            most: The maximum number of responses.

        """
        self._lifetime = lifetime
        self._clock = clock
        self._entries: LRUCache[K, _Entry[V]] = LRUCache(most)
        self._asked: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        """Return the number of cached responses."""
        return len(self._entries)

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return the cached response, or call the API server.

        Args:
            key: Identifies the question; two calls with different answers need different keys.
            ask: Calls the API server. Concurrent callers share one call, which goes on if one of them is cancelled.

        Raises:
            CarillonError: The error of ``ask``; ``UnavailableError`` only if no cached response can be served.

        """
        entry = self._entries.get(key)
        now = self._clock()
        if entry is not None and now < entry.fresh_until:
            return entry.value
        serves = entry is not None and now < entry.stale_until
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if serves else None):
                return await asyncio.shield(self._ask(key, ask))
        except (UnavailableError, TimeoutError) as error:
            if entry is None or not serves:
                raise
            log.warning("API server unavailable, serving a cached response", why=str(error))
            entry.fresh_until = min(self._clock() + RESPITE_SECONDS, entry.stale_until)
            return entry.value

    def _ask(self, key: K, ask: Callable[[], Awaitable[V]]) -> "asyncio.Task[V]":
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._kept(key, ask))
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def _kept(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        # The lifetime starts before the call: changes during the call may be missing in the response.
        now = self._clock()
        value = await ask()
        lifetime = self._lifetime(value)
        self._entries[key] = _Entry(value, now + lifetime.fresh, now + lifetime.stale)
        return value

    def _ended(self, key: K, task: "asyncio.Task[V]") -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # callers raise it; if all were cancelled, asyncio must not warn about it
