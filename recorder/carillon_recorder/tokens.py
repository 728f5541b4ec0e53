"""What can be seen of a token without its key: that it may be one, and which execution it claims to be of.

The functions in Postgres verify it. This only refuses early what they would
refuse, and a token that was sent for another execution.
"""

import base64
import json
import re
from uuid import UUID

from carillon_recorder.refusals import RefusedRequestError

_TOKEN = re.compile(r"[0-9a-f]{16}\.([A-Za-z0-9+/]+={0,2})\.[0-9a-f]{64}")
_MAX_LENGTH = 8192
_MALFORMED = "the execution's token is malformed: only the operator can make one"


def token_for(authorization: str | None, execution: str) -> str:
    """Return the token of an ``Authorization`` header.

    Raises:
        RefusedRequestError: There is none, it is malformed, or it is of another execution.

    """
    if authorization is None:
        raise RefusedRequestError(401, "NoToken", "the request has no token: send the execution's as bearer")
    scheme, _, token = authorization.partition(" ")
    found = _TOKEN.fullmatch(token) if len(token) <= _MAX_LENGTH else None
    if scheme.lower() != "bearer" or found is None:
        raise RefusedRequestError(401, "MalformedToken", _MALFORMED)
    try:
        wanted = UUID(execution)
    except ValueError:
        raise RefusedRequestError(404, "NotFound", "the path does not name an execution") from None
    named = _named(found[1])
    if named is not None and named != wanted:
        raise RefusedRequestError(403, "AnotherExecution", f"the token is not of execution {wanted}")
    return token


def _named(payload: str) -> UUID | None:
    """Return the execution that a token claims to be of; None if it names none, which no signed one does."""
    try:
        return UUID(json.loads(base64.b64decode(payload, validate=True))["id"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
