"""Turns to compute a report: one at a time, so that reports take at most one core, and one for each caller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_core.domain.access.subjects import Subject
from carillon_core.errors import UnavailableError

WAIT_SECONDS = 10.0
"""How long a report waits for its turn."""
RETRY_AFTER_SECONDS = 1


class Computing:
    """The reports that compute or wait for that; callers take turns in the order in which they came."""

    def __init__(self) -> None:
        """Start with a free turn."""
        self._turn = asyncio.Semaphore(1)
        self._present: set[str] = set()
        """The names of the callers that have a report here."""

    @asynccontextmanager
    async def of(self, subject: Subject) -> AsyncIterator[None]:
        """Hold the turn until the block ends.

        Raises:
            RequestRefusedError: As 429, if another report of the subject computes or waits.
            UnavailableError: The reports of others took too long.

        """
        name = subject.name
        if name in self._present:
            detail = f"another report of yours is being computed: try again in {RETRY_AFTER_SECONDS} s"
            raise RequestRefusedError(Kind.RATE_LIMITED, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        self._present.add(name)
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._turn.acquire()
            except TimeoutError as error:
                why = "the reports of other callers are being computed: try again in a moment"
                raise UnavailableError("report", why) from error
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._present.discard(name)
