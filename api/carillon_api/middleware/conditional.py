"""``If-None-Match``: 304 without a body to a caller who has the current version (RFC 9110, sections 13.1.2 and 15.4.5).

ASGI middleware around the router, so that every answer with an ETag takes
part; the OpenAPI document describes the header wherever an answer has one.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.http.headers import IF_NONE_MATCH
from carillon_api.http.preconditions import none_match

OK, NOT_MODIFIED = 200, 304
OF_THE_BODY = frozenset({b"content-type", b"content-length", b"content-encoding"})
"""Headers that describe a body, which 304 does not have."""


class ConditionalGet:
    """ASGI middleware; HEAD arrives here as GET."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a request without the header is passed on."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).getlist(IF_NONE_MATCH)
        await self._app(scope, receive, _conditional(", ".join(given), send) if given else send)


def _conditional(header: str, send: Send) -> Send:
    """Return a ``send`` that replaces the version that the caller has by 304."""
    is_left_out = is_sent = False

    async def send_unless_known(message: Message) -> None:
        nonlocal is_left_out, is_sent
        if message["type"] == "http.response.start":
            etag = Headers(raw=message["headers"]).get("etag")
            is_left_out = message["status"] == OK and etag is not None and not none_match(header, etag)
            if is_left_out:
                kept = [(name, value) for name, value in message["headers"] if name.lower() not in OF_THE_BODY]
                MutableHeaders(raw=kept).add_vary_header("Accept-Encoding")  # as 200 has it: RFC 9110, 15.4.5
                message = {**message, "status": NOT_MODIFIED, "headers": kept}
        elif is_left_out:
            # the body may come in several messages, and as a path
            if is_sent:
                return
            is_sent = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    return send_unless_known
