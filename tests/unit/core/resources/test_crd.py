"""The CRDs agree with the models, in the subset of JSON schema that a CRD allows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carillon_core.resources import names
from carillon_core.resources.__main__ import crd_yaml
from carillon_core.resources.base import Model
from carillon_core.resources.crd.definitions import KINDS, RUN_REQUEST, SCHEDULED_TASK, Kind, crd_of, schema_of
from carillon_core.resources.crd.rules import RULES

CHECKED_IN = Path(__file__).parents[4] / "crds"
Schema = dict[str, Any]


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every schema under this one with its path, ``spec.task.http.headers{}``."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from walk(part, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


SCHEMAS = {kind.name: dict(walk(schema_of(kind))) for kind in KINDS}
every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@every_kind
def test_checked_in_file_is_what_the_models_generate(kind: Kind) -> None:
    """The file in crds/ is up to date, byte for byte; ``make manifests`` writes it."""
    found = (CHECKED_IN / kind.file_name).read_bytes()
    assert found == crd_yaml(kind).encode(), "run: python -m carillon_core.resources --output crds"


def test_nothing_else_is_checked_in() -> None:
    """``kubectl apply -f crds/`` installs only the generated files."""
    assert {path.name for path in CHECKED_IN.iterdir()} == {kind.file_name for kind in KINDS}


@every_kind
def test_generation_is_deterministic(kind: Kind) -> None:
    """Two calls return equal objects that share no parts."""
    first, second = crd_of(kind), crd_of(kind)
    assert first == second
    first["spec"]["versions"][0]["additionalPrinterColumns"].clear()
    for rule in first["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].get(
        "x-kubernetes-validations", ()
    ):
        rule.clear()
    assert second == crd_of(kind)


@every_kind
def test_every_property_but_metadata_has_a_description_of_one_line(kind: Kind) -> None:
    """``kubectl explain`` describes every field."""
    fields = {p: s for p, s in SCHEMAS[kind.name].items() if p != "metadata" and not p.endswith(("[]", "{}"))}
    assert not [p for p, s in fields.items() if not s.get("description")]
    assert not [p for p, s in fields.items() if "\n" in s["description"]]


@every_kind
def test_schema_is_structural(kind: Kind) -> None:
    """Every part has one type, and no keyword that the API server rejects in a CRD."""
    refused = {"$ref", "$defs", "title", "anyOf", "const", "patternProperties", "propertyNames"}
    for path, schema in SCHEMAS[kind.name].items():
        assert isinstance(schema["type"], str), path
        assert not refused & schema.keys(), path
        assert not ("properties" in schema and "additionalProperties" in schema), path


@every_kind
def test_status_has_no_defaults(kind: Kind) -> None:
    """A default would state an observation that was not made."""
    assert not [p for p, s in SCHEMAS[kind.name].items() if p.startswith("status") and "default" in s]


@pytest.mark.parametrize(
    ("path", "want"),
    {
        "spec": {"required": ["task"]},
        "spec.schedule": {"type": "string", "minLength": 1, "maxLength": 256},
        "spec.timeZone": {"type": "string", "minLength": 1, "maxLength": 64},
        "spec.intervalSeconds": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 31622400},
        "spec.runAt": {"type": "string", "format": "date-time"},
        "spec.suspend": {"type": "boolean", "default": False},
        "spec.concurrencyPolicy": {"enum": ["Forbid", "Allow", "Replace"], "default": "Forbid"},
        "spec.startingDeadlineSeconds": {"minimum": 1, "maximum": 31622400},
        "spec.timeoutSeconds": {"minimum": 1, "maximum": 604800},
        "spec.task.sleep": {"required": ["durationSeconds"]},
        "spec.retry.jitter": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.1},
        "spec.retry.factor": {"type": "number", "minimum": 1, "maximum": 10, "default": 2},
        "spec.task.container.env": {"type": "array", "maxItems": 128},
        "spec.task.plugin.parameters": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "spec.task.http.headers": {"type": "object", "maxProperties": 64},
        "spec.task.http.headers{}": {"type": "string", "maxLength": 8192},
        "spec.task.http.expectedStatuses": {"maxItems": 64},
        "spec.task.http.expectedStatuses[]": {"type": "integer", "minimum": 100, "maximum": 599},
        "spec.task.sum.a": {"type": "number"},
        "status.conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    }.items(),
)
def test_field_has_its_constraints(path: str, want: Schema) -> None:
    """A field has the constraints of its model."""
    found = SCHEMAS["ScheduledTask"][path]
    assert found | want == found


@pytest.mark.parametrize(
    ("kind", "path", "want"),
    [
        ("HTTPTarget", "spec.method", {"default": "GET"}),
        ("HTTPTarget", "spec.signing.secretKeyRefs", {"minItems": 1, "maxItems": 2}),
        ("RunRequest", "spec.parameters", {"x-kubernetes-preserve-unknown-fields": True}),
        ("RunRequest", "spec.ttlSecondsAfterFinished", {"default": 3600}),
        ("RunRequest", "spec.runAt", {"format": "date-time"}),
    ],
)
def test_field_of_the_other_kinds_has_its_constraints(kind: str, path: str, want: Schema) -> None:
    """A field has the constraints of its model."""
    found = SCHEMAS[kind][path]
    assert found | want == found


def model_constraints(schema: Schema, definitions: dict[str, Schema]) -> Iterator[tuple[str, Any]]:
    """Yield every constraint in pydantic's schema of a model, at any depth."""
    for key, value in schema.items():
        if key in {"properties", "patternProperties"}:
            for part in value.values():
                yield from model_constraints(part, definitions)
        elif key == "$ref":
            yield from model_constraints(definitions[value.rpartition("/")[2]], definitions)
        elif key == "anyOf":
            for part in value:
                yield from model_constraints(part, definitions)
        elif key in {"items", "propertyNames", "additionalProperties"} and isinstance(value, dict):
            yield from model_constraints(value, definitions)
        elif key.startswith(("min", "max", "exclusive")) or key in {"pattern", "enum", "multipleOf"}:
            yield key, value


