"""HEAD and OPTIONS for every path, as HTTP requires, size limits, and one length for each body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.http.operations import Operations
from carillon_api.http.problems import Kind, problem_response

MAX_TARGET_BYTES = 24 * 1024
"""The maximum length of path and query: enough for the longest value of every parameter, percent-encoded. RFC 9110
(4.1) recommends at least 8000."""
MAX_HEADER_BYTES = 32 * 1024
"""The maximum size of all headers together; ``server`` limits headers that arrive in pieces."""
LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
NO_CONTENT = 204


class Methods:
    """ASGI middleware: HEAD as GET without a body, OPTIONS with the methods of the path, 400, 414 and 431."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            detail = f"path and query must not be longer than {MAX_TARGET_BYTES} bytes: shorten the query"
            await problem_response(scope, Kind.URI_TOO_LONG, detail)(scope, receive, send)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            detail = (
                f"all headers together must not be larger than {MAX_HEADER_BYTES} bytes: send fewer or shorter headers"
            )
            await problem_response(scope, Kind.HEAD_TOO_LARGE, detail)(scope, receive, send)
        elif {name for name, _ in scope["headers"]} >= LENGTHS:
            # A proxy may have read another length, and the rest as the next request: RFC 9112, section 6.1.
            detail = "a request must not have both Content-Length and Transfer-Encoding: send one of them"
            headers = {"Connection": "close"}
            await problem_response(scope, Kind.MALFORMED, detail, headers=headers)(scope, receive, send)
        elif scope["method"] == "HEAD":
            # the response headers are those of GET, including Content-Length: RFC 9110, section 9.3.2
            scope.setdefault("state", {})["is_head"] = True  # for a response that does not end by itself
            await self._app({**scope, "method": "GET"}, receive, _without_body(send))
        elif scope["method"] == "OPTIONS" and (methods := _operations(scope).methods(scope["path"])):
            await _send_allow(send, ", ".join(sorted(methods)))
        else:
            await self._app(scope, receive, send)


def _operations(scope: Scope) -> Operations:
    operations: Operations = scope["app"].operations
    return operations


async def _send_allow(send: Send, methods: str) -> None:
    headers = [(b"allow", methods.encode())]
    await send({"type": "http.response.start", "status": NO_CONTENT, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
