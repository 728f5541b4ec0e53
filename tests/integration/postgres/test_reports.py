"""The plans of the reports: every statement reads its range, or the newest part of it, from an index."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Select, create_engine

from carillon_core.adapters.postgres import engine
from carillon_core.adapters.postgres.listing import IN_ORDER
from carillon_core.adapters.postgres.reports.statements import (
    buckets_statement,
    marks_statement,
    means_statement,
    statistics_statement,
)
from carillon_core.ports import ReportQuery

ROWS = 50_000
FILL = """
INSERT INTO executions
    (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at, finished_at)
SELECT gen_random_uuid(), md5((n %% 100)::text)::uuid, md5((n %% 100)::text)::uuid, 'team-' || n %% 10,
       'task-' || n %% 100, 'sleep', %s::timestamptz - n * interval '30 seconds', 'schedule', 'succeeded', now(), now()
FROM generate_series(1, 50000) AS n
"""
"""An execution of each of 100 tasks in 10 namespaces every 50 minutes, for 17 days."""
NOW = datetime.now(UTC)
WEEK = ReportQuery(since=NOW - timedelta(days=7), until=NOW)
OF_A_WEEK = 7 * 24 * 120
SLACK = 10
"""Rows at the edges of a range."""
OF_TASK = {"namespace": "team-7", "task": "task-7"}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """Connect to a database with 50,000 executions, as the reports do."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(FILL, [NOW])
        admin.execute("VACUUM ANALYZE executions")
    own = create_engine(engine.sqlalchemy_url(database_url))
    with own.connect() as connected:
        connected.exec_driver_sql(IN_ORDER)
        yield connected
    own.dispose()


def scans(connection: Connection, statement: Select[Any]) -> list[dict[str, Any]]:
    """Run a statement, and return the scans in its plan that read rows."""
    compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}"
    left = [connection.exec_driver_sql(explain, compiled.params).scalar_one()[0]["Plan"]]
    found = []
    while left:
        node = left.pop()
        left += node.get("Plans", [])
        if "Scan" in node["Node Type"] and "Relation Name" in node and node["Actual Rows"]:
            found.append(node)
    return found


def query(**scope: Any) -> ReportQuery:
    """Return the query of a week."""
    return ReportQuery(since=WEEK.since, until=WEEK.until, **scope)


CASES: dict[str, tuple[Callable[[ReportQuery], Select[Any]], ReportQuery, int]] = {
    "the statistics of a task": (statistics_statement, query(**OF_TASK), OF_A_WEEK // 100),
    "the latest of a task": (lambda q: marks_statement(q, 30), query(**OF_TASK), 30),
    # rows that are stored in the order of their slots may be read with those of other namespaces
    "the marks of a namespace": (lambda q: marks_statement(q, 200), query(namespace="team-7"), 200 * 10),
    "the marks of all": (lambda q: marks_statement(q, 200), query(), 200),
    "the buckets of a namespace": (lambda q: buckets_statement(q, 3600), query(namespace="team-7"), OF_A_WEEK // 10),
    "the buckets of all": (lambda q: buckets_statement(q, 3600), query(), OF_A_WEEK),
    "the means of one served namespace": (means_statement, query(namespaces=("team-7",)), OF_A_WEEK),
    "the means of all": (means_statement, query(), 20_000),
}


def test_every_report_reads_its_range_from_an_index(connection: Connection) -> None:
    """And stops at its limit, or at the end of the range."""
    wrong = {}
    for case, (statement, wanted, most) in CASES.items():
        read = scans(connection, statement(wanted))
        kinds = {node["Node Type"] for node in read}
        rows = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read)
        if not read or not kinds <= {"Index Scan", "Index Only Scan"} or rows > most + SLACK:
            wrong[case] = [(node["Node Type"], node.get("Index Name"), rows) for node in read]
    assert not wrong, wrong


def test_buckets_are_counted_within_the_index(connection: Connection) -> None:
    """The table's own rows, which may be large, are not read."""
    read = scans(connection, buckets_statement(query(namespace="team-7"), 3600))
    assert {node["Node Type"] for node in read} == {"Index Only Scan"}
