"""What the caller may do where: reviews by the cluster, cached and bounded apart from those of other requests."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from carillon_api.auth.served import check_served
from carillon_api.schemas.reports.me import CallerView, NamespacePermissions, PermissionsView
from carillon_api.services.context import Context
from carillon_core.domain.access.subjects import RESOURCE_EXECUTIONS, Access
from carillon_core.resources.names import PLURAL, PLURAL_REQUESTS, PLURAL_TARGETS

MOST_QUESTIONS = 200
"""How many reviews one response may need. A caller whose permissions are bound in the whole cluster needs 18; another
one needs up to 18 more for each namespace."""
AT_ONCE = 8
"""How many reviews of one response are made or wait for their turn at once."""
_OBJECTS = ("get", "list", "create", "update", "patch", "delete")
VERBS: Mapping[str, tuple[str, Sequence[str]]] = {
    "tasks": (PLURAL, _OBJECTS),
    "targets": (PLURAL_TARGETS, _OBJECTS),
    "requests": (PLURAL_REQUESTS, ("get", "list", "create", "delete")),
    "executions": (RESOURCE_EXECUTIONS, ("get", "list")),
}
"""The resource of each field of a response, and the verbs that are asked for."""
_ACCOUNT = "system:serviceaccount:"

Question = tuple[str, str]
"""A field of ``VERBS`` and a verb."""
ALL: Sequence[Question] = tuple((field, verb) for field, (_, verbs) in VERBS.items() for verb in verbs)


async def caller_view(ctx: Context, namespace: str | None) -> CallerView:
    """Return the caller with its permissions in a namespace, or in all served ones that are known by name.

    Raises:
        ForbiddenError: The namespace is not served.
        UnavailableError: The API server is unavailable and the permissions are not cached, or an earlier request of the
            caller takes too long.

    """
    if namespace is not None:
        check_served(ctx.settings.scope, namespace)
    names = [namespace] if namespace is not None else _known(ctx)
    async with ctx.backends.access.surveys.turn(ctx.caller.subject):
        turns = asyncio.Semaphore(AT_ONCE)
        everywhere = await _allowed(ctx, None, ALL, turns)
        # what is allowed everywhere is not asked for again
        left = [question for question in ALL if question not in everywhere]
        most = (MOST_QUESTIONS - len(ALL)) // len(left) if left else len(names)
        asked = names[:most]
        found = await asyncio.gather(*(_allowed(ctx, name, left, turns) for name in asked))
        allowed = {name: everywhere | own for name, own in zip(asked, found, strict=True)}
    return CallerView(
        user_name=ctx.caller.subject.name,
        groups=list(ctx.caller.subject.groups),
        default_namespace=ctx.settings.default_namespace,
        serves_all_namespaces=not ctx.settings.scope.namespaces,
        everywhere=PermissionsView(**_by_field(everywhere)),
        namespaces=[NamespacePermissions(name=name, **_by_field(some)) for name, some in allowed.items() if some],
        unchecked_namespaces=len(names) - len(asked),
    )


def _known(ctx: Context) -> list[str]:
    """Return the served namespaces; if all are served, those that can be known without a list of the cluster's."""
    if ctx.settings.scope.namespaces:
        return sorted(ctx.settings.scope.namespaces)
    name = ctx.caller.subject.name
    own = {name.removeprefix(_ACCOUNT).partition(":")[0]} if name.startswith(_ACCOUNT) else set()
    return sorted({ctx.settings.default_namespace, *own})


async def _allowed(
    ctx: Context, namespace: str | None, questions: Iterable[Question], turns: asyncio.Semaphore
) -> frozenset[Question]:
    async def answer(question: Question) -> bool:
        field, verb = question
        async with turns:
            access = Access(verb=verb, resource=VERBS[field][0], namespace=namespace)
            return (await ctx.backends.access.surveys.review(ctx.caller.subject, access)).allowed

    asked = list(questions)
    answers = await asyncio.gather(*map(answer, asked))
    return frozenset(question for question, allowed in zip(asked, answers, strict=True) if allowed)


def _by_field(allowed: frozenset[Question]) -> dict[str, list[str]]:
    return {field: [verb for verb in verbs if (field, verb) in allowed] for field, (_, verbs) in VERBS.items()}
