"""Authentication: a bearer token of the cluster, or an API key of Carillon. ``access`` calls it for each request.

Only the SHA-256 of a credential is kept in memory; the credential itself is
in no log, no message and no cache.
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
"""How long a revoked token or a deleted API key still works."""
FAILURE_SECONDS = 5.0
STALE_SECONDS = 600.0
"""How long a cached response is served while the API server is unavailable, so that the history can still be read."""
MOST_TOKENS = 10_000

# RFC 6750, section 2.1; an API server issues no other tokens
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller, and the kind of its credential."""

    subject: Subject
    credential: str
    """``token``, or ``api-key:`` followed by the key's name."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The credential of a request."""

    is_api_key: bool
    secret: str = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """Its SHA-256, which may be kept in memory."""
        return hashlib.sha256(self.secret.encode()).digest()


def presented(headers: Headers) -> Credential:
    """Return the one credential of a request.

    Raises:
        UnauthenticatedError: There is no credential, more than one, or a malformed one.

    """
    authorizations = headers.getlist("authorization")
    keys = headers.getlist(API_KEY_HEADER)
    if len(authorizations) + len(keys) > 1:
        # Programs disagree on which one counts: a proxy in between could see another caller than we do.
        raise UnauthenticatedError(
            f"the request has more than one credential: send either one Authorization or one {API_KEY_HEADER} header"
        )
    if keys:
        if name_of(keys[0]) is None:
            raise UnauthenticatedError(f"{API_KEY_HEADER} must be an API key in the form crl_<name>_<32 characters>")
        return Credential(is_api_key=True, secret=keys[0])
    if not authorizations:
        raise UnauthenticatedError(
            f"send the header Authorization: Bearer with a token of the cluster, or {API_KEY_HEADER} with an API key"
        )
    scheme, _, token = authorizations[0].partition(" ")
    if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token.strip()):
        raise UnauthenticatedError("the Authorization header must be Bearer followed by a token of the cluster")
    return Credential(is_api_key=False, secret=token.strip())


class Authenticator:
    """Asks the API server whose credential it is, and caches the response."""

    def __init__(
        self,
        api_server: APIServer,
        api_keys_secret: tuple[str, str] | None,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Start with empty caches.

        Args:
            api_server: Reviews tokens, and stores the API keys.
            api_keys_secret: Namespace and name of the Secret with the API keys; None if API keys are disabled.
            clock: A monotonic clock in seconds.
            now: The current time, for the expiry of API keys.

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
        """Return whose credential it is.

        Raises:
            UnauthenticatedError: The credential is not valid.
            UnavailableError: The API server is unavailable, and the credential is not cached.
            OwnAccountError: The API server rejects the facade's own account.

        """
        if credential.is_api_key:
            return await self._of_key(credential.secret)
        token = credential.secret
        subject = await self._tokens.get(credential.fingerprint, lambda: self._api_server.review_token(token))
        if subject is None:
            raise UnauthenticatedError("the cluster rejects this bearer token: it may have expired")
        return Caller(subject, "token")

    async def _of_key(self, key: str) -> Caller:
        if self._secret is None:
            raise UnauthenticatedError(
                "API keys are disabled here: send Authorization: Bearer with a token of the cluster"
            )
        entries = await self._keys.get("keys", self._read_keys)
        entry = verified(key, entries, self._now())
        if entry is None:
            raise UnauthenticatedError("unknown API key: it may have expired or been replaced")
        return Caller(entry.subject, f"api-key:{name_of(key)}")

    async def _read_keys(self) -> Mapping[str, APIKeyEntry]:
        if self._secret is None:
            return {}
        namespace, name = self._secret
        try:
            data = await self._api_server.read_secret(namespace, name)
        except NotFoundError:
            self._complain({f"the Secret {namespace}/{name} does not exist"})
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
        """Log each problem of the Secret once, not each time that the Secret is read."""
        for complaint in sorted(complaints - self._complained):
            log.error("API keys not usable", why=complaint)
        self._complained = frozenset(complaints)


def _token_lifetime(subject: Subject | None) -> Lifetime:
    # an invalid token is not served stale: it may have been created since
    return Lifetime(FAILURE_SECONDS) if subject is None else Lifetime(FRESH_SECONDS, STALE_SECONDS)
