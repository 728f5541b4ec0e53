"""Cursors of the history's lists, each bound to its filters; ``paging`` has the cursors of lists of objects.

The history's own cursor encodes where a page ended, but not of which list;
with other filters it would silently skip or repeat rows.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from carillon_core.errors import FieldProblem, InvalidResourceError

DIGEST_BYTES = 9
OTHER_LIST = "belongs to a list with other filters: send it with the same filters, or start again without a cursor"


def bound(cursor: str | None, filters: BaseModel, **more: Any) -> str | None:
    """Return the cursor that a caller gets for a cursor of the history.

    Args:
        cursor: The history's; None if there is no further page.
        filters: The query; the cursor is bound to all of it except limit and cursor.
        more: Additional filters, such as the namespace in the path.

    """
    return None if cursor is None else digest(filters, more).hex() + cursor


def unbound(filters: BaseModel, cursor: str | None, **more: Any) -> str | None:
    """Return the history's cursor for a caller's cursor; None if there is none.

    Raises:
        InvalidResourceError: If it belongs to other filters, or is not one of our cursors.

    """
    if cursor is None:
        return None
    mark = digest(filters, more).hex()
    if not cursor.startswith(mark):
        raise InvalidResourceError([FieldProblem("cursor", OTHER_LIST)])
    return cursor.removeprefix(mark)


def digest(filters: BaseModel, more: Mapping[str, Any]) -> bytes:
    """Return a digest of all filters, without the size of a page.

    The namespace is part of ``more``: it is the same list whether the path or the query names it.
    """
    selecting = filters.model_dump(mode="json", exclude={"limit", "cursor", "namespace"})
    text = json.dumps([selecting, more], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]
