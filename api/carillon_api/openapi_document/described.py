"""The OpenAPI document: what FastAPI generates, plus what it cannot see. The routes and ``create_app`` use it.

``bodies.py`` reads request bodies, not FastAPI, and responses contain specs as
they are stored, valid or not. This module describes both by their models.
"""

import gzip
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from carillon_api import schemas
from carillon_api.http.dry_run import ALL, DRY_RUN, WRITES
from carillon_api.http.headers import API_KEY_HEADER, IDEMPOTENCY_KEY, IF_NONE_MATCH, REPLAYED
from carillon_api.http.operations import Operations
from carillon_api.http.problems import Kind, problem_responses
from carillon_api.http.public_paths import is_public
from carillon_api.openapi_document.examples import EXAMPLES
from carillon_api.openapi_document.finish import finished
from carillon_api.openapi_document.schema_rules import with_rules
from carillon_api.openapi_document.why_examples import SEVERAL
from carillon_core.contract import ExecutionStatus
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
    schemas.TaskBulk,
    schemas.ExecutionBulk,
    schemas.TargetCreate,
    schemas.TargetReplace,
    schemas.TargetPatch,
    schemas.TaskRun,
    schemas.RunTask,
    schemas.PreviewBody,
    schemas.SpreadBody,
    schemas.Problem,
)
"""Models that FastAPI does not find in a route's signature."""
STORED: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("TaskView", "spec", ScheduledTaskSpec),
    ("TaskView", "status", ScheduledTaskStatus),
    ("TargetView", "spec", HTTPTargetSpec),
    ("RunView", "spec", RunRequestSpec),
    ("PreviewBody", "spec", ScheduledTaskSpec),
)
"""Fields that may hold an invalid object, by model and name, with the model of a valid one."""
_ETAG_HEADER = {"ETag": {"description": "The object's version, for If-Match.", "schema": {"type": "string"}}}
_LOCATION_HEADER = {"Location": {"description": "The URL of the created object.", "schema": {"type": "string"}}}

LIMIT_HEADERS: JSONObject = {
    "RateLimit-Policy": {
        "description": 'The rate limit of the caller: `"default";q=…;w=…` allows q requests per w seconds.',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'The remaining quota: `"default";r=…;t=…` means r requests now, all of them in t seconds.',
        "schema": {"type": "string"},
    },
}
"""As in the IETF's draft of RateLimit header fields."""

SECURITY_SCHEMES: JSONObject = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A bearer token of the cluster; `kubectl create token NAME` creates one.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY_HEADER,
        "description": "An API key of Carillon; `carillon api-key create` creates one.",
    },
}
"""The ways to authenticate. Each request is made as the caller's user in the cluster."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The OpenAPI document as it is sent, in both forms, each with its strong ETag."""

    plain: bytes
    gzip: bytes
    etag: str
    gzip_etag: str

    @classmethod
    def of(cls, document: JSONObject) -> Self:
        """Render a document."""
        plain = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        version = hashlib.sha256(plain).hexdigest()[:32]
        return cls(plain, gzip.compress(plain, mtime=0), f'"{version}"', f'"{version}-gzip"')


class CarillonAPI(FastAPI):
    """A FastAPI app with the complete OpenAPI document."""

    def openapi(self) -> JSONObject:
        """Return the document, which is generated once."""
        if not self.openapi_schema:
            self.openapi_schema = completed(super().openapi())
        return self.openapi_schema

    @cached_property
    def rendered(self) -> Rendered:
        """The document as it is sent. All routes must be added before the first use."""
        return Rendered.of(self.openapi())

    @cached_property
    def operations(self) -> Operations:
        """The operations by path. All routes must be added before the first use."""
        return Operations.of(self.openapi())


def completed(document: JSONObject) -> JSONObject:
    """Return FastAPI's document with everything that FastAPI cannot see."""
    _, described = models_json_schema([(model, "validation") for model in DESCRIBED], ref_template=REF)
    known = document.setdefault("components", {}).setdefault("schemas", {})
    known.update(described["$defs"])
    known.pop(ExecutionStatus.__name__, None)  # FastAPI lists the type of a field that is shown as ``Status``
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
        for method, operation in operations.items():
            if method.upper() in WRITES and operation["operationId"] not in COMPUTED:
                _document_dry_run(operation)
            _show_examples(operation)
        if (get := operations.get("get")) and "ETag" in get["responses"]["200"].get("headers", {}):
            _document_condition(get)
        if (post := operations.get("post")) and post["operationId"] not in REPEATABLE:
            _document_key(post)
    return finished(document)


