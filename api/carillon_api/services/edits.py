"""Change an object: read it, apply the change, and write it if its version is unchanged; for all kinds."""

from collections.abc import Callable
from dataclasses import dataclass

from carillon_api.http.preconditions import IfMatch, stale
from carillon_core.errors import ConflictError, ForbiddenError
from carillon_core.ports import JSONObject, ObjectStore

ATTEMPTS = 5
"""How often an edit is tried; it conflicts with the operator's status writes."""


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
    """Change an object and return it before and after.

    The write carries the version that was read, so that it never overwrites a concurrent change.

    Args:
        store: Where objects of its kind are.
        namespace: The object's namespace.
        name: The object's name.
        precondition: The caller's If-Match; with it, a conflict is reported to the caller, without it, the edit is
            tried again.
        change: A pure function from the object as read to the object to write.

    Raises:
        RequestRefusedError: As 412, if the precondition fails.
        ConflictError: If every try met a concurrent change.

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
    """Suspend or resume a task by a patch of that one field, which overwrites no concurrent change.

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
    """Delete an object if the precondition holds; return it, or only its name if the caller may not read it.

    Raises:
        RequestRefusedError: As 412, if the precondition fails.
        ConflictError: If every try met a concurrent change between read and deletion.

    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            current = await store.get(namespace, name)
        except ForbiddenError:
            if precondition is not None:
                raise
            # the caller may delete the object but not read it, so its content must not be returned
            await store.delete(namespace, name)
            return {"metadata": {"namespace": namespace, "name": name}}
        if precondition is not None:
            precondition.check(_version(current))
        try:
            # by version even without a precondition, so that the object returned is the object deleted
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
