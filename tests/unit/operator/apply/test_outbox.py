"""An entry that the history cannot take does not hold the others up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import pytest

from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.backoff import Backoff
from carillon_core.contract import ExecutionStatus
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.errors import UnavailableError
from carillon_operator.apply import outbox as module
from carillon_operator.apply.outbox import Outbox
from support.executions import row
from support.waiting import eventually


class HeldHistory(MemoryHistory):
    """A history in which the rows of one task are locked."""

    held = "held"

    async def record(self, rows: Sequence[ExecutionRecord]) -> None:
        if any(each.task == self.held for each in rows):
            raise UnavailableError("database", "canceling statement due to lock timeout")
        await super().record(rows)


@asynccontextmanager
async def running(history: MemoryHistory) -> AsyncIterator[Outbox]:
    """Give an outbox that writes until the block ends."""
    outbox = Outbox(history, lambda _entry: None)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(module, "RETRIES", Backoff(first=0.001, longest=0.01))


@pytest.mark.parametrize("place", [0, 3, 9])
async def test_a_row_that_somebody_holds_delays_no_other(place: int) -> None:
    """The others are written meanwhile, also those that come later; it is written as soon as it is free."""
    history = HeldHistory()
    entries = [row(minute, id=uuid4(), task=history.held if minute == place else "free") for minute in range(10)]
    later = row(30, id=uuid4(), task="free")
    async with running(history) as outbox:
        outbox.put(entries)
        await eventually(lambda: _all_but(history, entries, place), 10)
        outbox.put([later])
        await eventually(lambda: _there(history, later.id), 10)
        assert outbox.waits(entries[place].id)
        history.held = "nobody"
        await asyncio.wait_for(outbox.drained(), 10)
    assert entries[place].id in history.rows


async def test_entries_of_an_execution_that_are_put_off_keep_their_order() -> None:
    """The row is inserted before it is closed; otherwise it would stay open."""
    history = HeldHistory()
    held = row(0, id=uuid4(), task=history.held, status=ExecutionStatus.RUNNING, finished_at=None)
    end = Closing(
        id=held.id,
        namespace=held.namespace,
        slot=held.slot,
        status=ExecutionStatus.FAILED,
        reason="JobDeleted",
        message="",
        finished_at=held.slot,
    )
    others = [row(minute, id=uuid4(), task="free") for minute in range(1, 4)]
    async with running(history) as outbox:
        outbox.put([held, end, *others])
        await eventually(lambda: _there(history, *(each.id for each in others)), 10)
        history.held = "nobody"
        await asyncio.wait_for(outbox.drained(), 10)
    assert history.rows[held.id].status is ExecutionStatus.FAILED


async def _all_but(history: MemoryHistory, entries: Sequence[ExecutionRecord], place: int) -> bool:
    return await _there(history, *(entry.id for number, entry in enumerate(entries) if number != place))


async def _there(history: MemoryHistory, *ids: UUID) -> bool:
    return set(ids) <= history.rows.keys()
