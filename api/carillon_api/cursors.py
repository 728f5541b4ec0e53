"""Cursors of lists of the history, bound to the filters that they came with. The routes of executions use it.

The history's own cursor says where a page ended, not of which list; sent with
other filters it would skip or repeat rows without a word.
"""

import hashlib
import json
from typing import Any

from pydantic import BaseModel

from carillon_core.errors import FieldProblem, InvalidResourceError

_DIGEST_LENGTH = 12


def bound(cursor: str | None, filters: BaseModel, **more: Any) -> str | None:
    """Return the history's cursor as a caller gets it.

    Args:
        cursor: The history's; None if there is no further page.
        filters: The query; its limit and its cursor are no part of what the cursor is bound to.
        more: What else selects, such as the namespace of the path.

    """
    return None if cursor is None else _digest(filters, more) + cursor


def unbound(filters: BaseModel, cursor: str | None, **more: Any) -> str | None:
    """Return the history's cursor out of a caller's; None if there is none.

    Raises:
        InvalidResourceError: If it came with other filters, or is none of ours.

    """
    if cursor is None:
        return None
    if not cursor.startswith(_digest(filters, more)):
        mend = "send it with the very filters that it came with, or begin again without it"
        raise InvalidResourceError([FieldProblem("cursor", f"belongs to another list: {mend}")])
    return cursor[_DIGEST_LENGTH:]


def _digest(filters: BaseModel, more: dict[str, Any]) -> str:
    selecting = filters.model_dump(mode="json", exclude={"limit", "cursor"})
    text = json.dumps([selecting, more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
