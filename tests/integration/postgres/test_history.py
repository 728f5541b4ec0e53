"""The parts of the history that only Postgres has: cascades, locks, query plans, deeply nested results."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest

from carillon_api.views.executions import execution_view
from carillon_core.adapters.decoding import DEEPEST
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord
from carillon_core.ports import ExecutionQuery
from support.postgres_history import history
from support.waiting import eventually

__all__ = ["history"]


async def test_a_deleted_execution_takes_its_attempts_along(database_url: str, history: PostgresHistory) -> None:
    """Deleting an execution deletes its attempts."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    row = ExecutionRecord(
        id=UUID(int=5),
        task_uid=str(UUID(int=1)),
        namespace="shop",
        task="report",
        task_type="sum",
        slot=began,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.RUNNING,
        started_at=began,
        attempts=(Attempt(number=1, status=ExecutionStatus.RUNNING, started_at=began),),
    )
    await history.record([row])
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM executions")
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (0,)


async def test_an_attempt_that_begins_while_its_execution_is_closed_is_ended_with_it(
    database_url: str, history: PostgresHistory
) -> None:
    """The closing waits for the runner's row lock and then also ends the new attempt."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    uid = UUID(int=5)
    with psycopg.connect(database_url) as runner, psycopg.connect(database_url, autocommit=True) as watcher:
        runner.execute(
            "INSERT INTO executions (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at)"
            " VALUES (%(id)s, %(id)s, %(id)s, 'n', 't', 'http', %(slot)s, 'schedule', 'running', now())",
            {"id": uid, "slot": began},
        )
        runner.commit()
        runner.execute("SELECT 1 FROM executions FOR UPDATE")
        attempt = "INSERT INTO attempts (execution_id, slot, number, status) VALUES (%s, %s, 2, 'running')"
        runner.execute(attempt, [uid, began])
        closing = Closing(
            id=uid,
            namespace="n",
            slot=began,
            status=ExecutionStatus.FAILED,
            reason="Evicted",
            message="m",
            finished_at=began,
        )
        closed = asyncio.create_task(history.close([closing]))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        await eventually(lambda: watcher.execute(waiting).fetchone() is not None)
        runner.commit()
        assert await closed == [uid]
    assert [attempt.reason for attempt in (await history.get(uid)).attempts] == ["Evicted"]


FILL = """
INSERT INTO executions
    (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at, finished_at)
SELECT gen_random_uuid(), uuid_in(md5((n % 200)::text)::cstring), uuid_in(md5((n % 200)::text)::cstring),
       'ns-' || n % 100, 'task-' || n % 200, 'sleep',
       timestamptz '2026-01-01Z' + n * interval '1 second', 'schedule',
       CASE WHEN n % 1000 = 0 THEN 'running' WHEN n % 50 = 0 THEN 'failed' ELSE 'succeeded' END,
       now(), CASE WHEN n % 1000 = 0 THEN NULL ELSE now() END
FROM generate_series(1, 50000) AS n ORDER BY md5(n::text)
"""


@pytest.fixture
def filled_url(database_url: str) -> str:
    """Provide a database with 50,000 executions."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("VACUUM ANALYZE executions")
    return database_url


async def test_the_order_of_open_executions_leans_on_no_index(filled_url: str) -> None:
    """Executions are sorted even if the planner uses no index."""
    history = PostgresHistory.from_url(
        f"{filled_url}?options=-c%20enable_indexscan%3Doff%20-c%20enable_bitmapscan%3Doff"
    )
    rows = await history.open_executions()
    await history.aclose()
    assert len(rows) == 50
    assert rows == sorted(rows, key=lambda row: (row.slot, row.id))


async def test_an_outage_in_memory_is_as_one_of_the_database() -> None:
    """The adapter in memory can simulate an outage with the same error."""
    history = MemoryHistory()
    history.outage = "it burns"
    changes = [history.ping(), history.record([]), history.close([])]
    calls = [*changes, history.open_executions(), history.get(UUID(int=1)), history.list(ExecutionQuery())]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert str(outcome) == "database is unavailable: it burns"


@pytest.mark.parametrize("levels", [150, 230, 900])
async def test_a_result_however_deep_keeps_nobody_from_reading(
    database_url: str, history: PostgresHistory, levels: int
) -> None:
    """A deeply nested result is cut at the greatest depth that can be shown."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    record = ExecutionRecord(
        id=UUID(int=5),
        task_uid=str(UUID(int=1)),
        namespace="shop",
        task="report",
        task_type="plugin",
        slot=began,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.SUCCEEDED,
        created_at=began,
        started_at=began,
        finished_at=began,
    )
    await history.record([record])
    deep = '{"a":' * levels + "1" + "}" * levels
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE executions SET result = %s::text::jsonb WHERE id = %s", (deep, record.id))
    (found,) = (await history.list(ExecutionQuery())).items
    assert found == await history.get(record.id)
    shown = execution_view(found).model_dump_json()
    assert shown.count('"a":') == min(levels, DEEPEST)
