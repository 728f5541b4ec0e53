"""The OpenAPI document is complete, and the checked-in file is up to date."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from carillon_api import schemas
from carillon_api.http.bodies import parse_body
from carillon_api.http.preconditions import if_match
from carillon_api.http.problems import RequestRefusedError
from carillon_api.http.public_paths import is_public
from carillon_api.openapi import document_text
from support.api import openapi_document

TEXTS = {
    "getExecutionLogs": "text/plain",
    "getMetrics": "text/plain",
    "getMetricsForPrometheus": "text/plain",
    "streamEvents": "text/event-stream",
}
"""Operations that respond with text, and its media type."""
CHECKED_IN = Path(__file__).parents[4] / "api" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document."""
    return openapi_document()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations by method and path."""
    return {f"{m.upper()} {p}": o for p, methods in document["paths"].items() for m, o in methods.items()}


def test_the_checked_in_document_is_the_generated_one() -> None:
    """Byte for byte; ``make manifests`` regenerates it."""
    assert CHECKED_IN.read_text(encoding="utf-8") == document_text()


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    """It has a summary, a unique ID and a model of its response."""
    names = set()
    for where, operation in operations(document).items():
        assert operation["summary"], where
        names.add(operation["operationId"])
        successes = {status: r for status, r in operation["responses"].items() if status.startswith("2")}
        assert successes, where
        for status, success in successes.items():
            if status == "204":
                assert "content" not in success, where
            elif operation["operationId"] in TEXTS:
                assert list(success["content"]) == [TEXTS[operation["operationId"]]], where
            else:
                assert "$ref" in success["content"]["application/json"]["schema"], where
    assert len(names) == len(operations(document))


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    """Every status has the same model and media type."""
    for where, operation in operations(document).items():
        errors = {s: r for s, r in operation["responses"].items() if s.startswith(("4", "5"))}
        for status, response in errors.items():
            assert list(response["content"]) == ["application/problem+json"], f"{where} {status}"
        path = where.partition(" ")[2]
        if path.startswith("/api/") and not is_public(path, metrics=True):
            assert {"422", "500", "503"} <= errors.keys(), where


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Swagger UI shows nothing for a schema that is not there."""
    kinds = ("schemas", "headers")
    defined = {f"#/components/{kind}/{name}" for kind in kinds for name in document["components"][kind]}
    found: set[str] = set()
    left: list[Any] = [document]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            if isinstance(item.get("$ref"), str):
                found.add(item["$ref"])
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
    assert found == defined


def test_the_spec_in_rest_is_the_custom_resources(document: dict[str, Any]) -> None:
    """Bodies and responses refer to the kind's own spec."""
    schemas = document["components"]["schemas"]
    for model in ("TaskCreate", "TaskReplace", "TaskView"):
        assert schemas[model]["properties"]["spec"]["$ref"] == "#/components/schemas/ScheduledTaskSpec"
    assert "intervalSeconds" in schemas["ScheduledTaskSpec"]["properties"]


def test_every_example_is_a_valid_body(document: dict[str, Any]) -> None:
    """The facade accepts what the documentation page offers to send."""
    seen = set()
    for operation in operations(document).values():
        for media_type in operation.get("requestBody", {}).get("content", {}).values():
            model = getattr(schemas, media_type["schema"]["$ref"].rpartition("/")[2])
            parse_body(model, json.dumps(media_type["example"]).encode())
            seen.add(operation["operationId"])
    assert {"createTask", "replaceTask", "patchTask", "createTarget"} <= seen


