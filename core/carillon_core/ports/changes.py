"""What has changed since an earlier look: executions in the database, tasks in the cluster. The API streams it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus

MOST_CHANGES = 5_000
"""How many changed executions one look returns: more than runners and operator write in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionChange:
    """An execution that was recorded or has changed, as it is now, without result, messages and pods."""

    id: UUID
    namespace: str
    task: str
    slot: datetime
    cause: Cause
    status: ExecutionStatus
    reason: str | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExecutionChanges:
    """What one look has found."""

    items: Sequence[ExecutionChange]
    """Each execution once, in the order of the transactions that changed them."""
    position: str
    """Where the next look continues."""
    complete: bool
    """False if other executions may have changed, too: read the lists again."""


class ChangedExecutions(Protocol):
    """Finds executions that have changed lately."""

    async def since(self, position: str | None, namespaces: tuple[str, ...] = ()) -> ExecutionChanges:
        """Return the executions that have changed since a position, each change once, however late it was committed.

        The work is bounded: of more than ``MOST_CHANGES``, some are returned, and the result is not complete.

        Args:
            position: That of an earlier look; None returns no executions and the current position.
            namespaces: Only executions in these namespaces; empty means any.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChange:
    """A ScheduledTask that was created, deleted, or has changed in its spec, its metadata or its status."""

    namespace: str
    name: str
    uid: str
    generation: int
    """Increases with each change of the spec."""
    resource_version: str
    deleted: bool


class TaskWatch(Protocol):
    """Follows the tasks of a namespace, or of all."""

    async def begin(self) -> None:
        """Take the current position in the cluster's changes; earlier ones are not yielded.

        Raises:
            OwnAccountError: Our account may not list tasks.

        """
        ...

    def changes(self) -> AsyncGenerator[TaskChange | None]:
        """Yield changes from the position on, until the API server ends the connection; call it again to continue.

        None comes first, when the connection is established.

        Raises:
            ExpiredError: The position is too old: begin again; changes may have been missed.
            OwnAccountError: Our account may not watch tasks.

        """
        ...


class ChangedTasks(Protocol):
    """Opens watches of tasks."""

    def watch(self, namespace: str | None) -> TaskWatch:
        """Return a watch of a namespace, or of all, that has not begun."""
        ...
