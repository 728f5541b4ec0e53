"""Calls to something that accepts them and never answers: given up after some seconds, then refused, then tried again.

The API has one breaker for the API server and one for the database. Without
them, each request to a database that hangs would wait for the whole time limit
and hold a connection of the pool meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from carillon_core.errors import NoAnswerError, UnavailableError

OPEN_SECONDS = 2.0
"""How long calls are refused before one is made on trial."""


class Breaker:
    """Opens when a call gets no answer and no other call was answered since it began."""

    def __init__(self, what: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start closed.

        Args:
            what: What is called, as errors name it.
            seconds: The time limit of a call.
            clock: A monotonic clock in seconds.

        """
        self._what = what
        self._seconds = seconds
        self._clock = clock
        self._opened: float | None = None
        self._on_trial = False
        self._answered = clock()

    @asynccontextmanager
    async def call(self, seconds: float | None = None) -> AsyncIterator[None]:
        """Make one call in the block.

        Args:
            seconds: The time limit; default: the breaker's.

        Raises:
            NoAnswerError: The call took too long.
            UnavailableError: The breaker is open.

        """
        is_trial = self._begin()
        began = self._clock()
        limit = self._seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit) as patience:
                yield
        except NoAnswerError:
            self._unanswered(began)
            raise
        except TimeoutError as error:
            if not patience.expired():
                raise
            self._unanswered(began)
            raise NoAnswerError(self._what, f"no answer within {limit:g} s") from error
        except asyncio.CancelledError:
            raise  # which says nothing of what is called
        except Exception:  # any other error is an answer; it is raised as it is
            self._answer()
            raise
        else:
            self._answer()
        finally:
            if is_trial:
                self._on_trial = False

    def _begin(self) -> bool:
        """Return whether the call is on trial."""
        if self._opened is None:
            return False
        if self._on_trial or self._clock() - self._opened < OPEN_SECONDS:
            raise UnavailableError(self._what, "it has not answered lately: repeat the request in a moment")
        self._on_trial = True
        return True

    def _answer(self) -> None:
        self._answered = self._clock()
        self._opened = None

    def _unanswered(self, began: float) -> None:
        if self._answered <= began:
            self._opened = self._clock()
