"""Carillon's own objects in the API server, as raw JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

JSONObject = dict[str, Any]
ObjectKind = Literal["ScheduledTask", "RunRequest", "HTTPTarget"]
MOST_PAGE_BYTES = 4 * 1024 * 1024
"""How many bytes of JSON a page may have, unless it has one object; a large object has a megabyte."""


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """A part of a list of objects, and the API server's token for the next part if there is one."""

    items: Sequence[JSONObject]
    continue_token: str | None
    size: int = 0
    """How many bytes of JSON the objects are, about."""


class ObjectReader(Protocol):
    """Reads the objects of one kind."""

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return an object, or raise ``NotFoundError``."""
        ...

    async def list(self, namespace: str | None, label_selector: str = "") -> Sequence[JSONObject]:
        """Return the objects of a namespace, or of all, ordered by namespace and name."""
        ...

    async def page(
        self, namespace: str | None, *, limit: int, label_selector: str = "", continue_token: str | None = None
    ) -> ObjectPage:
        """Return at most ``limit`` objects, in the API server's order, after the previous page.

        A page has fewer if they would be more than ``MOST_PAGE_BYTES``; there is a token then.

        Raises:
            ExpiredError: The token has expired: start again.
            RefusedError: The token or the selector is invalid.

        """
        ...


class ObjectWriter(Protocol):
    """Creates, changes and deletes the objects of one kind."""

    async def create(self, namespace: str, body: JSONObject) -> JSONObject:
        """Create an object and return it as stored.

        Raises:
            AlreadyExistsError: The name is taken.
            RefusedError: The API server rejected it.
            NotFoundError: The namespace does not exist.

        """
        ...

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace an object; with ``metadata.resourceVersion`` only if it has not changed (``ConflictError``)."""
        ...

    async def patch(self, namespace: str, name: str, patch: JSONObject) -> JSONObject:
        """Change an object by a JSON merge patch (RFC 7396); a ``resourceVersion`` in it works as in ``replace``."""
        ...

    async def delete(self, namespace: str, name: str, resource_version: str | None = None) -> None:
        """Delete an object, and in the background its Jobs; with a version only if it has not changed."""
        ...


class ObjectStore(ObjectReader, ObjectWriter, Protocol):
    """Reads and writes the objects of one kind; the API uses it."""
