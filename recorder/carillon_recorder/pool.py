"""A bounded pool of sessions, each used by one thread at a time, and a bounded queue in front of it.

psycopg's synchronous connections run in threads, so that the recorder and a
runner that connects directly share the code that records.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from carillon_core.adapters.postgres.recorder import PostgresRecorder, Session
from carillon_core.logs import get_logger
from carillon_core.recording.port import KeyUnknownError, RecorderUnavailableError
from carillon_recorder.refusals import busy

T = TypeVar("T")

WAIT_SECONDS = 10.0
"""How long a request may wait for a session; the client waits longer for its answer, a statement included."""
IDLE_SECONDS = 30.0
"""How long an unused connection is kept."""
DOWN_SECONDS = 1.0
"""How long requests are refused at once after the database could not be reached, and nothing else succeeded."""

log = get_logger(__name__)


@dataclass(slots=True)
class _Idle:
    session: Session
    since: float


class Pool:
    """At most ``size`` sessions; requests beyond wait, up to ``waiting`` of them."""

    def __init__(self, make: Callable[[], Session], size: int, waiting: int) -> None:
        """Connect to nothing yet."""
        self._make = make
        self._most_waiting = waiting
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Idle] = []
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="session")
        self._helpers = ThreadPoolExecutor(2, thread_name_prefix="cancel")
        self._background: set[asyncio.Task[None]] = set()
        self._down_until = 0.0
        self._down_why = ""
        self.waiting = 0
        """Requests that wait for a session."""
        self.in_use = 0
        """Sessions that a request uses."""
        self.succeeded_at = float("-inf")
        """When the database answered last, on ``time.monotonic``'s clock."""

    @property
    def open(self) -> int:
        """How many sessions there are; each has at most one connection."""
        return self.in_use + len(self._idle)

    async def run(self, token: str, work: Callable[[PostgresRecorder], T]) -> T:
        """Call ``work`` with a recorder for a token, in a thread; a caller that is cancelled cancels its statement.

        Raises:
            RefusedRequestError: There is no session for it; it was not called.
            RecorderUnavailableError, RecordRefusedError: As raised by ``work``.

        """
        session = await self._entered()
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, PostgresRecorder(session, token))
        try:
            done = await asyncio.shield(future)
        except asyncio.CancelledError:
            self._in_background(self._cancelled(session, future))
            raise
        except RecorderUnavailableError as error:
            if isinstance(error, KeyUnknownError):
                self._answered()
            else:
                self._failed(error)
            self._leave(session)
            raise
        except BaseException:
            self._answered()
            self._leave(session)
            raise
        self._answered()
        self._leave(session)
        return done

    async def tidy(self) -> None:
        """Close connections that are not used any more, for ever."""
        while True:
            await asyncio.sleep(IDLE_SECONDS / 2)
            oldest = time.monotonic() - IDLE_SECONDS
            # the least recently used ones stand first
            while self._idle and self._idle[0].since < oldest:
                self._idle.pop(0).session.close()

    async def aclose(self) -> None:
        """Wait for what still runs, and close all connections."""
        if self._background:
            await asyncio.wait(self._background)
        self._close_idle()
        self._threads.shutdown()
        self._helpers.shutdown()

    async def _entered(self) -> Session:
        if time.monotonic() < self._down_until:
            raise RecorderUnavailableError("database", self._down_why, in_doubt=False, retry_after=1)
        if self._free.locked() and self.waiting >= self._most_waiting:
            raise busy(f"{self.waiting} requests are waiting for a connection to the database")
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise busy(f"no connection to the database was free within {WAIT_SECONDS:g} s") from None
        finally:
            self.waiting -= 1
        self.in_use += 1
        # the most recently used one, so that the others can be closed when it is quiet
        return self._idle.pop().session if self._idle else self._make()

    def _leave(self, session: Session) -> None:
        self.in_use -= 1
        self._idle.append(_Idle(session, time.monotonic()))
        self._free.release()

    def _answered(self) -> None:
        self.succeeded_at = time.monotonic()
        self._down_until = 0.0

    def _failed(self, error: RecorderUnavailableError) -> None:
        # the others have probably died with it, as in a failover
        self._close_idle()
        now = time.monotonic()
        if not error.in_doubt and now - self.succeeded_at > DOWN_SECONDS:
            self._down_until, self._down_why = now + DOWN_SECONDS, error.why
        log.warning("not recorded", why=error.why, in_doubt=error.in_doubt)

    def _close_idle(self) -> None:
        for idle in self._idle:
            idle.session.close()
        self._idle.clear()

    async def _cancelled(self, session: Session, future: asyncio.Future[Any]) -> None:
        """End what a caller that has gone left running; only then is the session given to another."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._helpers, session.cancel)
        with suppress(Exception):
            await future
        # a late cancellation must not meet the next caller's statement
        await loop.run_in_executor(self._helpers, session.close)
        self._leave(session)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
