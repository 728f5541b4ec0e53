"""The port ``IdempotencyStore`` on Postgres, one row per key; each process of the API creates one.

A request that uses the key of an expired row takes the row over; the history's
maintenance deletes the other expired rows.
"""

from datetime import datetime

from sqlalchemy import Executable, delete, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.tables import idempotency_keys
from carillon_core.ports import KEY_ABANDONED, KEY_KEPT, MOST_ANSWER_BYTES, MOST_ANSWERS, Reservation, StoredAnswer

_columns = idempotency_keys.c
_DROPPING = text(f"""
    DELETE FROM idempotency_keys WHERE caller = :caller AND key IN (
        SELECT key FROM idempotency_keys WHERE caller = :caller AND key IN (
            SELECT key FROM (
                SELECT key, row_number() OVER latest AS number, sum(octet_length(body)) OVER latest AS size
                FROM idempotency_keys WHERE caller = :caller AND status IS NOT NULL
                WINDOW latest AS (ORDER BY reserved_at DESC, key)
            ) AS answered WHERE number > {MOST_ANSWERS} OR (number > 1 AND size > {MOST_ANSWER_BYTES})
        ) FOR UPDATE SKIP LOCKED
    )
""")  # noqa: S608  # two numbers of ours
"""Drops a caller's oldest answers beyond the bounds; simultaneous statements leave each other's rows alone."""


class PostgresIdempotency:
    """``IdempotencyStore`` over one engine; ``aclose`` closes its connections."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; the first call connects."""
        self._engine = engine

    @classmethod
    def from_url(cls, url: str, *, pool_size: int = 5, connect_seconds: int = 5) -> "PostgresIdempotency":
        """Return a store with its own engine; raises ``SettingsError`` if the URL is invalid."""
        return cls(create_engine(url, pool_size=pool_size, connect_seconds=connect_seconds))

    async def aclose(self) -> None:
        """Close the engine's connections."""
        await self._engine.dispose()

    async def reserve(self, caller: str, key: str, fingerprint: bytes, now: datetime) -> Reservation:
        """Reserve a key for a request, or return what is stored under it."""
        own = (_columns.caller == caller) & (_columns.key == key)
        known = select(_columns.fingerprint, _columns.status, _columns.headers, _columns.body).where(own)
        while True:
            async with bounded(self._engine.url), self._engine.begin() as connection:
                taken = (await connection.execute(_taking(caller, key, fingerprint, now))).scalar_one_or_none()
                row = None if taken is not None else (await connection.execute(known)).one_or_none()
            if taken is not None:
                return Reservation(mine=True)
            if row is not None:
                break
            # the key was released between the two statements: try again
        if bytes(row.fingerprint) != fingerprint:
            return Reservation(mine=False, same_request=False)
        if row.status is None:
            return Reservation(mine=False)
        return Reservation(mine=False, answer=StoredAnswer(row.status, row.headers, bytes(row.body)))

    async def answer(self, caller: str, key: str, now: datetime) -> StoredAnswer | None:
        """Return the response that is stored under a key, if it has not expired."""
        statement = select(_columns.status, _columns.headers, _columns.body).where(
            _columns.caller == caller, _columns.key == key, _columns.expires_at > now, _columns.status.is_not(None)
        )
        async with bounded(self._engine.url), self._engine.connect() as connection:
            row = (await connection.execute(statement)).one_or_none()
        return None if row is None else StoredAnswer(row.status, row.headers, bytes(row.body))

    async def finish(self, caller: str, key: str, answer: StoredAnswer) -> None:
        """Store the answer for repeated requests; a key that has an answer, or does not exist, stays unchanged."""
        statement = (
            update(idempotency_keys)
            .where(_columns.caller == caller, _columns.key == key, _columns.status.is_(None))
            .values(status=answer.status, headers=dict(answer.headers), body=answer.body)
        )
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(statement)
        # on its own, so that it holds no other row's lock
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(_DROPPING, {"caller": caller})

    async def release(self, caller: str, key: str) -> None:
        """Release a key whose request had no effect; a key that has an answer keeps it."""
        statement = delete(idempotency_keys).where(
            _columns.caller == caller, _columns.key == key, _columns.status.is_(None)
        )
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(statement)


def _taking(caller: str, key: str, fingerprint: bytes, now: datetime) -> Executable:
    """Return the statement that reserves a free, expired or abandoned key; it returns a row on success.

    Simultaneous statements wait for each other at the primary key, so that only one succeeds.
    """
    new = insert(idempotency_keys).values(
        caller=caller, key=key, fingerprint=fingerprint, reserved_at=now, expires_at=now + KEY_KEPT
    )
    expired = _columns.expires_at <= now
    abandoned = (
        _columns.status.is_(None)
        & (_columns.reserved_at <= now - KEY_ABANDONED)
        & (_columns.fingerprint == new.excluded.fingerprint)
    )
    fresh = {"fingerprint": fingerprint, "reserved_at": now, "expires_at": now + KEY_KEPT}
    return new.on_conflict_do_update(
        index_elements=[_columns.caller, _columns.key],
        set_={**fresh, "status": None, "headers": None, "body": None},
        where=or_(expired, abandoned),
    ).returning(_columns.caller)
