"""One exchange of the task type ``http``: a connection, a request, a response. The response is not trusted.

The connection goes to an address that was checked: a name is resolved once, each
address is checked (``carillon_core.domain.egress.rules``), and the connection is made
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

from carillon_core.domain.egress.rules import AllowList, HostError, canonical_host, canonical_port, refusal
from carillon_runner.outcome import TaskFailedError, storable

WIRE_LIMIT = 8 * 2**20
"""Maximum number of bytes read from the wire for a response, including headers and chunk overhead."""
_HTTP_PORT, _HTTPS_PORT = 80, 443


@dataclass(frozen=True, slots=True)
class Target:
    """The destination of a request, parsed from its URL and encoded for the wire."""

    https: bool
    host: str
    """As ``egress.canonical_host`` has it: a name (IDNA), or an address without brackets."""
    port: int
    path: str
    """The request's target (RFC 9112, 3.2.1), percent-encoded, the query with it."""
    authorization: str | None = field(repr=False, compare=False)
    """The ``Authorization`` header for the URL's user and password (RFC 7617)."""

    @property
    def origin(self) -> tuple[bool, str, int]:
        """The origin (RFC 6454). Only URLs of the same origin share secrets."""
        return self.https, self.host.lower(), self.port


@dataclass(frozen=True, slots=True)
class Message:
    """The request that is sent to a target."""

    method: str
    headers: Mapping[str, str] = field(repr=False)
    """All headers except Host and Content-Length."""
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of a server."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    """The beginning of the body."""
    charset: str | None

    @property
    def text(self) -> str:
        """The body as text that Postgres can store, with invalid bytes replaced."""
        try:
            text = self.raw.decode(self.charset or "utf-8", "replace")
        except (LookupError, ValueError):  # an unknown or invalid charset
            text = self.raw.decode("utf-8", "replace")
        return storable(text)


def parse_target(url: str) -> Target:
    """Return the destination of a URL: names in IDNA, other characters percent-encoded, escapes unchanged.

    Raises:
        TaskFailedError: It is not an absolute http or https URL (``InvalidRequest``); the message does not repeat it,
            except for a port that is out of range.

    """
    try:
        parts = urlsplit(url)
        default = {"http": _HTTP_PORT, "https": _HTTPS_PORT}[parts.scheme]
        host, port = canonical_host(url), canonical_port(url)
        return Target(
            https=parts.scheme == "https",
            host=host,
            port=default if port is None else port,
            path=_encoded(parts.path or "/") + (f"?{_encoded(parts.query)}" if parts.query else ""),
            authorization=_basic(parts.username, parts.password),
        )
    except HostError as error:
        raise TaskFailedError("InvalidRequest", f"the URL {error}") from None
    except (KeyError, ValueError):  # UnicodeError from IDNA among them
        raise TaskFailedError("InvalidRequest", "the URL is not an absolute http or https URL") from None


def _encoded(part: str) -> str:
    # "%" stays, so that escapes are not encoded twice
    return quote(part, safe="/?:@!$&'()*+,;=-._~%[]")


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None and password is None:
        return None
    raw = unquote_to_bytes(user or "") + b":" + unquote_to_bytes(password or "")
    return "Basic " + b64encode(raw).decode("ascii")


def exchange(target: Target, message: Message, *, deadline: float, limit: int, allow: AllowList) -> Answer:
    """Send a request and return the answer, with its body up to a limit.

    Args:
        target: The destination.
        message: The request.
        deadline: On ``time.monotonic``'s clock.
        limit: How many bytes of the answer's body are read.
        allow: Addresses that may be reached although they are not public.

    Raises:
        TaskFailedError: The host has a closed address (``BlockedAddress``), and nothing was sent; or there was no
            response, or an invalid one. The message repeats neither the URL nor a header.

    """
    try:
        connection = _connect(target, deadline, allow)
        try:
            try:
                connection.request(message.method, target.path, body=message.body, headers=dict(message.headers))
            except (ValueError, http.client.InvalidURL) as error:
                # the library's message repeats the header or the URL that it rejected
                raise TaskFailedError(
                    "InvalidRequest", "the method, the URL, the body or a header is not valid in HTTP"
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
    """A stream with a limit, for endless header lines, chunks, trailers and interim responses."""

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
    """The library's response over a bounded stream."""

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
    """Resolve a target once and return its addresses as (family, address), if none of them is closed.

    Args:
        target: The destination.
        allow: Addresses that may be reached although they are not public.

    Raises:
        TaskFailedError: An address is closed, or the name is never looked up (``BlockedAddress``).
        OSError: The name has no address.

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

    Runs in a thread, because the C library's resolver does not return to Python until
    it has an answer, and signals would have to wait. An abandoned thread ends with the
    process.
    """
    found: list[tuple[int, Any]] = []
    errors: list[OSError] = []

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            found.extend((family, address) for family, _, _, _, address in infos)
        except UnicodeError:  # a label that is empty, or longer than 63 characters
            errors.append(socket.gaierror(socket.EAI_NONAME, "the name is not a host name"))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found


def connected_socket(addresses: Sequence[tuple[int, Any]], deadline: float) -> socket.socket:
    """Return a socket connected to the first address that answers, without a timeout.

    Args:
        addresses: Each a family and an address, as ``socket.connect`` takes it.
        deadline: On ``time.monotonic``'s clock; each address except the last gets a share of the time until then.

    Raises:
        OSError: No address answers; the last error is raised.

    """
    last: OSError = ConnectionError("the name has no address")
    for index, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        left = len(addresses) - index
        # a share of the time for each address; the last one is limited by the execution's timeout
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
    """Return the class of an error and a sentence with the host and the system's message, without URL and headers."""
    where = f"{target.host} port {target.port}"
    words = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return TaskFailedError("DNS", f"{target.host} cannot be resolved: {words}")
    if _is_tls(error):
        detail = getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__
        return TaskFailedError("TLS", f"TLS with {where} failed: {detail}")
    if isinstance(error, TimeoutError):
        return TaskFailedError("Timeout", f"{where} did not answer in time")
    if isinstance(error, OSError):  # RemoteDisconnected, which is also a BadStatusLine, among them
        return TaskFailedError("Connection", f"connection with {where} failed: {words}")
    # the library raises ValueError for invalid numbers
    return TaskFailedError("Protocol", f"{where} did not answer with valid HTTP: {type(error).__name__}")


def _is_tls(error: Exception) -> bool:
    # by name, to avoid an import
    return any(kind.__module__ == "ssl" and kind.__name__ == "SSLError" for kind in type(error).__mro__)
