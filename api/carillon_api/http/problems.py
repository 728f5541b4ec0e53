"""Every error as ``application/problem+json`` (RFC 9457), mapped once; ``create_app`` installs the handlers."""

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
from carillon_core import errors
from carillon_core.errors import FieldProblem
from carillon_core.logs import get_logger

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
MAX_FIELDS = 50
"""How many fields an answer names at most."""

Responses = dict[int | str, dict[str, Any]]
"""What OpenAPI says of an operation's answers, by their status."""

log = get_logger(__name__)


class Kind(Enum):
    """The kinds of problems; each is a ``type`` of its own, so that a client need not read the prose."""

    MALFORMED = (400, "malformed-request", "The request cannot be read")
    UNAUTHENTICATED = (401, "unauthenticated", "Nobody knows who calls")
    FORBIDDEN = (403, "forbidden", "The cluster does not permit this")
    NOT_SERVED = (403, "namespace-not-served", "This API is not for that namespace")
    NOT_FOUND = (404, "not-found", "There is no such thing")
    LOGS_GONE = (404, "logs-gone", "There are no logs any more")
    METHOD_NOT_ALLOWED = (405, "method-not-allowed", "This method does not exist here")
    REQUEST_TIMEOUT = (408, "request-timeout", "The request took too long to arrive")
    ALREADY_EXISTS = (409, "already-exists", "The name is taken")
    CONFLICT = (409, "conflict", "Somebody else changed it at the same time")
    WRONG_STATE = (409, "wrong-state", "It is in no state for this")
    REQUEST_UNDER_WAY = (409, "request-under-way", "The first request of this key is not answered yet")
    IN_USE = (409, "in-use", "Something still uses it")
    EXPIRED = (410, "expired", "What the cursor leads to is no longer kept")
    PRECONDITION_FAILED = (412, "precondition-failed", "It was changed since it was read")
    TOO_LARGE = (413, "body-too-large", "The body is too large")
    URI_TOO_LONG = (414, "uri-too-long", "The address is too long")
    UNSUPPORTED_MEDIA_TYPE = (415, "unsupported-media-type", "The body is not JSON")
    INVALID = (422, "invalid", "The request breaks the rules of its kind")
    REFUSED = (422, "refused", "The cluster refused the object")
    KEY_REUSED = (422, "idempotency-key-reused", "The key belongs to another request")
    RATE_LIMITED = (429, "rate-limited", "Too many requests")
    HEAD_TOO_LARGE = (431, "headers-too-large", "The headers are too large")
    INTERNAL = (500, "internal-error", "Something went wrong here")
    UNAVAILABLE = (503, "unavailable", "Something needed is out of reach")

    def __init__(self, status: int, slug: str, title: str) -> None:
        """Keep the HTTP status, the name within ``type``, and the title."""
        self.status = status
        self.slug = slug
        self.title = title

    @property
    def type(self) -> str:
        """The URI of this kind."""
        return f"urn:carillon:problem:{self.slug}"


class RequestRefusedError(errors.CarillonError):
    """A request that the facade itself refuses before it asks anybody."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        """Keep the kind of problem, a sentence with the mend, headers of the answer, and further members of it."""
        super().__init__(detail)
        self.kind = kind
        self.headers = headers
        self.more = more


class NotServedError(errors.ForbiddenError):
    """A namespace that this facade is not for, whatever the caller may do there."""


def malformed(field: str, message: str) -> RequestRefusedError:
    """Return the error of a header that cannot be parsed: 400, with the header as the field."""
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
    """Return text with the user and password of any URL in it left out."""
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
        detail: A sentence for people.
        fields: The fields at fault; only the first ``MAX_FIELDS`` are named.
        headers: More headers of the response.
        more: Further members of the ``Problem``.

    """
    problem = Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=_printable(without_secrets(detail)),
        # Quoted, because a path may hold what no JSON text may.
        instance=quote(scope["path"], safe="/:@!$&'()*+,;=~", errors="replace"),
        request_id=scope.get("state", {}).get("request_id", ""),
        errors=[ProblemField(field=_printable(p.path), message=_printable(p.message)) for p in fields[:MAX_FIELDS]],
        **more,
    )
    content = problem.model_dump(mode="json", by_alias=True, exclude_none=True)
    return JSONResponse(content, status_code=kind.status, headers=headers, media_type=MEDIA_TYPE)


