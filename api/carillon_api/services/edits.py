"""How an object of ours is changed: read, change, write if nobody else did meanwhile; for the routes of each kind."""

from collections.abc import Callable
from dataclasses import dataclass

from carillon_api.http.preconditions import IfMatch, stale
from carillon_core.errors import ConflictError, ForbiddenError
from carillon_core.ports import JSONObject, ObjectStore

ATTEMPTS = 5
"""How often an edit is tried; the operator's status writes are what it meets."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object before and after a write, raw."""

    before: JSONObject
    after: JSONObject

    @property
    def changed(self) -> bool:
        """Whether the write changed anything."""
        return _version(self.before) != _version(self.after)


async def edit_object(
    store: ObjectStore,
    namespace: str,
    name: str,
    precondition: IfMatch | None,
    change: Callable[[JSONObject], JSONObject],
) -> Change:
    """Change an object and return it as it was and as it is stored now.

    What is written carries the version that was read, so that it is ``change``'s result for what is stored, and not
    for what was stored before somebody else's write.

    Args:
        store: Where objects of its kind are.
        namespace: The object's namespace.
        name: The object's name.
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
            precondition.check(_version(current))
        try:
            return Change(current, await store.replace(namespace, name, change(current)))
        except ConflictError as error:
            if precondition is not None and precondition.tags is not None:
                raise stale() from error
            if attempt == ATTEMPTS:
                raise
    raise AssertionError  # the last attempt returned or raised


async def set_suspended(
    store: ObjectStore, namespace: str, name: str, precondition: IfMatch | None, *, suspended: bool
) -> Change:
    """Suspend or resume a task, by a patch of that one field: nobody else's edit is overwritten.

    Raises:
        RequestRefusedError: As 412, if the precondition fails.

    """
    current = await store.get(namespace, name)
    if precondition is not None:
        precondition.check(_version(current))
    spec = current.get("spec")
    if isinstance(spec, dict) and spec.get("suspend", False) is suspended:
        return Change(current, current)
    patch: JSONObject = {"spec": {"suspend": suspended}}
    versioned = precondition is not None and precondition.tags is not None
    if versioned:
        patch["metadata"] = {"resourceVersion": _version(current)}
    try:
        return Change(current, await store.patch(namespace, name, patch))
    except ConflictError as error:
        if versioned:
            raise stale() from error
        raise


async def delete_object(store: ObjectStore, namespace: str, name: str, precondition: IfMatch | None) -> JSONObject:
    """Delete an object, if the precondition holds; return it as it was, or only its name to who may not read it.

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
        if precondition is not None:
            precondition.check(_version(current))
        try:
            # by version even where nobody asks for that: what is returned as deleted is what was deleted
            await store.delete(namespace, name, _version(current))
        except ConflictError as error:
            if precondition is not None and precondition.tags is not None:
                raise stale() from error
            if attempt == ATTEMPTS:
                raise
        else:
            return current
    raise AssertionError  # the last attempt returned or raised


def _version(raw: JSONObject) -> str:
    return str(raw["metadata"]["resourceVersion"])
