"""Every error as ``application/problem+json`` (RFC 9457), mapped in one place; ``create_app`` installs the handlers."""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

from carillon_api.schemas import Problem, ProblemField
from carillon_api.schemas.changes.bulk import ItemProblem
from carillon_core import errors
from carillon_core.errors import FieldProblem
from carillon_core.logs import get_logger
from carillon_core.nearest import nearest
from carillon_core.resources.field_problems import LIKE, message_of

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
MAX_FIELDS = 50
"""The maximum number of fields that a response names."""

Responses = dict[int | str, dict[str, Any]]
"""The OpenAPI responses of an operation by status."""

log = get_logger(__name__)


class Kind(Enum):
    """The kinds of problems; each has its own ``type``, so that a client does not have to parse the text."""

    MALFORMED = (400, "malformed-request", "Malformed request")
    UNAUTHENTICATED = (401, "unauthenticated", "Authentication required")
    FORBIDDEN = (403, "forbidden", "Forbidden by the cluster's RBAC")
    NOT_SERVED = (403, "namespace-not-served", "Namespace not served by this API")
    NOT_FOUND = (404, "not-found", "Not found")
    LOGS_GONE = (404, "logs-gone", "Logs no longer available")
    METHOD_NOT_ALLOWED = (405, "method-not-allowed", "Method not allowed")
    REQUEST_TIMEOUT = (408, "request-timeout", "Request timeout")
    ALREADY_EXISTS = (409, "already-exists", "Already exists")
    CONFLICT = (409, "conflict", "Conflict with a concurrent change")
    WRONG_STATE = (409, "wrong-state", "Not allowed in the execution's current state")
    REQUEST_UNDER_WAY = (409, "request-under-way", "A request with this idempotency key is in progress")
    COUNT_CHANGED = (409, "count-changed", "The number of matching objects differs from expectedCount")
    IN_USE = (409, "in-use", "Still in use")
    EXPIRED = (410, "expired", "Cursor expired")
    PRECONDITION_FAILED = (412, "precondition-failed", "Precondition failed")
    TOO_LARGE = (413, "body-too-large", "Request body too large")
    URI_TOO_LONG = (414, "uri-too-long", "URI too long")
    UNSUPPORTED_MEDIA_TYPE = (415, "unsupported-media-type", "Unsupported media type")
    INVALID = (422, "invalid", "Invalid request")
    REFUSED = (422, "refused", "Rejected by the cluster")
    KEY_REUSED = (422, "idempotency-key-reused", "Idempotency key used for another request")
    RATE_LIMITED = (429, "rate-limited", "Too many requests")
    HEAD_TOO_LARGE = (431, "headers-too-large", "Request headers too large")
    INTERNAL = (500, "internal-error", "Internal error")
    UNAVAILABLE = (503, "unavailable", "Service unavailable")

    def __init__(self, status: int, slug: str, title: str) -> None:
        """Set the HTTP status, the last part of ``type``, and the title."""
        self.status = status
        self.slug = slug
        self.title = title

    @property
    def type(self) -> str:
        """The URI of this kind."""
        return f"urn:carillon:problem:{self.slug}"


