"""Retry or cancel all executions that a filter matches. The routes of bulk calls call it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from functools import partial

from carillon_api.schemas.changes.bulk import BulkResult, ExecutionBulk
from carillon_api.services.changes.bulk import MOST, Call, Effect, Match, bulk
from carillon_api.services.context import Context
from carillon_api.services.history import FIRST_EXECUTIONS, readable, wanted_executions
from carillon_api.services.retries import retry
from carillon_api.services.running import cancel
from carillon_api.views.objects import refuse
from carillon_core.contract import OPEN_STATUSES, ExecutionStatus
from carillon_core.domain.access.subjects import Access
from carillon_core.domain.execution import ExecutionRecord
from carillon_core.errors import FieldProblem
from carillon_core.resources.names import PLURAL_REQUESTS

RETRIED = sorted(set(ExecutionStatus) - OPEN_STATUSES - {ExecutionStatus.SUCCEEDED})


async def bulk_executions(ctx: Context, namespace: str | None, body: ExecutionBulk) -> BulkResult:
    """Change all executions of a namespace, or of all, that match; see ``bulk``.

    Raises:
        ForbiddenError: The caller may not list executions there, or not do that in the namespace. In all namespaces,
            the permission is checked for each execution.

    """
    refuse(_problems(body))
    await ctx.authorize("list", namespace=namespace)
    if namespace is not None:
        access = Access(verb="create", resource=PLURAL_REQUESTS, namespace=namespace)
        if body.action == "cancel":
            access = Access(verb="delete", group="batch", resource="jobs", namespace=namespace)
        await ctx.backends.access.require(ctx.caller.subject, access)
    find = partial(_find, ctx, namespace, body)
    change = partial(_retry if body.action == "retry" else _cancel, ctx)
    return await bulk(ctx, Call(body, body.action, body.filters, namespace, find, change))


def _problems(body: ExecutionBulk) -> list[FieldProblem]:
    filters, problems = body.filters, []
    if body.action == "retry" and not filters.dead_letters and filters.status not in RETRIED:
        message = f"must be one of {', '.join(each.word for each in RETRIED)} to retry, unless deadLetters is true"
        problems.append(FieldProblem("filter.status", message))
    if body.action == "cancel" and filters.status not in {None, *OPEN_STATUSES}:
        problems.append(FieldProblem("filter.status", f"must be {ExecutionStatus.RUNNING.word} or absent to cancel"))
    if (
        body.action == "cancel"
        and not body.everything
        and not filters.model_dump(exclude_defaults=True, exclude={"status"})
    ):
        message = "must be true to cancel every running execution: set it, or set a filter such as task"
        problems.append(FieldProblem("all", message))
    return problems


async def _find(ctx: Context, namespace: str | None, body: ExecutionBulk) -> Sequence[Match]:
    """Return the executions that match, from the pages of the list; rows are large, so only their places are kept."""
    wanted = wanted_executions(body.filters, namespace, body.filters.task)
    if body.action == "cancel":
        wanted = replace(wanted, status=ExecutionStatus.RUNNING)
    matches: list[Match] = []
    cursor: str | None = None
    while len(matches) <= MOST:
        ctx.backends.access.charge(ctx.caller.subject, 1)
        page = await ctx.executions.list(replace(wanted, limit=FIRST_EXECUTIONS, cursor=cursor))
        for row in page.items:
            place = (row.slot.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f"), row.id.hex)
            matches.append(Match(place, row.namespace, row.task, row.id))
        cursor = page.next_cursor
        if cursor is None:
            break
    return matches


async def _retry(ctx: Context, match: Match) -> Effect:
    view, _ = await retry(ctx, await _record(ctx, match), None)
    return Effect(changed=True, created=view.run)


async def _cancel(ctx: Context, match: Match) -> Effect:
    accepted = await cancel(ctx, await _record(ctx, match))
    return Effect(changed=accepted.job_name is not None)


async def _record(ctx: Context, match: Match) -> ExecutionRecord:
    """Return the execution of a match with its attempts, as it is now."""
    if match.execution_id is None:
        raise AssertionError  # it is a task
    return await readable(ctx, match.execution_id)
