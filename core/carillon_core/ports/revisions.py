"""The history of specs: recorded by the operator, read by the API together with the rows of single slots."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.why.revision import TaskRevision

RevisionId = tuple[str, int]
"""The uid of a task, and a generation."""
MOST_NEAR = 200
"""How many of a task's rows from a slot on are looked at for the one that covers the slot."""


class RevisionRecorder(Protocol):
    """The operator's side."""

    async def confirm(self, revisions: Collection[RevisionId], now: datetime) -> Collection[RevisionId]:
        """Note that tasks have these generations now; return those that are recorded."""
        ...

    async def record(self, revisions: Sequence[TaskRevision]) -> None:
        """Insert revisions; existing ones stay unchanged. Of one name's, only the newest ``MOST_REVISIONS`` are kept.

        Raises:
            ValueError: A task's uid is not a UUID; nothing was recorded.

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionQuery:
    """Which revisions to list. Newest first."""

    namespace: str
    task: str
    limit: int = 20
    """1 to 50."""
    cursor: str | None = None
    """``next_cursor`` of the previous page."""


@dataclass(frozen=True, slots=True)
class RevisionPage:
    """A page of revisions, and the cursor of the next one if there is one."""

    items: Sequence[TaskRevision]
    next_cursor: str | None


class TaskPast(Protocol):
    """The facade's side. The work of each call is bounded."""

    async def revisions(self, query: RevisionQuery) -> RevisionPage:
        """Return a page of the revisions of all tasks with a name.

        Raises:
            InvalidResourceError: The cursor or the limit is invalid.

        """
        ...

    async def rules(self, namespace: str, task: str) -> Sequence[TaskRevision]:
        """Return all revisions that are kept of the tasks with a name, newest first, without their specs."""
        ...

    async def row_of(self, namespace: str, task: str, slot: datetime) -> ExecutionRecord | None:
        """Return the row of a slot, or the one that covers it, without result and attempts; None if there is none.

        Only scheduled executions count, and only the ``MOST_NEAR`` rows from the slot on.
        """
        ...