class RequestRefusedError(errors.CarillonError):
    """A request that the facade itself rejects."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        """Set the kind of problem, a sentence that says how to fix it, response headers, and more problem members."""
        super().__init__(detail)
        self.kind = kind
        self.headers = headers
        self.more = more


class NotServedError(errors.ForbiddenError):
    """A namespace that this facade does not serve, even if the caller has permissions there."""


def malformed(field: str, message: str) -> RequestRefusedError:
    """Return the error for a header that cannot be parsed: 400, with the header as the field."""
    problem = FieldProblem(field, message)
    return RequestRefusedError(Kind.MALFORMED, str(problem), fields=[problem])


_KINDS: tuple[tuple[type[errors.CarillonError], Kind], ...] = (
    (errors.InvalidResourceError, Kind.INVALID),
    (errors.RefusedError, Kind.REFUSED),
    (errors.NotFoundError, Kind.NOT_FOUND),
    (errors.AlreadyExistsError, Kind.ALREADY_EXISTS),
    (errors.ConflictError, Kind.CONFLICT),
    (errors.OwnAccountError, Kind.UNAVAILABLE),
    (NotServedError, Kind.NOT_SERVED),
    (errors.ForbiddenError, Kind.FORBIDDEN),
    (errors.UnauthenticatedError, Kind.UNAUTHENTICATED),
    (errors.ExpiredError, Kind.EXPIRED),
    (errors.UnavailableError, Kind.UNAVAILABLE),
)


def without_secrets(text: str) -> str:
    """Return text without the user and password of any URL in it."""
    return re.sub(r"://[^/@\s]*@", "://…@", text)


def problem_response(
    scope: Scope,
    kind: Kind,
    detail: str,
    *,
    fields: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """Return a problem as a response.

    Args:
        scope: The ASGI scope, for the path and the correlation id.
        kind: The kind of problem.
        detail: A sentence for humans.
        fields: The invalid fields; only the first ``MAX_FIELDS`` are named.
        headers: Additional response headers.
        more: Additional members of the ``Problem``.

    """
    problem = Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=_printable(without_secrets(detail)),
        # Quoted, because a path may contain bytes that JSON text cannot.
        instance=quote(scope["path"], safe="/:@!$&'()*+,;=~", errors="replace"),
        request_id=scope.get("state", {}).get("request_id", ""),
        errors=[ProblemField(field=_printable(p.path), message=_printable(p.message)) for p in fields[:MAX_FIELDS]],
        **more,
    )
    content = problem.model_dump(mode="json", by_alias=True, exclude_none=True)
    return JSONResponse(content, status_code=kind.status, headers=headers, media_type=MEDIA_TYPE)


def _printable(text: str) -> str:
    """Return text that can be encoded as UTF-8, even if a caller's text cannot."""
    return text.encode("utf-8", "replace").decode()


def kind_of(error: errors.CarillonError) -> Kind | None:
    """Return the kind of problem of one of our errors, or None if the error is unexpected."""
    if isinstance(error, RequestRefusedError):
        return error.kind
    return next((k for cls, k in _KINDS if isinstance(error, cls)), None)


def error_response(scope: Scope, error: errors.CarillonError) -> JSONResponse:
    """Return one of our errors as a response."""
    if isinstance(error, RequestRefusedError):
        return problem_response(scope, error.kind, str(error), headers=error.headers, **error.more)
    kind = kind_of(error)
    if kind is None:
        return internal_error(scope, error)
    detail = _detail(error, scope.get("state", {}).get("request_id", ""))
    fields: Sequence[FieldProblem] = ()
    if isinstance(error, errors.InvalidResourceError | errors.RefusedError):
        # In REST bodies, name and labels are top-level fields.
        fields = [FieldProblem(p.path.removeprefix("metadata."), p.message) for p in error.problems]
    headers = None
    if kind is Kind.UNAVAILABLE:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    elif kind is Kind.UNAUTHENTICATED:
        headers = {"WWW-Authenticate": "Bearer"}
    return problem_response(scope, kind, detail, fields=fields, headers=headers)


def item_problem(error: errors.CarillonError, request_id: str) -> ItemProblem:
    """Return one of our errors as the problem of one object among many."""
    kind = kind_of(error)
    if kind is None:
        log.error("change of an object failed", exc_info=error, request_id=request_id)
        kind, detail = (
            Kind.INTERNAL,
            f"the change failed: the API's log has the details under the request id {request_id}",
        )
    else:
        detail = errors.cut(_printable(without_secrets(_detail(error, request_id))), errors.MOST_MESSAGE)
    return ItemProblem(type=kind.type, title=kind.title, status=kind.status, detail=detail)


def _detail(error: errors.CarillonError, request_id: str) -> str:
    """Return what a caller is told about an error."""
    if not isinstance(error, errors.OwnAccountError):
        return str(error)
    # Not the caller's fault: the details are in the log, for the administrator of the API.
    log.error(
        "the API's service account lacks a permission, see the chart's files/rbac",
        missing=str(error),
        request_id=request_id,
    )
    return "the API's service account lacks a permission for this request: see the API's log"


