"""Writes at the moment in which the maintenance creates a month or deletes expired rows."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres import engine, maintenance
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.idempotency import PostgresIdempotency
from carillon_core.adapters.postgres.maintenance import Changes, Maintenance
from carillon_core.adapters.postgres.runner_keys import PostgresRunnerKeys
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.errors import UnavailableError
from carillon_runner.environment import Environment
from carillon_runner.record import Record
from support.runner import TOKEN_KEY
from support.waiting import eventually

NOW = datetime(2031, 3, 15, 12, tzinfo=UTC)
"""Years after the partitions of the migration, so that the maintenance creates every month."""
SLOT = datetime(2031, 2, 15, 12, tzinfo=UTC)
"""In the month that is created first, at which the maintenance is held up."""
POD = "report-1-x"
UID = UUID("22222222-2222-4222-8222-222222222222")
EXECUTION = {
    "id": str(UID),
    "task_uid": str(UID),
    "origin": str(UID),
    "namespace": "shop",
    "task": "report",
    "task_type": "counter",
    "slot": SLOT.isoformat(),
    "cause": "schedule",
    "job_name": "report-1",
    "counter": "report",
}
CLAIM = "SELECT carillon_runner.claim(%(token)s, %(pod)s) IS NOT NULL"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Give the engine of a migrated database that knows the tokens' key."""
    own = engine.create_engine(database_url)
    await PostgresRunnerKeys(own).register(TOKEN_KEY)
    yield own
    await own.dispose()


async def called(url: str, statement: str) -> Any:
    """Call a runner's function for the execution, on a new connection."""
    given = {
        "token": TOKEN_KEY.token(EXECUTION),
        "pod": POD,
        "name": "report",
        "attempts": json.dumps([{"number": 1, "status": "succeeded", "started_at": SLOT.isoformat()}]),
    }
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = await (await connection.execute(statement.encode(), given)).fetchone()
        return None if found is None else found[0]


