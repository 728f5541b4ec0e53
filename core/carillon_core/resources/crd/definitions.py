"""The CustomResourceDefinitions of the API group, derived from its pydantic models.

``python -m carillon_core.resources`` writes them to ``crds/``; a test compares
the checked-in files byte for byte. The models' constraints become the structural
schema. Rules that span fields are CEL rules in ``crd.rules``, and so are
patterns, because the schema's own message would be the regular expression.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carillon_core.resources import names
from carillon_core.resources.base import Model
from carillon_core.resources.crd.rules import RULES, cel_string, name_rule
from carillon_core.resources.http_target import HTTPTarget
from carillon_core.resources.run_request import RunRequest
from carillon_core.resources.scheduled_task import ScheduledTask
from carillon_core.resources.tasks import PATTERN_MESSAGES

JSONSchema = dict[str, Any]

_KEPT = ("type", "format", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems")
_KEPT_OF_MAPS = ("maxProperties",)

_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
TASK_COLUMNS: tuple[JSONSchema, ...] = (
    # kubectl prints the names in upper case
    {"name": "Schedule", "type": "string", "jsonPath": ".status.schedule"},
    {"name": "Time Zone", "type": "string", "jsonPath": ".spec.timeZone", "priority": 1},  # wide output only
    {"name": "Suspend", "type": "boolean", "jsonPath": ".spec.suspend"},
    {"name": "Active", "type": "integer", "jsonPath": ".status.active"},
    {"name": "Waiting", "type": "integer", "jsonPath": ".status.waiting", "priority": 1},
    {"name": "Last Run", "type": "date", "jsonPath": ".status.lastRunTime"},
    {"name": "Last Result", "type": "string", "jsonPath": ".status.lastResult"},
    {"name": "Duration", "type": "integer", "jsonPath": ".status.lastDurationSeconds", "priority": 1},
    {"name": "Failures", "type": "integer", "jsonPath": ".status.consecutiveFailures", "priority": 1},
    # a date column shows an age, and "<invalid>" for a time to come
    {"name": "Next Run", "type": "string", "jsonPath": ".status.nextScheduleTime"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].reason'},
    _AGE,
)
TARGET_COLUMNS: tuple[JSONSchema, ...] = (
    {"name": "URL", "type": "string", "jsonPath": ".spec.url"},
    {"name": "Method", "type": "string", "jsonPath": ".spec.method"},
    {"name": "Signed By", "type": "string", "jsonPath": ".spec.signing.secretKeyRefs[0].name"},
    _AGE,
)
REQUEST_COLUMNS: tuple[JSONSchema, ...] = (
    {"name": "Task", "type": "string", "jsonPath": ".spec.taskRef.name"},
    {"name": "At", "type": "string", "jsonPath": ".status.slot"},
    {"name": "Accepted", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Accepted")].status'},
    {"name": "Result", "type": "string", "jsonPath": ".status.result"},
    {"name": "Reason", "type": "string", "jsonPath": ".status.reason"},
    {"name": "Finished", "type": "date", "jsonPath": ".status.finishedAt"},
    {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},  # wide output only
    _AGE,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of the group, and the parts of its definition that its model does not have."""

    model: type[Model]
    plural: str
    columns: tuple[JSONSchema, ...]
    short_name: str
    has_status: bool = True
    names_jobs: bool = True
    """Whether Jobs are named after its objects, which limits the length of their names."""

    @property
    def name(self) -> str:
        """The kind."""
        return self.model.__name__

    @property
    def file_name(self) -> str:
        """The name of its file in ``crds/``."""
        return f"{names.GROUP}_{self.plural}.yaml"


SCHEDULED_TASK = Kind(ScheduledTask, names.PLURAL, TASK_COLUMNS, names.SHORT_NAME)
HTTP_TARGET = Kind(HTTPTarget, names.PLURAL_TARGETS, TARGET_COLUMNS, "httpt", has_status=False, names_jobs=False)
RUN_REQUEST = Kind(RunRequest, names.PLURAL_REQUESTS, REQUEST_COLUMNS, "runreq")
KINDS = (SCHEDULED_TASK, HTTP_TARGET, RUN_REQUEST)


def all_crds() -> list[dict[str, Any]]:
    """Return the definitions of all kinds, as plain JSON."""
    return [crd_of(kind) for kind in KINDS]


