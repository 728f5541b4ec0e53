"""Idempotency keys, which make a POST safe to repeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

KEY_KEPT = timedelta(days=1)
"""How long an idempotency key is remembered, from its first use."""
KEY_ABANDONED = timedelta(seconds=60)
"""A key that has been reserved this long without an answer may be taken over by the same request."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer that was given once and is given again to whoever repeats the request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is known of an idempotency key: who asks first has it, everybody else finds what the first one left."""

    mine: bool
    """The caller is the first, or whoever was first has given up: it shall go on, and ``finish`` or ``release``."""
    same_request: bool = True
    """Whether the key was first used with this very request."""
    answer: StoredAnswer | None = None
    """What the first request was answered; None while it is under way."""


class IdempotencyStore(Protocol):
    """The keys by which callers make a POST safe to repeat."""

    async def reserve(self, caller: str, key: str, fingerprint: bytes, now: datetime) -> Reservation:
        """Take a key for a request, or say what is known of it.

        Of any number of simultaneous callers one alone is told ``mine``. A key is forgotten after ``KEY_KEPT``, and
        taken over by the same request if it had no answer for ``KEY_ABANDONED``.
        """
        ...

    async def finish(self, caller: str, key: str, answer: StoredAnswer) -> None:
        """Keep the answer for whoever repeats the request; a key that has its answer, or is unknown, stays as it is."""
        ...

    async def release(self, caller: str, key: str) -> None:
        """Give a key back: nothing was done with it. One that has its answer keeps it."""
        ...
