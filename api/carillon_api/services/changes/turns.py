"""Turns of bulk calls: one for each caller at a time, and few writes at once for all callers together."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_core.domain.access.subjects import Subject

AT_ONCE = 8
"""How many objects are changed at once, for all callers together."""
RETRY_AFTER_SECONDS = 5


class BulkTurns:
    """The bulk calls in progress."""

    def __init__(self) -> None:
        """Start without any."""
        self.writes = asyncio.Semaphore(AT_ONCE)
        """Held while one object is changed."""
        self._callers: set[str] = set()

    @contextmanager
    def of(self, subject: Subject) -> Iterator[None]:
        """Hold the turn of a subject until the block ends.

        Raises:
            RequestRefusedError: As 429, if another bulk call of the subject is in progress.

        """
        if subject.name in self._callers:
            detail = "you already have a bulk call in progress: try again when it has ended"
            raise RequestRefusedError(Kind.RATE_LIMITED, detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        self._callers.add(subject.name)
        try:
            yield
        finally:
            self._callers.remove(subject.name)
