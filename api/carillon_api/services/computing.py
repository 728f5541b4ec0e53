"""Turns to compute a report: one at a time, so that reports take at most one core, and a few for each caller."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_core.domain.access.subjects import Subject
from carillon_core.errors import UnavailableError

WAIT_SECONDS = 10.0
"""How long a report waits for its turn."""
RETRY_AFTER_SECONDS = 1
OF_ONE_CALLER = 4
"""How many reports of a caller compute or wait: those that a page shows at once."""


class Computing:
    """The reports that compute or wait for that; callers take turns in the order in which they came."""

    def __init__(self) -> None:
        """Start with a free turn."""
        self._turn = asyncio.Semaphore(1)
        self._present: Counter[str] = Counter()
        """How many reports here are of each caller, by the caller's name."""

    @asynccontextmanager
    async def of(self, subject: Subject) -> AsyncIterator[None]:
        """Hold the turn until the block ends.

        Raises:
            RequestRefusedError: As 429, if ``OF_ONE_CALLER`` other reports of the subject compute or wait.
            UnavailableError: The reports of others took too long.

        """
        name = subject.name
        if self._present[name] >= OF_ONE_CALLER:
            detail = f"{OF_ONE_CALLER} reports of yours are being computed: try again in {RETRY_AFTER_SECONDS} s"
            raise RequestRefusedError(Kind.RATE_LIMITED, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        self._present[name] += 1
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
            self._present[name] -= 1
            if not self._present[name]:
                del self._present[name]
