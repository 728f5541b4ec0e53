"""Access control: who the caller is, how often it may call, and what it may do. The gate and the services use it.

There is one instance per process. Its state is lost with the process, and is
limited in size, so that invalid requests cannot fill the memory.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cachetools import TTLCache
from starlette.datastructures import Headers
from starlette.types import Scope

from carillon_api.auth.authentication import STALE_SECONDS, Authenticator, Caller, Credential, presented
from carillon_api.auth.peers import site, source_address
from carillon_api.auth.rate_limits import Rate, RateLimiter, Turns, Verdict
from carillon_api.auth.surveys import Surveys
from carillon_api.http.caches import Cache, Lifetime
from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.settings import Settings
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import ForbiddenError, UnauthenticatedError, UnavailableError
from carillon_core.ports import APIServer

ALLOWED_SECONDS = 10.0
"""How long an allowed decision is cached, for resources that are not objects of the cluster."""
DENIED_SECONDS = 3.0
FAILURES_PER_SECOND = 1.0
"""How many failed authentications per second an address may make on average."""
CHECKS_AT_ONCE = 8
"""How many unknown credentials of one address are checked concurrently: without this limit, a thousand simultaneous
guesses would all be checked before the first one fails."""
CHECK_SECONDS = 10.0
"""How long a credential waits to be checked."""
READS_PER_SECOND = 5.0
"""How many documentation pages and files per second an address may read on average."""
READ_BURST = 100
MOST_DECISIONS = 10_000
MOST_SURVEYED = 5_000
"""How many decisions are cached of what callers may do; one response needs up to 200."""
MOST_CALLERS = 10_000
MOST_USER_AGENT = 256


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    source: str
    """The peer's address, or the address that a trusted proxy reports."""
    user_agent: str
    """At most ``MOST_USER_AGENT`` characters."""
    request_id: str


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that has been admitted."""

    caller: Caller
    headers: Mapping[str, str]
    """The response headers with the caller's rate limit."""


