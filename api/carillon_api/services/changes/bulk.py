"""Change all objects that a filter matches, as the caller. ``bulk_tasks`` and ``bulk_executions`` use it.

The matches are counted first and compared with the number that the caller
expects, so that no more is changed than the caller has seen. Each object is
then changed by the code of the request for it alone: the API server checks the
caller's permission, and the audit has an event for each. A call ends in bounded
time; what it had no time for is continued from its cursor.
"""

import asyncio
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from carillon_api.http.cursors import bound, unbound
from carillon_api.http.problems import Kind, RequestRefusedError, item_problem
from carillon_api.schemas.changes.bulk import Bulk, BulkItem, BulkResult, ItemProblem
from carillon_api.schemas.changes.dry_runs import DryRun
from carillon_api.services.changes.turns import AT_ONCE
from carillon_api.services.context import Context
from carillon_core.errors import CarillonError, FieldProblem, InvalidResourceError, UnavailableError
from carillon_core.resources.base import Model

MOST = 1_000
"""How many objects one call may match."""
SHOWN = 100
"""How many matches the response to a dry run names."""
FIND_SECONDS = 10.0
"""How long the search for the matches may take."""
SECONDS = 15.0
"""How long after its start a call goes on to the next object: less than a shutdown waits for requests in progress."""
COST = 0.1
"""What an object takes of its caller's rate limit: less than a request of its own."""


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """An object that matches, and its place in the order of the call."""

    order: tuple[str, str]
    namespace: str = field(compare=False)
    task: str = field(compare=False)
    execution_id: UUID | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Effect:
    """What the change of an object has done."""

    changed: bool
    created: str | None = None
    """The name of the RunRequest that it has created."""


@dataclass(frozen=True, slots=True)
class Call:
    """A bulk call."""

    body: Bulk
    action: str
    filters: Model
    namespace: str | None
    """None means all namespaces."""
    find: Callable[[], Awaitable[Sequence[Match]]]
    """Returns the matches; more than ``MOST`` of them only if there are more."""
    change: Callable[[Match], Awaitable[Effect]]


async def bulk(ctx: Context, call: Call) -> BulkResult:
    """Change all objects that match, or in a dry run count them.

    Raises:
        InvalidResourceError: If too many match, the expected count is missing, or the cursor belongs to another call.
        RequestRefusedError: As 409, if another number matches than expected; as 429, if another bulk call of the caller
            is in progress.
        UnavailableError: The matches could not be found in time.

    """
    after = _place(call)
    expected = call.body.expected_count
    if expected is None and not ctx.dry_run:
        message = "is required: send the number of matches that the same request with dryRun=All returns"
        raise InvalidResourceError([FieldProblem("expectedCount", message)])
    end = asyncio.get_running_loop().time() + SECONDS
    with ctx.backends.bulk.of(ctx.caller.subject):
        matches = await _found(call, after)
        if expected is not None and expected != len(matches):
            raise _other_count(expected, len(matches))
        if ctx.dry_run:
            shown = [_item(match, "matched") for match in matches[:SHOWN]]
            return _result(matches, shown, None, DryRun(changed=bool(matches)))
        items = await _carried_out(ctx, call, matches, end)
    left = matches[len(items) :]
    return _result(matches, items, _cursor(call, matches[len(items) - 1]) if left else None, None)


async def _found(call: Call, after: tuple[str, str] | None) -> Sequence[Match]:
    try:
        async with asyncio.timeout(FIND_SECONDS):
            found = await call.find()
    except TimeoutError as error:
        why = f"finding the matches took more than {FIND_SECONDS:g} s: try again, or narrow the filter"
        raise UnavailableError("bulk", why) from error
    if len(found) > MOST:
        message = f"matches more than {MOST} objects: narrow it, and make several calls"
        raise InvalidResourceError([FieldProblem("filter", message)])
    return sorted(each for each in found if after is None or each.order > after)


def _other_count(expected: int, matched: int) -> RequestRefusedError:
    detail = (
        f"{matched} objects match, but expectedCount is {expected}: nothing was changed. Look at the matches again with"
        f" dryRun=All, and send expectedCount {matched} if they are right"
    )
    return RequestRefusedError(Kind.COUNT_CHANGED, detail, matched=matched)


async def _carried_out(ctx: Context, call: Call, matches: Sequence[Match], end: float) -> list[BulkItem]:
    """Change the matches in order, several at once; return those that were tried, which are the first of them."""
    clock = asyncio.get_running_loop()
    left: Iterator[Match] = iter(matches)
    tried: list[Match] = []
    items: dict[Match, BulkItem] = {}

    async def work() -> None:
        while True:
            async with ctx.backends.bulk.writes:
                # at least one, so that each call gets on
                match = next(left, None) if not tried or clock.time() < end else None
                if match is None:
                    return
                tried.append(match)
                ctx.backends.access.charge(ctx.caller.subject, COST)
                items[match] = await _changed(ctx, call, match)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(matches))):
            group.create_task(work())
    return [items[match] for match in tried]


async def _changed(ctx: Context, call: Call, match: Match) -> BulkItem:
    try:
        effect = await call.change(match)
    except CarillonError as error:
        return _item(match, "failed", problem=item_problem(error, ctx.origin.request_id))
    return _item(match, "done" if effect.changed else "unchanged", created=effect.created)


def _item(
    match: Match,
    outcome: Literal["matched", "done", "unchanged", "failed"],
    *,
    created: str | None = None,
    problem: ItemProblem | None = None,
) -> BulkItem:
    return BulkItem(
        namespace=match.namespace,
        task=match.task,
        execution_id=match.execution_id,
        outcome=outcome,
        created=created,
        problem=problem,
    )


def _result(matches: Sequence[Match], items: list[BulkItem], cursor: str | None, dry_run: DryRun | None) -> BulkResult:
    counts = {outcome: sum(item.outcome == outcome for item in items) for outcome in ("done", "unchanged", "failed")}
    return BulkResult(
        matched=len(matches),
        **counts,
        remaining=0 if dry_run else len(matches) - len(items),
        next_cursor=cursor,
        items=items,
        dry_run=dry_run,
    )


def _cursor(call: Call, last: Match) -> str | None:
    place = urlsafe_b64encode(json.dumps(last.order).encode()).decode()
    return bound(place, call.filters, action=call.action, namespace=call.namespace)


def _place(call: Call) -> tuple[str, str] | None:
    """Return the place in the cursor of a call, after which it continues."""
    place = unbound(call.filters, call.body.cursor, action=call.action, namespace=call.namespace)
    if place is None:
        return None
    try:
        first, second = json.loads(urlsafe_b64decode(place))
        return str(first), str(second)
    except (ValueError, TypeError) as error:
        message = "must be a nextCursor of this call: copy it unchanged"
        raise InvalidResourceError([FieldProblem("cursor", message)]) from error
