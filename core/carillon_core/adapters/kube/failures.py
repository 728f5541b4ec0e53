"""Maps the API server's error responses to our errors, in one place for every request. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

from carillon_core.errors import (
    AlreadyExistsError,
    CarillonError,
    ConflictError,
    ExpiredError,
    FieldProblem,
    ForbiddenError,
    NotFoundError,
    OwnAccountError,
    RefusedError,
    UnavailableError,
)

API_SERVER = "API server"
"""The subject of ``UnavailableError``."""

_TOO_MANY = 429
_SERVER_ERRORS = 500

_RBAC = re.compile(r'is forbidden: User ".*?" cannot ')
_OUR_WEBHOOK = re.compile(r'^admission webhook "[a-z]+\.admission\.carillon\.dev" denied the request')
"""With 403 it names a permission that the author lacks; other problems of an object are 422."""
_IMPERSONATION = re.compile(r'is forbidden: User ".*?" cannot impersonate ')
_UNKNOWN_FIELD = re.compile(r'unknown field "([^"]+)"')
_VALUE_PREFIX = re.compile(
    r'^(?:Invalid value|Unsupported value|Too long|Duplicate value): (?:(?:"(?:[^"\\]|\\.)*"|[\w.+-]+): )?'
)
_PATH_PREFIX = re.compile(r"^(?:[\w.\[\]]+ in body )")
_NO_FIELD = "<nil>"


@contextmanager
def as_ourselves() -> Iterator[None]:
    """Attribute a refusal to our own account: no caller made this request."""
    try:
        yield
    except ForbiddenError as error:
        raise OwnAccountError(str(error)) from error


def failure(status: int, body: bytes, asked: str) -> CarillonError:
    """Return the error for an error response.

    Args:
        status: The HTTP status code, 400 and up.
        body: The response's body: usually a ``metav1.Status``, plain text if it comes from a proxy.
        asked: The request for messages, such as ``GET /api``; without a query.

    """
    said = _status_object(body)
    message = str(said.get("message") or "") or f"{asked} returned {status}"
    match status:
        case 401:
            hint = "renew the token or the certificate"
            # callers are authenticated already: the rejected account is our own
            error: CarillonError = OwnAccountError(f"the API server rejects our credentials (401): {hint}")
        case 403:
            error = _forbidden(message, said)
        case 404 if not said:
            # the path is unknown, not an object: an object must not be taken for deleted
            hint = "is the CRD installed? (kubectl apply -f crds/)"
            error = UnavailableError(API_SERVER, f"{asked}: it does not serve this path; {hint}")
        case 404:
            error = NotFoundError(message)
        case 409:
            error = AlreadyExistsError(message) if said.get("reason") == "AlreadyExists" else ConflictError(message)
        case 410:
            error = ExpiredError(API_SERVER, message)
        case code if code == _TOO_MANY or code >= _SERVER_ERRORS:
            error = UnavailableError(API_SERVER, message)
        case _:
            error = RefusedError(message, _problems(message, _causes(said)))
    return error


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) and said.get("kind") == "Status" else {}


def _causes(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((said.get("details") or {}).get("causes") or ())


def _forbidden(message: str, said: Mapping[str, Any]) -> CarillonError:
    """Return the error for a 403, which means one of: no permission, rejected by admission, namespace terminating."""
    if any(cause.get("reason") == "NamespaceTerminating" for cause in _causes(said)):
        return NotFoundError(message)
    if _IMPERSONATION.search(message):
        return OwnAccountError(message)
    # a quota and a policy reject with 403 as well; only the authorizer's message says what a user cannot do
    if _RBAC.search(message) or _OUR_WEBHOOK.search(message) or not said:
        return ForbiddenError(message)
    return RefusedError(message)


def _problems(message: str, causes: Iterable[Mapping[str, Any]]) -> tuple[FieldProblem, ...]:
    unknown = _UNKNOWN_FIELD.findall(message)
    if unknown:
        hint = "is an unknown field: remove it or correct its spelling"
        return tuple(FieldProblem(path, hint) for path in unknown)
    causes = [c for c in causes if "some validation rules were not checked" not in c.get("message", "")]
    # a CEL rule has a readable message, a pattern has not
    in_words = {c["field"] for c in causes if c.get("field") and not _is_pattern(c)}
    return tuple(_problem(c) for c in causes if not (_is_pattern(c) and c.get("field") in in_words))


def _is_pattern(cause: Mapping[str, Any]) -> bool:
    return " in body should match '" in cause.get("message", "")


def _problem(cause: Mapping[str, Any]) -> FieldProblem:
    path = cause.get("field") or _NO_FIELD
    text = str(cause.get("message") or "")
    if text == "Required value":
        return FieldProblem(path, "is required: add it")
    text = text.removeprefix("Required value: ").removeprefix("Forbidden: ")
    text = _PATH_PREFIX.sub("", _VALUE_PREFIX.sub("", text))
    if path == _NO_FIELD:
        # a rule at the root has no path, but its message may begin with one
        first, _, rest = text.partition(" ")
        return FieldProblem(first, rest) if first.startswith("metadata.") else FieldProblem("(body)", text)
    return FieldProblem(path, text)
