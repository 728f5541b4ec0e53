"""Lists in pages: a namespace of many thousands of objects is never one response. For the stores and the watch."""

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
    """The list's version, the same in each of its pages: a watch goes on from it."""


async def listed(
    connection: KubeConnection,
    path: str,
    label_selector: str = "",
    subject: Subject | None = None,
    field_selector: str = "",
) -> AsyncIterator[Page]:
    """Yield a list page by page, in the server's order, as a subject sees it or as we do.

    Raises:
        ExpiredError: The list took so long that its version is no longer kept: begin anew.
        RefusedError: The selector cannot be read.

    """
    params = {"limit": str(PAGE_SIZE)}
    if label_selector:
        params["labelSelector"] = label_selector
    if field_selector:
        params["fieldSelector"] = field_selector
    while True:
        answer = await connection.request("GET", path, params=params, subject=subject)
        meta = answer["metadata"]
        yield Page(answer.get("items") or [], meta["resourceVersion"])
        if not meta.get("continue"):
            return
        params["continue"] = meta["continue"]
