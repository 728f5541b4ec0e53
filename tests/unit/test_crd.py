"""The CRD says what the models say, in the subset of JSON schema that a CRD allows."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carillon_core.resources import ScheduledTaskSpec, ScheduledTaskStatus, names
from carillon_core.resources.__main__ import FILE_NAME, crd_yaml
from carillon_core.resources.crd import PRINTER_COLUMNS, scheduled_task_crd, scheduled_task_schema

CHECKED_IN = Path(__file__).parents[2] / "crds" / FILE_NAME
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


SCHEMAS = dict(walk(scheduled_task_schema()))


def test_checked_in_file_is_what_the_models_generate() -> None:
    """The file in crds/ is current, byte for byte; ``make manifests`` writes it."""
    assert CHECKED_IN.read_bytes() == crd_yaml().encode(), "run: python -m carillon_core.resources --output crds"


def test_generation_is_deterministic() -> None:
    """Two calls give equal objects that share no part."""
    first, second = scheduled_task_crd(), scheduled_task_crd()
    assert first == second
    first["spec"]["versions"][0]["additionalPrinterColumns"].clear()
    assert second == scheduled_task_crd()


def test_every_property_but_metadata_has_a_description_of_one_line() -> None:
    """``kubectl explain`` has something to say of every field."""
    fields = {p: s for p, s in SCHEMAS.items() if p != "metadata" and not p.endswith(("[]", "{}"))}
    assert not [p for p, s in fields.items() if not s.get("description")]
    assert not [p for p, s in fields.items() if "\n" in s["description"]]


def test_schema_is_structural() -> None:
    """Every part has one type, and nothing that the API server refuses in a CRD."""
    refused = {"$ref", "$defs", "title", "anyOf", "const", "patternProperties", "propertyNames"}
    for path, schema in SCHEMAS.items():
        assert isinstance(schema["type"], str), path
        assert not refused & schema.keys(), path
        assert not ("properties" in schema and "additionalProperties" in schema), path


def test_status_has_no_defaults() -> None:
    """Nobody has observed what a default would claim."""
    assert not [p for p, s in SCHEMAS.items() if p.startswith("status") and "default" in s]


@pytest.mark.parametrize(
    ("path", "want"),
    {
        "spec": {"required": ["task"]},
        "spec.schedule": {"type": "string", "minLength": 1, "maxLength": 256},
        "spec.timeZone": {"type": "string", "minLength": 1, "maxLength": 64},
        "spec.intervalSeconds": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 31622400},
        "spec.runAt": {"type": "string", "format": "date-time"},
        "spec.suspend": {"type": "boolean", "default": False},
        "spec.concurrencyPolicy": {"enum": ["Forbid", "Allow"], "default": "Forbid"},
        "spec.startingDeadlineSeconds": {"minimum": 1, "maximum": 31622400},
        "spec.timeoutSeconds": {"minimum": 1, "maximum": 604800, "default": 3600},
        "spec.task.sleep": {"required": ["durationSeconds"]},
        "spec.task.http.method": {"default": "GET"},
        "spec.task.http.headers": {"type": "object", "maxProperties": 64},
        "spec.task.http.headers{}": {"type": "string", "maxLength": 8192},
        "spec.task.http.expectedStatuses": {"maxItems": 64},
        "spec.task.http.expectedStatuses[]": {"type": "integer", "minimum": 100, "maximum": 599},
        "spec.task.sum.a": {"type": "number"},
        "status.conditions": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    }.items(),
)
def test_field_has_its_constraints(path: str, want: Schema) -> None:
    """A field carries what its model says."""
    assert SCHEMAS[path] | want == SCHEMAS[path]


def model_constraints(schema: Schema, definitions: dict[str, Schema]) -> Iterator[tuple[str, Any]]:
    """Yield every constraint that pydantic's schema of a model holds, wherever it stands."""
    for key, value in schema.items():
        if key in {"properties", "patternProperties"}:
            for part in value.values():
                yield from model_constraints(part, definitions)
        elif key == "$ref":
            yield from model_constraints(definitions[value.rpartition("/")[2]], definitions)
        elif key == "anyOf":
            for part in value:
                yield from model_constraints(part, definitions)
        elif key in {"items", "propertyNames"}:
            yield from model_constraints(value, definitions)
        elif key.startswith(("min", "max", "exclusive")) or key in {"pattern", "enum", "multipleOf"}:
            yield key, value


@pytest.mark.parametrize(
    ("model", "path"), [(ScheduledTaskSpec, "spec"), (ScheduledTaskStatus, "status")], ids=["spec", "status"]
)
def test_no_constraint_of_the_models_is_lost(model: type[ScheduledTaskSpec | ScheduledTaskStatus], path: str) -> None:
    """Every bound, pattern and enumeration of the models stands in the CRD, as often; those of map keys in a rule."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs")
    wanted = sorted(f"{k}={v}" for k, v in model_constraints(schema, definitions))
    found = sorted(
        f"{k}={v}"
        for p, s in SCHEMAS.items()
        if p.startswith(path)
        for k, v in s.items()
        if k.startswith(("min", "max")) or k in {"pattern", "enum"}
    )
    in_rules = ["maxLength=256", "minLength=1"] if path == "spec" else []
    assert sorted([*found, *in_rules]) == wanted


def test_names_are_those_of_the_api_group() -> None:
    """Short name, category, scope and the status subresource are there."""
    crd = scheduled_task_crd()
    assert crd["metadata"]["name"] == "scheduledtasks.carillon.dev"
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"]["shortNames"] == ["schtask"]
    assert crd["spec"]["names"]["categories"] == [names.CATEGORY]
    (version,) = crd["spec"]["versions"]
    assert version["subresources"] == {"status": {}}


def test_printer_columns_name_fields_that_exist() -> None:
    """Each column reads a field of the schema."""
    known = {*SCHEMAS, "metadata.creationTimestamp"}
    plain = [c["jsonPath"].lstrip(".") for c in PRINTER_COLUMNS if "[?" not in c["jsonPath"]]
    assert [p for p in plain if p not in known] == []
    assert [c["name"].upper() for c in PRINTER_COLUMNS] == [
        *("SCHEDULE", "SUSPEND", "ACTIVE", "LAST RUN", "LAST RESULT", "NEXT RUN", "READY", "AGE"),
    ]


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    """``make manifests`` writes what is checked in, byte for byte."""
    command = [sys.executable, "-m", "carillon_core.resources"]
    subprocess.run([*command, "--output", str(tmp_path / "made")], check=True)
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (written,) = (tmp_path / "made").iterdir()
    assert written.read_text() == printed == crd_yaml()
