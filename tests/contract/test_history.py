"""The contract of ``HistoryRecorder``: recorded rows come back. Both adapters are tested, one on a real Postgres."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

from carillon_core.adapters.postgres.history import BATCH
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.errors import NotFoundError
from support.history_adapters import (
    REPORT,
    REQUEST,
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


ROWS = {
    "a skipped slot": skipped(0),
    "a missed slot that stands for several": skipped(1, status=ExecutionStatus.MISSED, reason="Superseded"),
    "a running execution": running(2),
    "a success with a result": skipped(
        3,
        status=ExecutionStatus.SUCCEEDED,
        reason=None,
        message=None,
        started_at=T0,
        result={"sum": 3, "parts": [1, 2.5, None, {"ü": True}]},
    ),
    "a failure with an error": skipped(4, status=ExecutionStatus.FAILED, error="exit code 1", started_at=T0),
    "a request's run of the task": skipped(4, cause=Cause.MANUAL, origin=REQUEST),
    "a repetition": skipped(4, cause=Cause.MANUAL, origin=REQUEST, retry_of=UUID(int=8)),
    "a row that stands for a run of slots": skipped(60, first_slot=T0, status=ExecutionStatus.MISSED),
    "a row that stands for one slot": skipped(5, first_slot=T0 + timedelta(minutes=5)),
    "a slot to the microsecond": skipped(5, slot=T0 + timedelta(microseconds=123_456)),
    "a slot before 1970": skipped(6, slot=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_a_row_comes_back_as_it_was_recorded(history: History, row: ExecutionRecord) -> None:
    """A row is found by its id and in a listing."""
    await history.record([row])
    assert await history.get(row.id) == row
    assert await everything(history) == [row]


async def test_times_come_back_in_utc(history: History) -> None:
    """Times in other zones are converted to UTC."""
    await history.record([skipped(0, slot=T0.astimezone(timezone(timedelta(hours=5))))])
    stored = (await everything(history))[0]
    assert stored.slot == T0
    assert stored.slot.utcoffset() == timedelta(0)
    assert stored.created_at is not None
    assert stored.created_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("status", [ExecutionStatus.SKIPPED, ExecutionStatus.MISSED])
async def test_a_slot_that_never_ran_ends_when_it_is_recorded(history: History, status: ExecutionStatus) -> None:
    """A skipped or missed row without times gets the time of its recording."""
    before = datetime.now(UTC)
    row = skipped(0, status=status, created_at=None, finished_at=None)
    await history.record([row])
    stored = await history.get(row.id)
    assert stored.finished_at is not None
    assert before <= stored.finished_at <= datetime.now(UTC)
    assert stored.created_at == stored.finished_at


async def test_attempts_come_with_their_execution_and_not_in_a_listing(history: History) -> None:
    """Attempts come in order; if a number occurs twice, the first one is kept."""
    row = running(0, attempts=(attempt(1), attempt(2, status_code=500, response_time_ms=0.25), running_attempt(3)))
    other = skipped(1, attempts=(attempt(1, status=ExecutionStatus.SUCCEEDED, reason=None, error=None),))
    await history.record([replace(row, attempts=(*reversed(row.attempts), attempt(1, reason="later"))), other])
    assert await history.get(row.id) == row
    assert await history.get(other.id) == other
    bare = replace(row, attempts=())
    assert await everything(history) == [replace(other, attempts=()), bare]
    assert await history.open_executions() == [bare]


async def test_attempts_that_come_later_are_added_to_an_open_execution_alone(history: History) -> None:
    """New attempts are added only to the open execution itself, and recorded attempts stay unchanged."""
    opened, ended = running(0, attempts=(attempt(1),)), skipped(1)
    await history.record([opened, ended])
    late = (attempt(1, reason="later"), attempt(2))
    foreign = skipped(0, id=uuid4(), attempts=late)
    await history.record([replace(opened, attempts=late), replace(ended, attempts=late), foreign])
    assert (await history.get(opened.id)).attempts == (attempt(1), attempt(2))
    assert (await history.get(ended.id)).attempts == ()
    with pytest.raises(NotFoundError):
        await history.get(foreign.id)


async def test_attempts_of_another_namespace_are_not_added(history: History) -> None:
    """A row of one namespace is not changed on the word of another's, whatever id that has."""
    opened = running(0, attempts=(attempt(1),))
    await history.record([opened])
    await history.record([replace(opened, namespace="intruder", attempts=(attempt(2),))])
    assert (await history.get(opened.id)).attempts == (attempt(1),)


async def test_an_attempt_that_does_not_say_when_it_ended_ended_with_its_execution(history: History) -> None:
    """An attempt without times, whose pod never started, ends with its execution."""
    row = skipped(0, status=ExecutionStatus.FAILED, attempts=(attempt(1, started_at=None, finished_at=None),))
    await history.record([row])
    assert (await history.get(row.id)).attempts == (attempt(1, started_at=None, finished_at=row.finished_at),)