class AccessControl:
    """Authentication, authorization and rate limits, based on one API server."""

    def __init__(
        self,
        api_server: APIServer,
        settings: Settings,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with empty caches.

        Args:
            api_server: Reviews tokens and permissions, and stores the API keys.
            settings: The Secret with the API keys, the trusted proxies, the rate limits.
            now: The current time, for the expiry of API keys.
            clock: A monotonic clock in seconds.

        """
        self._api_server = api_server
        self._trusted = settings.trusted_proxies
        self._authenticator = Authenticator(api_server, settings.api_keys_secret, clock, now)
        self._decisions: Cache[tuple[Subject, Access], Decision] = Cache(_lifetime, clock, MOST_DECISIONS)
        self._permits: Cache[tuple[Subject, Access], Decision] = Cache(_permit_lifetime, clock, MOST_DECISIONS)
        self._limiter = RateLimiter(Rate(settings.rate_limit, settings.rate_burst), clock, MOST_CALLERS)
        surveyed: Cache[tuple[Subject, Access], Decision] = Cache(_lifetime, clock, MOST_SURVEYED)
        self.surveys = Surveys(api_server, surveyed, self._limiter)
        self._failures = RateLimiter(Rate(FAILURES_PER_SECOND, settings.failed_auth_burst), clock, MOST_CALLERS)
        self._readers = RateLimiter(Rate(READS_PER_SECOND, READ_BURST), clock, MOST_CALLERS)
        self._checks = Turns(CHECKS_AT_ONCE, CHECK_SECONDS)
        self._known: TTLCache[bytes, None] = TTLCache(MOST_CALLERS, STALE_SECONDS, clock)

    def origin(self, scope: Scope) -> Origin:
        """Return where a request comes from."""
        headers = Headers(scope=scope)
        peer = (scope.get("client") or (None,))[0]
        return Origin(
            source=source_address(peer, headers.getlist("x-forwarded-for"), self._trusted),
            user_agent=headers.get("user-agent", "")[:MOST_USER_AGENT],
            request_id=scope.get("state", {}).get("request_id", ""),
        )

    def admit_reader(self, origin: Origin) -> None:
        """Apply the rate limit of what anyone may read.

        Raises:
            RequestRefusedError: As 429, if the address reads too much.

        """
        verdict = self._readers.take(site(origin.source))
        if not verdict.allowed:
            raise _too_many(self._readers, verdict, "requests for the documentation")

    async def admit(self, headers: Headers, origin: Origin) -> Admission:
        """Authenticate a request and apply the rate limits.

        Raises:
            UnauthenticatedError: The request has no valid credential.
            RequestRefusedError: As 429, if the caller sends too many requests, or the address too many invalid
                credentials.
            UnavailableError: The API server is unavailable and the credential is not cached.
            OwnAccountError: The API server rejects the facade's own account.

        """
        place = site(origin.source)
        try:
            credential = presented(headers)
            caller = await self._caller(credential, place)
        except UnauthenticatedError:
            verdict = self._failures.take(place)
            if not verdict.allowed:
                raise _too_many(self._failures, verdict, "invalid credentials") from None
            raise
        self._known[credential.fingerprint] = None
        verdict = self._limiter.take(caller.subject.name)
        if not verdict.allowed:
            raise _too_many(self._limiter, verdict, "requests")
        return Admission(caller, self._limiter.headers(verdict))

    async def confirm(self, headers: Headers) -> Caller:
        """Return whose credential a request that was admitted has, if it is still valid; this counts in no limit.

        Raises:
            UnauthenticatedError: It has expired or been revoked, at most ``FRESH_SECONDS`` ago.
            UnavailableError: The API server is unavailable and the credential is not cached any more.

        """
        return await self._authenticator.caller(presented(headers))

    async def _caller(self, credential: Credential, place: str) -> Caller:
        # Guesses are rejected before they are checked. A known caller is not, even if others guess from the same
        # address.
        if credential.fingerprint in self._known:
            return await self._authenticator.caller(credential)
        try:
            async with self._checks.of(place):
                if self._failures.is_empty(place):
                    raise _too_many(self._failures, self._failures.take(place), "invalid credentials")
                return await self._authenticator.caller(credential)
        except TimeoutError as error:
            why = "too many credentials from your address are being checked: try again in a moment"
            raise UnavailableError("API server", why) from error

    async def review(self, subject: Subject, access: Access) -> Decision:
        """Return whether a subject has a permission; the decision is cached for some seconds.

        Raises:
            UnavailableError: The API server is unavailable and the decision is not cached.
            OwnAccountError: The facade may not create reviews.

        """
        cluster = self._api_server.acting_as(subject)
        return await self._decisions.get((subject, access), lambda: cluster.review(access))

    def charge(self, subject: Subject, tokens: float) -> None:
        """Take of a subject's rate limit what an admitted request causes beyond itself."""
        self._limiter.charge(subject.name, tokens)

    async def require(self, subject: Subject, access: Access, *, now: bool = False) -> None:
        """Return if a subject has a permission that the API server checks again when the call is made.

        Only a granted permission is cached, so that a new one counts at once.

        Args:
            subject: Who calls.
            access: What for.
            now: Ask the API server even if the permission is cached.

        Raises:
            ForbiddenError: The subject has not.
            UnavailableError: The API server is unavailable and the permission is not cached.

        """
        cluster = self._api_server.acting_as(subject)
        if now:
            decision = await cluster.review(access)
        else:
            decision = await self._permits.get((subject, access), lambda: cluster.review(access))
        if not decision.allowed:
            raise ForbiddenError(refusal(subject, access, decision))


def refusal(subject: Subject, access: Access, decision: Decision) -> str:
    """Return what a subject without a permission is told, in the API server's words."""
    where = f"in the namespace {access.namespace}" if access.namespace else "in all namespaces: specify a namespace"
    why = f" ({decision.reason})" if decision.reason else ""
    return (
        f'{access.resource}.{access.group} is forbidden: User "{subject.name}" cannot {access.verb} resource '
        f'"{access.resource}" in API group "{access.group}" {where}{why}'
    )


def _permit_lifetime(decision: Decision) -> Lifetime:
    return Lifetime(ALLOWED_SECONDS if decision.allowed else 0.0, STALE_SECONDS)


def _lifetime(decision: Decision) -> Lifetime:
    return Lifetime(ALLOWED_SECONDS if decision.allowed else DENIED_SECONDS, STALE_SECONDS)


def _too_many(limiter: RateLimiter, verdict: Verdict, what: str) -> RequestRefusedError:
    detail = f"too many {what}: try again in {verdict.retry_after} s"
    return RequestRefusedError(Kind.RATE_LIMITED, detail, headers=limiter.headers(verdict))
