"""The contract of ``HistoryRecorder``: open executions and their closing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.contract import ExecutionStatus
from support.history_adapters import (
    BACKUP,
    REPORT,
    T0,
    History,
    attempt,
    everything,
    history,
    lost,
    running,
    running_attempt,
    skipped,
)

__all__ = ["history"]


async def test_close_ends_the_attempt_that_runs(history: History) -> None:
    """The running attempt ends like its execution; ended attempts and other executions stay unchanged."""
    ghost, other = (running(minute, attempts=(attempt(1), running_attempt(2))) for minute in (0, 1))
    await history.record([ghost, other])
    assert await history.close([lost(ghost)]) == [ghost.id]
    end = T0 + timedelta(minutes=5)
    lost_attempt = replace(running_attempt(2), status=ExecutionStatus.FAILED, reason="Evicted", finished_at=end)
    want = (attempt(1), replace(lost_attempt, error="its pod was evicted"))
    assert (await history.get(ghost.id)).attempts == want
    assert await history.get(other.id) == other


async def test_close_ends_only_what_is_open(history: History) -> None:
    """A closed execution and an unknown id are left alone."""
    ghost, done = running(0), skipped(1, status=ExecutionStatus.SUCCEEDED)
    await history.record([ghost, done])
    closed = await history.close([lost(ghost), lost(done), lost(skipped(2))])
    assert closed == [ghost.id]
    assert await history.get(done.id) == done
    assert await history.get(ghost.id) == replace(
        ghost,
        status=ExecutionStatus.FAILED,
        reason="Evicted",
        message="its pod was evicted",
        error="its pod was evicted",
        finished_at=T0 + timedelta(minutes=5),
    )
    assert len(await everything(history)) == 2


async def test_close_names_the_pod_of_an_execution_that_has_none(history: History) -> None:
    """A container's row is written before its pod exists; the pod that a runner wrote stays."""
    bare, named = running(0, pod_name=None), running(1)
    await history.record([bare, named])
    await history.close([replace(lost(row), pod_name="p2") for row in (bare, named)])
    assert [(await history.get(row.id)).pod_name for row in (bare, named)] == ["p2", named.pod_name]


async def test_close_says_why_a_runner_was_terminated(history: History) -> None:
    """The runner closed the row first; what it recorded with another reason, or as another status, stays."""
    rows = [
        skipped(minute, status=status, reason=reason)
        for minute, (status, reason) in enumerate(
            [
                (ExecutionStatus.CANCELLED, "Terminated"),
                (ExecutionStatus.CANCELLED, "Replaced"),
                (ExecutionStatus.SUCCEEDED, None),
            ]
        )
    ]
    silent = skipped(3, status=ExecutionStatus.CANCELLED, reason="Terminated")
    await history.record([*rows, silent])
    why: dict[str, Any] = {"status": ExecutionStatus.CANCELLED, "reason": "JobDeleted", "message": "cancelled by ann"}
    closings = [replace(lost(row), **why, explains=True) for row in rows]
    assert await history.close([*closings, replace(lost(silent), **why)]) == []
    explained: dict[str, Any] = {"reason": "JobDeleted", "message": "cancelled by ann", "error": "cancelled by ann"}
    assert await history.get(rows[0].id) == replace(rows[0], **explained)
    for row in (*rows[1:], silent):
        assert await history.get(row.id) == row


async def test_close_ends_nothing_before_it_began(history: History) -> None:
    """Pod times are truncated to seconds; an end before the start becomes the start."""
    began = T0 + timedelta(milliseconds=700)
    row = replace(running(0, attempts=(replace(running_attempt(1), started_at=began),)), started_at=began)
    await history.record([row])
    await history.close([replace(lost(row), finished_at=T0)])
    ended = await history.get(row.id)
    assert (ended.finished_at, ended.attempts[0].finished_at) == (began, began)


async def test_close_twice_changes_nothing_the_second_time(history: History) -> None:
    """The first closing wins, in one call and across calls."""
    row = running(0)
    await history.record([row])
    later = replace(lost(row), status=ExecutionStatus.TIMED_OUT)
    assert await history.close([lost(row), later]) == [row.id]
    assert await history.close([later]) == []
    assert (await history.get(row.id)).status is ExecutionStatus.FAILED


async def test_close_to_an_open_status_is_refused(history: History) -> None:
    """A closing with the status running raises an error."""
    with pytest.raises(ValueError, match="cannot be closed as running"):
        await history.close([replace(lost(running(0)), status=ExecutionStatus.RUNNING)])


async def test_open_executions_come_oldest_first(history: History) -> None:
    """Open executions are sorted by slot, and closed ones are left out."""
    rows = [running(minute, uid) for minute in (5, 2, 0, 7, 1) for uid in (REPORT, BACKUP)]
    await history.record([*rows, skipped(3)])
    assert await history.open_executions() == sorted(rows, key=lambda row: (row.slot, row.id))
