"""The database's ports with a breaker: the API answers within seconds, whether or not the database does."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from carillon_core.adapters.breaker import Breaker
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.domain.why.revision import TaskRevision
from carillon_core.ports import (
    AuditAuthor,
    AuditEvent,
    AuditLog,
    AuditPage,
    AuditQuery,
    BucketCounts,
    ExecutionPage,
    ExecutionQuery,
    HistoryReader,
    HistoryReports,
    HistorySummary,
    IdempotencyStore,
    Mark,
    ReportQuery,
    Reservation,
    RevisionPage,
    RevisionQuery,
    Statistics,
    StoredAnswer,
    TaskPast,
)


class PromptHistory:
    """``HistoryReader`` behind a breaker."""

    def __init__(self, history: HistoryReader, breaker: Breaker) -> None:
        """Take the history; the caller closes it."""
        self._history = history
        self._breaker = breaker

    async def get(self, uid: UUID) -> ExecutionRecord:
        """Return an execution with its attempts, or raise ``NotFoundError``."""
        async with self._breaker.call():
            return await self._history.get(uid)

    async def list(self, query: ExecutionQuery) -> ExecutionPage:
        """Return a page of executions, newest first, without their attempts."""
        async with self._breaker.call():
            return await self._history.list(query)

    async def summary(self, since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        """Count the executions of some namespaces, or of all."""
        async with self._breaker.call():
            return await self._history.summary(since, namespaces)

    async def ping(self) -> None:
        """Return if the database answers and its schema is current; otherwise raise ``UnavailableError``."""
        async with self._breaker.call():
            await self._history.ping()


class PromptReports:
    """``HistoryReports`` behind a breaker."""

    def __init__(self, reports: HistoryReports, breaker: Breaker) -> None:
        """Take the reports; the caller closes them."""
        self._reports = reports
        self._breaker = breaker

    async def statistics(self, query: ReportQuery, latest: int) -> Statistics:
        """Return the figures of a range, and its newest executions."""
        async with self._breaker.call():
            return await self._reports.statistics(query, latest)

    async def marks(self, query: ReportQuery, limit: int) -> Sequence[Mark]:
        """Return the newest executions of a range, newest slot first."""
        async with self._breaker.call():
            return await self._reports.marks(query, limit)

    async def buckets(self, query: ReportQuery, seconds: int) -> BucketCounts:
        """Count the executions of a range in buckets."""
        async with self._breaker.call():
            return await self._reports.buckets(query, seconds)

    async def mean_seconds(self, query: ReportQuery) -> Mapping[tuple[str, str], float]:
        """Return the mean duration of each task."""
        async with self._breaker.call():
            return await self._reports.mean_seconds(query)


class PromptAudit:
    """``AuditLog`` behind a breaker."""

    def __init__(self, log: AuditLog, breaker: Breaker) -> None:
        """Take the log; the caller closes it."""
        self._log = log
        self._breaker = breaker

    async def write(self, events: Sequence[AuditEvent]) -> None:
        """Insert events; an event that exists is left unchanged."""
        async with self._breaker.call():
            await self._log.write(events)

    async def list(self, query: AuditQuery) -> AuditPage:
        """Return a page of events, newest first."""
        async with self._breaker.call():
            return await self._log.list(query)

    async def authors(self, query: AuditQuery) -> Sequence[AuditAuthor]:
        """Return who made the generations of the objects in a page, newest first."""
        async with self._breaker.call():
            return await self._log.authors(query)


class PromptPast:
    """``TaskPast`` behind a breaker."""

    def __init__(self, past: TaskPast, breaker: Breaker) -> None:
        """Take the past; the caller closes it."""
        self._past = past
        self._breaker = breaker

    async def revisions(self, query: RevisionQuery) -> RevisionPage:
        """Return a page of revisions, newest first."""
        async with self._breaker.call():
            return await self._past.revisions(query)

    async def rules(self, namespace: str, task: str) -> Sequence[TaskRevision]:
        """Return all revisions of the tasks with a name, newest first, without their specs."""
        async with self._breaker.call():
            return await self._past.rules(namespace, task)

    async def row_of(self, namespace: str, task: str, slot: datetime) -> ExecutionRecord | None:
        """Return the row of a slot, or the one that covers it."""
        async with self._breaker.call():
            return await self._past.row_of(namespace, task, slot)


class PromptIdempotency:
    """``IdempotencyStore`` behind a breaker."""

    def __init__(self, store: IdempotencyStore, breaker: Breaker) -> None:
        """Take the store; the caller closes it."""
        self._store = store
        self._breaker = breaker

    async def reserve(self, caller: str, key: str, fingerprint: bytes, now: datetime) -> Reservation:
        """Reserve a key for a request, or return the key's state."""
        async with self._breaker.call():
            return await self._store.reserve(caller, key, fingerprint, now)

    async def answer(self, caller: str, key: str, now: datetime) -> StoredAnswer | None:
        """Return the response that is stored under a key."""
        async with self._breaker.call():
            return await self._store.answer(caller, key, now)

    async def finish(self, caller: str, key: str, answer: StoredAnswer) -> None:
        """Store the response for repetitions."""
        async with self._breaker.call():
            await self._store.finish(caller, key, answer)

    async def release(self, caller: str, key: str) -> None:
        """Release a key with which nothing was done."""
        async with self._breaker.call():
            await self._store.release(caller, key)
