"""``Idempotency-Key``: a POST that creates an object can be repeated without creating it twice.

Follows draft-ietf-httpapi-idempotency-key-header. ASGI middleware inside
``Permission``, so that nothing is stored for a caller who may not make the
call, and around the router, so that no route bypasses it: the OpenAPI document
says which operations honour the header.

A response is stored before it is sent, so that a caller who has it can rely
on it. Before it is sent again, the caller's permission is checked again.
Responses that do not depend on the request alone (5xx, 401, 403, 404, 429) are
not stored, and neither are those of dry runs, which change nothing.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass, field
from typing import cast

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.http.bodies import MAX_BODY_BYTES
from carillon_api.http.dry_run import mentions_dry_run
from carillon_api.http.headers import IDEMPOTENCY_KEY, REPLAYED
from carillon_api.http.operations import Operations
from carillon_api.http.problems import Kind, RequestRefusedError, error_response, malformed
from carillon_api.middleware.permission import Permit
from carillon_api.settings import Settings
from carillon_core.errors import CarillonError, FieldProblem, InvalidResourceError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import IdempotencyStore, Reservation, StoredAnswer

RETRY_AFTER_SECONDS = 1
WORK_SECONDS = 50.0
"""How long a request with a key may take: less than ``KEY_ABANDONED``, after which another may take over the key."""
KEPT_HEADERS = ("content-type", "etag", "location")
"""The headers that are stored; others depend on the connection or the time."""
NOT_KEPT = frozenset({401, 403, 404, 429})
SERVER_ERRORS = 500

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED = re.compile(r'"([\x21\x23-\x5b\x5d-\x7e]+)"')

log = get_logger(__name__)


class Idempotency:
    """ASGI middleware; the app's state has the ``Backends``, the scope's state the caller."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; one without the header or a permit, or whose operation ignores it, is passed on."""
        permit: Permit | None = scope.get("state", {}).get("permit")
        if permit is None or not _honours(scope):
            await self._app(scope, receive, send)
            return
        backends = scope["app"].state.backends
        store = cast("IdempotencyStore", backends.idempotency)
        caller = _of_whom(scope, backends.settings)
        try:
            key = key_of(Headers(scope=scope))
            if mentions_dry_run(scope):
                # it changes nothing, so a repetition cannot change anything twice
                await self._app(scope, receive, send)
                return
            body = await _Body.read(receive)
            if not body.is_whole:
                # too large or incomplete: the route answers with the error
                await self._app(scope, body.replay(receive), send)
                return
            fingerprint = fingerprint_of(scope, bytes(body.data))
            found = await store.reserve(caller, key, fingerprint, backends.clock())
            answer = _known_answer(found, key)
            if answer is not None:
                await permit.renew()
        except CarillonError as error:
            await error_response(scope, error)(scope, receive, send)
            return
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._carry_out(_Kept(store, caller, key, send), scope, body.replay(receive))

    async def _carry_out(self, kept: "_Kept", scope: Scope, receive: Receive) -> None:
        try:
            async with asyncio.timeout(WORK_SECONDS):
                await self._app(scope, receive, kept.send)
        except TimeoutError:
            if kept.is_sent:
                raise
            # The request may have been executed: the key stays reserved until the same request takes it over, and by
            # then this one has ended.
            error = UnavailableError("API server", f"no answer within {WORK_SECONDS:g} s: repeat the request unchanged")
            await error_response(scope, error)(scope, receive, kept.send_on)
        except Exception:
            await kept.release()
            raise


def _honours(scope: Scope) -> bool:
    if scope["method"] != "POST" or IDEMPOTENCY_KEY not in Headers(scope=scope):
        return False
    operations: Operations = scope["app"].operations
    return operations.is_keyed("POST", scope["path"])


