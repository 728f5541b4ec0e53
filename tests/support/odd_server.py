"""A server of one connection that can send any bytes, valid HTTP or not."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def odd_server(
    answer: Callable[[socket.socket, bytes], None], host: str = "127.0.0.1", context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve one connection: read the request's head and pass it to ``answer``; yield the port."""
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)

    def serve() -> None:
        try:
            sock, _ = listener.accept()
            with context.wrap_socket(sock, server_side=True) if context else sock as client:
                request = b""
                while b"\r\n\r\n" not in request and (chunk := client.recv(65_536)):
                    request += chunk
                answer(client, request)
        except OSError:
            return  # the runner closed the connection or refused the certificate, as the test expects

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # ends an accept that is still waiting
        with socket.socket(listener.family) as waker:
            waker.connect_ex(listener.getsockname())
        thread.join()
        listener.close()


def saying(*parts: bytes) -> Callable[[socket.socket, bytes], None]:
    """Return an answer that sends these bytes and closes the connection."""

    def answer(client: socket.socket, _request: bytes) -> None:
        for part in parts:
            client.sendall(part)

    return answer
