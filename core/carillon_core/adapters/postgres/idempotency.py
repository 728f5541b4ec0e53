"""The port ``IdempotencyStore`` on Postgres: one row a key. Each of the facade's processes makes one.

Expired rows are taken over by whoever uses their key again; the history's
maintenance deletes the others by ``expires_at``.
"""

from datetime import datetime

from sqlalchemy import Executable, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres.engine import bounded, create_engine
from carillon_core.adapters.postgres.tables import idempotency_keys
from carillon_core.ports import KEY_ABANDONED, KEY_KEPT, Reservation, StoredAnswer

_columns = idempotency_keys.c


class PostgresIdempotency:
    """``IdempotencyStore`` over one engine, whose connections ``aclose`` ends."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine; connect at the first call."""
        self._engine = engine

    @classmethod
    def from_url(cls, url: str, *, pool_size: int = 5, connect_seconds: int = 5) -> "PostgresIdempotency":
        """Return a store over an engine of its own; ``SettingsError`` if the URL is none."""
        return cls(create_engine(url, pool_size=pool_size, connect_seconds=connect_seconds))

    async def aclose(self) -> None:
        """End the engine's connections."""
        await self._engine.dispose()

    async def reserve(self, caller: str, key: str, fingerprint: bytes, now: datetime) -> Reservation:
        """Take a key for a request, or say what is known of it."""
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
            # whoever had it gave it back between the two statements: it may be had now
        if bytes(row.fingerprint) != fingerprint:
            return Reservation(mine=False, same_request=False)
        if row.status is None:
            return Reservation(mine=False)
        return Reservation(mine=False, answer=StoredAnswer(row.status, row.headers, bytes(row.body)))

    async def finish(self, caller: str, key: str, answer: StoredAnswer) -> None:
        """Keep the answer for whoever repeats the request; a key that has its answer, or is unknown, stays as it is."""
        statement = (
            update(idempotency_keys)
            .where(_columns.caller == caller, _columns.key == key, _columns.status.is_(None))
            .values(status=answer.status, headers=dict(answer.headers), body=answer.body)
        )
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(statement)

    async def release(self, caller: str, key: str) -> None:
        """Give a key back: nothing was done with it. One that has its answer keeps it."""
        statement = delete(idempotency_keys).where(
            _columns.caller == caller, _columns.key == key, _columns.status.is_(None)
        )
        async with bounded(self._engine.url), self._engine.begin() as connection:
            await connection.execute(statement)


def _taking(caller: str, key: str, fingerprint: bytes, now: datetime) -> Executable:
    """Return the one statement that takes a key that is free, expired or abandoned; it returns a row if it did.

    Simultaneous ones wait for each other at the primary key, so that one alone takes it.
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
