"""How many requests a caller may make: token buckets in this process, one for each caller. ``access`` asks them.

A caller with several replicas in front has as many buckets; that is the
price of a limit that needs no store. The arithmetic is pure: the clock is an
argument.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cachetools import TTLCache

POLICY = "default"


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a bucket fills, and how much it holds."""

    per_second: float
    burst: int

    @property
    def window_seconds(self) -> int:
        """How long an empty bucket takes to fill, rounded up."""
        return math.ceil(self.burst / self.per_second)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was in a bucket at an instant."""

    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may be made, and what is left."""

    allowed: bool
    remaining: int
    """How many more may be made at once."""
    full_after: int
    """In so many seconds the bucket is full again, rounded up."""
    retry_after: int
    """In so many seconds the next request may be made, rounded up; 0 if now."""


def filled(bucket: Bucket, rate: Rate, now: float) -> Bucket:
    """Return a bucket as it is now; a clock that went back fills nothing."""
    elapsed = max(0.0, now - bucket.at)
    return Bucket(min(float(rate.burst), bucket.tokens + elapsed * rate.per_second), now)


def take(bucket: Bucket | None, rate: Rate, now: float) -> tuple[Bucket, Verdict]:
    """Return a bucket after one request, and whether that may be made; one that is refused costs nothing.

    Args:
        bucket: As it was left; None is a full one.
        rate: How it fills.
        now: Seconds, of any beginning.

    """
    there = filled(bucket, rate, now) if bucket is not None else Bucket(float(rate.burst), now)
    allowed = there.tokens >= 1
    left = Bucket(there.tokens - 1, now) if allowed else there
    missing = max(0.0, 1 - left.tokens)
    verdict = Verdict(
        allowed=allowed,
        remaining=int(left.tokens),
        full_after=math.ceil((rate.burst - left.tokens) / rate.per_second),
        retry_after=max(1, math.ceil(missing / rate.per_second)) if missing else 0,
    )
    return left, verdict


class RateLimiter:
    """A bucket for each key; those that were used longest ago are forgotten first, which fills them."""

    def __init__(self, rate: Rate, clock: Callable[[], float], most: int) -> None:
        """Begin with all buckets full.

        Args:
            rate: Of each bucket.
            clock: Seconds that never go back.
            most: How many buckets are kept.

        """
        self._rate = rate
        self._clock = clock
        # a bucket that nobody has used for a whole window is full, as one that is forgotten
        self._buckets: TTLCache[str, Bucket] = TTLCache(most, rate.window_seconds, clock)

    def __len__(self) -> int:
        """Return how many buckets are kept."""
        return len(self._buckets)

    def take(self, key: str) -> Verdict:
        """Make a request of this key's, if it may be made."""
        self._buckets[key], verdict = take(self._buckets.get(key), self._rate, self._clock())
        return verdict

    def is_empty(self, key: str) -> bool:
        """Return whether a request of this key's would be refused; it costs nothing to ask."""
        bucket = self._buckets.get(key)
        return bucket is not None and filled(bucket, self._rate, self._clock()).tokens < 1

    def headers(self, verdict: Verdict) -> Mapping[str, str]:
        """Return what the caller is told: the fields of draft-ietf-httpapi-ratelimit-headers, structured (RFC 9651)."""
        told = {
            "RateLimit-Policy": f'"{POLICY}";q={self._rate.burst};w={self._rate.window_seconds}',
            "RateLimit": f'"{POLICY}";r={verdict.remaining};t={verdict.full_after}',
        }
        return told if verdict.allowed else told | {"Retry-After": str(verdict.retry_after)}


@dataclass(slots=True)
class _Line:
    """Those of one key who have a turn, and those who wait for one."""

    turns: asyncio.Semaphore
    length: int = 0


class Turns:
    """For each key so many at a time; the others wait. What nobody uses is forgotten."""

    def __init__(self, most: int, seconds: float) -> None:
        """Begin with nobody.

        Args:
            most: How many of a key have a turn at a time.
            seconds: How long one waits for it at most.

        """
        self._most = most
        self._seconds = seconds
        self._lines: dict[str, _Line] = {}

    def __len__(self) -> int:
        """Return how many keys have somebody."""
        return len(self._lines)

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Have a turn as long as the block lasts.

        Raises:
            TimeoutError: None came in time.

        """
        line = self._lines.setdefault(key, _Line(asyncio.Semaphore(self._most)))
        line.length += 1
        try:
            async with asyncio.timeout(self._seconds):
                await line.turns.acquire()
            try:
                yield
            finally:
                line.turns.release()
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[key]
