"""A million executions: every statement on the history reads a limited number of rows."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.sql import ClauseElement

from carillon_core.adapters.postgres import engine
from carillon_core.adapters.postgres.history import PostgresHistory, close_statement
from carillon_core.adapters.postgres.listing import (
    IN_ORDER,
    count_statement,
    dead_letters_statement,
    get_statements,
    list_statement,
    open_statement,
    running_statement,
    windows,
)
from carillon_core.adapters.postgres.maintenance import Maintenance
from carillon_core.adapters.postgres.months import Month
from carillon_core.adapters.postgres.tables import executions
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.ports import ExecutionQuery
from support.runner import Runners
from support.waiting import eventually

ROWS = 1_000_000
FIRST = datetime(2025, 10, 1, tzinfo=UTC)
MIDDLE = datetime(2026, 3, 15, tzinfo=UTC)
LAST_DAY = datetime(2026, 11, 27, tzinfo=UTC)
"""14 months from the first; 200 tasks in 20 namespaces, an execution every 36.5 seconds."""
FILL = """
INSERT INTO executions
    (id, task_uid, origin, namespace, task, task_type, slot, cause, status, reason, started_at, finished_at, retry_of)
SELECT md5('e' || n)::uuid, md5(task::text)::uuid, md5(task::text)::uuid, 'team-' || task % 20, 'task-' || task, 'http',
       timestamptz '2025-10-01Z' + n * interval '36.5 seconds',
       CASE WHEN dice % 250 = 3 THEN 'manual' ELSE 'schedule' END, status,
       CASE status WHEN 'failed' THEN (ARRAY['HTTP5xx', 'Timeout', 'DNS', 'PodLost'])[1 + dice / 1000 % 4]
                   WHEN 'timed_out' THEN 'Timeout' WHEN 'skipped' THEN 'StillActive' WHEN 'missed' THEN 'Superseded'
       END,
       CASE WHEN status NOT IN ('skipped', 'missed') THEN now() END, CASE WHEN status <> 'running' THEN now() END,
       -- of what is run by hand, half repeats an earlier execution
       CASE WHEN dice % 500 = 3 THEN md5('e' || n - 1 - dice % 7)::uuid END
FROM (
    SELECT n, task, dice,
           CASE WHEN n > 999950 THEN 'running'
                WHEN task = 13 THEN 'failed'  -- a task that has never succeeded
                WHEN dice % 1000 < 30 THEN 'failed' WHEN dice % 1000 < 60 THEN 'skipped'
                WHEN dice % 1000 < 62 THEN 'missed' WHEN dice % 1000 < 64 THEN 'timed_out'
                WHEN dice % 1000 < 65 THEN 'cancelled' ELSE 'succeeded' END AS status
    FROM (SELECT n, n * 7 % 200 AS task, hashint8(n) & 1048575 AS dice FROM generate_series(1, 1000000) AS n) AS rolled
) AS drawn
"""

SCOPES: tuple[dict[str, Any], ...] = (
    {},
    {"namespace": "team-7"},
    {"namespace": "team-13", "task": "task-13"},
    {"task": "task-7"},
)
REASONS = (None, "HTTP5xx", "NobodyKnows")
RANGE = {"since": datetime(2026, 3, 10, tzinfo=UTC), "until": datetime(2026, 3, 20, tzinfo=UTC)}
PLACES: tuple[tuple[dict[str, Any], tuple[datetime, UUID] | None], ...] = (
    ({}, None),
    ({}, (MIDDLE, UUID(int=7))),
    (RANGE, (MIDDLE, UUID(int=7))),
)
"""The first page, one in the middle of everything, and one in the middle of a range."""
PAGE = ExecutionQuery().limit + 1
MOST_ROWS = 5 * PAGE
MOST_BUFFERS = 1_000
"""Pages of 8 KiB; if nothing matches, an index is read completely within its range."""
MOST_BUFFERS_DEAD = 6_000
"""A dead letter is looked up in the small index of retries of every month."""


@pytest.fixture
async def filled_url(database_url: str) -> str:
    """Give a database with a million executions; the maintenance creates its months, the indexes follow the rows."""
    pool = engine.create_engine(database_url)
    for now in (datetime(2025, 11, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)):
        await Maintenance(pool, lambda now=now: now, 0).run()  # type: ignore[misc]  # the default binds the loop's variable
    await pool.dispose()
    own = create_engine(engine.sqlalchemy_url(database_url))
    with own.begin() as connection:
        for index in executions.indexes:
            index.drop(connection)
        connection.exec_driver_sql(FILL.replace("%", "%%"))
        for index in sorted(executions.indexes, key=lambda each: str(each.name)):
            index.create(connection)
    own.dispose()
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("VACUUM ANALYZE executions")
        assert admin.execute("SELECT count(*) FROM executions_default").fetchone() == (0,)
    return database_url


def explained(
    connection: Connection, statement: ClauseElement, values: Mapping[str, object] = MappingProxyType({})
) -> dict[str, Any]:
    """Run a statement with its parameters, and return its plan with the actual numbers."""
    compiled = statement.compile(connection)
    # with parameters, as in production: the planner may know less about them than about literals
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}"
    plan: dict[str, Any] = connection.exec_driver_sql(explain, {**compiled.params, **values}).scalar_one()[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's nodes."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def rows_read(plan: dict[str, Any]) -> float:
    """Return how many rows the plan's scans fetched, including those that a filter removed."""
    read: float = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(plan)
        if "Scan" in node["Node Type"]
    )
    return read