DUPLICATES: dict[str, Callable[[ExecutionRecord], ExecutionRecord]] = {
    "the same id": lambda row: replace(row, message="later", task_uid=REPORT),
    "the same origin, slot and cause": lambda row: replace(row, message="later", id=uuid4()),
    "the same origin, named": lambda row: replace(row, message="later", id=uuid4(), origin=row.task_uid),
    "the very same row": lambda row: row,
}


@pytest.mark.parametrize("again", DUPLICATES.values(), ids=DUPLICATES.keys())
async def test_a_duplicate_is_ignored(history: History, again: Callable[[ExecutionRecord], ExecutionRecord]) -> None:
    """The first row stays unchanged, and new rows in the same batch are recorded."""
    row, other = skipped(0), skipped(9)
    await history.record([row])
    await history.record([again(row), other])
    await history.record([again(other), again(other)])
    assert await everything(history) == [other, row]


async def test_requests_for_one_task_and_time_are_two(history: History) -> None:
    """Each request is its own origin, and one request is recorded once, even with another task."""
    mine, theirs = (skipped(0, cause=Cause.MANUAL, origin=uid, id=uuid4()) for uid in (REQUEST, str(UUID(int=9))))
    await history.record([mine, theirs])
    await history.record([replace(mine, id=uuid4(), task_uid=REPORT)])
    assert {row.id for row in await everything(history)} == {mine.id, theirs.id}


async def test_more_rows_than_one_batch(history: History) -> None:
    """Any number of rows can be recorded and closed, including none."""
    rows = [running(minute) for minute in range(2 * BATCH + 1)]
    await history.record(rows)
    await history.record([])
    assert await history.close([]) == []
    assert len(await history.open_executions()) == len(rows)
    assert set(await history.close([lost(row) for row in rows])) == {row.id for row in rows}
    assert await history.open_executions() == []


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"task_uid": "nonsense"}, id="a task uid that is no UUID"),
        pytest.param({"status": ExecutionStatus.RUNNING, "finished_at": None}, id="running without a start"),
        pytest.param({"status": ExecutionStatus.RUNNING, "started_at": T0}, id="running with an end"),
        pytest.param({"origin": "nonsense"}, id="an origin that is no UUID"),
        pytest.param({"first_slot": T0 + timedelta(seconds=1)}, id="slots that end before the first"),
        pytest.param({"attempts": (attempt(0),)}, id="an attempt before the first"),
        pytest.param({"attempts": (running_attempt(1),)}, id="an attempt that runs in an execution that has ended"),
    ],
)
async def test_a_row_that_makes_no_sense_is_refused(history: History, bad: dict[str, Any]) -> None:
    """An invalid row raises an error, and none of the batch is recorded."""
    with pytest.raises(ValueError, match=r"UUID|start|slot|attempt"):
        await history.record([skipped(1), skipped(0, **bad)])
    assert await everything(history) == []


async def test_an_unknown_execution_is_not_found(history: History) -> None:
    """The error names the id."""
    uid = uuid4()
    with pytest.raises(NotFoundError, match=str(uid)):
        await history.get(uid)


async def test_text_that_postgres_refuses_is_cleaned(history: History) -> None:
    """NUL bytes and lone surrogates in a pod's message are replaced, so that the row can be written."""
    dirty = "out\0 of\ud800 memory"
    words = running_attempt(1), attempt(2, reason="O\0OM", error=dirty, pod_name="p\0")
    row = running(0, pod_name="p\0", attempts=words, result={"k\0": [dirty, float("nan"), 1.5]})
    await history.record([row])
    await history.close([replace(lost(row), reason="O\0OM", message=dirty)])
    stored = await history.get(row.id)
    assert (stored.reason, stored.message, stored.error) == ("OOM", "out of? memory", "out of? memory")
    assert stored.pod_name == "p"
    tried = [(a.reason, a.error, a.pod_name) for a in stored.attempts]
    assert tried == [("OOM", "out of? memory", "backup-1-x"), ("OOM", "out of? memory", "p")]
    assert stored.result == {"k": ["out of? memory", None, 1.5]}


async def test_a_reason_that_no_index_holds_is_cut(history: History) -> None:
    """A tenant may write a status; one row that Postgres refuses must not hold the others up."""
    endless = "".join(str(uuid4()) for _ in range(400))
    await history.record([skipped(0, reason=endless), row := running(1)])
    await history.close([replace(lost(row), reason=endless)])
    assert [(await history.get(each.id)).reason for each in (skipped(0), row)] == [endless[:256]] * 2


async def test_ping_returns_when_all_is_well(history: History) -> None:
    """A ping records nothing."""
    await history.ping()
    assert await everything(history) == []
