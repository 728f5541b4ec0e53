"""Idempotency keys, which make a POST safe to repeat."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

KEY_KEPT = timedelta(days=1)
"""How long an idempotency key is remembered, from its first use."""
KEY_ABANDONED = timedelta(seconds=60)
"""A key that has been reserved this long without an answer may be taken over by the same request."""
MOST_ANSWERS = 1000
"""How many answers are kept for one caller; the oldest are dropped first."""
MOST_ANSWER_BYTES = 8 * 1024 * 1024
"""How large one caller's answers may be together; the latest is kept in any case."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A response that is sent again when the request is repeated."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """The state of an idempotency key: the first request owns it, repetitions get that request's response."""

    mine: bool
    """This request owns the key, as the first or by taking it over; it must ``finish`` or ``release`` the key."""
    same_request: bool = True
    """Whether the key was first used with the same request."""
    answer: StoredAnswer | None = None
    """The response to the first request; None while that is in progress."""


class IdempotencyStore(Protocol):
    """The idempotency keys of callers."""

    async def reserve(self, caller: str, key: str, fingerprint: bytes, now: datetime) -> Reservation:
        """Reserve a key for a request, or return the key's state.

        Of simultaneous requests, only one gets ``mine``. A key expires after ``KEY_KEPT``. The same request may take
        over a key that has had no response for ``KEY_ABANDONED``.
        """
        ...

    async def answer(self, caller: str, key: str, now: datetime) -> StoredAnswer | None:
        """Return the response that is stored under a key, if it has not expired; nothing is reserved."""
        ...

    async def finish(self, caller: str, key: str, answer: StoredAnswer) -> None:
        """Store the response for repetitions; a key that has one, or is unknown, stays unchanged.

        The caller's oldest answers beyond ``MOST_ANSWERS`` and ``MOST_ANSWER_BYTES`` are dropped; their keys are free.
        """
        ...

    async def release(self, caller: str, key: str) -> None:
        """Release a key with which nothing was done; a key that has a response keeps it."""
        ...