def test_every_example_of_a_response_fits_its_schema(document: dict[str, Any]) -> None:
    """It has every property that a response has, too."""
    seen = set()
    for operation in operations(document).values():
        content = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
        several = [each["value"] for each in content.get("examples", {}).values()]
        examples = [content["example"]] if "example" in content else several
        if not examples:
            continue
        rules = {**content["schema"], "components": document["components"]}
        model = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        optional = {"dryRun"} - set(model.get("required", ()))  # only the responses to dry runs have it
        for example in examples:
            jsonschema_rs.Draft202012Validator(rules, validate_formats=True).validate(example)
            assert example.keys() | optional == model["properties"].keys() | optional, operation["operationId"]
        seen.add(operation["operationId"])
    assert {"getTaskStatistics", "getCaller", "getTimeline", "getLoad", "suggestOffset", "listUpcoming"} <= seen
    assert {"explainTask", "listTaskRevisions"} <= seen


def test_every_operation_says_who_may_call(document: dict[str, Any]) -> None:
    """Probes need no credentials, /metrics may need them, and everything else does."""
    open_to_all = {where for where, o in operations(document).items() if o["security"] == []}
    optional = {where for where, o in operations(document).items() if {} in o["security"]}
    assert open_to_all == {"GET /healthz", "GET /readyz", "GET /api/v1/health"}
    assert optional == {"GET /metrics", "GET /api/v1/metrics/prometheus"}
    for where, operation in operations(document).items():
        assert where in open_to_all or {"bearer": []} in operation["security"], where
        assert any(status.startswith("4") for status in operation["responses"]), where


def test_the_document_says_where_and_under_which_licence(document: dict[str, Any]) -> None:
    """Every tag of an operation has a description, and every described tag is used."""
    assert document["servers"] == [{"url": "/", "description": "The server that serves this document."}]
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    used = {tag for operation in operations(document).values() for tag in operation["tags"]}
    assert {tag["name"] for tag in document["tags"]} == used
    assert all(tag["description"] for tag in document["tags"])


def test_no_description_is_fastapis_default(document: dict[str, Any]) -> None:
    """A response says what it holds."""
    for where, operation in operations(document).items():
        for response in operation["responses"].values():
            assert response["description"] != "Successful Response", where


def test_objects_with_properties_are_no_unions(document: dict[str, Any]) -> None:
    """Generators of clients lose the properties of a schema that has ``oneOf`` or ``anyOf`` beside them."""
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema:
            assert not {"oneOf", "anyOf"} & schema.keys(), name


def test_a_parameter_is_never_null(document: dict[str, Any]) -> None:
    """A URL cannot hold null."""
    for where, operation in operations(document).items():
        for parameter in operation.get("parameters", ()):
            assert {"type": "null"} not in parameter["schema"].get("anyOf", ()), f"{where} {parameter['name']}"


@pytest.mark.parametrize(
    ("header", "want_valid"),
    {
        "any version": ("*", True),
        "a tag": ('"4711"', True),
        "two tags": ('"4711", W/"b,c"', True),
        "a tag without quotes": ("4711", False),
        "nothing": ("", False),
        "commas alone": (",,", False),
        "an asterisk in a list": ('*, "a"', False),
        "no comma": ('"a" "b"', False),
        "a space in a tag": ('"a b"', False),
    }.values(),
)
def test_the_document_accepts_the_if_match_that_the_facade_accepts(
    document: dict[str, Any], header: str, *, want_valid: bool
) -> None:
    """Its pattern is what senders may write; the parser also accepts empty elements, see ``test_tasks``."""
    parameters = document["paths"]["/api/v1/namespaces/{namespace}/tasks/{name}"]["put"]["parameters"]
    pattern = next(p["schema"]["pattern"] for p in parameters if p["name"] == "If-Match")
    assert (re.search(pattern, header) is not None) is want_valid
    try:
        if_match(header)
    except RequestRefusedError:
        assert not want_valid
    else:
        assert want_valid


def test_times_of_responses_have_a_format(document: dict[str, Any]) -> None:
    """A generated client reads them as times, not as text."""
    view = document["components"]["schemas"]["RunView"]["properties"]
    assert view["slot"]["format"] == "date-time"
    assert view["createdAt"]["anyOf"][0]["format"] == "date-time"
