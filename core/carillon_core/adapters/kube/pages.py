"""Paged lists, so that a namespace of many thousand objects is never one response. For the stores and the watch."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from carillon_core.adapters.kube.connection import KubeConnection
from carillon_core.domain.access.subjects import Subject
from carillon_core.ports import JSONObject

PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    items: list[JSONObject]
    resource_version: str
    """The list's version, the same on each page; a watch continues from it."""


async def listed(
    connection: KubeConnection,
    path: str,
    label_selector: str = "",
    subject: Subject | None = None,
    field_selector: str = "",
    *,
    metadata_only: bool = False,
) -> AsyncIterator[Page]:
    """Yield a list page by page, in the server's order, as a subject (or our own account) sees it.

    With ``metadata_only`` the objects have nothing but their metadata: of large objects, a fraction of the bytes.

    Raises:
        ExpiredError: The list took too long: start again.
        RefusedError: The selector is invalid.

    """
    params = {"limit": str(PAGE_SIZE)}
    if label_selector:
        params["labelSelector"] = label_selector
    if field_selector:
        params["fieldSelector"] = field_selector
    while True:
        if metadata_only:
            answer = await connection.metadata(path, params, subject)
        else:
            answer = await connection.request("GET", path, params=params, subject=subject)
        meta = answer["metadata"]
        yield Page(answer.get("items") or [], meta["resourceVersion"])
        if not meta.get("continue"):
            return
        params["continue"] = meta["continue"]