def crd_of(kind: Kind) -> dict[str, Any]:
    """Return a kind's CustomResourceDefinition (apiextensions.k8s.io/v1) as plain JSON, the same at every call."""
    version: dict[str, Any] = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema_of(kind)},
        "additionalPrinterColumns": [dict(column) for column in kind.columns],
    }
    if kind.has_status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short_name],
                "categories": [names.CATEGORY],
            },
            "versions": [version],
        },
    }


def schema_of(kind: Kind) -> JSONSchema:
    """Return the structural schema of a kind, CEL rules included."""
    model = kind.model.model_json_schema(by_alias=True, mode="validation")
    definitions = model.pop("$defs")
    properties = {
        "apiVersion": {"type": "string", "description": f"The API group and version, {names.API_VERSION}."},
        "kind": {"type": "string", "description": f"The kind, {kind.name}."},
        "metadata": {"type": "object"},  # the API server allows no description here
        "spec": _structural(model["properties"]["spec"], definitions, defaults=True),
    }
    if kind.has_status:
        # a default in the status would state an observation that was never made
        status = _structural(model["properties"]["status"], definitions, defaults=False)
        status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        properties["status"] = status
    schema: JSONSchema = {
        "type": "object",
        "description": _one_line(model["description"]),
        "required": ["spec"],
        "properties": properties,
    }
    if kind.names_jobs:
        schema["x-kubernetes-validations"] = [name_rule()]
    return schema


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, JSONSchema], *, defaults: bool) -> JSONSchema:
    """Return one of pydantic's JSON schemas in the subset that a CRD allows: no $ref, no null, no title."""
    schema = _resolved(schema, definitions)
    out: JSONSchema = {}
    if "description" in schema:
        out["description"] = _one_line(schema["description"])
    out |= {key: schema[key] for key in _KEPT if key in schema}
    if schema.get("type") == "integer":
        out["format"] = "int64"
    if defaults and schema.get("default") is not None:
        out["default"] = schema["default"]
    if "items" in schema:
        out["items"] = _structural(schema["items"], definitions, defaults=defaults)
    if "properties" in schema:
        if schema.get("required"):
            out["required"] = list(schema["required"])
        out["properties"] = {
            name: _structural(part, definitions, defaults=defaults) for name, part in schema["properties"].items()
        }
        rules = RULES.get(schema["title"], ())
        if rules:
            out["x-kubernetes-validations"] = [dict(rule) for rule in rules]
    elif schema.get("type") == "object":
        out |= _structural_map(schema, definitions)
    return out


def _structural_map(schema: Mapping[str, Any], definitions: Mapping[str, JSONSchema]) -> JSONSchema:
    """Return the part of a schema that describes a map: its size, its values and, by a CEL rule, its keys."""
    out: JSONSchema = {key: schema[key] for key in _KEPT_OF_MAPS if key in schema}
    if schema.get("additionalProperties") is True:
        out["x-kubernetes-preserve-unknown-fields"] = True
        return out
    if "additionalProperties" in schema:
        out["additionalProperties"] = _structural(schema["additionalProperties"], definitions, defaults=False)
        bounds = schema.get("propertyNames")
        if bounds:
            out["x-kubernetes-validations"] = [
                {
                    "rule": f"self.all(key, size(key) <= {bounds['maxLength']})",
                    "message": f"has a name that is too long: shorten it to {bounds['maxLength']} characters",
                }
            ]
        return out
    ((pattern, values),) = schema["patternProperties"].items()
    out["additionalProperties"] = _structural(values, definitions, defaults=False)
    bounds = schema["propertyNames"]
    low, high = bounds["minLength"], bounds["maxLength"]
    out["x-kubernetes-validations"] = [
        {
            "rule": f"self.all(key, size(key) >= {low} && size(key) <= {high} && key.matches({cel_string(pattern)}))",
            "message": PATTERN_MESSAGES[pattern].replace("is", "has", 1),
        }
    ]
    return out


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, JSONSchema]) -> JSONSchema:
    """Return a schema with its $ref followed and its ``anyOf`` with null reduced to the other arm.

    Keywords beside them (a description, a default) override their own.
    """
    merged = dict(schema)
    arms = [arm for arm in merged.pop("anyOf", ()) if arm.get("type") != "null"]
    if len(arms) == 1:
        merged = arms[0] | merged
    elif arms and "type" not in merged:
        msg = f"a CRD cannot express this union; give the field a type by json_schema_extra: {schema}"
        raise ValueError(msg)
    if "$ref" in merged:
        name = merged.pop("$ref").rpartition("/")[2]
        merged = _resolved(definitions[name] | merged, definitions)
    return merged


def _one_line(description: str) -> str:
    return " ".join(description.split()).replace("``", "")
