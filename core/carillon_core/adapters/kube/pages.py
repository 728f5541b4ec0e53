"""Paged lists, so that a namespace of many thousand objects is never one response. For the stores and the watch.

A page is bounded in bytes too: a large one would hold the loop while it is
decoded, and fill the memory. The size of one page says how many objects the
next may have.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from carillon_core.adapters.kube.connection import KubeConnection
from carillon_core.domain.access.subjects import Subject
from carillon_core.errors import TooLargeError
from carillon_core.ports import MOST_PAGE_BYTES, JSONObject

PAGE_SIZE = 500
FIRST_PAGE = 50
PAGE_BYTES = 256 * 1024
"""What a page aims at: decoding it takes a few milliseconds, in which nothing else happens."""
GROWTH = 4
"""By what a page may have more objects than the one before, which may have had small ones by chance."""
FEWER = 8
"""By what the number of objects is divided when they are too large together."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    items: list[JSONObject]
    resource_version: str
    """The list's version, the same on each page; a watch continues from it."""
    size: int
    """How many bytes of JSON it is."""


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
        TooLargeError: One object alone is larger than a page may be.

    """
    params = {}
    if label_selector:
        params["labelSelector"] = label_selector
    if field_selector:
        params["fieldSelector"] = field_selector
    limit = min(FIRST_PAGE, PAGE_SIZE)
    while True:
        params["limit"] = str(limit)
        try:
            answer, size = await connection.part(path, params, subject, MOST_PAGE_BYTES, metadata_only=metadata_only)
        except TooLargeError:
            if limit == 1:
                raise
            limit = max(1, limit // FEWER)
            continue
        meta, items = answer["metadata"], answer.get("items") or []
        yield Page(items, meta["resourceVersion"], size)
        if not meta.get("continue"):
            return
        params["continue"] = meta["continue"]
        limit = max(1, min(PAGE_SIZE, limit * GROWTH, len(items) * PAGE_BYTES // size))
