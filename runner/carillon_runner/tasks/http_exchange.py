"""One exchange of the task type ``http``: a connection, a request, an answer; nothing of it is trusted.

What is connected to is what was checked: a name is looked up once, each of its
addresses is judged (``carillon_core.domain.egress.rules``), and the connection is made
to one of these addresses, never to the name.
"""

import http.client
import io
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from carillon_core.domain.egress.rules import AllowList, HostError, canonical_host, refusal
from carillon_runner.outcome import TaskFailedError, storable

WIRE_LIMIT = 8 * 2**20
"""How many bytes of an answer are taken off the wire for its head, its body and what chunks cost."""
_HTTP_PORT, _HTTPS_PORT = 80, 443


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, taken from its URL and made fit for the wire."""

    https: bool
    host: str
    """As ``egress.canonical_host`` has it: a name (IDNA), or an address without brackets."""
    port: int
    path: str
    """The request's target (RFC 9112, 3.2.1), percent-encoded, the query with it."""
    authorization: str | None = field(repr=False, compare=False)
    """The header that the URL's user and password make (RFC 7617)."""

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What two URLs have in common that may share secrets (RFC 6454)."""
        return self.https, self.host.lower(), self.port


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    """The body's beginning."""
    charset: str | None

    @property
    def text(self) -> str:
        """The body as text, as Postgres can keep it, bytes that are none of its charset replaced."""
        try:
            text = self.raw.decode(self.charset or "utf-8", "replace")
        except (LookupError, ValueError):  # a charset that Python does not know, or that is none
            text = self.raw.decode("utf-8", "replace")
        return storable(text)


def parse_target(url: str) -> Target:
    """Return where a URL leads: names in IDNA, what is not ASCII percent-encoded, escapes left as they are.

    Raises:
        TaskFailedError: It is no absolute http or https URL (``InvalidRequest``); the message does not repeat it.

    """
    try:
        parts = urlsplit(url)
        default = {"http": _HTTP_PORT, "https": _HTTPS_PORT}[parts.scheme]
        return Target(
            https=parts.scheme == "https",
            host=canonical_host(url),
            port=default if parts.port is None else parts.port,
            path=_encoded(parts.path or "/") + (f"?{_encoded(parts.query)}" if parts.query else ""),
            authorization=_basic(parts.username, parts.password),
        )
    except HostError as error:
        raise TaskFailedError("InvalidRequest", f"the URL {error}") from None
    except (KeyError, ValueError):  # UnicodeError from IDNA among them
        raise TaskFailedError("InvalidRequest", "the URL is not an absolute http or https URL") from None


def _encoded(part: str) -> str:
    # "%" stays: what the user has encoded is not encoded again
    return quote(part, safe="/?:@!$&'()*+,;=-._~%[]")


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None and password is None:
        return None
    raw = unquote_to_bytes(user or "") + b":" + unquote_to_bytes(password or "")
    return "Basic " + b64encode(raw).decode("ascii")


def exchange(  # a request has as many parts
    target: Target,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    deadline: float,
    limit: int,
    allow: AllowList,
) -> Answer:
    """Send a request and return the answer, with its body up to a limit.

    Args:
        target: Where to.
        method: The method.
        headers: All headers but Host and Content-Length.
        body: The body, or None for none.
        deadline: On ``time.monotonic``'s clock.
        limit: How many bytes of the answer's body are read.
        allow: Which addresses may be connected to although they are not public.

    Raises:
        TaskFailedError: The host has an address that is closed (``BlockedAddress``), and nothing was sent; or no
            answer came, or none that HTTP knows. The message repeats neither the URL nor a header.

    """
    try:
        connection = _connect(target, deadline, allow)
        try:
            try:
                connection.request(method, target.path, body=body, headers=dict(headers))
            except (ValueError, http.client.InvalidURL) as error:
                # the library's words repeat the header or the URL that it refused
                raise TaskFailedError(
                    "InvalidRequest", "the method, the URL, the body or a header is none that HTTP allows"
                ) from error
            return _read_answer(connection, limit)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failure(error, target) from error


