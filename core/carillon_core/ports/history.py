"""The history of executions: recorded by the operator, read by the API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Closing, ExecutionRecord


class HistoryRecorder(Protocol):
    """The operator's side of the history."""

    async def record(self, rows: Sequence[ExecutionRecord]) -> None:
        """Insert rows with their attempts; one whose id, or origin, slot and cause, is there already is left as it is.

        An id has one slot, being made of it (``execution_id``): no row of another slot is compared. An attempt of a row
        that was there is added if the row is open and has none of that number.

        Raises:
            ValueError: A row makes no sense; nothing was recorded.

        """
        ...

    async def close(self, closings: Sequence[Closing]) -> Sequence[UUID]:
        """End executions that are still open; return the ids of those that were.

        An attempt that still runs ends as its execution does: same status, reason, message and time. A closing whose
        row does not exist changes nothing.
        """
        ...

    async def open_executions(self) -> Sequence[ExecutionRecord]:
        """Return the rows that are not in a terminal state, oldest first, without their attempts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery:
    """Which executions to list; None means any. Newest slot first."""

    namespace: str | None = None
    namespaces: tuple[str, ...] = ()
    """Only those of these namespaces; empty means of any."""
    task: str | None = None
    status: ExecutionStatus | None = None
    cause: Cause | None = None
    reason: str | None = None
    """The gate that stopped it, or the class of its failure: ``http_5xx``, ``PodLost``."""
    since: datetime | None = None
    """Only slots at or after this."""
    until: datetime | None = None
    """Only slots before this."""
    retry_of: UUID | None = None
    """Only those that repeat this execution."""
    dead_letters: bool = False
    """Only those that failed or timed out, and that nobody has repeated: a repetition that was skipped or missed is
    none, nor is what another namespace says of itself."""
    limit: int = 50
    """1 to 500."""
    cursor: str | None = None
    """``next_cursor`` of the page before."""


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """A page of executions, and the cursor of the next one if there is one."""

    items: Sequence[ExecutionRecord]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySummary:
    """What happened lately, counted; and the state of the history itself."""

    since: datetime
    """Executions with a slot at or after this are counted."""
    by_status: Mapping[ExecutionStatus, int]
    running: int
    """All that run, whenever their slot was."""
    dead_letters: int
    """Dead letters with a slot at or after ``since``."""
    maintained_at: datetime | None
    """When the maintenance of the history last succeeded; None if it never did."""
    maintenance_error: str | None
    """Why the last try failed, if it did."""
    partitions: int
    """How many months the history holds."""


class HistoryReader(Protocol):
    """The facade's side of the history."""

    async def get(self, uid: UUID) -> ExecutionRecord:
        """Return an execution with its attempts, or raise ``NotFoundError``."""
        ...

    async def list(self, query: ExecutionQuery) -> ExecutionPage:
        """Return a page of executions by keyset on (slot, id), newest first, without their attempts.

        Raises:
            InvalidResourceError: If the cursor is none of ours.

        """
        ...

    async def summary(self, since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        """Count executions, of some namespaces or, if there are none, of all."""
        ...

    async def ping(self) -> None:
        """Return if the database answers and its schema is current; raise ``UnavailableError`` if not."""
        ...