@pytest.mark.parametrize(
    ("kind", "part"),
    [(kind, part) for kind in KINDS for part in ("spec", "status") if part in kind.model.model_fields],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_no_constraint_of_the_models_is_lost(kind: Kind, part: str) -> None:
    """Every bound, pattern and enumeration of the models is in the CRD, as often; those of map keys are in a rule."""
    model = kind.model.model_fields[part].annotation
    assert isinstance(model, type)
    assert issubclass(model, Model)
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs")
    wanted = sorted(f"{k}={v}" for k, v in model_constraints(schema, definitions))
    schemas = {p: s for p, s in SCHEMAS[kind.name].items() if p.startswith(part)}
    found = [
        f"{k}={v}"
        for s in schemas.values()
        for k, v in s.items()
        if k.startswith(("min", "max")) or k in {"pattern", "enum"}
    ]
    rules = [rule["rule"] for s in schemas.values() for rule in s.get("x-kubernetes-validations", ())]
    for rule in rules:
        low, high = re.search(r"size\(key\) >= (\d+)", rule), re.search(r"size\(key\) <= (\d+)", rule)
        found += [f"minLength={low[1]}"] if low else []
        found += [f"maxLength={high[1]}"] if high else []
    assert sorted(found) == wanted


def test_every_rule_stands_in_a_crd() -> None:
    """A rule of a renamed model would be lost."""
    standing = {
        rule["rule"]
        for schemas in SCHEMAS.values()
        for schema in schemas.values()
        for rule in schema.get("x-kubernetes-validations", ())
    }
    assert {rule["rule"] for rules in RULES.values() for rule in rules} <= standing


@every_kind
def test_names_are_those_of_the_api_group(kind: Kind) -> None:
    """The definition also has the category, the scope and the singular."""
    crd = crd_of(kind)
    assert crd["metadata"]["name"] == f"{kind.plural}.carillon.dev"
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"]["singular"] == kind.name.lower()
    assert crd["spec"]["names"]["categories"] == [names.CATEGORY]
    (version,) = crd["spec"]["versions"]
    assert version.get("subresources") == ({"status": {}} if kind.has_status else None)


def test_short_names_differ() -> None:
    """Equal short names would hide a kind."""
    assert [crd_of(kind)["spec"]["names"]["shortNames"] for kind in KINDS] == [["schtask"], ["httpt"], ["runreq"]]


@every_kind
def test_printer_columns_name_fields_that_exist(kind: Kind) -> None:
    """Each column reads a field of the schema."""
    known = {*SCHEMAS[kind.name], "metadata.creationTimestamp"}
    plain = [c["jsonPath"].lstrip(".").replace("[0]", "[]") for c in kind.columns if "[?" not in c["jsonPath"]]
    assert [p for p in plain if p not in known] == []


def columns(kind: Kind, *, wide: bool) -> list[str]:
    """Return the names of the columns as kubectl prints them."""
    return [c["name"].upper() for c in kind.columns if bool(c.get("priority")) is wide]


def test_a_tasks_columns_answer_the_questions() -> None:
    """They show whether it ran, why not, and when it runs next; ``-o wide`` shows more."""
    assert columns(SCHEDULED_TASK, wide=False) == [
        *("SCHEDULE", "SUSPEND", "ACTIVE", "LAST RUN", "LAST RESULT", "NEXT RUN", "READY", "REASON", "AGE"),
    ]
    assert columns(SCHEDULED_TASK, wide=True) == ["TIME ZONE", "WAITING", "DURATION", "FAILURES"]


def test_a_requests_columns_say_how_it_stands_and_why() -> None:
    """REASON and MESSAGE are those of its present state, until its end."""
    assert columns(RUN_REQUEST, wide=False) == ["TASK", "AT", "ACCEPTED", "RESULT", "REASON", "FINISHED", "AGE"]
    assert columns(RUN_REQUEST, wide=True) == ["MESSAGE"]
