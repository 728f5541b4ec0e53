"""The history in memory, for tests; it meets the same contract as the one in Postgres."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from carillon_core.adapters.history_rows import (
    check_limit,
    decode_cursor,
    encode_cursor,
    storable_closing,
    storable_record,
)
from carillon_core.contract import OPEN_STATUSES, REASON_TERMINATED, UNLAUNCHED_STATUSES, ExecutionStatus
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord, earliest_repeat
from carillon_core.errors import NotFoundError, UnavailableError
from carillon_core.ports import ExecutionPage, ExecutionQuery, HistorySummary


class MemoryHistory:
    """``HistoryRecorder`` and ``HistoryReader`` over a dictionary.

    Attributes:
        rows: The executions by id, as stored.
        outage: While it is set, every call raises ``UnavailableError`` with it.

    """

    def __init__(self) -> None:
        """Begin with no executions."""
        self.rows: dict[UUID, ExecutionRecord] = {}
        self.outage: str | None = None

    async def record(self, rows: Sequence[ExecutionRecord]) -> None:
        """Insert rows with their attempts; existing rows stay unchanged.

        An attempt of an existing row is added if the row is open and has no attempt of that number.
        """
        self._check_outage()
        now = datetime.now(UTC)
        taken = {_key(row) for row in self.rows.values()}
        for row in [storable_record(r, now) for r in rows]:
            there = self.rows.get(row.id)
            if there is None and _key(row) not in taken:
                self.rows[row.id] = row
                taken.add(_key(row))
            elif there is not None and there.namespace == row.namespace and there.status in OPEN_STATUSES:
                both = {attempt.number: attempt for attempt in (*row.attempts, *there.attempts)}
                self.rows[row.id] = replace(there, attempts=tuple(both[number] for number in sorted(both)))

    async def close(self, closings: Sequence[Closing]) -> Sequence[UUID]:
        """End executions that are still open, and their open attempts; return the ids of those that were."""
        self._check_outage()
        closed = []
        for closing in [storable_closing(c) for c in closings]:
            row = self.rows.get(closing.id)
            if row is not None and row.namespace == closing.namespace and row.status in OPEN_STATUSES:
                self.rows[row.id] = replace(
                    row,
                    status=closing.status,
                    reason=closing.reason,
                    message=closing.message,
                    error=None if closing.status is ExecutionStatus.SUCCEEDED else closing.message,
                    finished_at=max(closing.finished_at, row.started_at or closing.finished_at),
                    result=row.result if closing.result is None else closing.result,
                    pod_name=row.pod_name or closing.pod_name,
                    attempts=tuple(_ended(attempt, closing) for attempt in row.attempts),
                )
                closed.append(row.id)
            elif row is not None and row.namespace == closing.namespace and _explained(row, closing):
                self.rows[row.id] = replace(row, reason=closing.reason, message=closing.message, error=closing.message)
        return closed

    async def open_executions(self) -> Sequence[ExecutionRecord]:
        """Return the rows that are not in a terminal state, oldest slot first."""
        self._check_outage()
        return sorted((_listed(r) for r in self.rows.values() if r.status in OPEN_STATUSES), key=_order)

    async def get(self, uid: UUID) -> ExecutionRecord:
        """Return an execution, or raise ``NotFoundError``."""
        self._check_outage()
        row = self.rows.get(uid)
        if row is None:
            raise NotFoundError(f"execution {uid} not found")
        return row

    async def list(self, query: ExecutionQuery) -> ExecutionPage:
        """Return a page of executions, newest first."""
        self._check_outage()
        check_limit(query)
        rows: Iterable[ExecutionRecord] = sorted(self.rows.values(), key=_order, reverse=True)
        if query.cursor is not None:
            after = decode_cursor(query.cursor)
            rows = [r for r in rows if _order(r) < after]
        page = [r for r in rows if _matches(r, query)]
        if query.dead_letters:
            repeated = self._repeated()
            page = [r for r in page if _is_dead_letter(r, repeated)]
        more = len(page) > query.limit
        page = page[: query.limit]
        page = [_listed(r) for r in page]
        return ExecutionPage(page, encode_cursor(*_order(page[-1])) if more else None)

    async def summary(self, since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        """Count executions of some namespaces or of all; in memory there are no months and no maintenance."""
        self._check_outage()
        mine = [r for r in self.rows.values() if not namespaces or r.namespace in namespaces]
        lately = [r for r in mine if r.slot >= since]
        repeated = self._repeated()
        return HistorySummary(
            since=since,
            by_status=Counter(r.status for r in lately),
            running=sum(r.status in OPEN_STATUSES for r in mine),
            dead_letters=sum(_is_dead_letter(r, repeated) for r in lately),
            maintained_at=None,
            maintenance_error=None,
            partitions=0,
            unpartitioned=0,
        )

    async def ping(self) -> None:
        """Return, unless there is an outage."""
        self._check_outage()

    def _repeated(self) -> Mapping[tuple[str, UUID | None], datetime]:
        """Return the latest slot of the retries of an execution, by its namespace and id."""
        ran = sorted((row for row in self.rows.values() if row.status not in UNLAUNCHED_STATUSES), key=_order)
        return {(row.namespace, row.retry_of): row.slot for row in ran}

    def _check_outage(self) -> None:
        if self.outage is not None:
            raise UnavailableError("database", self.outage)


def _key(row: ExecutionRecord) -> tuple[str, datetime, str]:
    return row.origin or row.task_uid, row.slot, row.cause


def _listed(row: ExecutionRecord) -> ExecutionRecord:
    return replace(row, attempts=())


def _ended(attempt: Attempt, closing: Closing) -> Attempt:
    if attempt.status not in OPEN_STATUSES:
        return attempt
    return replace(
        attempt,
        status=closing.status,
        reason=closing.reason,
        error=closing.message,
        finished_at=max(closing.finished_at, attempt.started_at or closing.finished_at),
    )


def _order(row: ExecutionRecord) -> tuple[datetime, UUID]:
    return row.slot, row.id


def _is_dead_letter(row: ExecutionRecord, repeated: Mapping[tuple[str, UUID | None], datetime]) -> bool:
    has_failed = row.status in {ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT}
    last = repeated.get((row.namespace, row.id))
    return has_failed and (last is None or last < earliest_repeat(row.slot))


def _matches(row: ExecutionRecord, query: ExecutionQuery) -> bool:
    return (
        query.namespace in {None, row.namespace}
        and (not query.namespaces or row.namespace in query.namespaces)
        and query.task in {None, row.task}
        and query.status in {None, row.status}
        and query.cause in {None, row.cause}
        and query.reason in {None, row.reason}
        and query.retry_of in {None, row.retry_of}
        and (query.since is None or row.slot >= query.since)
        and (query.until is None or row.slot < query.until)
    )


def _explained(row: ExecutionRecord, closing: Closing) -> bool:
    """Return whether a closing says why a row that its runner closed was terminated."""
    return closing.explains and (row.status, row.reason) == (ExecutionStatus.CANCELLED, REASON_TERMINATED)
