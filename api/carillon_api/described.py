"""The OpenAPI document: what FastAPI finds, plus what it cannot see. The routes and ``create_app`` use it.

The bodies are read by ``bodies.py``, not by FastAPI, and specs are answered as
they are stored, valid or not: here both are described by their models.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from carillon_api import schemas
from carillon_api.schema_rules import with_rules
from carillon_core.ports import JSONObject
from carillon_core.resources import ScheduledTaskSpec, ScheduledTaskStatus

REF = "#/components/schemas/{model}"
DESCRIBED: tuple[type[BaseModel], ...] = (
    ScheduledTaskSpec,
    ScheduledTaskStatus,
    schemas.TaskCreate,
    schemas.TaskReplace,
    schemas.TaskPatch,
    schemas.Problem,
)
"""Models that no route's signature shows to FastAPI."""
_ETAG_HEADER = {"ETag": {"description": "The task's version, for If-Match.", "schema": {"type": "string"}}}
_LOCATION_HEADER = {"Location": {"description": "Where the task is.", "schema": {"type": "string"}}}


class CarillonAPI(FastAPI):
    """A FastAPI app with the whole OpenAPI document."""

    def openapi(self) -> JSONObject:
        """Return the document; it is made once."""
        if not self.openapi_schema:
            self.openapi_schema = completed(super().openapi())
        return self.openapi_schema


def completed(document: JSONObject) -> JSONObject:
    """Return FastAPI's document with the schemas that it cannot see."""
    _, described = models_json_schema([(model, "validation") for model in DESCRIBED], ref_template=REF)
    known = document.setdefault("components", {}).setdefault("schemas", {})
    known.update(described["$defs"])
    view = known["TaskView"]["properties"]
    for field, model in (("spec", ScheduledTaskSpec), ("status", ScheduledTaskStatus)):
        view[field] = {"$ref": REF.format(model=model.__name__), "description": view[field]["description"]}
    document["components"]["schemas"] = dict(sorted(with_rules(known).items()))
    return document


def body_of(model: type[BaseModel], example: JSONObject, *media_types: str) -> JSONObject:
    """Return what OpenAPI says of an operation whose JSON body is that model.

    Args:
        model: The body's model.
        example: A sound body; the one that a page would make up from the schema names every schedule and task at once.
        media_types: What is accepted besides ``application/json``.

    """
    content = {"schema": {"$ref": REF.format(model=model.__name__)}, "example": example}
    return {"requestBody": {"required": True, "content": dict.fromkeys(("application/json", *media_types), content)}}


def versioned(description: str) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer of 200 with an ETag."""
    return {200: {"description": description, "headers": _ETAG_HEADER}}


def created() -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer of 201."""
    return {201: {"description": "The task as stored", "headers": _ETAG_HEADER | _LOCATION_HEADER}}
