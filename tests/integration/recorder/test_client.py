"""The runner's client of the recorder, against servers that are none."""

import socket
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from carillon_core.adapters.recorder_client import RecorderClient
from carillon_core.recording.port import RecorderUnavailableError, RecordRefusedError


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
