"""Read the database with the caller's permissions: executions, the audit, and counts. The routes call it."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC
from uuid import UUID

from pydantic_core import to_json

from carillon_api.http.cursors import bound, unbound
from carillon_api.http.paging import rows_of
from carillon_api.observability.metrics import numbers_of
from carillon_api.schemas import ExecutionFilters, ExecutionList, SummaryView, TaskExecutionsQuery, WindowView
from carillon_api.schemas.audit import AuditEventsQuery, AuditEventView, AuditList
from carillon_api.services.context import Context
from carillon_api.views.executions import execution_view
from carillon_core.contract import ExecutionStatus
from carillon_core.domain.access.subjects import RESOURCE_AUDIT
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.errors import ForbiddenError, NotFoundError
from carillon_core.ports import AuditEvent, AuditQuery, ExecutionQuery, HistorySummary

FIRST_EXECUTIONS = 50
"""With a body of 100 KiB in each they are five megabytes."""
FIRST_EVENTS = 10
"""With two large specs in each they are as many."""


async def readable(ctx: Context, uid: UUID) -> ExecutionRecord:
    """Return an execution that the caller may read.

    Raises:
        NotFoundError: It does not exist, or the caller may not read it. The message is the same, because 403 would
            tell the caller that it exists.

    """
    try:
        record = await ctx.executions.get(uid)
        await ctx.authorize("get", namespace=record.namespace)
    except (NotFoundError, ForbiddenError) as error:
        raise NotFoundError(f"execution {uid} not found, or you may not read it") from error
    return record


async def execution_page(
    ctx: Context, query: TaskExecutionsQuery, namespace: str | None, task: str | None
) -> ExecutionList:
    """Return a page of the executions that the caller may list, newest slot first.

    Args:
        ctx: The caller's.
        query: Filters, limit and cursor.
        namespace: Only of this namespace; None means all.
        task: Only of this task; None means all.

    Raises:
        ForbiddenError: The caller may not list executions there.
        InvalidResourceError: If the cursor belongs to another list.

    """
    await ctx.authorize("list", namespace=namespace)
    wanted = wanted_executions(query, namespace, task)

    async def fetch(limit: int, cursor: str | None) -> tuple[Sequence[ExecutionRecord], str | None]:
        page = await ctx.executions.list(replace(wanted, limit=limit, cursor=cursor))
        return page.items, page.next_cursor

    start = unbound(query, query.cursor, namespace=namespace, task=task)
    rows, cursor = await rows_of(fetch, query.limit, start, lambda row: len(to_json(row.result)), FIRST_EXECUTIONS)
    return ExecutionList(
        items=[execution_view(row) for row in rows], next_cursor=bound(cursor, query, namespace=namespace, task=task)
    )


def wanted_executions(filters: ExecutionFilters, namespace: str | None, task: str | None) -> ExecutionQuery:
    """Return the query of the history for a caller's filters; of a namespace or of all, and of a task or of all."""
    return ExecutionQuery(
        namespace=namespace,
        task=task,
        status=filters.status,
        cause=filters.cause,
        reason=filters.reason,
        since=filters.since,
        until=filters.until,
        retry_of=filters.retry_of,
        dead_letters=filters.dead_letters,
    )


async def audit_page(ctx: Context, query: AuditEventsQuery) -> AuditList:
    """Return a page of the audit's events, newest first.

    Raises:
        ForbiddenError: The caller may not list the audit there.

    """
    await ctx.authorize("list", RESOURCE_AUDIT, query.namespace)
    wanted = AuditQuery(
        namespace=query.namespace,
        resource=query.resource,
        name=query.name,
        subject=query.subject,
        since=query.since and query.since.astimezone(UTC),
        until=query.until and query.until.astimezone(UTC),
    )

    async def fetch(limit: int, cursor: str | None) -> tuple[Sequence[AuditEvent], str | None]:
        page = await ctx.backends.audit.log.list(replace(wanted, limit=limit, cursor=cursor))
        return page.items, page.next_cursor

    rows, cursor = await rows_of(
        fetch, query.limit, query.cursor, lambda row: len(to_json(row.before)) + len(to_json(row.after)), FIRST_EVENTS
    )
    return AuditList(items=[AuditEventView(**asdict(row)) for row in rows], next_cursor=cursor)


async def summary(ctx: Context, namespace: str | None) -> SummaryView:
    """Return how many executions there are of each status, of a namespace or of all.

    Raises:
        ForbiddenError: The caller may not list executions there.

    """
    await ctx.authorize("list", namespace=namespace)
    numbers = await numbers_of(ctx.executions, ctx.clock(), namespace)
    latest = numbers.latest
    return SummaryView(
        namespace=namespace,
        running=latest.running,
        hour=_window(numbers.windows["hour"]),
        day=_window(numbers.windows["day"]),
        partitions=latest.partitions,
        maintained_at=latest.maintained_at,
        maintenance_failing=latest.maintenance_error is not None,
    )


def _window(summary: HistorySummary) -> WindowView:
    counts = {status.word: summary.by_status.get(status, 0) for status in ExecutionStatus}
    return WindowView(since=summary.since, executions=counts, dead_letters=summary.dead_letters)
