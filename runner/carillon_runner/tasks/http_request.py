"""The task type ``http``: one request, with the standard library's client."""

import http.client
import ipaddress
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from carillon_core import __version__
from carillon_runner.outcome import Execution, TaskFailedError, storable

BODY_LIMIT = 102_400
"""How many bytes of a response's body are read and kept."""
_HTTP_PORT, _HTTPS_PORT = 80, 443
_SUCCESS = range(200, 300)
_CLIENT_ERROR = range(400, 500)
_SERVER_ERROR = range(500, 600)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, taken from its URL and made fit for the wire."""

    https: bool
    host: str
    """ASCII: a name (IDNA), or an address without brackets."""
    port: int
    path: str
    """The request's target (RFC 9112, 3.2.1), percent-encoded, the query with it."""
    authorization: str | None = field(repr=False)
    """The header that the URL's user and password make (RFC 7617)."""


def run(execution: Execution) -> Mapping[str, Any]:
    """Send the request and return ``{"statusCode", "responseTimeMs", "body", "bodyTruncated"}``.

    ``responseTimeMs`` is from the sending of the request to the end of its
    body, or to where that is cut: after 100 KiB. Redirects are not followed: a
    3xx is an unexpected status like any other unless ``expectedStatuses`` lists
    it. Proxies that the environment names are not used. A user and a password
    in the URL become a Basic ``Authorization``, unless the headers have one.

    Raises:
        TaskFailedError: The status is not an expected one (``http_4xx``, ``http_5xx``, ``http_status``), with the
            result; no answer came (``timeout``, ``dns``, ``connection``, ``tls``, ``protocol``); or the request is
            none that HTTP allows (``InvalidRequest``). No message repeats the URL or a header.

    """
    spec = execution.spec
    target = parse_target(spec["url"])
    try:
        connection = _connect(target, execution.deadline)
        try:
            result = _exchange(connection, spec, target, str(execution.environment.execution_id))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failure(error, target) from error
    _check_status(result, spec.get("expectedStatuses") or ())
    return result


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
            host=_ascii_host(parts.hostname or ""),
            port=default if parts.port is None else parts.port,
            path=_encoded(parts.path or "/") + (f"?{_encoded(parts.query)}" if parts.query else ""),
            authorization=_basic(parts.username, parts.password),
        )
    except (KeyError, ValueError):  # UnicodeError from IDNA among them
        raise TaskFailedError("InvalidRequest", "the URL is not an absolute http or https URL") from None


def _ascii_host(host: str) -> str:
    if ":" in host:
        ipaddress.IPv6Address(host)
        return host
    name = host.encode("idna").decode("ascii") if not host.isascii() else host
    if not re.fullmatch(r"[a-z0-9._~-]+", name, re.IGNORECASE):
        raise ValueError
    return name


def _encoded(part: str) -> str:
    # "%" stays: what the user has encoded is not encoded again
    return quote(part, safe="/?:@!$&'()*+,;=-._~%[]")


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None and password is None:
        return None
    raw = unquote_to_bytes(user or "") + b":" + unquote_to_bytes(password or "")
    return "Basic " + b64encode(raw).decode("ascii")


def _connect(target: Target, deadline: float) -> http.client.HTTPConnection:
    """Return a connection to the first address that answers, TLS included."""
    sock = connected_socket(_resolve(target), deadline)
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
    connection.default_port = _HTTPS_PORT if target.https else _HTTP_PORT  # of this one alone
    connection.sock = sock
    return connection


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


def _exchange(
    connection: http.client.HTTPConnection, spec: Mapping[str, Any], target: Target, execution_id: str
) -> dict[str, Any]:
    body = spec.get("body")
    headers = _headers(spec.get("headers") or {}, target, execution_id)
    sent = time.perf_counter()
    connection.request(
        spec.get("method", "GET"),
        target.path,
        body=None if body is None else body.encode("utf-8"),
        headers=headers,
    )
    with connection.getresponse() as response:
        raw = response.read(BODY_LIMIT + 1)
        milliseconds = (time.perf_counter() - sent) * 1000
        if len(raw) <= BODY_LIMIT and response.length:
            raise http.client.IncompleteRead(b"", response.length)
        text = _decoded(raw[:BODY_LIMIT], response.headers.get_content_charset())
        return {
            "statusCode": response.status,
            "responseTimeMs": round(milliseconds, 3),
            "body": text,
            "bodyTruncated": len(raw) > BODY_LIMIT,
        }


def _headers(given: Mapping[str, str], target: Target, execution_id: str) -> dict[str, str]:
    defaults = {
        "User-Agent": f"carillon/{__version__}",
        "Idempotency-Key": execution_id,
        "Connection": "close",
    }
    if target.authorization is not None:
        defaults["Authorization"] = target.authorization
    names = {name.lower() for name in given}
    return {name: value for name, value in defaults.items() if name.lower() not in names} | dict(given)


def _decoded(raw: bytes, charset: str | None) -> str:
    try:
        text = raw.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):  # a charset that Python does not know, or that is none
        text = raw.decode("utf-8", "replace")
    return storable(text)


def _check_status(result: Mapping[str, Any], expected: Sequence[int]) -> None:
    status = result["statusCode"]
    if status in (expected or _SUCCESS):
        return
    reason = "http_4xx" if status in _CLIENT_ERROR else "http_5xx" if status in _SERVER_ERROR else "http_status"
    wanted = ", ".join(str(code) for code in expected) or "2xx"
    hint = "; redirects are not followed" if 300 <= status < 400 else ""  # noqa: PLR2004  # the class 3xx
    raise TaskFailedError(reason, f"the server answered {status}, and expected was {wanted}{hint}", result)


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
    if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.InvalidURL):
        return TaskFailedError("protocol", f"{where} did not answer as HTTP wants it: {type(error).__name__}")
    # the library's words repeat the header or the URL that it refused
    return TaskFailedError("InvalidRequest", "the method, the URL, the body or a header is none that HTTP allows")


def _is_tls(error: Exception) -> bool:
    # by name: what http never needed is not imported to ask
    return any(kind.__module__ == "ssl" and kind.__name__ == "SSLError" for kind in type(error).__mro__)
