"""The CustomResourceDefinition of ScheduledTask, derived from its pydantic models.

``python -m carillon_core.resources`` writes it to ``crds/``; a test holds the
checked-in file to it byte for byte. What a structural schema can refuse, the
models' own constraints refuse; what spans fields is a CEL rule here, whose
message tells the mend, as the models' validators do.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from carillon_core.resources import names
from carillon_core.resources.scheduled_task import SCHEDULE_FIELDS, ScheduledTask
from carillon_core.resources.tasks import TASK_TYPES

JSONSchema = dict[str, Any]

_KEPT = ("type", "format", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "maxItems")
_KEPT_OF_MAPS = ("maxProperties",)

PRINTER_COLUMNS: tuple[JSONSchema, ...] = (
    # kubectl prints the names in upper case
    {"name": "Schedule", "type": "string", "jsonPath": ".status.schedule"},
    {"name": "Suspend", "type": "boolean", "jsonPath": ".spec.suspend"},
    {"name": "Active", "type": "integer", "jsonPath": ".status.active"},
    {"name": "Last Run", "type": "date", "jsonPath": ".status.lastScheduleTime"},
    {"name": "Last Result", "type": "string", "jsonPath": ".status.lastResult"},
    # a date column shows an age, and "<invalid>" for a time to come
    {"name": "Next Run", "type": "string", "jsonPath": ".status.nextScheduleTime"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
)


def scheduled_task_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition (apiextensions.k8s.io/v1) as plain JSON, the same at every call."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": [names.CATEGORY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": scheduled_task_schema()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [dict(column) for column in PRINTER_COLUMNS],
                }
            ],
        },
    }


def scheduled_task_schema() -> JSONSchema:
    """Return the structural schema of a ScheduledTask, CEL rules included."""
    model = ScheduledTask.model_json_schema(by_alias=True, mode="validation")
    definitions = model.pop("$defs")
    spec = _structural(definitions["ScheduledTaskSpec"], definitions, defaults=True)
    # a default in the status would claim to have observed what nobody has
    status = _structural(definitions["ScheduledTaskStatus"], definitions, defaults=False)
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    spec["x-kubernetes-validations"] = _spec_rules()
    task = spec["properties"]["task"]
    task["x-kubernetes-validations"] = _task_rules()
    http = task["properties"]["http"]["properties"]
    http["url"]["x-kubernetes-validations"] = [_url_rule(http["url"]["pattern"])]
    return {
        "type": "object",
        "description": _one_line(model["description"]),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The API group and version, carillon.dev/v1alpha1."},
            "kind": {"type": "string", "description": "The kind, ScheduledTask."},
            "metadata": {"type": "object"},  # the API server allows no description of it
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-validations": [_name_rule()],
    }


def _structural(schema: Mapping[str, Any], definitions: Mapping[str, JSONSchema], *, defaults: bool) -> JSONSchema:
    """Return a JSON schema of pydantic's in the subset that a CRD allows: no $ref, no null, no title."""
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
    elif schema.get("type") == "object":
        out |= _structural_map(schema, definitions)
    return out


def _structural_map(schema: Mapping[str, Any], definitions: Mapping[str, JSONSchema]) -> JSONSchema:
    """Return the part of a schema that tells of a map: its size, its values, and by a CEL rule its keys."""
    out: JSONSchema = {key: schema[key] for key in _KEPT_OF_MAPS if key in schema}
    patterns: Mapping[str, JSONSchema] = schema.get("patternProperties", {})
    if not patterns:
        out["additionalProperties"] = _structural(schema["additionalProperties"], definitions, defaults=False)
        return out
    ((pattern, values),) = patterns.items()
    out["additionalProperties"] = _structural(values, definitions, defaults=False)
    bounds = schema.get("propertyNames", {})
    low, high = bounds.get("minLength", 0), bounds["maxLength"]
    out["x-kubernetes-validations"] = [
        {
            "rule": f"self.all(key, size(key) >= {low} && size(key) <= {high} && key.matches({_cel_string(pattern)}))",
            "message": (
                f"has a name that HTTP does not allow: use {low} to {high} letters, digits and !#$%&'*+-.^_`|~, "
                "without spaces or a colon"
            ),
        }
    ]
    return out


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, JSONSchema]) -> JSONSchema:
    """Return a schema with its $ref followed and its ``anyOf`` with null reduced to the other arm.

    What stands beside them (a description, a default) wins over what they bring.
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


def _cel_string(text: str) -> str:
    """Return ``text`` as a CEL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _count(fields: Iterable[str]) -> str:
    """Return a CEL expression for how many of those fields are set."""
    return " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)


def _listing(fields: Sequence[str], separator: str) -> str:
    """Return a CEL expression for the names of those fields that are set.

    Of literals alone: the API server bounds the cost of a message before it
    runs, and finds no bound for ``join()`` and ``string()``.
    """
    parts = []
    for number, field in enumerate(fields):
        before = " || ".join(f"has(self.{earlier})" for earlier in fields[:number])
        lead = f"({before} ? '{separator}' : '') + " if before else ""
        parts.append(f"(has(self.{field}) ? {lead}'{field}' : '')")
    return " + ".join(parts)


def _spec_rules() -> list[JSONSchema]:
    return [
        {
            "rule": " || ".join(f"has(self.{field})" for field in SCHEDULE_FIELDS),
            "reason": "FieldValueRequired",
            "message": f"says no time to run: add exactly one of {', '.join(SCHEDULE_FIELDS)}",
        },
        {
            "rule": f"{_count(SCHEDULE_FIELDS)} <= 1",
            "reason": "FieldValueForbidden",
            "message": f"has more than one of {', '.join(SCHEDULE_FIELDS)}: keep exactly one of them",
            "messageExpression": f"'has ' + {_listing(SCHEDULE_FIELDS, ' and ')} + ': keep exactly one of them'",
        },
        {
            "rule": "!has(self.timeZone) || has(self.schedule)",
            "fieldPath": ".timeZone",
            "reason": "FieldValueForbidden",
            "message": "is set without a schedule: a time zone only applies to schedule, remove it",
        },
    ]


def _task_rules() -> list[JSONSchema]:
    listed = ", ".join(TASK_TYPES)
    return [
        {
            "rule": " || ".join(f"has(self.{name})" for name in TASK_TYPES),
            "reason": "FieldValueRequired",
            "message": f"has no task type: add exactly one of {listed}",
        },
        {
            "rule": f"{_count(TASK_TYPES)} <= 1",
            "reason": "FieldValueForbidden",
            "message": f"has more than one of the task types {listed}: keep exactly one",
            "messageExpression": f"'has the task types ' + {_listing(TASK_TYPES, ' and ')} + ': keep exactly one'",
        },
    ]


def _url_rule(pattern: str) -> JSONSchema:
    return {
        "rule": f"self.matches({_cel_string(pattern)})",
        # the pattern's own message is the pattern, which tells nobody the mend
        "message": "must be an absolute URL that begins with http:// or https:// and names a host",
    }


def _name_rule() -> JSONSchema:
    limit = names.MAX_NAME_LENGTH
    return {
        "rule": f"size(self.metadata.name) <= {limit}",
        "message": (
            f"metadata.name is over {limit} characters long: shorten it to {limit}, so that a Job's name (63 at most) "
            "can carry the slot's time"
        ),
    }
