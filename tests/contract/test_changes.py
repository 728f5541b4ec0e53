"""The contract of ``ChangedExecutions``: each change is found once. Both adapters are tested, one on Postgres."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carillon_core.adapters.memory.changes import MemoryChangedExecutions
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.postgres.changes import PostgresChangedExecutions
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Closing, ExecutionRecord, execution_id
from carillon_core.errors import UnavailableError
from carillon_core.ports import ChangedExecutions, ExecutionChanges
from support.history_adapters import BACKUP, History, running, skipped

MOST = 3
NOW = datetime.now(UTC).replace(microsecond=0)
"""Executions of long ago are not looked for."""


@dataclass
class Watched:
    """A history, and what looks for changes in it."""

    history: History
    changed: ChangedExecutions

    async def since(self, position: str | None, *namespaces: str) -> ExecutionChanges:
        """Look for changes."""
        return await self.changed.since(position, namespaces)


@pytest.fixture(params=["memory", "postgres"])
async def watched(request: pytest.FixtureRequest) -> AsyncIterator[Watched]:
    """Provide each adapter in turn, with an empty history."""
    if request.param == "memory":
        memory = MemoryHistory()
        yield Watched(memory, MemoryChangedExecutions(memory, MOST))
        return
    url = request.getfixturevalue("database_url")
    history, changed = PostgresHistory.from_url(url), PostgresChangedExecutions.from_url(url, most=MOST)
    yield Watched(history, changed)
    await changed.aclose()
    await history.aclose()


def lately(minute: int, **changes: Any) -> dict[str, Any]:
    """Return the fields of a slot, ``minute`` minutes ago."""
    slot = NOW - timedelta(minutes=minute)
    return {"slot": slot, "id": execution_id(BACKUP, slot, Cause.SCHEDULE), **changes}


def ended(record: ExecutionRecord) -> Closing:
    """Return the closing of an execution that has failed."""
    return Closing(
        id=record.id,
        namespace=record.namespace,
        slot=record.slot,
        status=ExecutionStatus.FAILED,
        reason="Evicted",
        message="its pod was evicted",
        finished_at=NOW,
    )


async def test_the_first_look_finds_nothing(watched: Watched) -> None:
    """It returns where the next one begins: what was recorded before is not a change."""
    await watched.history.record([skipped(1, **lately(1))])
    first = await watched.since(None)
    assert (first.items, first.complete) == ([], True)
    assert (await watched.since(first.position)).items == []


async def test_a_recorded_execution_is_found_once_and_again_when_it_ends(watched: Watched) -> None:
    """With what a row of a list shows; looks in between find nothing."""
    row = running(1, **lately(1), started_at=NOW - timedelta(seconds=30))
    start = await watched.since(None)
    await watched.history.record([row])
    begun = await watched.since(start.position)
    (change,) = begun.items
    assert (change.id, change.namespace, change.task, change.slot) == (row.id, "default", "backup", row.slot)
    assert (change.cause, change.status, change.reason) == (Cause.SCHEDULE, ExecutionStatus.RUNNING, None)
    assert (change.started_at, change.finished_at) == (row.started_at, None)
    quiet = await watched.since(begun.position)
    assert quiet.items == []
    await watched.history.close([ended(row)])
    (change,) = (await watched.since(quiet.position)).items
    assert (change.status, change.reason, change.finished_at) == (ExecutionStatus.FAILED, "Evicted", NOW)
    # who looks less often finds the execution once, as it is now
    (both,) = (await watched.since(start.position)).items
    assert both == change


async def test_only_in_the_namespaces_that_are_asked_for(watched: Watched) -> None:
    """Other releases may share the database."""
    start = await watched.since(None)
    await watched.history.record([skipped(n, **lately(n), namespace=name) for n, name in enumerate("abc")])
    found = await watched.since(start.position, "a", "c")
    assert sorted(change.namespace for change in found.items) == ["a", "c"]
    assert (await watched.since(start.position, "d")).items == []


async def test_more_than_there_may_be(watched: Watched) -> None:
    """The result says that it is not complete, and the next look goes on from there."""
    start = await watched.since(None)
    await watched.history.record([skipped(n, **lately(n)) for n in range(MOST)])
    assert (await watched.since(start.position)).complete
    await watched.history.record([skipped(MOST, **lately(MOST))])
    found = await watched.since(start.position)
    assert (len(found.items), found.complete) == (MOST, False)
    after = await watched.since(found.position)
    assert (after.items, after.complete) == ([], True)


async def test_an_outage(request: pytest.FixtureRequest) -> None:
    """It is raised as such, as by every port."""
    memory = MemoryHistory()
    memory.outage = "gone"
    postgres = PostgresChangedExecutions.from_url(request.getfixturevalue("empty_database_url"))
    for changed in (MemoryChangedExecutions(memory), postgres):
        with pytest.raises(UnavailableError):
            await changed.since(None if changed is not postgres else "1:1:")
    await postgres.aclose()
