"""An HTTP server that knows who works when: a request is held for as long as its client works, or lives."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

SILENT_SECONDS = 3
"""How long a client may be silent, although it is asked every second, before it counts as gone."""
LAST_ACK_OFFSET = 56
"""Where ``struct tcp_info`` (tcp(7)) has the milliseconds since the last acknowledgement."""


@dataclass(frozen=True, slots=True)
class Span:
    """One client's work, on ``time.monotonic``'s clock."""

    key: str
    """The execution's id, as the client says it."""
    began: float
    ended: float
    done: bool
    """Whether the work was completed: the client was answered and, if it is to, said that it keeps the answer."""


class SpanServer:
    """Serves on a free port while it is entered.

    A POST to ``/path?hold=seconds`` is answered after that time. The span ends when the client closes its connection: a
    process that is killed does so, too. With ``&keep=1`` the client says ``kept`` once a signal can no longer make it
    lose the answer; otherwise one that is ended just then would have done its work, and would do it again.

    The last packet of a client in a pod is now and then lost with the pod's network. The connection then breaks off
    after ``SILENT_SECONDS``, and the span ends when the client was last heard.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._spans: dict[str, list[Span]] = defaultdict(list)
        self._open: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # a client keeps its connection after the answer

            def do_POST(self) -> None:
                address = urlsplit(self.path)
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                key = self.headers.get("Idempotency-Key", "")
                query = parse_qs(address.query)
                owner.hold(self, address.path, key, float(query["hold"][0]), keep="keep" in query)
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self.url = f"http://{host}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def hold(self, request: BaseHTTPRequestHandler, path: str, key: str, seconds: float, *, keep: bool) -> None:
        """Answer after some time, unless the client goes away first; keep the span."""
        began = time.monotonic()
        with self._lock:
            self._open[path] += 1
        _notice_silence(request.connection)
        # nothing follows a request: what can be read is the end of the connection
        gone, _, _ = select.select([request.connection], [], [], seconds)
        answered = not gone and _answered(request)
        said, ended = (b"", time.monotonic()) if answered and not keep else _rest(request.connection)
        span = Span(key, began, max(began, ended), done=answered and (said == b"kept" or not keep))
        with self._lock:
            self._open[path] -= 1
            self._spans[path].append(span)

    def at_work(self, path: str) -> int:
        """Return how many clients work on a path now."""
        with self._lock:
            return self._open[path]

    def spans(self, path: str) -> list[Span]:
        """Return the spans of a path, in order of their begins."""
        with self._lock:
            return sorted(self._spans[path], key=lambda span: span.began)

    def overlaps(self, path: str) -> list[tuple[Span, Span]]:
        """Return the pairs of neighbouring spans of which the second began before the first had ended."""
        return [(one, two) for one, two in pairwise(self.spans(path)) if two.began < one.ended]


def _notice_silence(connection: socket.socket) -> None:
    """Let a connection break off soon after its other side has vanished without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)


def _answered(request: BaseHTTPRequestHandler) -> bool:
    """Answer; return whether the connection still took it."""
    try:
        request.send_response(200)
        request.send_header("Content-Length", "0")
        request.end_headers()
    except OSError:  # it was cut off
        return False
    return True


def _rest(connection: socket.socket) -> tuple[bytes, float]:
    """Return what a client still sends until its connection ends, and when it ended."""
    said = b""
    try:
        while chunk := connection.recv(64):
            said += chunk
    except ConnectionResetError:
        pass
    except OSError:  # it vanished
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAST_ACK_OFFSET + 4)
        return said, time.monotonic() - struct.unpack_from("=I", info, LAST_ACK_OFFSET)[0] / 1000
    return said, time.monotonic()
