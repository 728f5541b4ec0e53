"""Why a task ran, or did not, at a time; and the revisions of its spec. Read with the caller's permissions."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pydantic_core import to_json

from carillon_api.http.cursors import bound, unbound
from carillon_api.http.paging import rows_of
from carillon_api.schemas.reports.why import RevisionList, RevisionsQuery, Why
from carillon_api.services.context import Context
from carillon_api.views.reports.why import Authors, case_of, question, revision_view, since_of, why_view
from carillon_core.domain.access.subjects import RESOURCE_AUDIT
from carillon_core.domain.why.revision import TaskRevision
from carillon_core.errors import FieldProblem, ForbiddenError, InvalidResourceError, NotFoundError, TooMuchWorkError
from carillon_core.ports import AuditQuery, ExecutionQuery, JSONObject, RevisionQuery
from carillon_core.resources.names import PLURAL

MOST_EVENTS = 500
"""How many changes of a task are searched for the authors of its revisions."""
FIRST_REVISIONS = 20


async def why(ctx: Context, namespace: str, name: str, asked: datetime | None) -> Why:
    """Return what should have happened to a task at a time, and what did.

    Raises:
        ForbiddenError: The caller may not get the task, or not list executions there.
        InvalidResourceError: The time is too far ahead, or the task's spec takes too much work.
        NotFoundError: There is no such task, and nothing is kept of an earlier one.

    """
    raw = await _task(ctx, namespace, name)
    await ctx.authorize("list", namespace=namespace)
    kept = await ctx.past.rules(namespace, name)
    if raw is None and not kept:
        rows = await ctx.executions.list(ExecutionQuery(namespace=namespace, task=name, limit=1))
        if not rows.items:
            raise _not_found(name)
    computing = ctx.backends.computing.of(ctx.caller.subject)
    try:
        async with computing:
            case = await asyncio.to_thread(case_of, asked, ctx.clock(), kept, raw, ctx.backends.timetables)
            meant = await asyncio.to_thread(question, case)
        authors = await _authors(ctx, namespace, name, case.revisions)
        meant = replace(meant, case=replace(case, authors=authors))
        row = await ctx.past.row_of(namespace, name, meant.row_at)
        return await asyncio.to_thread(why_view, namespace, name, meant, row)
    except TooMuchWorkError as error:
        raise InvalidResourceError([FieldProblem("at", f"cannot be explained: {error}")]) from error


async def revision_page(ctx: Context, namespace: str, name: str, query: RevisionsQuery) -> RevisionList:
    """Return a page of the revisions of a task, newest first.

    Raises:
        ForbiddenError: The caller may not get the task.
        InvalidResourceError: The cursor belongs to another list.
        NotFoundError: There is no such task, and nothing is kept of an earlier one.

    """
    raw = await _task(ctx, namespace, name)

    async def fetch(limit: int, cursor: str | None) -> tuple[Sequence[TaskRevision], str | None]:
        page = await ctx.past.revisions(RevisionQuery(namespace=namespace, task=name, limit=limit, cursor=cursor))
        return page.items, page.next_cursor

    start = unbound(query, query.cursor, namespace=namespace, task=name)
    rows, cursor = await rows_of(fetch, query.limit, start, lambda row: len(to_json(row.spec)), FIRST_REVISIONS)
    if raw is None and not rows and query.cursor is None:
        raise _not_found(name)
    authors = await _authors(ctx, namespace, name, rows)
    return RevisionList(
        items=[revision_view(row, authors) for row in rows],
        next_cursor=bound(cursor, query, namespace=namespace, task=name),
    )


async def _task(ctx: Context, namespace: str, name: str) -> JSONObject | None:
    """Return a task as the caller sees it, or None if there is none; raises ``ForbiddenError``."""
    try:
        return await ctx.tasks.get(namespace, name)
    except NotFoundError:
        return None


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(f"task {name} not found, and there is no history of an earlier task with this name")


async def _authors(ctx: Context, namespace: str, name: str, revisions: Sequence[TaskRevision]) -> Authors:
    """Return the users who made revisions through the API; none if the caller may not list the audit."""
    if not revisions:
        return {}
    try:
        await ctx.authorize("list", RESOURCE_AUDIT, namespace)
    except ForbiddenError:
        return {}
    wanted = AuditQuery(namespace=namespace, resource=PLURAL, name=name, since=since_of(revisions), limit=MOST_EVENTS)
    found = await ctx.backends.audit.log.authors(wanted)
    return {(each.uid, each.generation): each.subject for each in found}
