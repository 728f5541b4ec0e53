"""Delete a target that may be in use: find its users, and delete them, too, in a cascade. The targets' route calls it.

Between the search for users and the deletion, another task that uses the
target may be created. Only a lock that kubectl does not have could prevent
this, and it does no harm: a task whose target does not exist fails with that
reason, as after a deletion by kubectl.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from carillon_api.http.preconditions import IfMatch
from carillon_api.http.problems import Kind, RequestRefusedError, kind_of
from carillon_api.schemas import UserOfTarget
from carillon_api.services.context import Context
from carillon_api.services.edits import ATTEMPTS, delete_object
from carillon_api.views.targets import uses_target
from carillon_core.errors import CarillonError, ConflictError, ForbiddenError, NotFoundError
from carillon_core.ports import JSONObject, ObjectStore
from carillon_core.resources.names import PLURAL, PLURAL_REQUESTS, PLURAL_TARGETS

MAX_NAMED = 100
"""The maximum number of users that a response names."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class _User:
    """An object that uses the target, and the store of its kind."""

    shown: UserOfTarget
    store: ObjectStore
    plural: str


async def delete_target(
    ctx: Context, namespace: str, name: str, precondition: IfMatch | None, *, cascade: bool
) -> Sequence[UserOfTarget]:
    """Delete a target that is not in use, or with a cascade its users first; return the deleted users.

    Users are the tasks, and the unfinished runs with their own task, that the caller may list. Other objects do not
    prevent the deletion, just as they do not with kubectl.

    Raises:
        RequestRefusedError: As 409, if the target is in use and ``cascade`` is not set; as 412, if the precondition
            fails; with the kind of the error that stopped a cascade, what it has deleted and what is left.

    """
    target = await ctx.targets.get(namespace, name)
    if precondition is not None:
        precondition.check(target["metadata"]["resourceVersion"])
    users = [user async for user in _users(ctx, namespace, name)]
    if users and not cascade:
        raise RequestRefusedError(Kind.IN_USE, _in_use(users), users=_named(users))
    deleted: list[_User] = []
    for user in users:
        try:
            before = await _delete_user(user, namespace, name)
        except CarillonError as error:
            raise _stopped(error, user, deleted, users) from error
        if before is not None:
            deleted.append(user)
            await ctx.record_change("delete", user.plural, before, None)
    try:
        before = await delete_object(ctx.targets, namespace, name, precondition)
    except CarillonError as error:
        if not deleted:
            raise
        raise _stopped(error, None, deleted, []) from error
    await ctx.record_change("delete", PLURAL_TARGETS, before, None)
    return [user.shown for user in deleted]


async def _delete_user(user: _User, namespace: str, target: str) -> JSONObject | None:
    """Delete an object that uses the target, and return it; None if it is gone or no longer uses the target."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            current = await user.store.get(namespace, user.shown.name)
            if not uses_target(current, target):
                return None
            await user.store.delete(namespace, user.shown.name, current["metadata"]["resourceVersion"])
        except NotFoundError:
            return None
        except ConflictError:  # the operator writes statuses frequently
            if attempt == ATTEMPTS:
                raise
        else:
            return current
    raise AssertionError  # the last attempt returned or raised


async def _users(ctx: Context, namespace: str, name: str) -> AsyncIterator[_User]:
    kinds: tuple[tuple[Literal["ScheduledTask", "RunRequest"], ObjectStore, str], ...] = (
        ("ScheduledTask", ctx.tasks, PLURAL),
        ("RunRequest", ctx.requests, PLURAL_REQUESTS),
    )
    for kind, store, plural in kinds:
        try:
            async for raw in _all(store, namespace):
                if uses_target(raw, name):
                    yield _User(UserOfTarget(kind=kind, name=raw["metadata"]["name"]), store, plural)
        except ForbiddenError:
            continue


async def _all(store: ObjectStore, namespace: str) -> AsyncIterator[JSONObject]:
    """Yield the objects of a namespace; only one page is in memory at a time."""
    token = None
    while True:
        page = await store.page(namespace, limit=PAGE, continue_token=token)
        for raw in page.items:
            yield raw
        token = page.continue_token
        if token is None:
            return


def _named(users: Sequence[_User]) -> list[UserOfTarget]:
    return [user.shown for user in islice(users, MAX_NAMED)]


def _in_use(users: Sequence[_User]) -> str:
    first = users[0].shown
    others = f" and {len(users) - 1} more" if len(users) > 1 else ""
    return (
        f"the target is used by {first.kind} {first.name}{others}: change or delete its users, or add ?cascade=true to"
        " delete them, too"
    )


def _stopped(
    error: CarillonError, at: _User | None, deleted: Sequence[_User], users: Sequence[_User]
) -> RequestRefusedError:
    """Return the error of a cascade that has stopped, with what is deleted and what is left."""
    where = f"{at.shown.kind} {at.shown.name}" if at else "the target itself"
    done = {user.shown for user in deleted}
    left = [user for user in users if user.shown not in done]
    detail = f"the cascade stopped at {where} after {len(deleted)} deletions, and the target still exists: {error}"
    return RequestRefusedError(kind_of(error) or Kind.INTERNAL, detail, users=_named(left), deleted=_named(deleted))
