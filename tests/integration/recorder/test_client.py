"""The runner's client of the recorder, against servers that are none, or older."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from carillon_core.adapters.recorder_client import RecorderClient
from carillon_core.recording.port import End, RecorderUnavailableError, RecordRefusedError


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", RecorderUnavailableError),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"begun": "now"}', RecorderUnavailableError),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n", RecorderUnavailableError),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", RecorderUnavailableError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 2**23 + b"xx", RecorderUnavailableError),
        (b"SSH-2.0-OpenSSH\r\n", RecorderUnavailableError),
        (b"", RecorderUnavailableError),
        (b'HTTP/1.1 422 No\r\nContent-Length: 16\r\n\r\n{"detail": "no"}', RecordRefusedError),
    ],
)
def test_an_answer_that_is_not_the_recorders_is_tried_again_or_refused(answer: bytes, want: type[Exception]) -> None:
    """Of a proxy, of another program, too long or cut: never a crash, never a hang."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass

        serving = threads.submit(serve)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = RecorderClient(url, None, "a token", uuid4())
        try:
            with pytest.raises(want):
                client.claim("x")
        finally:
            client.disconnect()
        serving.exception()  # a client may end the connection first


class OldRecorder(BaseHTTPRequestHandler):
    """Refuses fields of attempts that it does not know, and remembers the attempts that it took."""

    protocol_version = "HTTP/1.1"
    known = frozenset({"number", "status", "reason", "error", "started_at", "finished_at"})
    taken: list[Any]

    def do_POST(self) -> None:  # the library's name
        """Answer one request."""
        attempts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["attempts"]
        is_known = all(attempt.keys() <= self.known for attempt in attempts)
        answer = b'{"saved": true, "closed": true}' if is_known else b'{"detail": "no such field"}'
        if is_known:
            self.taken.append(attempts)
        self.send_response(200 if is_known else 422)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def old_recorder() -> Iterator[tuple[str, list[Any]]]:
    """Serve an old recorder; give its URL, and the attempts of each request that it took."""
    taken: list[Any] = []
    handler = type("Handler", (OldRecorder,), {"taken": taken})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", taken
        finally:
            server.shutdown()
            thread.join()


def test_a_recorder_of_before_gets_attempts_without_responses() -> None:
    """An upgrade may replace the recorder after the operator: no end is lost meanwhile."""
    plain: dict[str, Any] = {"number": 1, "status": "failed", "started_at": "2026-01-01T00:05:00+00:00"}
    full = {**plain, "status_code": 503, "response_time_ms": 12.5}
    with old_recorder() as (url, taken):
        client = RecorderClient(url, None, "a token", uuid4())
        try:
            assert client.save_attempts("x", [full]) is True
            assert client.close("x", End("failed", None, None, None, plain["started_at"], [full])) is True
            with pytest.raises(RecordRefusedError, match="no such field"):
                client.save_attempts("x", [{**plain, "colour": "red"}])
        finally:
            client.disconnect()
    assert taken == [[plain], [plain]]
