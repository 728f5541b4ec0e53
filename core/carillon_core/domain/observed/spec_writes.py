"""Who wrote an object's spec last, and when, by its managed fields. Pure; ``ObservedTask`` calls it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_MANAGER = 128
"""The maximum length of a manager's name in Kubernetes."""
MOST_MANAGERS = 200
"""How many entries are looked at; an object normally has two or three."""


@dataclass(frozen=True, slots=True)
class SpecWrite:
    """The last write of a spec, as far as its object tells."""

    manager: str | None = None
    """The program that wrote it, such as ``kubectl-client-side-apply``; the writer chooses this name."""
    at: datetime | None = None
    """When it wrote a field of the spec or of the metadata last, to the second."""


UNKNOWN_WRITE = SpecWrite()


def spec_write(metadata: Mapping[str, Any]) -> SpecWrite:
    """Return the last write of a spec, from an object's ``metadata``; empty if it does not tell.

    An entry's time changes with each change of one of its fields. An entry that
    owns labels as well as the spec may therefore tell of a label's change.
    """
    last = UNKNOWN_WRITE
    entries = metadata.get("managedFields")
    for each in entries[:MOST_MANAGERS] if isinstance(entries, list) else ():
        if not isinstance(each, dict) or each.get("subresource") or not _owns_spec(each.get("fieldsV1")):
            continue
        at = _time(each.get("time"))
        if at is not None and (last.at is None or at >= last.at):
            last = SpecWrite(str(each.get("manager") or "")[:MAX_MANAGER] or None, at)
    return last


def _owns_spec(fields: Any) -> bool:
    return isinstance(fields, dict) and "f:spec" in fields


def _time(written: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(written)
    except (TypeError, ValueError):
        return None
    return None if at.tzinfo is None else at
