"""What has changed, in memory: executions of a history and tasks of a store; for tests."""

import asyncio
from collections.abc import AsyncGenerator
from uuid import UUID

from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.errors import CarillonError
from carillon_core.ports import MOST_CHANGES, ExecutionChange, ExecutionChanges, JSONObject, TaskChange


class MemoryChangedExecutions:
    """``ChangedExecutions`` over a history; a position is the number of changes until then.

    Attributes:
        looks: How many looks there were.
        most: How many executions one look returns.

    """

    def __init__(self, history: MemoryHistory, most: int = MOST_CHANGES) -> None:
        """Take the history."""
        self.looks = 0
        self._history = history
        self.most = most
        self._known: dict[UUID, ExecutionRecord] = {}
        self._changed: list[UUID] = []

    async def since(self, position: str | None, namespaces: tuple[str, ...] = ()) -> ExecutionChanges:
        """Return the executions that have changed since a position."""
        self.looks += 1
        await self._history.ping()
        rows = self._history.rows
        self._changed += [uid for uid, row in rows.items() if self._known.get(uid) != row]
        self._known = dict(rows)
        now = str(len(self._changed))
        if position is None:
            return ExecutionChanges([], now, complete=True)
        changed = dict.fromkeys(self._changed[int(position) :])
        found = [rows[uid] for uid in changed if not namespaces or rows[uid].namespace in namespaces]
        return ExecutionChanges([_change(row) for row in found[: self.most]], now, len(found) <= self.most)


def _change(row: ExecutionRecord) -> ExecutionChange:
    return ExecutionChange(
        id=row.id,
        namespace=row.namespace,
        task=row.task,
        slot=row.slot,
        cause=row.cause,
        status=row.status,
        reason=row.reason,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


class MemoryChangedTasks:
    """``ChangedTasks`` over a store.

    Attributes:
        watches: The watches that were opened.

    """

    def __init__(self, tasks: MemoryObjectStore) -> None:
        """Take the store."""
        self.watches: list[MemoryTaskWatch] = []
        self._tasks = tasks
        tasks.on_change(self._tell)

    def watch(self, namespace: str | None) -> "MemoryTaskWatch":
        """Return a watch of a namespace, or of all."""
        self.watches.append(MemoryTaskWatch(self._tasks, namespace))
        return self.watches[-1]

    def fail(self, error: CarillonError) -> None:
        """Make each watch fail after the changes until now."""
        for watch in self.watches:
            watch.put(error)

    def _tell(self, item: JSONObject, deleted: bool) -> None:  # noqa: FBT001  # as the store calls it
        meta = item["metadata"]
        change = TaskChange(
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            generation=meta["generation"],
            resource_version=meta["resourceVersion"],
            deleted=deleted,
        )
        for watch in self.watches:
            watch.put(change)


class MemoryTaskWatch:
    """``TaskWatch`` over a queue."""

    def __init__(self, tasks: MemoryObjectStore, namespace: str | None) -> None:
        """Take the namespace; None means all."""
        self._tasks = tasks
        self._namespace = namespace
        self._changes: asyncio.Queue[TaskChange | CarillonError] = asyncio.Queue()

    async def begin(self) -> None:
        """Forget earlier changes."""
        await self._tasks.ping()
        self._changes = asyncio.Queue()

    async def changes(self) -> AsyncGenerator[TaskChange | None]:
        """Yield changes until the watch fails."""
        await self._tasks.ping()
        yield None
        while True:
            change = await self._changes.get()
            if isinstance(change, CarillonError):
                raise change
            if self._namespace in {None, change.namespace}:
                yield change

    def put(self, change: TaskChange | CarillonError) -> None:
        """Yield a change, or raise an error."""
        self._changes.put_nowait(change)
