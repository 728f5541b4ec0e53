"""Copies of objects: what a memory adapter stores is never what a caller holds, as with an API server."""

from typing import Any, TypeVar

V = TypeVar("V")


def copied(value: V) -> V:
    """Return a deep copy of a value of JSON, in a fraction of the time of ``copy.deepcopy``."""
    return _copied(value)  # type: ignore[no-any-return]  # a copy has the type of its original


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_copied(part) for part in value]
    return value