async def _from_carillon_error(request: Request, error: Exception) -> JSONResponse:
    return error_response(request.scope, cast("errors.CarillonError", error))


def internal_error(scope: Scope, error: Exception) -> JSONResponse:
    """Log an unexpected error, and return a problem that only tells where to find it in the log."""
    request_id = scope.get("state", {}).get("request_id", "")
    log.error("request failed", exc_info=error, request_id=request_id)
    return problem_response(
        scope, Kind.INTERNAL, f"the request failed: the API's log has the details under the request id {request_id}"
    )


_KIND_OF_STATUS = {k.status: k for k in (Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED, Kind.MALFORMED)}
_DETAILS = {
    Kind.NOT_FOUND: "no operation at this path: see /docs for the available operations",
    Kind.METHOD_NOT_ALLOWED: "the Allow header lists the methods of this path",
}


async def _from_http_exception(request: Request, error: Exception) -> JSONResponse:
    error = cast("HTTPException", error)
    kind = _KIND_OF_STATUS.get(error.status_code)
    if kind is None:
        return internal_error(request.scope, error)
    headers = dict(error.headers or {})
    if kind is Kind.METHOD_NOT_ALLOWED and (methods := _methods_at(request)):
        headers["Allow"] = methods
    detail = _DETAILS.get(kind, error.detail)
    path: str = request.scope["path"]
    if kind is Kind.NOT_FOUND and path.endswith("/") and request.app.operations.methods(path.rstrip("/")):
        detail = "no operation at this path: remove the trailing slash"
    return problem_response(request.scope, kind, detail, headers=headers)


def _methods_at(request: Request) -> str:
    """Return all methods of the request's path; starlette names only those of one route."""
    return ", ".join(sorted(request.app.operations.methods(request.scope["path"])))


async def _from_validation_error(request: Request, error: Exception) -> JSONResponse:
    """Name the invalid parameters, without the place (query, path) that FastAPI puts before their names."""
    fields = []
    for detail in cast("RequestValidationError", error).errors()[:MAX_FIELDS]:
        place, *names = [str(part) for part in detail["loc"]]
        message = message_of(detail)
        if detail["type"] == "extra_forbidden":
            meant = nearest(names[-1], _parameters_of(request), LIKE) if names else None
            fix = f"did you mean {meant}?" if meant else "remove it or correct its spelling"
            message = f"is not a parameter of this operation: {fix}"
        fields.append(FieldProblem(".".join(names) or place, message))
    detail_text = "; ".join(str(f) for f in fields[:MAX_FIELDS])
    return problem_response(request.scope, Kind.INVALID, detail_text, fields=fields)


def _parameters_of(request: Request) -> set[str]:
    """Return the names of the query parameters of the request's operation, which are the fields of a model."""
    declared = request.scope["route"].dependant.query_params
    models = (each.field_info.annotation for each in declared)
    return {field.alias or name for model in models for name, field in getattr(model, "model_fields", {}).items()}


def install_problem_handlers(app: FastAPI) -> None:
    """Turn every error of the app into a problem; the middleware handles unexpected exceptions.

    The handlers are coroutines, because starlette runs plain functions in a thread.
    """
    app.add_exception_handler(errors.CarillonError, _from_carillon_error)
    app.add_exception_handler(HTTPException, _from_http_exception)
    app.add_exception_handler(RequestValidationError, _from_validation_error)


_OF_ANY_OPERATION = (
    Kind.UNAUTHENTICATED,
    Kind.FORBIDDEN,
    Kind.URI_TOO_LONG,
    Kind.INVALID,
    Kind.RATE_LIMITED,
    Kind.INTERNAL,
    Kind.UNAVAILABLE,
)


def problem_responses(*kinds: Kind) -> Responses:
    """Return the OpenAPI responses for an operation's errors, including those that any operation may return."""
    documented: Responses = {}
    for kind in sorted({*kinds, *_OF_ANY_OPERATION}, key=lambda k: (k.status, k.slug)):
        known = documented.get(kind.status)
        title = f"{known['description']}, or: {kind.title}" if known else kind.title
        documented[kind.status] = {
            "description": title or HTTPStatus(kind.status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return documented
