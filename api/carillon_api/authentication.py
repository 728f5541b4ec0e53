"""Who calls: a bearer token that the cluster knows. The routes' context depends on it; probes and documents do not."""

from dataclasses import dataclass

from fastapi import Request

from carillon_core.domain.access import Subject
from carillon_core.errors import UnauthenticatedError
from carillon_core.ports import APIServer


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and how that is known."""

    subject: Subject
    credential: str
    """``token``, or ``api-key:`` and the key's name."""


async def authenticate(request: Request, api_server: APIServer) -> Caller:
    """Return who sends a request.

    Raises:
        UnauthenticatedError: Nobody that the cluster knows.

    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("send a bearer token that the cluster knows")
    subject = await api_server.review_token(token.strip())
    if subject is None:
        raise UnauthenticatedError("the cluster does not know this bearer token: it may have expired")
    return Caller(subject, "token")
