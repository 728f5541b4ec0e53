"""Fields of any content, and how deep it may nest."""

from typing import Annotated, Any

from pydantic import AfterValidator

MOST_LEVELS = 50
"""Of what a free field holds; far below what any program that passes it on can read."""


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
"""An object of any content, of at most ``MOST_LEVELS`` levels."""