class Race:
    """A maintenance that is held up while it creates a month, and a writer that comes then."""

    def __init__(self, pool: AsyncEngine, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the maintenance wait for locks long enough."""
        self._pool = pool
        self._url = url
        # the maintenance waits for the writer, and does not give up and retry
        monkeypatch.setattr(maintenance, "LOCK_SECONDS", 30)

    async def run(self, writer: Any) -> tuple[Changes, Any]:
        """Start the maintenance, then the writer, and let both end; return their results."""
        with psycopg.connect(self._url) as blocker, psycopg.connect(self._url, autocommit=True) as watcher:
            # conflicts with changes of the table, but not with writes of rows
            blocker.execute("LOCK TABLE ONLY executions IN SHARE UPDATE EXCLUSIVE MODE")
            making = asyncio.create_task(Maintenance(self._pool, lambda: NOW, 0).run())
            waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"
            await eventually(lambda: watcher.execute(waiting).fetchone() == (1,))
            writing = asyncio.create_task(writer)
            await eventually(lambda: writing.done() or watcher.execute(waiting).fetchone() == (2,))
            blocker.rollback()
        return await making, await writing


@pytest.fixture
def race(pool: AsyncEngine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Race:
    """Give a race over one database."""
    return Race(pool, database_url, monkeypatch)


RUNNERS: dict[str, tuple[str, Any]] = {
    "its end": (
        "SELECT carillon_runner.close_row(%(token)s, %(pod)s, 'succeeded', NULL, NULL, NULL, now(), %(attempts)s)",
        True,
    ),
    "its attempts": ("SELECT carillon_runner.save_attempts(%(token)s, %(pod)s, %(attempts)s)", True),
    "its count": ("SELECT carillon_runner.increment(%(token)s, %(pod)s, %(name)s, %(attempts)s)", 1),
    "a look at its row": ("SELECT status FROM carillon_runner.look(%(token)s)", "running"),
    "the lock of its row": ("SELECT status FROM carillon_runner.lock_row(%(token)s)", "running"),
    "a look at its attempts": ("SELECT number FROM carillon_runner.last_attempt(%(token)s)", 1),
}


@pytest.mark.parametrize(("statement", "want"), RUNNERS.values(), ids=RUNNERS.keys())
async def test_a_runner_finds_its_row_while_it_is_moved(
    race: Race, database_url: str, statement: str, want: object
) -> None:
    """A statement that was planned before the move and executed after it would not find the row."""
    assert await called(database_url, CLAIM)
    changes, told = await race.run(called(database_url, statement))
    assert (changes.moved, told) == (1, want)


async def test_the_operator_closes_a_row_while_it_is_moved(race: Race, pool: AsyncEngine, database_url: str) -> None:
    """The same holds for the operator's statements."""
    assert await called(database_url, CLAIM)
    end = Closing(
        id=UID,
        namespace="shop",
        task="report",
        slot=SLOT,
        status=ExecutionStatus.FAILED,
        reason="Evicted",
        message="gone",
        finished_at=NOW,
    )
    changes, closed = await race.run(PostgresHistory(pool).close([end]))
    assert (changes.moved, closed) == (1, [UID])


async def test_a_runner_claims_while_its_month_is_made(race: Race, database_url: str) -> None:
    """Postgres rejects the row that was routed to the default partition; the next try finds the month."""
    environment = Environment(
        record_url=database_url,
        token=TOKEN_KEY.token(EXECUTION),
        execution_id=UID,
        task_uid=UID,
        origin=UID,
        namespace="shop",
        task="report",
        task_type="counter",
        spec={},
        slot=SLOT,
        cause="schedule",
        timeout_seconds=60,
        job_name="report-1",
        pod_name=POD,
        termination_log=None,
    )
    record = Record(environment)
    changes, taken = await race.run(asyncio.to_thread(record.claim, time.monotonic() + 60, time.sleep))
    record.disconnect()
    assert ("2031_02" in changes.created, changes.moved, taken) == (True, 0, None)
    assert await called(database_url, "SELECT status FROM carillon_runner.look(%(token)s)") == "running"


async def test_the_operator_is_told_to_try_again_when_a_month_was_made_meanwhile(race: Race, pool: AsyncEngine) -> None:
    """The error is that of an unavailable database, not that of a row that can never be stored."""
    missed = ExecutionRecord(
        id=UID,
        task_uid=str(UID),
        namespace="shop",
        task="report",
        task_type="counter",
        slot=SLOT,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.MISSED,
    )
    history = PostgresHistory(pool)

    async def recorded() -> bool:
        try:
            await history.record([missed])
        except UnavailableError:
            await history.record([missed])
            return False
        return True

    assert (await race.run(recorded()))[1] is False
    assert (await history.get(UID)).status is ExecutionStatus.MISSED


async def test_a_key_that_is_taken_anew_while_it_expires_is_kept(pool: AsyncEngine, database_url: str) -> None:
    """A request takes over the expired key at that moment; if it were deleted, the request would be executed twice."""
    keys = PostgresIdempotency(pool)
    assert (await keys.reserve("alice", "k", b"1", SLOT - timedelta(days=9))).mine
    async with await psycopg.AsyncConnection.connect(database_url) as taker:
        await taker.execute("UPDATE idempotency_keys SET reserved_at = %(now)s, expires_at = %(now)s", {"now": NOW})
        expiring = asyncio.create_task(Maintenance(pool, lambda: SLOT, 0).run())
        with psycopg.connect(database_url, autocommit=True) as watcher:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'transactionid' AND query LIKE 'DELETE%'"
            await eventually(lambda: watcher.execute(waiting).fetchone() is not None)
        await taker.commit()
    assert (await expiring).deleted == {}
    assert not (await keys.reserve("alice", "k", b"1", SLOT)).mine
