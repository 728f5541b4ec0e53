"""Changes of executions on a real Postgres: the order of commits, restored rows, and how much is read."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from carillon_core.adapters.postgres import migrate
from carillon_core.adapters.postgres.changes import PostgresChangedExecutions
from carillon_core.adapters.postgres.changes.reader import CHANGED
from carillon_core.adapters.postgres.engine import create_engine
from carillon_core.adapters.postgres.listing import IN_ORDER
from carillon_core.adapters.postgres.maintenance import maintain
from carillon_core.adapters.postgres.months import Month

INSERT = b"""
INSERT INTO executions (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at)
VALUES (%(id)s, %(id)s, %(id)s, 'team-a', 'task', 'sum', %(slot)s, 'schedule', 'running', now())
"""
INSERT_AS = INSERT.replace(b"started_at)", b"started_at, changed)").replace(b"now())", b"now(), %(changed)s::xid8)")
EARLIEST = "1:1:"
"""The snapshot that shows nothing."""


@pytest.fixture
async def changed(database_url: str) -> AsyncIterator[PostgresChangedExecutions]:
    """Give the reader."""
    made = PostgresChangedExecutions.from_url(database_url)
    yield made
    await made.aclose()


def row(number: int, **more: Any) -> dict[str, Any]:
    """Return the parameters of ``INSERT``."""
    return {"id": UUID(int=number), "slot": datetime.now(UTC), **more}


async def found(changed: PostgresChangedExecutions, position: str) -> tuple[list[int], str]:
    """Return the numbers of the changed rows, and the next position."""
    changes = await changed.since(position)
    assert changes.complete
    return [change.id.int for change in changes.items], changes.position


async def test_a_late_commit_is_found_once(database_url: str, changed: PostgresChangedExecutions) -> None:
    """A transaction that began first and is committed last is neither missed nor reported twice, nor are others."""
    start = (await changed.since(None)).position
    with psycopg.connect(database_url) as slow, psycopg.connect(database_url, autocommit=True) as fast:
        slow.execute(INSERT, row(1))
        fast.execute(INSERT, row(2))
        first, position = await found(changed, start)
        fast.execute(INSERT, row(3))
        second, position = await found(changed, position)
        slow.commit()
        third, position = await found(changed, position)
        slow.execute(INSERT, row(4))
        slow.rollback()
    last, _ = await found(changed, position)
    assert (first, second, third, last) == ([2], [3], [1], [])


async def test_every_write_counts(database_url: str, changed: PostgresChangedExecutions) -> None:
    """A statement of anybody's is noticed, in the months that the maintenance makes later, too."""
    await maintain(database_url, lambda: datetime.now(UTC) + timedelta(days=200), 0)
    later = datetime.now(UTC) + timedelta(days=200)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(INSERT, row(1))
        admin.execute(INSERT, row(2, slot=later))
        for number in (1, 2):
            position = (await changed.since(None)).position
            admin.execute("UPDATE executions SET pod_name = 'x' WHERE id = %s", [UUID(int=number)])
            assert (await found(changed, position))[0] == [number]


UNINDEXED = b"""
SELECT part.inhrelid::regclass::text FROM pg_inherits AS part
WHERE part.inhparent = 'executions'::regclass AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_inherits AS own ON own.inhrelid = indexrelid
    WHERE indrelid = part.inhrelid AND indisvalid AND own.inhparent = 'executions_by_change'::regclass)
"""
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'executions_by_change'::regclass"


@pytest.mark.parametrize("interrupted", [False, True])
async def test_an_upgrade_reads_no_rows_and_the_maintenance_adds_the_index(
    database_url: str, *, interrupted: bool
) -> None:
    """The migration locks the table alone; the maintenance builds what is missing, after an interruption, too."""
    migrate.downgrade(database_url, "0008")
    full = f"executions_{Month.of(datetime.now(UTC)).suffix}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(INSERT, row(1))
        migrate.upgrade(database_url)
        assert admin.execute(UNINDEXED).fetchall() == [(full,)]
        if interrupted:
            admin.execute("SET lock_timeout = '50ms'")
            with psycopg.connect(database_url) as slow:
                slow.execute(INSERT, row(2))
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    admin.execute(f"CREATE INDEX CONCURRENTLY {full}_changed_idx ON {full} (changed)".encode())
        # a month that is made meanwhile has its own
        await maintain(database_url, lambda: datetime.now(UTC) + timedelta(days=200), 0)
        assert admin.execute(UNINDEXED).fetchall() == []
        assert admin.execute(VALID).fetchone() == (True,)


async def test_rows_of_before_are_no_changes(database_url: str, changed: PostgresChangedExecutions) -> None:
    """Neither those of an earlier version nor those that were restored from another server's dump."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(INSERT_AS, row(1, changed=None))
        admin.execute(INSERT_AS, row(2, changed="999999999999"))
        admin.execute(INSERT, row(3))
    assert (await found(changed, EARLIEST))[0] == [3]


async def test_a_database_that_has_lost_transactions(changed: PostgresChangedExecutions) -> None:
    """After a fail-over to a replica that was behind, the result is not complete: their numbers are used again."""
    ahead = await changed.since("999999999999:999999999999:")
    assert not ahead.complete
    assert (await changed.since(ahead.position)).complete


async def test_a_look_reads_what_has_changed(database_url: str) -> None:
    """With many rows and no statistics of them, it reads the index of the change alone."""
    fill = b"""
    INSERT INTO executions (id, task_uid, origin, namespace, task, task_type, slot, cause, status, finished_at)
    SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'team-a', 'task', 'sum',
           now() - n * interval '1 minute', 'schedule', 'skipped', now()
    FROM generate_series(1, 20000) AS n
    """
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(fill)
        position = admin.execute("SELECT pg_current_snapshot()::text").fetchone()
        admin.execute(INSERT, row(1))
    assert position is not None
    values = {"after": position[0], "edge": datetime.now(UTC) - timedelta(days=62), "namespaces": [], "most": 5001}
    engine = create_engine(database_url)
    async with engine.connect() as connection:
        await connection.exec_driver_sql(IN_ORDER.removeprefix("BEGIN; "))
        compiled = CHANGED.compile(connection.sync_connection)
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}"
        plan = (await connection.exec_driver_sql(explain, values)).scalar_one()[0]
    await engine.dispose()
    top: dict[str, Any] = plan["Plan"]
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 100, json.dumps(top)