def buffers(plan: dict[str, Any]) -> int:
    """Return how many pages of 8 KiB the plan touched."""
    touched: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return touched


def breaches(plan: dict[str, Any], most_rows: float, most_buffers: int) -> list[str]:
    """Return the violations of a plan."""
    found = []
    for node in nodes(plan):
        if node["Node Type"] == "Seq Scan" and node["Actual Rows"] + node.get("Rows Removed by Filter", 0):
            found.append(f"reads all of {node['Relation Name']}")
        if "Sort" in node["Node Type"] and node["Plans"][0]["Actual Rows"] > PAGE:
            found.append(f"sorts {node['Plans'][0]['Actual Rows']} rows")
    if rows_read(plan) > most_rows:
        found.append(f"reads {rows_read(plan)} rows")
    if buffers(plan) > most_buffers:
        found.append(f"touches {buffers(plan)} pages")
    return found


def listings() -> Iterator[tuple[ExecutionQuery, tuple[datetime, UUID] | None]]:
    """Yield every combination of filters, with the first page and deep pages."""
    flags = product(SCOPES, (None, *ExecutionStatus), (None, *Cause), REASONS, (False, True), PLACES)
    for scope, status, cause, reason, dead, (times, after) in flags:
        yield ExecutionQuery(**scope, **times, status=status, cause=cause, reason=reason, dead_letters=dead), after
    for times, after in PLACES:
        yield ExecutionQuery(**times, retry_of=UUID(int=1)), after


def check_listings(connection: Connection) -> None:
    """Every listing reads at most some pages of rows, from indexes, and sorts nothing."""
    found: dict[str, Any] = {}
    for query, after in listings():
        most = MOST_BUFFERS_DEAD if query.dead_letters else MOST_BUFFERS
        for part in windows(query, after, LAST_DAY):
            plan = explained(connection, *list_statement(part, after))
            if wrong := breaches(plan, MOST_ROWS, most):
                found[f"{part}, after {after}"] = wrong
    assert not found, json.dumps(dict(list(found.items())[:10]), indent=1)