def _read_answer(connection: http.client.HTTPConnection, limit: int) -> Answer:
    with connection.getresponse() as response:
        raw = response.read(limit)
        if len(raw) < limit and response.length:
            raise http.client.IncompleteRead(b"", response.length)
        headers = {name: value for name in ("Location", "Retry-After") if (value := response.headers.get(name))}
        return Answer(response.status, headers, raw, response.headers.get_content_charset())


class _Bounded(io.RawIOBase):
    """A stream that ends the reading of what has no end: header lines, chunks, trailers, interim answers."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream
        self._left = WIRE_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise http.client.HTTPException
        count: int | None = self._stream.readinto(memoryview(buffer)[: self._left])
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """The library's, over a bounded stream."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach()))


def _connect(target: Target, deadline: float, allow: AllowList) -> http.client.HTTPConnection:
    """Return a connection to the first address that answers, TLS included, if none of the addresses is closed."""
    sock = connected_socket(checked_addresses(target, allow), deadline)
    try:
        if target.https:
            import ssl  # noqa: PLC0415  # costs 6 ms: only for https

            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            sock = context.wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise
    # an IPv6 address gets its brackets, and the port its place in the Host header, from the library
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.response_class = _Response
    connection.default_port = _HTTPS_PORT if target.https else _HTTP_PORT  # of this one alone
    connection.sock = sock
    return connection


def checked_addresses(target: Target, allow: AllowList) -> list[tuple[int, Any]]:
    """Return the addresses of a target as (family, address), in one look-up, if none of them is closed.

    Args:
        target: Where to.
        allow: Which addresses may be connected to although they are not public.

    Raises:
        TaskFailedError: One is closed, or the name is one that is never looked up (``BlockedAddress``).
        OSError: The name has none.

    """
    why = refusal(target.host, target.port, (), allow)
    if why is None:
        addresses = _resolve(target)
        why = refusal(target.host, target.port, [address[0] for _, address in addresses], allow)
        if why is None:
            return addresses
    raise TaskFailedError("BlockedAddress", why)


def _resolve(target: Target) -> list[tuple[int, Any]]:
    """Return the addresses of a host as (family, address).

    In a thread, because the C library's resolver returns to Python when it has
    its answer and not before: a signal would have to wait for as long. A thread
    that is left behind ends with the process.
    """
    found: list[tuple[int, Any]] = []
    errors: list[OSError] = []

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            found.extend((family, address) for family, _, _, _, address in infos)
        except UnicodeError:  # a label that is empty, or longer than 63 characters
            errors.append(socket.gaierror(socket.EAI_NONAME, "the name is no host name"))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found


def connected_socket(addresses: Sequence[tuple[int, Any]], deadline: float) -> socket.socket:
    """Return a socket connected to the first address that answers, without a time-out.

    Args:
        addresses: Each a family and an address of it, as ``socket.connect`` takes it.
        deadline: On ``time.monotonic``'s clock; each address but the last has its share of the time until then.

    Raises:
        OSError: None answers; what the last one said.

    """
    last: OSError = ConnectionError("the name has no address")
    for index, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        left = len(addresses) - index
        # a share of the time for each address, and the last one has the rest: the execution's time-out ends that
        sock.settimeout(max(deadline - time.monotonic(), 0.001) / left if left > 1 else None)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            sock.settimeout(None)
            return sock
    raise last


def _failure(error: Exception, target: Target) -> TaskFailedError:
    """Return the class of an error and a sentence that names the host and the system's words, never URL or headers."""
    where = f"{target.host} port {target.port}"
    words = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return TaskFailedError("dns", f"{target.host} cannot be resolved: {words}")
    if _is_tls(error):
        detail = getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__
        return TaskFailedError("tls", f"no TLS with {where}: {detail}")
    if isinstance(error, TimeoutError):
        return TaskFailedError("timeout", f"{where} did not answer in time")
    if isinstance(error, OSError):  # RemoteDisconnected, which is also a BadStatusLine, among them
        return TaskFailedError("connection", f"no connection with {where}, or it broke: {words}")
    # a ValueError is the library's on numbers that are none
    return TaskFailedError("protocol", f"{where} did not answer as HTTP wants it: {type(error).__name__}")


def _is_tls(error: Exception) -> bool:
    # by name: what http never needed is not imported to ask
    return any(kind.__module__ == "ssl" and kind.__name__ == "SSLError" for kind in type(error).__mro__)
