"""The connection to the API server: one kept-alive session with bounded concurrency that exchanges plain JSON.

Composed by each app's ``__main__`` as ``async with KubeConnection(...)`` and
passed to the stores. Headers and bodies never appear in logs or messages, so
secrets do not either.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from multidict import CIMultiDict

from carillon_core.adapters.breaker import Breaker
from carillon_core.adapters.decoding import decoded
from carillon_core.adapters.kube.credentials import RENEWAL_SECONDS, Credentials
from carillon_core.adapters.kube.failures import API_SERVER, failure
from carillon_core.domain.access.subjects import Subject
from carillon_core.errors import ForbiddenError, NoAnswerError, NotFoundError, TooLargeError, UnavailableError
from carillon_core.name_patterns import is_dns_subdomain
from carillon_core.ports import JSONObject

Params = Mapping[str, str]
Fence = Callable[[], None]
"""Raises if the request must not be sent any more."""

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

_REVIEWS = ("/apis/authentication.k8s.io/", "/apis/authorization.k8s.io/")
_ERROR = 400
_UNAUTHORIZED = 401
_METADATA = "application/json;as=PartialObjectMetadata{what};g=meta.k8s.io;v=v1"
_TOO_MANY = 429
_POLITE_TRIES = 4
_LONGEST_RETRY_AFTER = 10.0
_KEEPALIVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Call:
    """One request to the API server, without the credentials."""

    method: str
    path: str
    params: Params | None = None
    data: bytes | None = None
    headers: Mapping[str, str | list[str]] = field(default_factory=dict)
    fence: Fence | None = None
    most: int | None = None
    """How many bytes the answer may have."""


def _call(method: str, path: str, body: Any, content_type: str) -> _Call:
    if body is None:
        return _Call(method, path)
    return _Call(method, path, data=orjson.dumps(body), headers={"Content-Type": content_type})


def _unobserved(_method: str, _status: int | None, _seconds: float) -> None:
    """Ignore a request."""


class KubeConnection:
    """A session with the API server."""

    def __init__(
        self,
        kubeconfig: str | None = None,
        *,
        in_flight: int = 64,
        timeout_seconds: float = 30.0,
        renewal_seconds: float = RENEWAL_SECONDS,
        observe: Callable[[str, int | None, float], None] = _unobserved,
        breaker: Breaker | None = None,
    ) -> None:
        """Name the API server; nothing is read or connected yet.

        Args:
            kubeconfig: A path, or several as in ``KUBECONFIG``; None means the pod's service account, else the
                usual file.
            in_flight: The maximum number of concurrent requests, not counting watches.
            timeout_seconds: How long one request may take, not counting the wait for its turn.
            renewal_seconds: The shortest time between two readings of rejected credentials.
            observe: Called for each request except watches: with its method, the response's status (None if none
                came), and its duration in seconds.
            breaker: Refuses requests while the API server hangs; it bounds those that change nothing.

        """
        self._breaker = breaker
        self._observe = observe
        self._credentials = Credentials(kubeconfig, renewal_seconds)
        self._turns = asyncio.Semaphore(in_flight)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._open: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Read the credentials; the first request connects.

        Raises:
            SettingsError: If there are no credentials or they cannot be read.

        """
        await self._credentials.load()
        connector = aiohttp.TCPConnector(
            limit=0,  # requests are bounded by turns, watches by their number
            keepalive_timeout=_KEEPALIVE_SECONDS,
        )
        self._open = aiohttp.ClientSession(
            connector=connector,
            headers={"Accept": "application/json", "User-Agent": "carillon"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        if self._open is not None:
            await self._open.close()

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._credentials.server

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        content_type: str = "application/json",
        subject: Subject | None = None,
    ) -> JSONObject:
        """Send one request and return the response's object.

        A request rejected with 429 and ``Retry-After`` is sent again, a few times.

        Args:
            method: Such as ``POST``.
            path: Starts with a slash; ``segment`` checks the names in it.
            params: The query.
            body: A JSON value.
            content_type: The body's; one of the patch types for a PATCH.
            subject: The subject to make the request as (impersonation); None means our own account.

        Raises:
            CarillonError: As ``failures.failure`` maps it; ``UnavailableError`` if no response came.

        """
        call = _call(method, path, body, content_type)
        call = replace(call, params=params, headers={**call.headers, **impersonation(subject)})
        return _answered(await self._answer(call))

    async def write(
        self, fence: Fence | None, method: str, path: str, *, body: Any, content_type: str = "application/json"
    ) -> JSONObject:
        """Send one request that changes something, if the fence permits; otherwise as ``request``.

        The fence is called just before the request is sent, after each wait: for its turn, for a ``Retry-After``, for
        new credentials. It raises if the request must not be sent any more.
        """
        return _answered(await self._answer(replace(_call(method, path, body, content_type), fence=fence)))

    async def part(
        self, path: str, params: Params, subject: Subject | None, most: int, *, metadata_only: bool = False
    ) -> tuple[JSONObject, int]:
        """Return a part of a list and its size in bytes; otherwise as ``request``.

        With ``metadata_only`` the objects have nothing but their metadata.

        Raises:
            TooLargeError: It has more than ``most`` bytes, and was not read to its end.

        """
        accept = {"Accept": _METADATA.format(what="List")} if metadata_only else {}
        answer = await self._answer(_Call("GET", path, params, headers=accept | impersonation(subject), most=most))
        return _answered(answer), len(answer)

    async def metadata_of(self, path: str) -> JSONObject:
        """Return an object with its metadata alone; otherwise as ``request``."""
        return _answered(await self._answer(_Call("GET", path, headers={"Accept": _METADATA.format(what="")})))

    async def read(self, path: str, *, params: Params | None = None, subject: Subject | None = None) -> bytes:
        """Return what is at a path, as bytes; otherwise as ``request``."""
        return await self._answer(_Call("GET", path, params, headers={"Accept": "*/*", **impersonation(subject)}))

    async def _answer(self, call: _Call) -> bytes:
        for tries_left in reversed(range(_POLITE_TRIES)):
            async with self._turns, self._soon(call):
                status, headers, answer = await self._send(call)
            wait = _retry_after(headers) if status == _TOO_MANY else None
            if wait is None or not tries_left:
                break
            await asyncio.sleep(wait)
        if status >= _ERROR:
            raise failure(status, answer, f"{call.method} {call.path}")
        return answer

    def _soon(self, call: _Call) -> AbstractAsyncContextManager[None]:
        if self._breaker is None:
            return nullcontext()
        # a write may wait for admission webhooks, which have ten seconds
        writes = call.method != "GET" and not call.path.startswith(_REVIEWS)
        return self._breaker.call(self._timeout.total if writes else None)

    @asynccontextmanager
    async def stream(
        self, path: str, params: Params, idle_seconds: float, *, metadata_only: bool = False
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a watch and yield its lines, of any length, as they arrive.

        Args:
            path: Starts with a slash.
            params: The query.
            idle_seconds: The connection counts as dead after this many seconds without a byte.
            metadata_only: Whether the objects have nothing but their metadata.

        Raises:
            CarillonError: As in ``request``; also while lines are read.

        """
        timeout = aiohttp.ClientTimeout(sock_connect=self._timeout.total, sock_read=idle_seconds)
        accept = {"Accept": _METADATA.format(what="")} if metadata_only else {}
        with _translated(path):
            response = await self._authorized(_Call("GET", path, params, headers=accept), timeout)
        try:
            if response.status >= _ERROR:
                with _translated(path):
                    answer = await response.read()
                raise failure(response.status, answer, f"GET {path}")
            yield _lines(response.content, path)
        finally:
            response.close()

    async def _send(self, call: _Call) -> tuple[int, Mapping[str, str], bytes]:
        started, status = time.perf_counter(), None
        try:
            with _translated(call.path):
                response = await self._authorized(call, self._timeout)
                async with response:
                    answer = await _read(response, call.most)
                    status = response.status
                    return status, response.headers, answer
        finally:
            self._observe(call.method, status, time.perf_counter() - started)

    async def _authorized(self, call: _Call, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:  # noqa: ASYNC109  # aiohttp keeps it
        """Send a request with the credentials, and once more with new ones if they are refused."""
        seen = self._credentials.generation
        response = await self._sent_as_we_are(call, timeout)
        if response.status != _UNAUTHORIZED or not await self._credentials.renew(seen):
            return response
        response.close()
        return await self._sent_as_we_are(call, timeout)

    async def _sent_as_we_are(self, call: _Call, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:  # noqa: ASYNC109  # aiohttp keeps it
        credentials = self._credentials
        authorization = await credentials.authorization()
        sent = CIMultiDict(
            (k, v) for k, given in call.headers.items() for v in ([given] if isinstance(given, str) else given)
        )
        if authorization:
            sent["Authorization"] = authorization
        if call.fence is not None:
            call.fence()
        return await self._session.request(
            call.method,
            credentials.server + call.path,
            params=call.params,
            data=call.data,
            headers=sent,
            ssl=credentials.ssl_context,
            proxy=credentials.proxy,
            server_hostname=credentials.server_name,
            allow_redirects=False,  # the credentials are for this server only
            timeout=timeout,
        )

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open is None:
            msg = "use the connection as an async context manager: async with KubeConnection(...) as connection"
            raise RuntimeError(msg)
        return self._open


def impersonation(subject: Subject | None) -> dict[str, str | list[str]]:
    """Return the headers that make a request as another subject.

    Rejects values that are not printable ASCII, since the header would name another subject.

    Raises:
        ForbiddenError: The name or a group cannot be sent in a header.

    """
    if subject is None:
        return {}
    for word in (subject.name, *subject.groups):
        if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", word):
            raise ForbiddenError(f"the user or group {word!r} cannot be impersonated: its name must be printable ASCII")
    return {"Impersonate-User": subject.name, "Impersonate-Group": list(subject.groups)}


def segment(name: str) -> str:
    """Return a name as a segment of a path.

    Raises:
        NotFoundError: The name is not a valid object name; it might lead to another path.

    """
    if not is_dns_subdomain(name):
        raise NotFoundError(f"{name!r} not found: not a valid object name")
    return name


async def _read(response: aiohttp.ClientResponse, most: int | None) -> bytes:
    if most is None:
        return await response.read()
    answer = bytearray()
    while chunk := await response.content.readany():
        answer += chunk
        if len(answer) > most:
            response.close()
            raise TooLargeError(API_SERVER, f"{response.url.path}: the answer has more than {most} bytes")
    return bytes(answer)


async def _lines(content: aiohttp.StreamReader, path: str) -> AsyncIterator[bytes]:
    """Yield the lines of a response; ``readline`` would refuse those over 64 KiB."""
    begun: list[bytes] = []
    while True:
        with _translated(path):
            chunk = await content.readany()
        if not chunk:
            return
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            yield b"".join((*begun, part))
            begun.clear()
        if rest:
            begun.append(rest)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """Turn what aiohttp raises into ``UnavailableError``."""
    try:
        yield
    except TimeoutError as error:
        raise NoAnswerError(API_SERVER, f"{path}: no response in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnavailableError(API_SERVER, f"{path}: {error or type(error).__name__}") from error


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return ``Retry-After`` in seconds, at most ``_LONGEST_RETRY_AFTER``; None if it is not there as a number."""
    text = headers.get("Retry-After", "")
    return min(float(text), _LONGEST_RETRY_AFTER) if text.isdecimal() else None


def _answered(answer: bytes) -> JSONObject:
    try:
        answered: JSONObject = decoded(answer)
    except orjson.JSONDecodeError as error:
        raise UnavailableError(API_SERVER, "the response is not JSON") from error
    return answered
