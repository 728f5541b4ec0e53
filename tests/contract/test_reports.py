"""The contract of ``HistoryReports``: counts, percentiles, marks, buckets and mean durations."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.reports import MemoryReports
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.reports import PostgresReports
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.ports import HistoryReports, Percentiles, ReportQuery
from support.history_adapters import REPORT, REQUEST, T0, History, running, skipped

HOUR = ReportQuery(since=T0, until=T0 + timedelta(hours=1), namespace="default", task="backup")
SUCCEEDED, FAILED, SKIPPED = ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED, ExecutionStatus.SKIPPED


@dataclass(frozen=True)
class Store:
    """A history and its reports."""

    history: History
    reports: HistoryReports


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Provide each pair of adapters in turn, empty."""
    if request.param == "memory":
        memory = MemoryHistory()
        yield Store(memory, MemoryReports(memory))
        return
    url = request.getfixturevalue("database_url")
    history, reports = PostgresHistory.from_url(url), PostgresReports.from_url(url)
    yield Store(history, reports)
    await reports.aclose()
    await history.aclose()


def ran(minute: int, seconds: float, latency: float = 1, **changes: Any) -> ExecutionRecord:
    """Return the record of an execution that took ``seconds`` and began ``latency`` seconds after its slot."""
    row = skipped(minute, **{"status": SUCCEEDED, "reason": None, "message": None, **changes})
    started = row.slot + timedelta(seconds=latency)
    return replace(row, started_at=started, finished_at=started + timedelta(seconds=seconds))


async def test_counts_and_percentiles(store: Store) -> None:
    """Percentiles are interpolated; what never started or has not ended has no duration."""
    await store.history.record(
        [
            *(ran(minute, seconds=minute, latency=0.5 * minute) for minute in range(1, 5)),
            ran(5, seconds=20, latency=10, status=FAILED),
            # a minute late, but not counted: a request has no scheduled time
            ran(6, seconds=5, latency=60, cause=Cause.MANUAL, origin=REQUEST),
            skipped(7),
            running(8),
        ]
    )
    found = await store.reports.statistics(HOUR, 3)
    assert found.by_status == {SUCCEEDED: 5, FAILED: 1, SKIPPED: 1, ExecutionStatus.RUNNING: 1}
    # of 1, 2, 3, 4, 5, 20 and of 0.5, 1, 1.5, 2, 2, 10
    assert found.durations == Percentiles(3.5, 16.25, 19.25)
    assert found.latencies == Percentiles(1.75, 8.0, 9.6)
    assert found.complete
    assert [(mark.slot - T0) // timedelta(minutes=1) for mark in found.latest] == [8, 7, 6]
    assert [(mark.status, mark.reason) for mark in found.latest[:2]] == [
        (ExecutionStatus.RUNNING, None),
        (SKIPPED, "StillActive"),
    ]


async def test_a_start_before_the_slot_counts_as_punctual(store: Store) -> None:
    """The clock of a node may be behind."""
    await store.history.record([ran(1, seconds=1, latency=-2)])
    found = await store.reports.statistics(HOUR, 1)
    assert found.latencies == Percentiles(0, 0, 0)


async def test_an_empty_range_has_no_percentiles(store: Store) -> None:
    """Neither has one in which nothing ran."""
    found = await store.reports.statistics(HOUR, 3)
    assert (found.by_status, found.durations, found.latencies, found.latest) == ({}, None, None, [])
    await store.history.record([skipped(1)])
    found = await store.reports.statistics(HOUR, 3)
    assert (found.by_status, found.durations, found.latencies) == ({SKIPPED: 1}, None, None)


OTHERS = [
    ran(0, 1),
    ran(1, 2, task="report", task_uid=REPORT),
    ran(2, 4, namespace="prod", task_uid=str(UUID(int=3))),
    ran(61, 8),
    ran(60, 8),
]


@pytest.mark.parametrize(
    ("query", "want"),
    {
        "one task, the end excluded": (HOUR, [0]),
        "a namespace": (replace(HOUR, task=None), [1, 0]),
        "all namespaces": (replace(HOUR, task=None, namespace=None), [2, 1, 0]),
        "some namespaces": (replace(HOUR, task=None, namespace=None, namespaces=("prod", "absent")), [2]),
        "one of some namespaces": (replace(HOUR, task=None, namespace=None, namespaces=("default",)), [1, 0]),
        "a task in every namespace": (replace(HOUR, namespace=None), [2, 0]),
        "the beginning included": (replace(HOUR, since=OTHERS[3].slot, until=T0 + timedelta(hours=2)), [3]),
        "a quote in a name": (replace(HOUR, task="b'; DROP TABLE executions --"), []),
    }.values(),
)
async def test_a_report_covers_what_its_query_says(store: Store, query: ReportQuery, want: Sequence[int]) -> None:
    """All reports agree on it."""
    await store.history.record(OTHERS)
    assert [mark.id for mark in await store.reports.marks(query, 10)] == [OTHERS[n].id for n in want]
    assert (await store.reports.statistics(query, 10)).by_status == ({SUCCEEDED: len(want)} if want else {})
    assert sum(item.count for item in (await store.reports.buckets(query, 60)).items) == len(want)
    means = await store.reports.mean_seconds(query)
    assert means.keys() == {(OTHERS[n].namespace, OTHERS[n].task) for n in want}


async def test_marks_have_everything_that_a_chart_shows(store: Store) -> None:
    """Times are in UTC; a series has its first slot."""
    series = skipped(9, first_slot=T0 + timedelta(minutes=3))
    row = ran(20, 2)
    await store.history.record([row, series])
    newest, oldest = await store.reports.marks(HOUR, 10)
    assert (newest.id, newest.started_at, newest.finished_at) == (row.id, row.started_at, row.finished_at)
    assert (oldest.slot, oldest.first_slot, oldest.reason) == (series.slot, series.first_slot, "StillActive")
    assert [mark.id for mark in await store.reports.marks(HOUR, 1)] == [row.id]


async def test_buckets_begin_at_the_beginning_of_the_range(store: Store) -> None:
    """Buckets without executions are missing."""
    since = T0 + timedelta(seconds=30)
    await store.history.record([ran(0, 1), ran(1, 1), ran(2, 1, status=FAILED), ran(3, 1), ran(10, 1)])
    found = await store.reports.buckets(replace(HOUR, since=since), 120)
    assert found.complete
    assert [(item.bucket, item.status, item.count) for item in found.items] == [
        (0, FAILED, 1),
        (0, SUCCEEDED, 1),
        (1, SUCCEEDED, 1),
        (4, SUCCEEDED, 1),
    ]


async def test_mean_durations(store: Store) -> None:
    """Of all that has started and ended, successful or not."""
    await store.history.record([ran(1, 2), ran(2, 4, status=FAILED), skipped(3), running(4)])
    assert await store.reports.mean_seconds(HOUR) == {("default", "backup"): 3.0}
