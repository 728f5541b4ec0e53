"""Schemas are simplified, and mean the same."""

from typing import Any

import pytest

from carillon_api.openapi_document.plain_schemas import plain, unwrapped, without_null
from support.api import openapi_document

KEYWORDS = frozenset(
    [
        "$ref",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "default",
        "description",
        "discriminator",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "not",
        "oneOf",
        "pattern",
        "patternProperties",
        "properties",
        "propertyNames",
        "required",
        "title",
        "type",
        "uniqueItems",
    ]
)


def _keywords(schema: dict[str, Any]) -> set[str]:
    """Return the keywords of a schema and of those in it."""
    found = set(schema)
    for key, value in schema.items():
        if key in {"properties", "patternProperties"}:
            parts = list(value.values())
        elif key in {"anyOf", "oneOf", "allOf"}:
            parts = value
        else:
            parts = [value] if key in {"items", "additionalProperties", "not", "propertyNames"} else []
        for part in parts:
            found |= _keywords(part) if isinstance(part, dict) else set()
    return found


def test_schemas_have_only_keywords_of_json_schema() -> None:
    """Not ``ge`` and ``le``, which pydantic leaves on a bounded ``int | float``."""
    for name, schema in openapi_document()["components"]["schemas"].items():
        assert _keywords(schema) <= KEYWORDS, name


@pytest.mark.parametrize(
    ("schema", "want"),
    {
        "a bounded number": (
            {"type": "number", "anyOf": [{"type": "integer"}, {"type": "number"}], "ge": 1, "minimum": 1},
            {"type": "number", "minimum": 1},
        ),
        "an invented title": (
            {"properties": {"timeZone": {"type": "string", "title": "Timezone"}}},
            {"properties": {"timeZone": {"type": "string"}}},
        ),
        "a title that was written": (
            {"properties": {"zone": {"type": "string", "title": "IANA zone"}}},
            {"properties": {"zone": {"type": "string", "title": "IANA zone"}}},
        ),
        "a property named ge": ({"properties": {"ge": {"ge": 1}}}, {"properties": {"ge": {}}}),
        "items": ({"items": {"description": "one\ntwo"}}, {"items": {"description": "one two"}}),
        "additional properties": ({"additionalProperties": False}, {"additionalProperties": False}),
        "alternatives": ({"anyOf": [{"le": 1}, {"type": "null"}]}, {"anyOf": [{}, {"type": "null"}]}),
    }.values(),
)
def test_plain_keeps_the_meaning(schema: dict[str, Any], want: dict[str, Any]) -> None:
    """Simplifying twice changes nothing more."""
    assert plain(schema) == want
    assert plain(want) == want


def test_paragraphs_stay() -> None:
    """Only a line break within a paragraph is a space."""
    assert (
        unwrapped("A line\nthat goes on.\n\nAnother with ``code``.") == "A line that goes on.\n\nAnother with `code`."
    )


@pytest.mark.parametrize(
    ("schema", "want"),
    {
        "a string or null": (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "A"},
            {"type": "string", "title": "A"},
        ),
        "no union": ({"type": "string"}, {"type": "string"}),
        "two types": (
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
    }.values(),
)
def test_without_null(schema: dict[str, Any], want: dict[str, Any]) -> None:
    """One alternative that is left takes the place of the union."""
    assert without_null(schema) == want
