"""Rules that involve several fields: the OpenAPI document and the facade agree."""

import json
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from carillon_api.http.bodies import parse_body
from carillon_api.schemas import TaskCreate
from carillon_core.errors import InvalidResourceError
from support.api import openapi_document

SUM: dict[str, Any] = {"sum": {"a": 1, "b": 2}}


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    schemas = openapi_document()["components"]["schemas"]
    return jsonschema_rs.Draft202012Validator(
        {"$ref": "#/components/schemas/TaskCreate", "components": {"schemas": schemas}}
    )


@pytest.mark.parametrize(
    ("spec", "want_valid"),
    {
        "one schedule, one task": ({"schedule": "@daily", "task": SUM}, True),
        "the others null": ({"schedule": "@daily", "runAt": None, "intervalSeconds": None, "task": SUM}, True),
        "no schedule": ({"task": SUM}, False),
        "a schedule that is null": ({"schedule": None, "task": SUM}, False),
        "two schedules": ({"schedule": "@daily", "intervalSeconds": 60, "task": SUM}, False),
        "no task": ({"schedule": "@daily"}, False),
        "no task type": ({"schedule": "@daily", "task": {}}, False),
        "two task types": ({"schedule": "@daily", "task": {**SUM, "sleep": {"durationSeconds": 1}}}, False),
        "a URL": ({"schedule": "@daily", "task": {"http": {"url": "https://example.com/"}}}, True),
        "a target": ({"schedule": "@daily", "task": {"http": {"targetRef": {"name": "t"}}}}, True),
        "neither": ({"schedule": "@daily", "task": {"http": {}}}, False),
        "both": ({"schedule": "@daily", "task": {"http": {"url": "http://a/", "targetRef": {"name": "t"}}}}, False),
        "an unknown field": ({"schedule": "@daily", "task": SUM, "scedule": 1}, False),
    }.values(),
    ids=lambda value: json.dumps(value)[:60],
)
def test_the_document_accepts_what_the_facade_accepts(spec: dict[str, Any], *, want_valid: bool) -> None:
    """The schema and the parser of bodies give the same verdict."""
    body = {"name": "nightly", "spec": spec}
    assert _validator().is_valid(body) is want_valid
    try:
        parse_body(TaskCreate, json.dumps(body).encode())
    except InvalidResourceError:
        assert not want_valid
    else:
        assert want_valid
