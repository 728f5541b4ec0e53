"""Who is let in, how often, and what each may do: all that the facade knows of its callers. ``gate`` and routes ask it.

One for each process. Nothing in it outlives the process, and all of it is
bounded: whoever sends nonsense cannot fill the memory.
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
from carillon_api.http.caches import Cache, Lifetime
from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.settings import Settings
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import UnauthenticatedError, UnavailableError
from carillon_core.ports import APIServer

ALLOWED_SECONDS = 10.0
"""So long somebody who has lost a permission still has it, for what is no object of the cluster."""
DENIED_SECONDS = 3.0
FAILURES_PER_SECOND = 1.0
"""How often an address may show credentials that are nobody's, in the long run."""
CHECKS_AT_ONCE = 8
"""How many credentials that were not seen lately are checked at a time for one address: of a thousand guesses made at
once, all would be checked before the first has failed."""
CHECK_SECONDS = 10.0
"""So long a credential waits to be checked."""
MOST_DECISIONS = 10_000
MOST_CALLERS = 10_000
MOST_USER_AGENT = 256


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    source: str
    """The peer's address, or the one that a trusted proxy names."""
    user_agent: str
    """At most ``MOST_USER_AGENT`` characters."""
    request_id: str


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that is let in."""

    caller: Caller
    headers: Mapping[str, str]
    """What its answer says of the caller's limit."""


class AccessControl:
    """Authentication, decisions and limits over one API server."""

    def __init__(
        self,
        api_server: APIServer,
        settings: Settings,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nobody yet.

        Args:
            api_server: Knows tokens, keeps keys, decides.
            settings: Where the keys are, whom to trust, how often one may call.
            now: The time by which keys expire.
            clock: Seconds that never go back.

        """
        self._api_server = api_server
        self._trusted = settings.trusted_proxies
        self._authenticator = Authenticator(api_server, settings.api_keys_secret, clock, now)
        self._decisions: Cache[tuple[Subject, Access], Decision] = Cache(_lifetime, clock, MOST_DECISIONS)
        self._limiter = RateLimiter(Rate(settings.rate_limit, settings.rate_burst), clock, MOST_CALLERS)
        self._failures = RateLimiter(Rate(FAILURES_PER_SECOND, settings.failed_auth_burst), clock, MOST_CALLERS)
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

    async def admit(self, headers: Headers, origin: Origin) -> Admission:
        """Let a request in.

        Raises:
            UnauthenticatedError: Nobody knows who calls.
            RequestRefusedError: As 429: this caller calls too often, or this address has guessed too often.
            UnavailableError: The API server is out of reach and this caller was not seen lately.
            OwnAccountError: The API server does not answer the facade.

        """
        place = site(origin.source)
        try:
            credential = presented(headers)
            caller = await self._caller(credential, place)
        except UnauthenticatedError:
            verdict = self._failures.take(place)
            if not verdict.allowed:
                raise _too_many(self._failures, verdict, "credentials that are nobody's") from None
            raise
        self._known[credential.fingerprint] = None
        verdict = self._limiter.take(caller.subject.name)
        if not verdict.allowed:
            raise _too_many(self._limiter, verdict, "requests")
        return Admission(caller, self._limiter.headers(verdict))

    async def _caller(self, credential: Credential, place: str) -> Caller:
        # Whoever guesses is stopped before the guess is checked; whoever was here before is not, though others guess
        # from the same address.
        if credential.fingerprint in self._known:
            return await self._authenticator.caller(credential)
        try:
            async with self._checks.of(place):
                if self._failures.is_empty(place):
                    raise _too_many(self._failures, self._failures.take(place), "credentials that are nobody's")
                return await self._authenticator.caller(credential)
        except TimeoutError as error:
            why = "too many credentials of your address are being checked just now"
            raise UnavailableError("API server", why) from error

    async def review(self, subject: Subject, access: Access) -> Decision:
        """Return whether somebody may do that, as the cluster has said within the last seconds.

        Raises:
            UnavailableError: The API server is out of reach and has not said lately.
            OwnAccountError: The facade may not ask.

        """
        cluster = self._api_server.acting_as(subject)
        return await self._decisions.get((subject, access), lambda: cluster.review(access))


def _lifetime(decision: Decision) -> Lifetime:
    return Lifetime(ALLOWED_SECONDS if decision.allowed else DENIED_SECONDS, STALE_SECONDS)


def _too_many(limiter: RateLimiter, verdict: Verdict, what: str) -> RequestRefusedError:
    mend = f"come back in {verdict.retry_after} s"
    return RequestRefusedError(Kind.RATE_LIMITED, f"too many {what}: {mend}", headers=limiter.headers(verdict))