def key_of(headers: Headers) -> str:
    """Return the key of a request, with or without the quotes that the draft requires.

    Raises:
        RequestRefusedError: As 400, if the key is empty.
        InvalidResourceError: If there are several keys, or the key is too long or has invalid characters.

    """
    given = headers.getlist(IDEMPOTENCY_KEY)
    if not given[0].strip(' \t"'):
        message = "must not be empty: send 1 to 255 visible ASCII characters, such as a UUID, or omit the header"
        raise malformed(IDEMPOTENCY_KEY, message)
    quoted = _QUOTED.fullmatch(given[0])
    key = quoted[1] if quoted else given[0]
    if len(given) > 1 or not _KEY.fullmatch(key):
        message = "must be one key of 1 to 255 visible ASCII characters, such as a UUID"
        raise InvalidResourceError([FieldProblem(IDEMPOTENCY_KEY, message)])
    return key


def fingerprint_of(scope: Scope, body: bytes) -> bytes:
    """Return the SHA-256 of a request's method, path, query and body."""
    parts = (scope["method"].encode(), scope["path"].encode("utf-8", "surrogateescape"), scope["query_string"], body)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _of_whom(scope: Scope, settings: Settings) -> str:
    """Return the owner of a key: the caller, and the release if several releases may share the database.

    A request without a namespace uses the release's default namespace, so the same request to two releases is two
    requests.
    """
    name: str = scope["state"]["caller"].subject.name
    return f"{name} in {settings.default_namespace}" if settings.scope.namespaces else name


def _known_answer(found: Reservation, key: str) -> Response | None:
    """Return the stored response to a request, or None if the request has to be executed.

    Raises:
        RequestRefusedError: The key belongs to another request, or the first request is still in progress.

    """
    if found.mine:
        return None
    if not found.same_request:
        detail = f"the key {key} was used with another path, query or body: use a new key for each new request"
        raise RequestRefusedError(Kind.KEY_REUSED, detail)
    if found.answer is None:
        detail = "the first request with this key is still in progress: repeat the request in a moment"
        raise RequestRefusedError(Kind.REQUEST_UNDER_WAY, detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    headers = {**found.answer.headers, REPLAYED: "true"}
    return Response(found.answer.body, found.answer.status, headers)


@dataclass(slots=True)
class _Body:
    """A request's body, up to the size limit."""

    messages: list[Message] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    is_whole: bool = False

    @classmethod
    async def read(cls, receive: Receive) -> "_Body":
        """Read until the end, the size limit, or a disconnect."""
        body = cls()
        while len(body.data) <= MAX_BODY_BYTES:
            message = await receive()
            body.messages.append(message)
            if message["type"] != "http.request":
                break
            body.data += message.get("body", b"")
            if not message.get("more_body", False):
                body.is_whole = True
                break
        return body

    def replay(self, receive: Receive) -> Receive:
        """Return a ``receive`` that repeats the messages and then continues."""
        left = iter(self.messages)

        async def again() -> Message:
            for message in left:
                return message
            return await receive()

        return again


class _Kept:
    """Holds a response until it is complete, stores it, and then sends it."""

    def __init__(self, store: IdempotencyStore, caller: str, key: str, send: Send) -> None:
        self._store = store
        self._caller = caller
        self._key = key
        self.send_on = send
        self.is_sent = False
        self._held: list[Message] = []

    async def send(self, message: Message) -> None:
        self._held.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._keep()
            self.is_sent = True
            for held in self._held:
                await self.send_on(held)
            self._held.clear()

    async def release(self) -> None:
        """Release the key; if that fails, the key can be taken over after a minute."""
        try:
            await self._store.release(self._caller, self._key)
        except UnavailableError as error:
            log.warning("idempotency key not released", why=error.why)

    async def _keep(self) -> None:
        start, *parts = self._held
        status: int = start["status"]
        if status >= SERVER_ERRORS or status in NOT_KEPT:
            await self.release()
            return
        sent = Headers(raw=start["headers"])
        headers = {name: sent[name] for name in KEPT_HEADERS if name in sent}
        body = b"".join(part.get("body", b"") for part in parts)
        try:
            await self._store.finish(self._caller, self._key, StoredAnswer(status, headers, body))
        except UnavailableError as error:
            # The request has been executed, so its caller gets the answer; a repetition within a minute has to wait.
            log.warning("response not stored for its idempotency key", why=error.why)
