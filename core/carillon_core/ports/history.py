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
        """Insert rows with their attempts; existing rows (by id, or by origin, slot and cause) stay unchanged.

        An id is derived from its slot (``execution_id``), so rows of other slots are not compared. An attempt of an
        existing row is added if the row is open and has no attempt of that number.

        Raises:
            ValueError: A row is invalid; nothing was recorded.

        """
        ...

    async def close(self, closings: Sequence[Closing]) -> Sequence[UUID]:
        """Close executions that are still open; return the ids of those that were.

        A running attempt ends with its execution: same status, reason, message and time. A closing without a row has
        no effect.
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
    """Only executions in these namespaces; empty means any."""
    task: str | None = None
    status: ExecutionStatus | None = None
    cause: Cause | None = None
    reason: str | None = None
    """The gate that stopped it, or the class of its failure, such as ``HTTP5xx`` or ``PodLost``."""
    since: datetime | None = None
    """Only slots at or after this."""
    until: datetime | None = None
    """Only slots before this."""
    retry_of: UUID | None = None
    """Only retries of this execution."""
    dead_letters: bool = False
    """Only executions that failed or timed out and have not been retried. A retry that was skipped or missed does not
    count, nor does one in another namespace."""
    limit: int = 50
    """1 to 500."""
    cursor: str | None = None
    """``next_cursor`` of the previous page."""


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """A page of executions, and the cursor of the next one if there is one."""

    items: Sequence[ExecutionRecord]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySummary:
    """Counts of recent executions, and the state of the history itself."""

    since: datetime
    """Executions with a slot at or after this are counted."""
    by_status: Mapping[ExecutionStatus, int]
    running: int
    """All running executions, regardless of their slot."""
    dead_letters: int
    """Dead letters with a slot at or after ``since``."""
    maintained_at: datetime | None
    """When the maintenance of the history last succeeded; None if it never did."""
    maintenance_error: str | None
    """Why the last try failed, if it did."""
    partitions: int
    """The number of months in the history."""
    unpartitioned: int
    """Executions outside of these months, which the last maintenance left in the default partition."""


class HistoryReader(Protocol):
    """The facade's side of the history."""

    async def get(self, uid: UUID) -> ExecutionRecord:
        """Return an execution with its attempts, or raise ``NotFoundError``."""
        ...

    async def list(self, query: ExecutionQuery) -> ExecutionPage:
        """Return a page of executions by keyset on (slot, id), newest first, without their attempts.

        Raises:
            InvalidResourceError: The cursor is invalid.

        """
        ...

    async def summary(self, since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        """Count executions in these namespaces; empty means all."""
        ...

    async def ping(self) -> None:
        """Return if the database answers and its schema is current; raise ``UnavailableError`` if not."""
        ...
