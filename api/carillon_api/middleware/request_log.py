"""The outermost layers: a correlation id and an access log line for each request, and a response to every error.

Pure ASGI: starlette's ``BaseHTTPMiddleware`` would add a task and a queue for
each response.
"""

import logging
import re
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.http.headers import REQUEST_ID
from carillon_api.http.problems import internal_error
from carillon_api.http.public_paths import METRICS_PATHS, PROBES
from carillon_api.observability.metrics import Metrics
from carillon_core.logs import get_logger, log_context

CLIENT_CLOSED_REQUEST = 499
"""nginx's status in the log for a client that disconnected; it is never sent."""
QUIET_PATHS = PROBES | METRICS_PATHS
"""Requested every few seconds by the kubelet and by Prometheus: their lines have level DEBUG."""
MAX_USER_AGENT = 120
MAX_PATH = 1024
"""The maximum number of characters in the log."""
NOBODY = "-"
STREAM = "text/event-stream"

log = get_logger("carillon_api.access")


@dataclass(slots=True)
class _Answer:
    """The parts of a response that have been sent."""

    status: int | None = None
    size: int = 0
    stream_after: float | None = None
    """After how many seconds a stream has begun, which ends when its client has seen enough."""


class RequestLog:
    """ASGI middleware: access log, metrics, and ``X-Request-ID`` in the response and in every log line."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an app.

        Args:
            app: The app.
            metrics: Counts the requests.

        """
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes, such as the lifespan, are passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = correlation_id(headers.get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        answer = _Answer()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                sent = MutableHeaders(scope=message)
                sent[REQUEST_ID] = request_id
                if sent.get("content-type", "").startswith(STREAM):
                    answer.stream_after = time.perf_counter() - started
                    self._metrics.stream_began()
            elif message["type"] == "http.response.body":
                answer.size += len(message.get("body", b""))
            await send(message)

        with log_context(request_id=request_id), self._metrics.in_flight():
            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnect:
                answer.status = CLIENT_CLOSED_REQUEST
            finally:
                seconds = time.perf_counter() - started
                route = scope["app"].operations.template(scope["method"], scope["path"])
                taken = seconds if answer.stream_after is None else answer.stream_after
                self._metrics.request_ended(scope["method"], route, answer.status, taken)
                if answer.stream_after is not None:
                    self._metrics.stream_ended()
                _log_request(scope, route, answer, seconds)


class LastResort:
    """ASGI middleware: 500 for unexpected exceptions."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes, such as the lifespan, are passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except ClientDisconnect:
            raise
        except Exception as error:
            if begun:
                raise  # part of the response has been sent: the server has to close the connection
            await internal_error(scope, error)(scope, receive, send)


def correlation_id(given: str | None) -> str:
    """Return the caller's request id if it is safe to log, or a new one."""
    if given is not None and re.fullmatch(r"[A-Za-z0-9._-]{1,128}", given):
        return given
    return uuid4().hex


def _log_request(scope: Scope, route: str | None, answer: _Answer, seconds: float) -> None:
    level = logging.DEBUG if scope["path"] in QUIET_PATHS else logging.INFO
    state: dict[str, Any] = scope["state"]
    caller = state.get("caller")
    fields = {
        "method": scope["method"],
        # As sent: percent-encoded, so that a caller cannot inject lines into the log.
        "path": _printable(scope.get("raw_path") or b"", MAX_PATH),
        "route": route,
        "status": answer.status,
        "bytes": answer.size,
        "duration_ms": round(seconds * 1000, 1),
        "caller": caller.subject.name if caller is not None else NOBODY,
        "user_agent": _printable(Headers(scope=scope).get("user-agent", "").encode("latin-1"), MAX_USER_AGENT),
        "request_id": state["request_id"],
    }
    log.log(level, "request", **fields)


def _printable(raw: bytes, length: int) -> str:
    text = raw[:length].decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(raw) <= length else f"{text}…"
