"""Cursors, bound to the filters that they came with: those of the history's lists; ``paging`` has the objects'.

The history's own cursor says where a page ended, not of which list; sent with
other filters it would skip or repeat rows without a word.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from carillon_core.errors import FieldProblem, InvalidResourceError

DIGEST_BYTES = 9
OTHER_LIST = "belongs to another list: send it with the very filters that it came with, or begin again without it"


def bound(cursor: str | None, filters: BaseModel, **more: Any) -> str | None:
    """Return the history's cursor as a caller gets it.

    Args:
        cursor: The history's; None if there is no further page.
        filters: The query; its limit and its cursor are no part of what the cursor is bound to.
        more: What else selects, such as the namespace of the path.

    """
    return None if cursor is None else digest(filters, more).hex() + cursor


def unbound(filters: BaseModel, cursor: str | None, **more: Any) -> str | None:
    """Return the history's cursor out of a caller's; None if there is none.

    Raises:
        InvalidResourceError: If it came with other filters, or is none of ours.

    """
    if cursor is None:
        return None
    mark = digest(filters, more).hex()
    if not cursor.startswith(mark):
        raise InvalidResourceError([FieldProblem("cursor", OTHER_LIST)])
    return cursor.removeprefix(mark)


def digest(filters: BaseModel, more: Mapping[str, Any]) -> bytes:
    """Return what a cursor is bound to: everything that selects; not how many there are on a page.

    The namespace is among ``more``: it is one list, whether the path names it or the query.
    """
    selecting = filters.model_dump(mode="json", exclude={"limit", "cursor", "namespace"})
    text = json.dumps([selecting, more], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]
