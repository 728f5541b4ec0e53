"""What HTTP expects of any server: HEAD and OPTIONS, bounded addresses, headers that keep browsers careful.

ASGI middleware of ``create_app``, each for itself.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.http.operations import Operations
from carillon_api.http.problems import Kind, problem_response

MAX_TARGET_BYTES = 24 * 1024
"""Of path and query: room for every parameter at its longest, percent-encoded; RFC 9110 (4.1) asks for 8000."""
MAX_HEADER_BYTES = 32 * 1024
"""Of all headers together; what comes in pieces is refused by the server when it has as much, see ``server``."""
NO_CONTENT = 204
DENY_ALL = "default-src 'none'; frame-ancestors 'none'"
"""The policy of an answer that is no page."""


class SecurityHeaders:
    """ASGI middleware: no sniffing, no framing, no cache of what the API says; a page may say otherwise of itself."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_carefully(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Referrer-Policy", "no-referrer")
                headers.setdefault("Content-Security-Policy", DENY_ALL)
                # what stands on the disk of this machine says itself how long it holds
                if "etag" not in headers or scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_carefully)


class Methods:
    """ASGI middleware: HEAD as GET without its body, OPTIONS with what there is, 414 and 431."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            detail = f"path and query may have at most {MAX_TARGET_BYTES} bytes: send less in the query"
            await problem_response(scope, Kind.URI_TOO_LONG, detail)(scope, receive, send)
        elif sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            detail = f"the headers may have at most {MAX_HEADER_BYTES} bytes together: send fewer or shorter ones"
            await problem_response(scope, Kind.HEAD_TOO_LARGE, detail)(scope, receive, send)
        elif scope["method"] == "HEAD":
            # the answer's headers are those of GET, its Content-Length too: RFC 9110, section 9.3.2
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