def check_getting(connection: Connection) -> None:
    """An execution is looked up by its id: a recent one in few months, an older one in the others."""
    for statement in get_statements(UUID(int=1), LAST_DAY):
        plan = explained(connection, statement)
        assert breaches(plan, 1, 100) == [], json.dumps(plan, indent=1)
    recent = [
        node.get("Relation Name", "") for node in nodes(explained(connection, get_statements(UUID(int=1), LAST_DAY)[0]))
    ]
    assert "executions_2026_11" in recent
    assert "executions_2026_05" not in recent


def check_counts(connection: Connection) -> None:
    """The counts of a day read the day's rows from an index; running executions have their own index."""
    day = ROWS / (14 * 30)
    for namespaces in ((), ("team-7",), ("team-7", "team-8")):
        for statement in (count_statement(LAST_DAY, namespaces), dead_letters_statement(LAST_DAY, namespaces)):
            plan = explained(connection, statement)
            assert breaches(plan, 1.5 * day, MOST_BUFFERS_DEAD) == [], json.dumps(plan, indent=1)
        plan = explained(connection, running_statement(namespaces))
        assert breaches(plan, 50, 100) == [], json.dumps(plan, indent=1)


def check_writing(connection: Connection) -> None:
    """Running executions are found without reading others; a closing looks up its rows in their month."""
    running = explained(connection, open_statement())
    assert breaches(running, 50, 200) == [], json.dumps(running, indent=1)
    found = connection.exec_driver_sql("SELECT id, slot FROM executions WHERE status = 'running' LIMIT 1").one()
    end = Closing(
        id=found.id,
        namespace="nowhere",
        slot=found.slot,
        status=ExecutionStatus.FAILED,
        reason="r",
        message="m",
        finished_at=MIDDLE,
    )
    plan = explained(connection, close_statement(Month.of(found.slot), [end, replace(end, id=uuid4())]))
    # it reads running executions in one plan, ids in the other: both are limited
    assert breaches(plan, 110, 400) == [], json.dumps(plan, indent=1)


def totals(url: str) -> tuple[int, int, int]:
    """Return how many rows of executions and attempts were read sequentially and by index, and how many inserted."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT sum(seq_tup_read), sum(coalesce(idx_tup_fetch, 0)), sum(n_tup_ins) FROM pg_stat_user_tables"
            " WHERE relname ~ '^(executions|attempts)_'"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


async def check_lives(url: str, runners: Runners) -> None:
    """A whole run of a runner, and an operator's record, look-up and closing, cause no sequential scans."""
    before = totals(url)
    assert runners.start({"counter": {"name": "million"}}).wait() == 0
    history = PostgresHistory.from_url(url)
    slot = datetime(2026, 5, 5, 5, 5, 5, tzinfo=UTC)
    record = ExecutionRecord(
        id=uuid4(),
        task_uid=str(uuid4()),
        namespace="n",
        task="t",
        task_type="sum",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.RUNNING,
        started_at=slot,
    )
    await history.record([record, record])
    assert (await history.get(record.id)).slot == slot
    end = Closing(
        id=record.id,
        namespace="n",
        slot=slot,
        status=ExecutionStatus.FAILED,
        reason="r",
        message="m",
        finished_at=slot,
    )
    assert await history.close([end]) == [record.id]
    await history.aclose()
    # a backend reports its statistics when it ends
    await eventually(lambda: totals(url)[2] >= before[2] + 3)
    after = totals(url)
    # there are only these few attempts, for which a sequential scan is fastest
    assert after[0] - before[0] <= 10, (before, after)
    assert after[1] - before[1] <= 10 * PAGE, (before, after)


async def test_every_statement_reads_a_bounded_part_of_a_million_rows(filled_url: str, runners: Runners) -> None:
    """Listings by every combination of filters, the summary, the operator's statements and a runner's."""
    own = create_engine(engine.sqlalchemy_url(filled_url))
    with own.connect() as connection:
        check_writing(connection)
        check_counts(connection)
        check_getting(connection)
        connection.rollback()
        connection.exec_driver_sql(IN_ORDER)
        check_listings(connection)
    own.dispose()
    await check_lives(filled_url, runners)
