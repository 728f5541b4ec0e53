"""The contract of ``ChangedTasks``. Both adapters are tested, one on a real API server."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.watch import KubeChangedTasks, KubeTaskWatch, Pace
from carillon_core.adapters.memory.changes import MemoryChangedTasks, MemoryTaskWatch
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.errors import ExpiredError
from carillon_core.ports import TaskChange
from support.store_adapters import Given, given

__all__ = ["given"]

Watch = KubeTaskWatch | MemoryTaskWatch


@pytest.fixture
def watch(given: Given, request: pytest.FixtureRequest) -> Callable[[str | None], Watch]:
    """Return what opens watches."""
    if isinstance(given.store, MemoryObjectStore):
        return MemoryChangedTasks(given.store).watch
    return KubeChangedTasks(request.getfixturevalue("connection")).watch


async def changes_of(watch: Watch, namespace: str, number: int) -> list[TaskChange]:
    """Return this many changes in a namespace."""
    found: list[TaskChange] = []
    async with asyncio.timeout(20):
        changes: AsyncIterator[TaskChange | None] = watch.changes()
        while len(found) < number:
            change = await anext(changes)
            if change is not None and change.namespace == namespace:
                found.append(change)
    return found


@pytest.mark.parametrize("everywhere", [False, True])
async def test_changes_since_the_beginning(
    given: Given, watch: Callable[[str | None], Watch], *, everywhere: bool
) -> None:
    """Of the spec, of the status and deletions, in order; tasks that were there before are not changes."""
    await given.create("before")
    opened = watch(None if everywhere else given.namespace)
    await opened.begin()
    created = await given.create("late")
    changed = await given.store.patch(given.namespace, "late", {"spec": {"intervalSeconds": 5}})
    await given.store.delete(given.namespace, "late")
    found = await changes_of(opened, given.namespace, 3)
    assert [(change.name, change.generation, change.deleted) for change in found] == [
        ("late", 1, False),
        ("late", 2, False),
        ("late", 2, True),
    ]
    assert {change.uid for change in found} == {created["metadata"]["uid"]}
    versions = [made["metadata"]["resourceVersion"] for made in (created, changed)]
    assert [change.resource_version for change in found[:2]] == versions


async def test_a_watch_goes_on_where_it_ended(given: Given, watch: Callable[[str | None], Watch]) -> None:
    """What happens while it is not connected comes when it is again; None says that it is."""
    opened = watch(given.namespace)
    await opened.begin()
    await given.create("one")
    assert [change.name for change in await changes_of(opened, given.namespace, 1)] == ["one"]
    await given.create("two")
    changes = opened.changes()
    assert await anext(changes) is None
    change = await anext(changes)
    assert change is not None
    assert change.name == "two"
    await changes.aclose()


async def test_the_server_ends_a_watch(connection: KubeConnection, namespace: str) -> None:
    """In order, after some seconds, so that the reader knows that it is still connected."""
    opened = KubeChangedTasks(connection, Pace(server=1, idle=10)).watch(namespace)
    await opened.begin()
    assert [change async for change in opened.changes()] == [None]


async def test_a_position_that_is_too_old(connection: KubeConnection, namespace: str) -> None:
    """It is an error of its own: the reader has to begin again."""
    opened = KubeChangedTasks(connection).watch(namespace)
    opened.version = "1"
    with pytest.raises(ExpiredError):
        _ = [change async for change in opened.changes()]
