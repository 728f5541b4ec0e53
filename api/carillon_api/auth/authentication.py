"""Who calls: a bearer token that the cluster knows, or an API key of ours. ``access`` asks for each request.

What is kept of a credential in memory is its SHA-256; the credential itself
is in no log, no message and no cache.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from starlette.datastructures import Headers

from carillon_api.http.caches import Cache, Lifetime
from carillon_api.http.headers import API_KEY_HEADER
from carillon_core.domain.access.api_keys import APIKeyEntry, InvalidEntryError, name_of, parse_entry, verified
from carillon_core.domain.access.subjects import Subject
from carillon_core.errors import NotFoundError, UnauthenticatedError
from carillon_core.logs import get_logger
from carillon_core.ports import APIServer

FRESH_SECONDS = 10.0
"""So long a token that was revoked, or a key that was taken away, still works."""
FAILURE_SECONDS = 5.0
STALE_SECONDS = 600.0
"""So long what the API server said serves while it is out of reach, so that the history can still be read."""
MOST_TOKENS = 10_000

# RFC 6750, section 2.1; anything else is no token that an API server could have made
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and how that is known."""

    subject: Subject
    credential: str
    """``token``, or ``api-key:`` and the key's name."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request shows of its sender."""

    is_api_key: bool
    secret: str = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """What may be kept of it."""
        return hashlib.sha256(self.secret.encode()).digest()


def presented(headers: Headers) -> Credential:
    """Return the one credential of a request.

    Raises:
        UnauthenticatedError: There is none, or more than one, or it has no form of any.

    """
    authorizations = headers.getlist("authorization")
    keys = headers.getlist(API_KEY_HEADER)
    if len(authorizations) + len(keys) > 1:
        # which of them counts would depend on who reads them; a proxy in between may see another caller than we do
        raise UnauthenticatedError(
            f"the request has more than one credential: send one Authorization header or one {API_KEY_HEADER}, not both"
        )
    if keys:
        if name_of(keys[0]) is None:
            raise UnauthenticatedError(f"{API_KEY_HEADER} is no API key: one looks like crl_<name>_<32 characters>")
        return Credential(is_api_key=True, secret=keys[0])
    if not authorizations:
        raise UnauthenticatedError(
            f"send Authorization: Bearer with a token that the cluster knows, or {API_KEY_HEADER} with an API key"
        )
    scheme, _, token = authorizations[0].partition(" ")
    if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token.strip()):
        raise UnauthenticatedError("the Authorization header is not Bearer and a token: send one of the cluster's")
    return Credential(is_api_key=False, secret=token.strip())


class Authenticator:
    """Asks the API server whose a credential is, and not too often."""

    def __init__(
        self,
        api_server: APIServer,
        api_keys_secret: tuple[str, str] | None,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Know nobody yet.

        Args:
            api_server: Knows the tokens and keeps the keys.
            api_keys_secret: Namespace and name of the Secret with the API keys; None if there are no API keys.
            clock: Seconds that never go back.
            now: The time by which keys expire.

        """
        self._api_server = api_server
        self._secret = api_keys_secret
        self._now = now
        self._tokens: Cache[bytes, Subject | None] = Cache(_token_lifetime, clock, MOST_TOKENS)
        self._keys: Cache[str, Mapping[str, APIKeyEntry]] = Cache(
            lambda _: Lifetime(FRESH_SECONDS, STALE_SECONDS), clock, most=1
        )
        self._complained: frozenset[str] = frozenset()

    async def caller(self, credential: Credential) -> Caller:
        """Return whose a credential is.

        Raises:
            UnauthenticatedError: Nobody's.
            UnavailableError: The API server is out of reach, and has not said lately.
            OwnAccountError: The API server does not answer the facade.

        """
        if credential.is_api_key:
            return await self._of_key(credential.secret)
        token = credential.secret
        subject = await self._tokens.get(credential.fingerprint, lambda: self._api_server.review_token(token))
        if subject is None:
            raise UnauthenticatedError("the cluster does not know this bearer token: it may have expired")
        return Caller(subject, "token")

    async def _of_key(self, key: str) -> Caller:
        if self._secret is None:
            raise UnauthenticatedError("there are no API keys here: send Authorization: Bearer with a token instead")
        entries = await self._keys.get("keys", self._read_keys)
        entry = verified(key, entries, self._now())
        if entry is None:
            raise UnauthenticatedError("this API key is not known: it may have expired, or been replaced")
        return Caller(entry.subject, f"api-key:{name_of(key)}")

    async def _read_keys(self) -> Mapping[str, APIKeyEntry]:
        if self._secret is None:
            return {}
        namespace, name = self._secret
        try:
            data = await self._api_server.read_secret(namespace, name)
        except NotFoundError:
            self._complain({f"there is no Secret {namespace}/{name}"})
            return {}
        entries, complaints = {}, set()
        for key_name, value in data.items():
            try:
                entries[key_name] = parse_entry(value)
            except InvalidEntryError as error:
                complaints.add(f"the API key {key_name} {error}")
        self._complain(complaints)
        return entries

    def _complain(self, complaints: set[str]) -> None:
        """Say what is wrong with the Secret, once, however often it is read."""
        for complaint in sorted(complaints - self._complained):
            log.error("API keys are not usable", why=complaint)
        self._complained = frozenset(complaints)


def _token_lifetime(subject: Subject | None) -> Lifetime:
    # that a token was nobody's is no knowledge to fall back on: it may have been made since
    return Lifetime(FAILURE_SECONDS) if subject is None else Lifetime(FRESH_SECONDS, STALE_SECONDS)
