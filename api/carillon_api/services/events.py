"""Open a stream of changes with the caller's permissions, and confirm them while it lasts."""

from collections.abc import Iterable
from dataclasses import replace

from starlette.datastructures import Headers

from carillon_api.auth.access import refusal
from carillon_api.events.stream_events import Selection
from carillon_api.events.viewer import Asked, Viewer
from carillon_api.schemas.streams.events import MOST_NAMESPACES, EventsQuery
from carillon_api.services.context import Context
from carillon_core.domain.access.subjects import RESOURCE_EXECUTIONS, Access
from carillon_core.errors import ForbiddenError
from carillon_core.resources.names import PLURAL

NEEDED = (PLURAL, RESOURCE_EXECUTIONS)
"""What the caller must be allowed to list."""


async def enter(ctx: Context, query: EventsQuery, after: str | None, headers: Headers) -> Viewer:
    """Return a stream of what the caller asked for.

    Args:
        ctx: The caller's.
        query: The selection.
        after: The ID of the last event that the client has received.
        headers: The request's, with the credential: the credential is presented again twice a minute.

    Raises:
        ForbiddenError: The caller may not list tasks and executions there.
        RequestRefusedError: As 429 or 503, if there are too many streams.

    """
    may_see = await namespaces_of(ctx, query.namespace)

    async def confirm() -> None:
        caller = await ctx.backends.access.confirm(headers)
        now = await namespaces_of(replace(ctx, caller=caller), query.namespace)
        if now != may_see:
            raise ForbiddenError("the namespaces that you may list have changed: connect again")

    asked = Asked(ctx.caller.subject.name, Selection(may_see, query.task), after, confirm)
    return ctx.backends.events.enter(asked)


async def namespaces_of(ctx: Context, asked: Iterable[str]) -> frozenset[str] | None:
    """Return the namespaces whose changes the caller may see; None means all.

    Args:
        ctx: The caller's.
        asked: The namespaces that the caller names; none for all in which it may list.

    Raises:
        ForbiddenError: The caller may not list in one of those that it names, or in none at all. Or the namespaces in
            which it may list cannot be found out, as the API knows no namespaces by name, or too many.

    """
    names = frozenset(asked)
    if names:
        for name in sorted(names):
            for resource in NEEDED:
                await ctx.authorize("list", resource, name)
        return names
    refused = await _refused(ctx, None)
    if refused is None:
        return None
    served = ctx.settings.scope.namespaces
    if len(served) > MOST_NAMESPACES:
        raise ForbiddenError(f"{refused}; a stream can name at most {MOST_NAMESPACES} namespaces")
    allowed = frozenset([name for name in served if await _refused(ctx, name) is None])
    if not allowed:
        raise ForbiddenError(refused)
    return allowed


async def _refused(ctx: Context, namespace: str | None) -> str | None:
    """Return why the caller may not list in a namespace, or in all; None if it may."""
    subject = ctx.caller.subject
    for resource in NEEDED:
        access = Access(verb="list", resource=resource, namespace=namespace)
        decision = await ctx.backends.access.review(subject, access)
        if not decision.allowed:
            return refusal(subject, access, decision)
    return None
