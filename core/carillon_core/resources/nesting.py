"""Fields with free-form content, their maximum size and nesting."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticSerializationError, to_json

MOST_LEVELS = 50
"""The maximum nesting of a free-form field; far below the limits of all programs that read it."""
MOST_NAMES = 256
MOST_BYTES = 64 * 1024
"""The maximum size of a free-form field as JSON, which no schema can express; as large as the body of an HTTP task."""


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
            return _small(given)
    msg = f"nests more than {MOST_LEVELS} levels deep: write it flatter, or as a string"
    raise ValueError(msg)


def _small(given: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(to_json(given))
    except PydanticSerializationError as error:
        msg = "contains an unpaired surrogate: write the whole character"
        raise ValueError(msg) from error
    if size > MOST_BYTES:
        msg = f"must not be larger than {MOST_BYTES} bytes as JSON (got {size}): pass a reference to the data instead"
        raise ValueError(msg)
    return given


FreeObject = Annotated[dict[str, Any], Field(max_length=MOST_NAMES), AfterValidator(_bounded)]
"""A free-form object of at most ``MOST_NAMES`` names, ``MOST_LEVELS`` levels and ``MOST_BYTES`` bytes."""
