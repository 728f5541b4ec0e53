"""Reviews of all that a caller may do: dozens for one request, so they have bounds of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from carillon_api.auth.rate_limits import RateLimiter, Turns
from carillon_api.http.caches import Cache
from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import UnavailableError
from carillon_core.ports import APIServer

AT_ONCE = 8
"""How many reviews are made at once for all callers together."""
WAIT_SECONDS = 10.0
"""How long a request waits for an earlier one of its caller."""
COST = 1 / 6
"""What a review takes of its caller's rate limit: less than a request, since 200 are permitted for one."""


class Surveys:
    """The reviews of what callers may do; their decisions are cached apart from those of other requests."""

    def __init__(
        self, api_server: APIServer, decisions: Cache[tuple[Subject, Access], Decision], limiter: RateLimiter
    ) -> None:
        """Take the API server to ask, an empty cache, and the rate limits that the reviews count in."""
        self._api_server = api_server
        self._decisions = decisions
        self._limiter = limiter
        self._reviews = asyncio.Semaphore(AT_ONCE)
        self._callers = Turns(1, WAIT_SECONDS)

    @asynccontextmanager
    async def turn(self, subject: Subject) -> AsyncIterator[None]:
        """Hold the turn of a subject, which has one, until the block ends.

        Raises:
            UnavailableError: An earlier request of the subject takes too long.

        """
        try:
            async with self._callers.of(subject.name):
                yield
        except TimeoutError as error:
            why = "another request for your permissions takes too long: try again in a moment"
            raise UnavailableError("API server", why) from error

    async def review(self, subject: Subject, access: Access) -> Decision:
        """Return whether a subject has a permission; see ``AccessControl.review``."""
        cluster = self._api_server.acting_as(subject)

        async def ask() -> Decision:
            self._limiter.charge(subject.name, COST)
            async with self._reviews:
                return await cluster.review(access)

        return await self._decisions.get((subject, access), ask)
