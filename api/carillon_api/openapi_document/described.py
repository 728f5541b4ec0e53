"""The OpenAPI document: what FastAPI finds, plus what it cannot see. The routes and ``create_app`` use it.

The bodies are read by ``bodies.py``, not by FastAPI, and specs are answered as
they are stored, valid or not: here both are described by their models.
"""

from functools import cached_property
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from carillon_api import schemas
from carillon_api.http.headers import API_KEY_HEADER, IDEMPOTENCY_KEY, IF_NONE_MATCH, REPLAYED
from carillon_api.http.operations import Operations
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.http.public_paths import is_public
from carillon_api.openapi_document.schema_rules import with_rules
from carillon_core.ports import JSONObject
from carillon_core.resources import ScheduledTaskSpec, ScheduledTaskStatus
from carillon_core.resources.http_target import HTTPTargetSpec
from carillon_core.resources.run_request import RunRequestSpec

REF = "#/components/schemas/{model}"
DESCRIBED: tuple[type[BaseModel], ...] = (
    ScheduledTaskSpec,
    ScheduledTaskStatus,
    HTTPTargetSpec,
    RunRequestSpec,
    schemas.TaskCreate,
    schemas.TaskReplace,
    schemas.TaskPatch,
    schemas.RetryBody,
    schemas.TargetCreate,
    schemas.TargetReplace,
    schemas.TargetPatch,
    schemas.TaskRun,
    schemas.RunTask,
    schemas.PreviewBody,
    schemas.Problem,
)
"""Models that no route's signature shows to FastAPI."""
STORED: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("TaskView", "spec", ScheduledTaskSpec),
    ("TaskView", "status", ScheduledTaskStatus),
    ("TargetView", "spec", HTTPTargetSpec),
    ("RunView", "spec", RunRequestSpec),
    ("PreviewBody", "spec", ScheduledTaskSpec),
)
"""What may be invalid, by its model and its field: and what it is if it is valid."""
_ETAG_HEADER = {"ETag": {"description": "Its version, for If-Match.", "schema": {"type": "string"}}}
_LOCATION_HEADER = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}

LIMIT_HEADERS: JSONObject = {
    "RateLimit-Policy": {
        "description": 'How often one caller may call: `"default";q=…;w=…`, so many requests in so many seconds.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What is left of it: `"default";r=…;t=…`, so many requests; in so many seconds all are back.',
        "schema": {"type": "string"},
    },
}
"""As the IETF's draft of RateLimit header fields has them."""

SECURITY_SCHEMES: JSONObject = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token that the cluster knows: `kubectl create token NAME` makes one.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY_HEADER,
        "description": "An API key of Carillon: `carillon api-key create` makes one.",
    },
}
"""How a caller may say who it is; every request is then made as that user of the cluster."""


class CarillonAPI(FastAPI):
    """A FastAPI app with the whole OpenAPI document."""

    def openapi(self) -> JSONObject:
        """Return the document; it is made once."""
        if not self.openapi_schema:
            self.openapi_schema = completed(super().openapi())
        return self.openapi_schema

    @cached_property
    def operations(self) -> Operations:
        """The operations by their paths; every route is there by the time that somebody asks."""
        return Operations.of(self.openapi())


def completed(document: JSONObject) -> JSONObject:
    """Return FastAPI's document with the schemas that it cannot see."""
    _, described = models_json_schema([(model, "validation") for model in DESCRIBED], ref_template=REF)
    known = document.setdefault("components", {}).setdefault("schemas", {})
    known.update(described["$defs"])
    for view, field, model in STORED:
        shown = known[view]["properties"][field]
        known[view]["properties"][field] = {
            "$ref": REF.format(model=model.__name__),
            "description": shown["description"],
        }
    document["components"]["schemas"] = dict(sorted(with_rules(known).items()))
    document["components"]["headers"] = LIMIT_HEADERS
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    for path, operations in document["paths"].items():
        if not is_public(path, metrics=True):
            for operation in operations.values():
                # either of them, not both
                operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
                _document_limits(operation)
        if (get := operations.get("get")) and "ETag" in get["responses"]["200"].get("headers", {}):
            _document_condition(get)
        if (post := operations.get("post")) and post["operationId"] not in REPEATABLE:
            _document_key(post)
    return document