def _printable(text: str) -> str:
    """Return text that can be sent as UTF-8, whatever a caller put into it."""
    return text.encode("utf-8", "replace").decode()


def kind_of(error: errors.CarillonError) -> Kind | None:
    """Return the kind of problem that an error of ours is, or None if nobody expected it."""
    if isinstance(error, RequestRefusedError):
        return error.kind
    return next((k for cls, k in _KINDS if isinstance(error, cls)), None)


def error_response(scope: Scope, error: errors.CarillonError) -> JSONResponse:
    """Return an error of ours as a response."""
    if isinstance(error, RequestRefusedError):
        return problem_response(scope, error.kind, str(error), headers=error.headers, **error.more)
    kind = kind_of(error)
    if kind is None:
        return internal_error(scope, error)
    detail = str(error)
    if isinstance(error, errors.OwnAccountError):
        # not the caller's fault, and not the caller's business: whoever runs the facade reads it in the log
        log.error(
            "the facade's own account lacks a right: see the chart's files/rbac",
            missing=detail,
            request_id=scope.get("state", {}).get("request_id", ""),
        )
        detail = "the facade's own account may not do what this needs: its log names the right that is missing"
    fields: Sequence[FieldProblem] = ()
    if isinstance(error, errors.InvalidResourceError | errors.RefusedError):
        # In a body of REST, name and labels stand at the top.
        fields = [FieldProblem(p.path.removeprefix("metadata."), p.message) for p in error.problems]
    headers = None
    if kind is Kind.UNAVAILABLE:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    elif kind is Kind.UNAUTHENTICATED:
        headers = {"WWW-Authenticate": "Bearer"}
    return problem_response(scope, kind, detail, fields=fields, headers=headers)


def _from_carillon_error(request: Request, error: Exception) -> JSONResponse:
    return error_response(request.scope, cast("errors.CarillonError", error))


def internal_error(scope: Scope, error: Exception) -> JSONResponse:
    """Log an error nobody expected, and return a problem that tells only where to look for it."""
    request_id = scope.get("state", {}).get("request_id", "")
    log.error("request failed", exc_info=error, request_id=request_id)
    return problem_response(scope, Kind.INTERNAL, f"the log has the details under the request's id {request_id}")


_KIND_OF_STATUS = {k.status: k for k in (Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED, Kind.MALFORMED)}
_DETAILS = {
    Kind.NOT_FOUND: "nothing is served at this path: /docs lists what is",
    Kind.METHOD_NOT_ALLOWED: "the Allow header lists the methods that exist here",
}


def _from_http_exception(request: Request, error: Exception) -> JSONResponse:
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
        detail = "nothing is served at this path: leave the slash at its end out"
    return problem_response(request.scope, kind, detail, headers=headers)


def _methods_at(request: Request) -> str:
    """Return the methods that the request's path has; starlette names those of one of its routes alone."""
    return ", ".join(sorted(request.app.operations.methods(request.scope["path"])))


def _from_validation_error(request: Request, error: Exception) -> JSONResponse:
    """Name the parameters at fault; where FastAPI found them (query, path) is no part of their names."""
    fields = []
    for detail in cast("RequestValidationError", error).errors():
        place, *names = [str(part) for part in detail["loc"]]
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            message = "is not a parameter of this call: remove it or correct its spelling"
        fields.append(FieldProblem(".".join(names) or place, message))
    detail_text = "; ".join(str(f) for f in fields[:MAX_FIELDS])
    return problem_response(request.scope, Kind.INVALID, detail_text, fields=fields)


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem; what is raised beyond these is the middleware's."""
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
    """Return what OpenAPI says of an operation's errors; those that any operation may meet are added."""
    documented: Responses = {}
    for kind in sorted({*kinds, *_OF_ANY_OPERATION}, key=lambda k: (k.status, k.slug)):
        known = documented.get(kind.status)
        title = f"{known['description']}, or: {kind.title}" if known else kind.title
        documented[kind.status] = {
            "description": title or HTTPStatus(kind.status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return documented
