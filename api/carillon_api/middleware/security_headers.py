"""Headers that restrict what browsers do with responses."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DENY_ALL = "default-src 'none'; frame-ancestors 'none'"
"""The policy of responses that are not HTML pages."""


class SecurityHeaders:
    """ASGI middleware: no sniffing, no framing, no caching of API responses; HTML pages may set their own policy."""

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
                # static files set their own caching headers
                if "etag" not in headers or scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_carefully)
