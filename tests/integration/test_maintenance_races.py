"""Who writes in the very moment in which the maintenance makes a month, or deletes what has expired."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from carillon_core.adapters.postgres import engine, maintenance
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.maintenance import Changes, Maintenance
from carillon_core.adapters.postgres.runner_keys import PostgresRunnerKeys
from carillon_core.contract import ExecutionStatus
from carillon_core.domain.execution import Closing
from support.runner import TOKEN_KEY
from support.waiting import eventually

NOW = datetime(2031, 3, 15, 12, tzinfo=UTC)
"""Years after the partitions that the migration makes: every month is the maintenance's to make."""
SLOT = datetime(2031, 2, 15, 12, tzinfo=UTC)
"""In the month that is made first, which is the one at which the maintenance is held up."""
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
    """Call a runner's function of the execution on a connection of its own."""
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
    """A maintenance that is held up in the middle of making a month, and a writer that comes then."""

    def __init__(self, pool: AsyncEngine, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have the maintenance wait for locks for long enough."""
        self._pool = pool
        self._url = url
        # the maintenance waits until the writer has come, rather than give up and try again
        monkeypatch.setattr(maintenance, "LOCK_SECONDS", 30)

    async def run(self, writer: Any) -> tuple[Changes, Any]:
        """Let the maintenance begin, then the writer, and both end; return what they say."""
        with psycopg.connect(self._url) as blocker, psycopg.connect(self._url, autocommit=True) as watcher:
            # conflicts with whatever changes the table, and with nobody who writes rows
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
    """A statement that was planned before the move, and executed after it, would look where the row is no more."""
    assert await called(database_url, CLAIM)
    changes, told = await race.run(called(database_url, statement))
    assert (changes.moved, told) == (1, want)


async def test_the_operator_closes_a_row_while_it_is_moved(race: Race, pool: AsyncEngine, database_url: str) -> None:
    """As a runner does."""
    assert await called(database_url, CLAIM)
    end = Closing(
        id=UID,
        namespace="shop",
        task="report",
        status=ExecutionStatus.FAILED,
        reason="Evicted",
        message="gone",
        finished_at=NOW,
    )
    changes, closed = await race.run(PostgresHistory(pool).close([end]))
    assert (changes.moved, closed) == (1, [UID])
