"""How a task is changed: read, change, write if nobody else did meanwhile."""

from collections.abc import Callable

from carillon_api.preconditions import IfMatch, stale
from carillon_core.errors import ConflictError
from carillon_core.ports import JSONObject, ObjectStore

ATTEMPTS = 5
"""How often an edit is tried; the operator's status writes are what it meets."""


async def edit_task(
    store: ObjectStore,
    namespace: str,
    name: str,
    precondition: IfMatch | None,
    change: Callable[[JSONObject], JSONObject],
) -> JSONObject:
    """Change a task and return it as stored.

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
            return await store.replace(namespace, name, change(current))
        except ConflictError as error:
            if precondition is not None and precondition.tags is not None:
                raise stale() from error
            if attempt == ATTEMPTS:
                raise
    raise AssertionError  # the last attempt returned or raised


async def delete_task(store: ObjectStore, namespace: str, name: str, precondition: IfMatch | None) -> None:
    """Delete a task, if the precondition holds.

    Raises:
        RequestRefusedError: As 412, if it does not.

    """
    version = None
    if precondition is not None:
        version = (await store.get(namespace, name))["metadata"]["resourceVersion"]
        precondition.check(version)
    if precondition is None or precondition.tags is None:
        return await store.delete(namespace, name)
    try:
        return await store.delete(namespace, name, version)
    except ConflictError as error:
        raise stale() from error
