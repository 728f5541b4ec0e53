"""Both adapters of the history, and records to put into them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord, execution_id
from carillon_core.ports import ExecutionQuery, HistoryReader, HistoryRecorder

T0 = datetime(2026, 3, 1, tzinfo=UTC)
BACKUP = "11111111-1111-4111-8111-111111111111"
REPORT = "22222222-2222-4222-8222-222222222222"
REQUEST = "33333333-3333-4333-8333-333333333333"


class History(HistoryRecorder, HistoryReader, Protocol):
    """Both ports, which each adapter implements."""


@pytest.fixture(params=["memory", "postgres"])
async def history(request: pytest.FixtureRequest) -> AsyncIterator[History]:
    """Provide each adapter in turn, empty."""
    if request.param == "memory":
        yield MemoryHistory()
        return
    postgres = PostgresHistory.from_url(request.getfixturevalue("database_url"))
    yield postgres
    await postgres.aclose()


def skipped(minute: int, task_uid: str = BACKUP, **changes: Any) -> ExecutionRecord:
    """Return the record of a slot that was skipped, ``minute`` minutes after T0."""
    slot = T0 + timedelta(minutes=minute)
    record = ExecutionRecord(
        id=execution_id(task_uid, slot, Cause.SCHEDULE),
        task_uid=task_uid,
        namespace="default",
        task="backup",
        task_type="sleep",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.SKIPPED,
        reason="StillActive",
        message="an execution of the task is still active",
        created_at=slot + timedelta(seconds=1),
        finished_at=slot + timedelta(seconds=1),
    )
    return replace(record, **changes)


def running(minute: int, task_uid: str = BACKUP, **changes: Any) -> ExecutionRecord:
    """Return the record of a running execution."""
    began = T0 + timedelta(minutes=minute, seconds=2)
    fields: dict[str, Any] = {
        "status": ExecutionStatus.RUNNING,
        "reason": None,
        "message": None,
        "job_name": f"backup-{minute}",
        "pod_name": f"backup-{minute}-x",
        "started_at": began,
        "finished_at": None,
    }
    return skipped(minute, task_uid, **{**fields, **changes})


def attempt(number: int, **changes: Any) -> Attempt:
    """Return an attempt that failed within a second, ``number`` minutes after T0."""
    began = T0 + timedelta(minutes=number)
    failed = Attempt(
        number=number,
        status=ExecutionStatus.FAILED,
        reason="HTTP5xx",
        error="the server answered 500",
        pod_name="backup-1-x",
        started_at=began,
        finished_at=began + timedelta(seconds=1),
    )
    return replace(failed, **changes)


def running_attempt(number: int) -> Attempt:
    """Return a running attempt."""
    return attempt(number, status=ExecutionStatus.RUNNING, reason=None, error=None, finished_at=None)


def lost(record: ExecutionRecord) -> Closing:
    """Return the closing of an execution whose pod was evicted."""
    return Closing(
        id=record.id,
        namespace=record.namespace,
        slot=record.slot,
        status=ExecutionStatus.FAILED,
        reason="Evicted",
        message="its pod was evicted",
        finished_at=record.slot + timedelta(minutes=5),
    )


async def everything(history: History, query: ExecutionQuery | None = None) -> list[ExecutionRecord]:
    """Return all records that match a query, page by page."""
    rows: list[ExecutionRecord] = []
    page = await history.list(query or ExecutionQuery())
    rows.extend(page.items)
    while page.next_cursor:
        page = await history.list(replace(query or ExecutionQuery(), cursor=page.next_cursor))
        rows.extend(page.items)
    return rows