REPEATABLE = frozenset(
    {
        "previewTask",  # creates nothing
        "previewNamespacedTask",
        "pauseTask",  # twice is as once
        "resumeTask",
        "cancelExecution",
    }
)
"""The POST operations that need no ``Idempotency-Key``; every other one honours it, for that it is a POST."""


def _document_limits(operation: JSONObject) -> None:
    """Describe the headers of the rate limit where they are looked for; a known caller finds them on every answer."""
    for status, answer in operation["responses"].items():
        if status.startswith("2") or status == "429":
            answer.setdefault("headers", {}).update(
                {name: {"$ref": f"#/components/headers/{name}"} for name in LIMIT_HEADERS}
            )


def _document_condition(get: JSONObject) -> None:
    """Describe If-None-Match where an answer has an ETag."""
    get["parameters"] = [
        *get.get("parameters", ()),
        {
            "name": IF_NONE_MATCH,
            "in": "header",
            "required": False,
            "description": "ETags that the caller has, or `*`: if the object has one of them, the answer is 304.",
            "schema": {"type": "string"},
        },
    ]
    get["responses"]["304"] = {"description": "The caller has the current version", "headers": _ETAG_HEADER}


def _document_key(post: JSONObject) -> None:
    # one description for all, whatever a route that reads the header itself says of it
    post["parameters"] = [p for p in post.get("parameters", ()) if p["name"] != IDEMPOTENCY_KEY]
    post["parameters"].append(
        {
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "required": False,
            "description": "Makes the request safe to repeat: for a day, the same key with the same request gets the "
            "first one's answer, with Idempotency-Replayed: true. 1 to 255 visible ASCII characters, such as a UUID.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
    )
    replayed = {"description": "true if this is the answer to an earlier request.", "schema": {"type": "string"}}
    for status, answer in post["responses"].items():
        if status.startswith("2"):
            answer.setdefault("headers", {})[REPLAYED] = replayed
    for kind in (Kind.REQUEST_UNDER_WAY, Kind.KEY_REUSED):
        known = post["responses"].setdefault(str(kind.status), problem_responses(kind)[kind.status])
        if kind.title not in known["description"]:
            known["description"] += f", or: {kind.title}"


def body_of(model: type[BaseModel], example: JSONObject, *media_types: str) -> JSONObject:
    """Return what OpenAPI says of an operation whose JSON body is that model.

    Args:
        model: The body's model.
        example: A sound body; the one that a page would make up from the schema names every schedule and task at once.
        media_types: What is accepted besides ``application/json``.

    """
    content = {"schema": {"$ref": REF.format(model=model.__name__)}, "example": example}
    return {"requestBody": {"required": True, "content": dict.fromkeys(("application/json", *media_types), content)}}


def optional_body_of(model: type[BaseModel], example: JSONObject) -> JSONObject:
    """Return what OpenAPI says of an operation that may have such a body, or none; see ``body_of``."""
    described = body_of(model, example)
    described["requestBody"]["required"] = False
    return described


def accepted(description: str) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer of 202 with a Location."""
    location = {"description": "Where to see what becomes of it.", "schema": {"type": "string"}}
    return {202: {"description": description, "headers": {"Location": location}}}


def plain_text(description: str) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer of 200 that is text."""
    return {200: {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}}


def versioned(description: str) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer of 200 with an ETag."""
    return {200: {"description": description, "headers": _ETAG_HEADER}}


def created(description: str) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer of 201."""
    return {201: {"description": description, "headers": _ETAG_HEADER | _LOCATION_HEADER}}
