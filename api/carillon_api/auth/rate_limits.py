"""Rate limits: token buckets in this process, one for each caller. ``access`` uses them.

Each replica has its own buckets: the limit needs no shared store, but grows
with the number of replicas. The arithmetic is pure; the clock is an argument.
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
    """How fast a bucket fills, and its capacity."""

    per_second: float
    burst: int

    @property
    def window_seconds(self) -> int:
        """How long an empty bucket takes to fill, rounded up."""
        return math.ceil(self.burst / self.per_second)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The content of a bucket at an instant."""

    tokens: float
    """Negative if requests that were allowed caused more than it held."""
    at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request is allowed, and what is left."""

    allowed: bool
    remaining: int
    """How many more requests are allowed now."""
    full_after: int
    """Seconds until the bucket is full again, rounded up."""
    retry_after: int
    """Seconds until the next request is allowed, rounded up; 0 if it is allowed now."""


def filled(bucket: Bucket, rate: Rate, now: float) -> Bucket:
    """Return a bucket as it is now; a clock that is set back adds nothing."""
    elapsed = max(0.0, now - bucket.at)
    return Bucket(min(float(rate.burst), bucket.tokens + elapsed * rate.per_second), now)


def take(bucket: Bucket | None, rate: Rate, now: float) -> tuple[Bucket, Verdict]:
    """Return a bucket after one request, and whether the request is allowed; a rejected request takes no token.

    Args:
        bucket: The bucket after the previous request; None is a full bucket.
        rate: How fast it fills, and its capacity.
        now: Seconds of a monotonic clock.

    """
    there = filled(bucket, rate, now) if bucket is not None else Bucket(float(rate.burst), now)
    allowed = there.tokens >= 1
    left = Bucket(there.tokens - 1, now) if allowed else there
    missing = max(0.0, 1 - left.tokens)
    verdict = Verdict(
        allowed=allowed,
        remaining=max(0, int(left.tokens)),
        full_after=math.ceil((rate.burst - left.tokens) / rate.per_second),
        retry_after=max(1, math.ceil(missing / rate.per_second)) if missing else 0,
    )
    return left, verdict


def charged(bucket: Bucket | None, rate: Rate, now: float, tokens: float) -> Bucket:
    """Return a bucket after the cost of what an allowed request caused; it may owe as much as it can hold."""
    there = filled(bucket, rate, now) if bucket is not None else Bucket(float(rate.burst), now)
    return Bucket(max(-float(rate.burst), there.tokens - tokens), now)


class RateLimiter:
    """A bucket for each key; the least recently used are dropped first, which makes them full."""

    def __init__(self, rate: Rate, clock: Callable[[], float], most: int) -> None:
        """Start with all buckets full.

        Args:
            rate: The rate of each bucket.
            clock: A monotonic clock in seconds.
            most: The maximum number of buckets.

        """
        self._rate = rate
        self._clock = clock
        # a bucket that has not been used for a whole window is full, so it need not be kept
        self._buckets: TTLCache[str, Bucket] = TTLCache(most, rate.window_seconds, clock)

    def __len__(self) -> int:
        """Return the number of buckets that are kept."""
        return len(self._buckets)

    def take(self, key: str) -> Verdict:
        """Count a request of a key if it is allowed."""
        self._buckets[key], verdict = take(self._buckets.get(key), self._rate, self._clock())
        return verdict

    def charge(self, key: str, tokens: float) -> None:
        """Take tokens for what an allowed request of a key caused."""
        self._buckets[key] = charged(self._buckets.get(key), self._rate, self._clock(), tokens)

    def is_empty(self, key: str) -> bool:
        """Return whether a request of a key would be rejected; this takes no token."""
        bucket = self._buckets.get(key)
        return bucket is not None and filled(bucket, self._rate, self._clock()).tokens < 1

    def headers(self, verdict: Verdict) -> Mapping[str, str]:
        """Return the response headers: draft-ietf-httpapi-ratelimit-headers, as structured fields (RFC 9651)."""
        told = {
            "RateLimit-Policy": f'"{POLICY}";q={self._rate.burst};w={self._rate.window_seconds}',
            "RateLimit": f'"{POLICY}";r={verdict.remaining};t={verdict.full_after}',
        }
        return told if verdict.allowed else told | {"Retry-After": str(verdict.retry_after)}


@dataclass(slots=True)
class _Line:
    """The turns of one key, and how many hold one or wait for one."""

    turns: asyncio.Semaphore
    length: int = 0


class Turns:
    """Limits concurrency for each key; others wait. Unused keys are dropped."""

    def __init__(self, most: int, seconds: float) -> None:
        """Start without keys.

        Args:
            most: The maximum number of concurrent turns of a key.
            seconds: The maximum time to wait for a turn.

        """
        self._most = most
        self._seconds = seconds
        self._lines: dict[str, _Line] = {}

    def __len__(self) -> int:
        """Return the number of keys in use."""
        return len(self._lines)

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Hold a turn until the block ends.

        Raises:
            TimeoutError: No turn was free in time.

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
