"""An HTTP server that records every request, and repeats each header in its response, like a careless server."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class RecordingServer:
    """Serves on a free port while it is entered.

    Attributes:
        seen: Path, headers (their names in lower case) and body of each request.
        status: What it answers with.

    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                owner.seen.append((self.path, headers, body))
                answer = repr(headers).encode()
                self.send_response(owner.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST  # noqa: N815  # http.server requires this name

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

    def to(self, path: str) -> list[tuple[dict[str, str], bytes]]:
        """Return the headers and the body of each request to a path."""
        return [(headers, body) for seen, headers, body in list(self.seen) if seen == path]
