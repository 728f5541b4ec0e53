"""Fields with free-form content, and their maximum nesting."""

from typing import Annotated, Any

from pydantic import AfterValidator

MOST_LEVELS = 50
"""The maximum nesting of a free-form field; far below the limits of all programs that read it."""


def _bounded(given: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [given]
    for _ in range(MOST_LEVELS):
        level = [
            part
            for each in level
            for part in (each.values() if isinstance(each, dict) else each)
            if isinstance(part, dict | list)
        ]
        if not level:
            return given
    msg = f"nests more than {MOST_LEVELS} levels deep: write it flatter, or as a text"
    raise ValueError(msg)


FreeObject = Annotated[dict[str, Any], AfterValidator(_bounded)]
"""A free-form object of at most ``MOST_LEVELS`` levels."""