COMPUTED = frozenset({"previewTask", "previewNamespacedTask", "suggestOffset", "suggestNamespacedOffset"})
"""The POST operations that change nothing. All other writes can be dry runs."""
REPEATABLE = COMPUTED | {"pauseTask", "resumeTask", "cancelExecution"}
"""The POST operations that need no ``Idempotency-Key``. All others honour it."""


def _show_examples(operation: JSONObject) -> None:
    for key, examples in (("example", EXAMPLES), ("examples", SEVERAL)):
        if (shown := examples.get(operation["operationId"])) is not None:
            operation["responses"]["200"]["content"]["application/json"][key] = shown


def _document_dry_run(operation: JSONObject) -> None:
    # the same description everywhere, even if a route's model has the parameter
    operation["parameters"] = [p for p in operation.get("parameters", ()) if p["name"] != DRY_RUN]
    operation["parameters"].append(
        {
            "name": DRY_RUN,
            "in": "query",
            "required": False,
            "description": "All: change nothing, and return what would change, as `dryRun` of the response. The "
            "cluster judges the request as if it were made: permissions, validation, conflicts. The "
            "uid, the creation time and the execution ID of a new object are made up; there is no "
            "Location or ETag; an Idempotency-Key is ignored. A bulk call only counts what matches.",
            "schema": {"type": "string", "enum": [ALL]},
        }
    )
    malformed = Kind.MALFORMED.status
    operation["responses"].setdefault(str(malformed), problem_responses(Kind.MALFORMED)[malformed])


def _document_limits(operation: JSONObject) -> None:
    """Describe the rate limit's headers on successes and 429. An authenticated caller gets them with every response."""
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
    # the same description everywhere, even if a route declares the header itself
    post["parameters"] = [p for p in post.get("parameters", ()) if p["name"] != IDEMPOTENCY_KEY]
    post["parameters"].append(
        {
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "required": False,
            "description": "Makes the request safe to repeat: for a day, the same key and request get the first "
            "response again, with Idempotency-Replayed: true. 1 to 255 visible ASCII characters, such as a UUID.",
            # visible ASCII, and not quotes alone
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]*[!#-~][!-~]*$"},
        }
    )
    replayed = {"description": "true if this is the response to an earlier request.", "schema": {"type": "string"}}
    for status, answer in post["responses"].items():
        if status.startswith("2"):
            answer.setdefault("headers", {})[REPLAYED] = replayed
    for kind in (Kind.REQUEST_UNDER_WAY, Kind.KEY_REUSED):
        known = post["responses"].setdefault(str(kind.status), problem_responses(kind)[kind.status])
        if kind.title not in known["description"]:
            known["description"] += f", or: {kind.title}"


def body_of(model: type[BaseModel], example: JSONObject, *media_types: str) -> JSONObject:
    """Return the OpenAPI description of a JSON body.

    Args:
        model: The body's model.
        example: A valid body. One generated from the schema would set every schedule and task type at once.
        media_types: Media types that are accepted besides ``application/json``.

    """
    content = {"schema": {"$ref": REF.format(model=model.__name__)}, "example": example}
    return {"requestBody": {"required": True, "content": dict.fromkeys(("application/json", *media_types), content)}}


def optional_body_of(model: type[BaseModel], example: JSONObject) -> JSONObject:
    """Return the OpenAPI description of an optional JSON body; see ``body_of``."""
    described = body_of(model, example)
    described["requestBody"]["required"] = False
    return described


def accepted(description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a response 202 with a Location."""
    location = {"description": "The URL that shows the state of the run.", "schema": {"type": "string"}}
    return {202: {"description": description, "headers": {"Location": location}}}


def plain_text(description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a text response 200."""
    return {200: {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}}


def versioned(description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a response 200 with an ETag."""
    return {200: {"description": description, "headers": _ETAG_HEADER}}


def deleted(description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a response 204, and of the dry run's, which has a body and thus is 200."""
    return {200: {"description": "With dryRun=All: what would be deleted"}, 204: {"description": description}}


def created(description: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of a response 201."""
    return {201: {"description": description, "headers": _ETAG_HEADER | _LOCATION_HEADER}}
