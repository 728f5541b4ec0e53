"""The objects of our kinds in memory, with the API server's semantics; it meets the same contract as the real one."""

import copy
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self
from uuid import uuid4

from carillon_core.adapters.copies import copied
from carillon_core.adapters.selectors import selector_of
from carillon_core.errors import (
    AlreadyExistsError,
    ConflictError,
    FieldProblem,
    InvalidResourceError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from carillon_core.name_patterns import is_dns_subdomain
from carillon_core.ports import MOST_PAGE_BYTES, JSONObject, ObjectKind, ObjectPage
from carillon_core.resources import names
from carillon_core.resources.base import rfc3339
from carillon_core.resources.crd.definitions import KINDS, RUN_REQUEST, schema_of
from carillon_core.resources.http_target import parse_target_spec
from carillon_core.resources.run_request import parse_request_spec
from carillon_core.resources.scheduled_task import name_problems, parse_spec

Key = tuple[str, str]

_KEPT_META = ("name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion")
"""The metadata that a write cannot change."""


def merge_patched(target: Any, patch: Any) -> Any:
    """Return ``target`` with a JSON merge patch applied (RFC 7396, section 2); neither is changed."""
    if not isinstance(patch, Mapping):
        return copied(patch)
    merged = copied(dict(target)) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patched(merged.get(key), value)
    return merged


_PARSERS: Mapping[str, Callable[..., object]] = {
    "ScheduledTask": parse_spec,
    "HTTPTarget": parse_target_spec,
    "RunRequest": parse_request_spec,
}


class MemoryObjectStore:
    """``ObjectStore`` over a dictionary.

    Objects are validated by the models that the CRD is generated from, so it
    rejects the same objects as the CRD; the messages may differ slightly.

    Attributes:
        outage: While it is set, every call raises ``UnavailableError`` with it.
        dry_run: Whether writes are judged only.

    """

    def __init__(
        self,
        namespaces: Collection[str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        kind: ObjectKind = "ScheduledTask",
    ) -> None:
        """Begin with no objects.

        Args:
            namespaces: The existing namespaces; None means that every namespace exists.
            clock: Returns the creation times.
            kind: The kind of the objects.

        """
        self.outage: str | None = None
        self._namespaces = namespaces
        self._clock = clock
        self._objects: dict[Key, JSONObject] = {}
        self._version = 0
        self._kind = next(each for each in KINDS if each.name == kind)
        self._schema = _spec_schema(kind)
        self._deletion_listeners: list[Callable[[str], None]] = []
        self._change_listeners: list[Callable[[JSONObject, bool], None]] = []
        self.dry_run = False

    def rehearsal(self) -> Self:
        """Return a store with the same objects, which judges writes and keeps none of them."""
        dry = copy.copy(self)
        dry.dry_run = True
        return dry

    async def create(self, namespace: str, body: JSONObject) -> JSONObject:
        """Create an object and return it as stored."""
        self._check(namespace)
        name = self._checked_name(body)
        if (namespace, name) in self._objects:
            raise AlreadyExistsError(f'{self._kind.plural}.{names.GROUP} "{name}" already exists')
        meta = _own_meta(body) | {
            "name": name,
            "namespace": namespace,
            "uid": str(uuid4()),
            "creationTimestamp": rfc3339(self._clock()),
            "generation": 1,
        }
        stored = {
            "apiVersion": names.API_VERSION,
            "kind": self._kind.name,
            "metadata": meta,
            "spec": self._admitted_spec(body),
        }
        return self._store((namespace, name), stored)

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return an object, or raise ``NotFoundError``."""
        self._check()
        return copied(self._object(namespace, name))

    async def list(self, namespace: str | None, label_selector: str = "") -> Sequence[JSONObject]:
        """Return the objects of a namespace, or of all, ordered by namespace and name."""
        self._check()
        selected = selector_of(label_selector)
        return [
            copied(found)
            for key, found in sorted(self._objects.items())
            if namespace in {None, key[0]} and selected(found["metadata"].get("labels") or {})
        ]

    async def page(
        self, namespace: str | None, *, limit: int, label_selector: str = "", continue_token: str | None = None
    ) -> ObjectPage:
        """Return at most ``limit`` objects after the previous page; the token is the place of its last object."""
        found = await self.list(namespace, label_selector)
        if continue_token is not None:
            try:
                last = tuple(json.loads(continue_token))
            except ValueError:
                raise RefusedError("continue key is not valid") from None
            found = [o for o in found if (o["metadata"]["namespace"], o["metadata"]["name"]) > last]
        items: list[JSONObject] = []
        size = 0
        for item in found[:limit]:
            added = len(json.dumps(item))
            if items and size + added > MOST_PAGE_BYTES:
                break
            items.append(item)
            size += added
        meta = items[-1]["metadata"] if len(found) > len(items) else None
        return ObjectPage(items, json.dumps([meta["namespace"], meta["name"]]) if meta else None, size)

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace an object; with ``metadata.resourceVersion`` only if it has not changed (``ConflictError``)."""
        self._check()
        return self._update(namespace, name, body)

    async def patch(self, namespace: str, name: str, patch: JSONObject) -> JSONObject:
        """Change an object by a JSON merge patch (RFC 7396); a ``resourceVersion`` in it works as in ``replace``."""
        self._check()
        return self._update(namespace, name, merge_patched(self._object(namespace, name), patch))

    async def delete(self, namespace: str, name: str, resource_version: str | None = None) -> None:
        """Delete an object, and in the background its Jobs; with a version only if it has not changed."""
        self._check()
        found = self._object(namespace, name)
        _check_version(found, resource_version)
        if self.dry_run:
            return
        del self._objects[namespace, name]
        for listener in self._deletion_listeners:
            listener(found["metadata"]["uid"])
        self._tell(found, deleted=True)

    async def ping(self) -> None:
        """Return if no outage is set; raise ``UnavailableError`` if one is."""
        self._check()

    def set_status(self, namespace: str, name: str, status: JSONObject) -> JSONObject:
        """Set a task's status, as the operator does on the subresource: the generation stays."""
        found = copied(self._object(namespace, name))
        found["status"] = _without_nulls(status)
        return self._store((namespace, name), found)

    def on_delete(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the uid of each task that is deleted."""
        self._deletion_listeners.append(listener)

    def on_change(self, listener: Callable[[JSONObject, bool], None]) -> None:
        """Call ``listener`` with each object that is written or deleted, and whether it was deleted."""
        self._change_listeners.append(listener)

    def _tell(self, found: JSONObject, *, deleted: bool) -> None:
        for listener in self._change_listeners:
            listener(found, deleted)

    def _check(self, namespace: str | None = None) -> None:
        if self.outage is not None:
            raise UnavailableError("API server", self.outage)
        if namespace is not None and self._namespaces is not None and namespace not in self._namespaces:
            raise NotFoundError(f'namespaces "{namespace}" not found')

    def _object(self, namespace: str, name: str) -> JSONObject:
        try:
            return self._objects[namespace, name]
        except KeyError:
            raise NotFoundError(f'{self._kind.plural}.{names.GROUP} "{name}" not found') from None

    def _checked_name(self, body: JSONObject) -> str:
        name = str((body.get("metadata") or {}).get("name") or "")
        if not name:
            raise _refused([FieldProblem("metadata.name", "name or generateName is required")])
        if not is_dns_subdomain(name):
            rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
            raise _refused([FieldProblem("metadata.name", rule)])
        if self._kind.names_jobs and (problems := name_problems(name)):
            raise _refused(problems)
        return name

    def _update(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Write the spec and the metadata of an existing task; its status stays."""
        old = self._object(namespace, name)
        given = body.get("metadata") or {}
        if given.get("name", name) != name:
            raise RefusedError(f"the name of the object ({given['name']}) does not match the name on the URL ({name})")
        _check_version(old, given.get("resourceVersion"))
        if given.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise ConflictError(f"the uid in the precondition ({given['uid']}) is not that of {namespace}/{name}")
        new = copied(old)
        new["spec"] = self._admitted_spec(body)
        if self._kind is RUN_REQUEST and new["spec"] != old["spec"]:
            raise _refused([FieldProblem("spec", "is immutable: delete the request and create another")])
        new["metadata"] = _own_meta(body) | {k: old["metadata"][k] for k in _KEPT_META}
        if new["spec"] != old["spec"]:
            new["metadata"]["generation"] += 1
        if new == old:
            return copied(old)
        return self._store((namespace, name), new)

    def _admitted_spec(self, body: JSONObject) -> JSONObject:
        """Return the spec as the API server would store it: nulls dropped, checked, the defaults filled in."""
        spec = _without_nulls(body.get("spec"))
        if spec is None:
            raise _refused([FieldProblem("spec", "is required: add it")])
        try:
            _PARSERS[self._kind.name](spec, strict=True)
        except InvalidResourceError as error:
            raise _refused(error.problems) from error
        filled: JSONObject = _with_defaults(spec, self._schema)
        return filled

    def _store(self, key: Key, new: JSONObject) -> JSONObject:
        if self.dry_run:
            stored = self._objects.get(key)
            if stored is not None:
                new["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
            return new
        self._version += 1
        new["metadata"]["resourceVersion"] = str(self._version)
        self._objects[key] = new
        self._tell(new, deleted=False)
        return copied(new)


@cache
def _spec_schema(kind: str) -> JSONObject:
    """Return the schema of a kind's spec; cached, because it takes tens of milliseconds and each test makes a store."""
    schema: JSONObject = schema_of(next(each for each in KINDS if each.name == kind))["properties"]["spec"]
    return schema


def _own_meta(body: JSONObject) -> JSONObject:
    """Return the part of the metadata that a write can set."""
    meta = body.get("metadata") or {}
    return {key: copied(value) for key, value in meta.items() if key not in _KEPT_META and value}


def _check_version(found: JSONObject, version: str | None) -> None:
    meta = found["metadata"]
    if version and version != meta["resourceVersion"]:
        raise ConflictError(
            f'Operation cannot be fulfilled on {names.GROUP} "{meta["name"]}": the object has been '
            "modified; please apply your changes to the latest version and try again"
        )


def _refused(problems: Iterable[FieldProblem]) -> RefusedError:
    listed = tuple(problems)
    return RefusedError("; ".join(str(p) for p in listed), listed)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return copied(value)


def _with_defaults(value: Any, schema: JSONObject) -> Any:
    """Return ``value`` with the schema's defaults filled in, as the API server does before it stores."""
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    filled = dict(value)
    for name, part in schema["properties"].items():
        if name in filled:
            filled[name] = _with_defaults(filled[name], part)
        elif "default" in part:
            filled[name] = copied(part["default"])
    return filled
