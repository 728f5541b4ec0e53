"""The outermost layer: a correlation id for each request, a line in the access log, and no error left unanswered.

Pure ASGI: starlette's ``BaseHTTPMiddleware`` would put a task and a queue
between the server and each answer.
"""

import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.problems import internal_error

REQUEST_ID = "X-Request-ID"
CLIENT_CLOSED_REQUEST = 499
"""nginx's word in the log for a caller that went away; it is never sent."""
QUIET_PATHS = frozenset({"/healthz", "/readyz"})
"""Asked every few seconds by the kubelet: their lines are DEBUG."""

log = logging.getLogger("carillon_api.access")


class RequestLog:
    """ASGI middleware: ``X-Request-ID`` in and out, the access log, and 500 for what nobody expected."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else, such as the lifespan, is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = correlation_id(Headers(scope=scope).get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = CLIENT_CLOSED_REQUEST
        except Exception as error:
            if status is not None:
                raise  # half an answer is out already: the server must break the connection
            await internal_error(scope, error)(scope, receive, send_with_id)
        finally:
            _log_request(scope, request_id, status, time.perf_counter() - started)


def correlation_id(given: str | None) -> str:
    """Return the caller's id of a request if it is harmless in a log, or a new one."""
    if given is not None and re.fullmatch(r"[A-Za-z0-9._-]{1,128}", given):
        return given
    return uuid4().hex


def _log_request(scope: Scope, request_id: str, status: int | None, seconds: float) -> None:
    level = logging.DEBUG if scope["path"] in QUIET_PATHS else logging.INFO
    fields = {
        "method": scope["method"],
        # As sent: percent-encoded, so that nobody can write lines of their own into the log.
        "path": scope.get("raw_path", b"").decode("latin-1").encode("unicode_escape").decode("ascii"),
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "request_id": request_id,
    }
    log.log(level, "request", extra={"fields": fields})
