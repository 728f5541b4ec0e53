"""Idempotency keys in memory, for tests of the facade; they meet the same contract as those in Postgres."""

from dataclasses import dataclass, replace
from datetime import datetime

from carillon_core.errors import UnavailableError
from carillon_core.ports import KEY_ABANDONED, KEY_KEPT, MOST_ANSWER_BYTES, MOST_ANSWERS, Reservation, StoredAnswer


@dataclass(frozen=True, slots=True)
class KeyRow:
    """The state of a key."""

    fingerprint: bytes
    reserved_at: datetime
    answer: StoredAnswer | None = None


class MemoryIdempotency:
    """``IdempotencyStore`` over a dictionary.

    Attributes:
        rows: The state of each key, by caller and key.
        outage: While it is set, every call raises ``UnavailableError`` with it.

    """

    def __init__(self) -> None:
        """Begin with no keys."""
        self.rows: dict[tuple[str, str], KeyRow] = {}
        self.outage: str | None = None

    async def reserve(self, caller: str, key: str, fingerprint: bytes, now: datetime) -> Reservation:
        """Reserve a key for a request, or return its state."""
        self._check_outage()
        row = self.rows.get((caller, key))
        if row is None or _is_free(row, fingerprint, now):
            self.rows[caller, key] = KeyRow(fingerprint, now)
            return Reservation(mine=True)
        if row.fingerprint != fingerprint:
            return Reservation(mine=False, same_request=False)
        return Reservation(mine=False, answer=row.answer)

    async def answer(self, caller: str, key: str, now: datetime) -> StoredAnswer | None:
        """Return the response that is stored under a key, if it has not expired."""
        self._check_outage()
        row = self.rows.get((caller, key))
        return None if row is None or row.reserved_at + KEY_KEPT <= now else row.answer

    async def finish(self, caller: str, key: str, answer: StoredAnswer) -> None:
        """Store the response for repetitions; a key that has one, or is unknown, stays unchanged."""
        self._check_outage()
        row = self.rows.get((caller, key))
        if row is not None and row.answer is None:
            self.rows[caller, key] = replace(row, answer=answer)
            self._drop_oldest(caller)

    async def release(self, caller: str, key: str) -> None:
        """Release a key whose request had no effect; a key that has a response keeps it."""
        self._check_outage()
        row = self.rows.get((caller, key))
        if row is not None and row.answer is None:
            del self.rows[caller, key]

    def _drop_oldest(self, caller: str) -> None:
        answered = [(key, row) for key, row in self.rows.items() if key[0] == caller and row.answer is not None]
        size = 0
        for number, (key, row) in enumerate(sorted(answered, key=lambda each: each[1].reserved_at, reverse=True), 1):
            size += len(row.answer.body) if row.answer is not None else 0
            if number > MOST_ANSWERS or (number > 1 and size > MOST_ANSWER_BYTES):
                del self.rows[key]

    def forget(self) -> None:
        """Abandon every key, as if its first request had never finished."""
        self.rows.clear()

    def _check_outage(self) -> None:
        if self.outage is not None:
            raise UnavailableError("database", self.outage)


def _is_free(row: KeyRow, fingerprint: bytes, now: datetime) -> bool:
    if row.reserved_at + KEY_KEPT <= now:
        return True
    abandoned = row.answer is None and row.reserved_at + KEY_ABANDONED <= now
    return abandoned and row.fingerprint == fingerprint
