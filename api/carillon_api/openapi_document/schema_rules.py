"""Rules that the models check in code and that a JSON schema can express. ``described`` adds them. Pure."""

from collections.abc import Mapping

from carillon_core.ports import JSONObject
from carillon_core.resources.scheduled_task import SCHEDULE_FIELDS
from carillon_core.resources.tasks import TASK_TYPES

EXACTLY_ONE: Mapping[str, tuple[str, ...]] = {
    "ScheduledTaskSpec": SCHEDULE_FIELDS,
    "Task": TASK_TYPES,
    "HTTPTask": ("url", "targetRef"),
    "TargetHeader": ("value", "secretKeyRef"),
    "RunRequestSpec": ("taskRef", "task"),
}
"""The fields of a model of which exactly one must be set, and not to null."""


def with_rules(schemas: JSONObject) -> JSONObject:
    """Return the schemas of a document, by name, with the rules that involve several fields."""
    return {name: _ruled(schema, EXACTLY_ONE.get(name, ())) for name, schema in schemas.items()}


def _ruled(schema: JSONObject, fields: tuple[str, ...]) -> JSONObject:
    """Return a schema of which exactly one field is set.

    The alternatives are within ``allOf``: generators of clients take a schema with ``oneOf`` beside ``properties``
    for a union, and lose the properties.
    """
    if not fields:
        return schema
    alternatives = [
        {"title": f"with {field}", "required": [field], "properties": {field: {"not": {"type": "null"}}}}
        for field in fields
    ]
    return {**schema, "allOf": [{"oneOf": alternatives}]}
