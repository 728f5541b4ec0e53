"""Simplifies pydantic's JSON schemas, for ``finish``. Pure."""

import re
from typing import Any

from carillon_core.ports import JSONObject

NUMBER = ({"type": "integer"}, {"type": "number"})
"""The alternatives of ``int | float``. Every integer is a number."""
NO_KEYWORDS = frozenset({"ge", "le"})
"""Keywords that pydantic leaves for bounds of such a union, beside ``minimum`` and ``maximum``."""


def plain(schema: JSONObject) -> JSONObject:
    """Return an equivalent schema without generated titles, unknown keywords and line breaks within paragraphs."""
    found: JSONObject = {key: _plain_value(key, value) for key, value in schema.items() if key not in NO_KEYWORDS}
    if found.get("type") == "number" and tuple(found.get("anyOf", ())) == NUMBER:
        del found["anyOf"]
    return found


def _plain_value(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: _untitled(name, plain(schema)) for name, schema in value.items()}
    if key == "patternProperties":
        return {pattern: plain(schema) for pattern, schema in value.items()}
    if key == "description":
        return unwrapped(value)
    if key in {"anyOf", "oneOf", "allOf"}:
        return [plain(schema) for schema in value]
    return plain(value) if key in {"items", "additionalProperties", "not"} and isinstance(value, dict) else value


def _untitled(name: str, schema: JSONObject) -> JSONObject:
    """Remove a title that pydantic generated from the name, such as ``Timezone`` for ``timeZone``."""
    invented = schema.get("title", "").replace(" ", "").lower() == name.replace("_", "").lower()
    return {key: value for key, value in schema.items() if key != "title" or not invented}


def unwrapped(text: str) -> str:
    """Return a docstring as Markdown: one line per paragraph, code in single backticks."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text).replace("``", "`")


def without_null(schema: JSONObject) -> JSONObject:
    """Return a schema that does not allow null."""
    others: list[JSONObject] = [found for found in schema.get("anyOf", ()) if found != {"type": "null"}]
    if len(others) != 1:
        return schema
    return {key: value for key, value in schema.items() if key != "anyOf"} | others[0]
