"""ScheduledTasks in the API server: ``TaskStore`` for the facade."""

from collections.abc import Sequence

from carillon_core.adapters.kube.connection import MERGE_PATCH, KubeConnection, segment
from carillon_core.adapters.kube.failures import ExpiredError
from carillon_core.adapters.kube.pages import listed
from carillon_core.errors import ConflictError
from carillon_core.ports import JSONObject
from carillon_core.resources import names

_STRICT = {"fieldValidation": "Strict"}  # an unknown field is refused, not dropped in silence
_ROOT = f"/apis/{names.API_VERSION}"
_REPLACE_TRIES = 5
_LIST_TRIES = 3


def tasks_path(namespace: str | None, name: str | None = None) -> str:
    """Return the path of the tasks of a namespace or of all, or of one task."""
    path = _ROOT if namespace is None else f"{_ROOT}/namespaces/{segment(namespace)}"
    return f"{path}/{names.PLURAL}" if name is None else f"{path}/{names.PLURAL}/{segment(name)}"


class KubeTaskStore:
    """``TaskStore`` over a connection."""

    def __init__(self, connection: KubeConnection) -> None:
        """Take the connection; whoever made it closes it."""
        self._connection = connection

    async def create(self, namespace: str, body: JSONObject) -> JSONObject:
        """Create a task and return it as stored."""
        return await self._connection.request("POST", tasks_path(namespace), params=_STRICT, body=_typed(body))

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return a task, or raise ``NotFoundError``."""
        return await self._connection.request("GET", tasks_path(namespace, name))

    async def list(self, namespace: str | None, label_selector: str = "") -> Sequence[JSONObject]:
        """Return the tasks of a namespace, or of all, ordered by namespace and name."""
        for tries_left in reversed(range(_LIST_TRIES)):
            try:
                items = [
                    item
                    async for page in listed(self._connection, tasks_path(namespace), label_selector)
                    for item in page.items
                ]
            except ExpiredError:  # the list took so long that its version is no longer kept
                if not tries_left:
                    raise
            else:
                break
        # the server orders by "namespace/name", where "a-b/x" comes before "a/x"
        return sorted(items, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace a task; with ``metadata.resourceVersion`` only if it has not changed (``ConflictError``)."""
        path = tasks_path(namespace, name)
        if (body.get("metadata") or {}).get("resourceVersion"):
            return await self._connection.request("PUT", path, params=_STRICT, body=_typed(body))
        # the API server updates a custom resource by version only, so that of the moment is taken
        for tries_left in reversed(range(_REPLACE_TRIES)):
            version = (await self.get(namespace, name))["metadata"]["resourceVersion"]
            versioned = _typed(body) | {"metadata": (body.get("metadata") or {}) | {"resourceVersion": version}}
            try:
                return await self._connection.request("PUT", path, params=_STRICT, body=versioned)
            except ConflictError:  # the operator writes the status of the same object all the time
                if not tries_left:
                    raise
        raise AssertionError  # pragma: no cover  # the last try returns or raises

    async def patch(self, namespace: str, name: str, patch: JSONObject) -> JSONObject:
        """Change a task by a JSON merge patch (RFC 7396); a ``resourceVersion`` in it works as in ``replace``."""
        return await self._connection.request(
            "PATCH", tasks_path(namespace, name), params=_STRICT, body=patch, content_type=MERGE_PATCH
        )

    async def delete(self, namespace: str, name: str, resource_version: str | None = None) -> None:
        """Delete a task, and in the background its Jobs; with a version only if it has not changed."""
        options: JSONObject = {"propagationPolicy": "Background"}
        if resource_version:
            options["preconditions"] = {"resourceVersion": resource_version}
        await self._connection.request("DELETE", tasks_path(namespace, name), body=options)

    async def ping(self) -> None:
        """Return if the API server answers and serves ScheduledTasks; raise ``UnavailableError`` if not."""
        await self._connection.request("GET", _ROOT)


def _typed(body: JSONObject) -> JSONObject:
    return {"apiVersion": names.API_VERSION, "kind": names.KIND} | body
