"""How a task is changed: read, change, write if nobody else did meanwhile."""

from collections.abc import Callable

from carillon_api.preconditions import IfMatch, stale
from carillon_core.errors import ConflictError, ForbiddenError
from carillon_core.ports import JSONObject, ObjectStore

ATTEMPTS = 5
"""How often an edit is tried; the operator's status writes are what it meets."""


async def edit_task(
    store: ObjectStore,
    namespace: str,
    name: str,
    precondition: IfMatch | None,
    change: Callable[[JSONObject], JSONObject],
) -> tuple[JSONObject, JSONObject]:
    """Change a task and return it as it was and as it is stored.

    What is written carries the version that was read, so that it is ``change``'s result for what is stored, and not
    for what was stored before somebody else's write.

    Args:
        store: Where tasks are.
        namespace: The task's namespace.
        name: The task's name.
        precondition: What the caller's If-Match admits; with it a conflict is the caller's to solve, without it the
            edit is made again.
        change: Pure: the object as read to the object wanted.

    Raises:
        RequestRefusedError: As 412, if the precondition fails.
        ConflictError: If others were faster each time.

    """
    for attempt in range(1, ATTEMPTS + 1):
        current = await store.get(namespace, name)
        if precondition is not None:
            precondition.check(current["metadata"]["resourceVersion"])
        try:
            return current, await store.replace(namespace, name, change(current))
        except ConflictError as error:
            if precondition is not None and precondition.tags is not None:
                raise stale() from error
            if attempt == ATTEMPTS:
                raise
    raise AssertionError  # the last attempt returned or raised


async def delete_task(store: ObjectStore, namespace: str, name: str, precondition: IfMatch | None) -> JSONObject:
    """Delete a task, if the precondition holds, and return it as it was.

    Raises:
        RequestRefusedError: As 412, if it does not.
        ConflictError: If others changed it each time between its reading and its deletion.

    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            current = await store.get(namespace, name)
        except ForbiddenError:
            if precondition is not None:
                raise
            # whoever may delete and not read has deleted something that we must not tell
            await store.delete(namespace, name)
            return {"metadata": {"namespace": namespace, "name": name}}
        version = current["metadata"]["resourceVersion"]
        if precondition is not None:
            precondition.check(version)
        try:
            # by version even where nobody asks for that: what is returned as deleted is what was deleted
            await store.delete(namespace, name, version)
        except ConflictError as error:
            if precondition is not None and precondition.tags is not None:
                raise stale() from error
            if attempt == ATTEMPTS:
                raise
        else:
            return current
    raise AssertionError  # the last attempt returned or raised
