"""Pause, resume, run or delete all tasks that a filter matches. The routes of bulk calls call it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from carillon_api.http.paging import page_of
from carillon_api.schemas import TaskQuery, TaskRun
from carillon_api.schemas.changes.bulk import BulkResult, TaskAction, TaskBulk
from carillon_api.schemas.checks import selector_problems
from carillon_api.services.changes.bulk import MOST, Call, Effect, Match, bulk
from carillon_api.services.context import Context
from carillon_api.services.edits import delete_object, set_suspended
from carillon_api.services.run_requests import run_scheduled_task
from carillon_api.views.objects import refuse
from carillon_api.views.tasks import is_wanted
from carillon_core.domain.access.subjects import Access
from carillon_core.errors import FieldProblem, NotFoundError
from carillon_core.resources.names import KIND, PLURAL, PLURAL_REQUESTS

PAGE = 500
NEEDED: Mapping[TaskAction, tuple[str, str]] = {
    "pause": ("patch", PLURAL),
    "resume": ("patch", PLURAL),
    "run": ("create", PLURAL_REQUESTS),
    "delete": ("delete", PLURAL),
}
"""The verb and the resource of each action."""


async def bulk_tasks(ctx: Context, namespace: str | None, body: TaskBulk, key: str | None) -> BulkResult:
    """Change all tasks of a namespace, or of all, that match; see ``bulk``.

    Args:
        ctx: The caller's.
        namespace: The namespace; None means all namespaces.
        body: What to do with which tasks.
        key: The caller's Idempotency-Key: a run that was requested with it is not requested again.

    Raises:
        ForbiddenError: The caller may not list tasks there, or not do that in the namespace. In all namespaces, the
            permission is checked for each task.

    """
    problems = [FieldProblem(f"filter.{p.path}", p.message) for p in selector_problems(body.filters.label_selector)]
    if not body.everything and not body.filters.model_dump(exclude_defaults=True):
        problems.append(
            FieldProblem("all", "must be true with an empty filter, which matches every task: set a filter")
        )
    refuse(problems)
    if namespace is not None:
        verb, resource = NEEDED[body.action]
        access = Access(verb=verb, resource=resource, namespace=namespace)
        await ctx.backends.access.require(ctx.caller.subject, access)
    find = partial(_find, ctx, namespace, body)
    return await bulk(ctx, Call(body, body.action, body.filters, namespace, find, _change(ctx, body.action, key)))


async def _find(ctx: Context, namespace: str | None, body: TaskBulk) -> Sequence[Match]:
    """Return the tasks that match, from the same pages as the list."""
    query = TaskQuery.model_validate({**body.filters.model_dump(by_alias=True, exclude_none=True), "limit": PAGE})
    matches: list[Match] = []
    while len(matches) <= MOST:
        ctx.backends.access.charge(ctx.caller.subject, 1)
        part = await page_of(ctx.tasks, KIND, namespace, query, partial(is_wanted, query=query))
        for raw in part.items:
            place = (raw["metadata"]["namespace"], raw["metadata"]["name"])
            matches.append(Match(place, *place))
        if part.next_cursor is None:
            break
        query = query.model_copy(update={"cursor": part.next_cursor})
    return matches


def _change(ctx: Context, action: TaskAction, key: str | None) -> Callable[[Match], Awaitable[Effect]]:
    if action == "run":
        return partial(_run, ctx, key)
    if action == "delete":
        return partial(_delete, ctx)
    return partial(_suspend, ctx, suspended=action == "pause")


async def _suspend(ctx: Context, match: Match, *, suspended: bool) -> Effect:
    change = await set_suspended(ctx.tasks, match.namespace, match.task, None, suspended=suspended)
    if change.changed:
        await ctx.record_change("suspend" if suspended else "resume", PLURAL, change.before, change.after)
    return Effect(change.changed)


async def _run(ctx: Context, key: str | None, match: Match) -> Effect:
    # a run's name is derived from the key, and two long names of tasks may begin alike
    own = None if key is None else f"{key} {match.namespace}/{match.task}"
    view = await run_scheduled_task(ctx, match.namespace, match.task, TaskRun(), own)
    return Effect(changed=True, created=view.name)


async def _delete(ctx: Context, match: Match) -> Effect:
    try:
        before = await delete_object(ctx.tasks, match.namespace, match.task, None)
    except NotFoundError:
        return Effect(changed=False)
    await ctx.record_change("delete", PLURAL, before, None)
    return Effect(changed=True)
