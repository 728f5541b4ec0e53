"""The objects of our kinds in the API server: ``ObjectStore`` for the facade."""

from collections.abc import Mapping, Sequence
from typing import Any

from carillon_core.adapters.kube.connection import MERGE_PATCH, KubeConnection, segment
from carillon_core.adapters.kube.pages import FEWER, listed
from carillon_core.domain.access.subjects import Subject
from carillon_core.errors import ConflictError, ExpiredError, TooLargeError
from carillon_core.ports import MOST_PAGE_BYTES, JSONObject, ObjectKind, ObjectPage
from carillon_core.resources import names

_STRICT = {"fieldValidation": "Strict"}  # unknown fields are rejected, not dropped silently
DRY_RUN = ["All"]
"""``dryRun`` in the options of a deletion: the API server ignores the query of a DELETE that has a body."""
_ROOT = f"/apis/{names.API_VERSION}"
_REPLACE_TRIES = 5
_LIST_TRIES = 3


_PLURALS: Mapping[ObjectKind, str] = {
    "ScheduledTask": names.PLURAL,
    "RunRequest": names.PLURAL_REQUESTS,
    "HTTPTarget": names.PLURAL_TARGETS,
}


def object_path(kind: ObjectKind, namespace: str | None = None, name: str | None = None) -> str:
    """Return the path of the objects of a kind, in a namespace or in all, or of one of them."""
    path = _ROOT if namespace is None else f"{_ROOT}/namespaces/{segment(namespace)}"
    return f"{path}/{_PLURALS[kind]}" + ("" if name is None else f"/{segment(name)}")


class KubeObjectStore:
    """``ObjectStore`` over a connection."""

    def __init__(
        self,
        connection: KubeConnection,
        kind: ObjectKind = "ScheduledTask",
        subject: Subject | None = None,
        *,
        dry_run: bool = False,
    ) -> None:
        """Take the connection; the caller closes it.

        Args:
            connection: To the API server.
            kind: The kind of the objects.
            subject: The subject that every request is made as; None means our own account.
            dry_run: Whether the API server only judges writes and stores nothing.

        """
        self._connection = connection
        self._kind: ObjectKind = kind
        self._subject = subject
        self._dry_run = dry_run
        self._params = _STRICT | ({"dryRun": "All"} if dry_run else {})

    async def create(self, namespace: str, body: JSONObject) -> JSONObject:
        """Create an object and return it as stored."""
        return await self._request("POST", self._path(namespace), params=self._params, body=self._typed(body))

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return an object, or raise ``NotFoundError``."""
        return await self._request("GET", self._path(namespace, name))

    async def list(self, namespace: str | None, label_selector: str = "") -> Sequence[JSONObject]:
        """Return the objects of a namespace, or of all, ordered by namespace and name."""
        for tries_left in reversed(range(_LIST_TRIES)):
            try:
                items = [
                    item
                    async for page in listed(self._connection, self._path(namespace), label_selector, self._subject)
                    for item in page.items
                ]
            except ExpiredError:  # the list took too long
                if not tries_left:
                    raise
            else:
                break
        # the server orders by "namespace/name", where "a-b/x" comes before "a/x"
        return sorted(items, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))

    async def page(
        self, namespace: str | None, *, limit: int, label_selector: str = "", continue_token: str | None = None
    ) -> ObjectPage:
        """Return at most ``limit`` objects, in the API server's order, from where the page before ended."""
        params = {"labelSelector": label_selector, "continue": continue_token or ""}
        given = {k: v for k, v in params.items() if v}
        while True:
            try:
                answer, size = await self._connection.part(
                    self._path(namespace), given | {"limit": str(limit)}, self._subject, MOST_PAGE_BYTES
                )
            except TooLargeError:
                if limit == 1:
                    raise
                limit = max(1, limit // FEWER)
            else:
                return ObjectPage(answer.get("items") or [], answer["metadata"].get("continue") or None, size)

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace an object; with ``metadata.resourceVersion`` only if it has not changed (``ConflictError``)."""
        path = self._path(namespace, name)
        if (body.get("metadata") or {}).get("resourceVersion"):
            return await self._request("PUT", path, params=self._params, body=self._typed(body))
        # the API server replaces a custom resource only with its version, so read the current one
        for tries_left in reversed(range(_REPLACE_TRIES)):
            version = (await self.get(namespace, name))["metadata"]["resourceVersion"]
            versioned = self._typed(body) | {"metadata": (body.get("metadata") or {}) | {"resourceVersion": version}}
            try:
                return await self._request("PUT", path, params=self._params, body=versioned)
            except ConflictError:  # the operator often writes the status of the same object
                if not tries_left:
                    raise
        raise AssertionError  # pragma: no cover  # the last try returns or raises

    async def patch(self, namespace: str, name: str, patch: JSONObject) -> JSONObject:
        """Change an object by a JSON merge patch (RFC 7396); a ``resourceVersion`` in it works as in ``replace``."""
        return await self._request(
            "PATCH", self._path(namespace, name), params=self._params, body=patch, content_type=MERGE_PATCH
        )

    async def delete(self, namespace: str, name: str, resource_version: str | None = None) -> None:
        """Delete an object, and in the background its Jobs; with a version only if it has not changed."""
        options: JSONObject = {"propagationPolicy": "Background"}
        if resource_version:
            options["preconditions"] = {"resourceVersion": resource_version}
        if self._dry_run:
            options["dryRun"] = DRY_RUN
        await self._request("DELETE", self._path(namespace, name), body=options)

    async def ping(self) -> None:
        """Return if the API server answers and serves ScheduledTasks; raise ``UnavailableError`` if not."""
        await self._request("GET", _ROOT)

    async def _request(self, method: str, path: str, **more: Any) -> JSONObject:
        return await self._connection.request(method, path, subject=self._subject, **more)

    def _path(self, namespace: str | None, name: str | None = None) -> str:
        return object_path(self._kind, namespace, name)

    def _typed(self, body: JSONObject) -> JSONObject:
        return {"apiVersion": names.API_VERSION, "kind": self._kind} | body
