"""An HTTP server for tests of processes: it counts requests, responds from a list, and can hold a request."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

PATIENCE_SECONDS = 60.0


class CountingServer:
    """Serves on a free port while it is entered.

    Attributes:
        replies: Status and headers of each request in turn; the last one stands for all that follow.
        hold_at: The number of the request that is left without an answer; 0: none.
        reached: Set when that one has come.
        before_answer: Called with the number of each request.
        seen: Path and ``Idempotency-Key`` of each.
        answers: ``Idempotency-Key`` and status of each that got an answer or was about to. Below ``/flaky`` the first
            of a key is 500 and the others are 200.

    """

    def __init__(self) -> None:
        self.replies: list[tuple[int, Mapping[str, str]]] = [(200, {})]
        self.hold_at = 0
        self.reached = threading.Event()
        self.before_answer: Callable[[int], Any] = lambda _number: None
        self.seen: list[tuple[str, str]] = []
        self.answers: list[tuple[str, int]] = []
        self._changed = threading.Condition()
        self._ended = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner._answer(self)  # the same code in two classes

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                pass  # the client was killed, or has read enough: the test checks the client's side

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def await_requests(self, count: int) -> None:
        """Return when this many requests have arrived."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, PATIENCE_SECONDS), f"{self.seen} came"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        with self._changed:
            key = request.headers.get("Idempotency-Key", "")
            is_first = all(key != other for _, other in self.seen)
            self.seen.append((request.path, key))
            number = len(self.seen)
            status, headers = self.replies[min(number, len(self.replies)) - 1]
            if request.path == "/flaky":
                status = 500 if is_first else 200
            self.answers.append((key, status))
            self._changed.notify_all()
        if number == self.hold_at:
            self.reached.set()
            self._ended.wait(PATIENCE_SECONDS)
            return
        self.before_answer(number)
        request.send_response(status)
        for name, value in {**headers, "Content-Length": "2"}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(b"ok")
