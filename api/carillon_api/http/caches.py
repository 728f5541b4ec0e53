"""Answers of the API server, kept for a while: who a token is, what somebody may do, which API keys there are.

``access`` makes one cache for each question. A key is asked about once at a
time, however many wait for the answer; and when the API server is out of
reach, an answer that is not too old is given again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from carillon_core.errors import UnavailableError
from carillon_core.logs import get_logger

PATIENCE_SECONDS = 3.0
"""How long a new answer is waited for where an old one would do."""
RESPITE_SECONDS = 5.0
"""So long an old answer is given again before the API server is asked anew: its time-outs are not everybody's."""

log = get_logger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long an answer is good, in seconds."""

    fresh: float
    """So long nobody is asked again."""
    stale: float = 0.0
    """So long, from its coming, it still serves when nobody can be asked."""


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    fresh_until: float
    stale_until: float


class Cache(Generic[K, V]):
    """Answers by key, the least used of which go first."""

    def __init__(self, lifetime: Callable[[V], Lifetime], clock: Callable[[], float], most: int) -> None:
        """Begin empty.

        Args:
            lifetime: How long an answer is good.
            clock: Seconds that never go back.
            most: How many answers are kept.

        """
        self._lifetime = lifetime
        self._clock = clock
        self._entries: LRUCache[K, _Entry[V]] = LRUCache(most)
        self._asked: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._entries)

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return the answer that is kept, or ask for it.

        Args:
            key: What is asked about; it must tell apart all that ``ask`` may answer differently.
            ask: Asks the API server. It is called once for all who wait, and goes on when one of them goes away.

        Raises:
            CarillonError: What ``ask`` raises; ``UnavailableError`` only if no answer is kept that still serves.

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
            log.warning("the API server is away, an older answer of its serves", why=str(error))
            entry.fresh_until = min(self._clock() + RESPITE_SECONDS, entry.stale_until)
            return entry.value

    def _ask(self, key: K, ask: Callable[[], Awaitable[V]]) -> "asyncio.Task[V]":
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._kept(key, ask))
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    async def _kept(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        # as of the question: what happens while it is under way may not be in the answer
        now = self._clock()
        value = await ask()
        lifetime = self._lifetime(value)
        self._entries[key] = _Entry(value, now + lifetime.fresh, now + lifetime.stale)
        return value

    def _ended(self, key: K, task: "asyncio.Task[V]") -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # whoever waited has raised it; if nobody waits any more, it is no news
