"""The streams of a process: it starts the sources for the first viewer, and stops them some time after the last.

All viewers share the sources, the journal and one timer: 500 viewers to whom
nothing happens cost a heartbeat each.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from carillon_api.events.feed import Feed
from carillon_api.events.sources import Source
from carillon_api.events.stream_events import EndReason, Journal, end
from carillon_api.events.viewer import Asked, Viewer
from carillon_api.http.problems import RETRY_AFTER_SECONDS, Kind, RequestRefusedError
from carillon_core.errors import CarillonError, ForbiddenError, UnauthenticatedError
from carillon_core.logs import get_logger

CONFIRMED_AT_ONCE = 8
"""How many viewers' credentials and permissions are confirmed at once."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """The intervals of the streams."""

    tick_seconds: float = 1.0
    """The unit of the others."""
    beat_ticks: int = 15
    """Between two heartbeats."""
    confirm_ticks: int = 30
    """Between two confirmations that the caller may still look on. Answers of the API server are cached for ten seconds
    on top of it, so that a stream ends within a minute."""
    linger_ticks: int = 30
    """How long the sources are followed after the last viewer has gone, so that it can resume."""
    flush_seconds: float = 0.25
    """How long changes are collected before they are sent."""


PACE = Pace()


class EventHub:
    """The streams of a process; ``async with`` it, and enter each viewer."""

    def __init__(self, sources: Sequence[Source], most: int, most_of_one: int, pace: Pace = PACE) -> None:
        """Follow nothing yet.

        Args:
            sources: What to follow while there are viewers.
            most: The maximum number of streams.
            most_of_one: The maximum number of one caller.
            pace: The intervals.

        """
        self._sources = sources
        self._most = most
        self._most_of_one = most_of_one
        self._pace = pace
        self._viewers: dict[Viewer, None] = {}
        self._callers: Counter[str] = Counter()
        self._entered = 0
        self._feed: Feed | None = None
        self._work: asyncio.Task[None] | None = None
        self._is_closed = False
        self._confirming = asyncio.Semaphore(CONFIRMED_AT_ONCE)

    async def __aenter__(self) -> Self:
        """Wait for viewers."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all streams, and stop following."""
        self.close()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self._viewers)

    @property
    def is_idle(self) -> bool:
        """Whether no source is being followed."""
        return self._work is None or self._work.done()

    @property
    def journal(self) -> Journal | None:
        """The latest events; None while no source is being followed."""
        return None if self._feed is None else self._feed.journal

    def enter(self, asked: Asked) -> Viewer:
        """Return a new stream, which the caller gives to ``leave`` in the end.

        Raises:
            RequestRefusedError: As 429 if the caller has too many streams; as 503 if the process has, or stops.

        """
        later = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        if self._is_closed:
            raise RequestRefusedError(Kind.UNAVAILABLE, "this API replica is shutting down: connect again", later)
        if self._callers[asked.caller] >= self._most_of_one:
            detail = f"you already have {self._most_of_one} event streams open: close one, or share one between pages"
            raise RequestRefusedError(Kind.RATE_LIMITED, detail, later)
        if len(self._viewers) >= self._most:
            detail = "this API replica has reached its limit of event streams: try again later"
            raise RequestRefusedError(Kind.UNAVAILABLE, detail, later)
        feed = self._followed()
        self._entered += 1
        viewer = Viewer(self._entered, asked, feed.journal)
        self._viewers[viewer] = None
        self._callers[asked.caller] += 1
        if feed.is_open:
            viewer.open(feed.failing)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a stream."""
        viewer.finish()
        if viewer in self._viewers:
            del self._viewers[viewer]
            self._callers[viewer.asked.caller] -= 1
            if not self._callers[viewer.asked.caller]:
                del self._callers[viewer.asked.caller]

    def close(self) -> None:
        """End all streams, as the server does before it waits for its connections; no further one is let in."""
        self._is_closed = True
        self._finish_all("Shutdown", "this API replica is shutting down: connect again")

    def _finish_all(self, reason: EndReason, message: str) -> None:
        for viewer in self._viewers:
            viewer.finish(end(reason, message))

    def _followed(self) -> Feed:
        """Return the feed; start it if there is none."""
        if self._feed is None:
            names = [source.name for source in self._sources]
            self._feed = Feed(names, self._open_all, self._wake_all, self._pace.flush_seconds)
            # in a context of its own: this is no part of the first viewer's request, whose ID its log lines would have
            self._work = asyncio.create_task(self._follow(self._feed), context=Context())
        return self._feed

    async def _follow(self, feed: Feed) -> None:
        """Follow the sources until there have been no viewers for a while."""
        try:
            async with asyncio.TaskGroup() as group:
                following = [group.create_task(source.follow(feed)) for source in self._sources]
                await self._tick(group)
                self._feed = None  # before anything is awaited: a viewer that enters now starts anew
                for task in following:
                    task.cancel()
        except Exception:
            # a defect must not leave viewers waiting: their next connection starts anew
            log.exception("events cannot be followed")
            self._finish_all("InternalError", "the stream failed: connect again")
        finally:
            feed.close()
            if self._feed is feed:
                self._feed = None

    async def _tick(self, group: asyncio.TaskGroup) -> None:
        """Beat and confirm in turns, some viewers in each tick, so that no turn of the loop is long."""
        pace = self._pace
        tick = idle = 0
        while idle < pace.linger_ticks:
            await asyncio.sleep(pace.tick_seconds)
            tick += 1
            idle = 0 if self._viewers else idle + 1
            for viewer in self._viewers:
                if (viewer.number + tick) % pace.beat_ticks == 0:
                    viewer.beat()
                if (viewer.number + tick) % pace.confirm_ticks == 0 and not viewer.is_confirming:
                    group.create_task(self._confirm(viewer))

    async def _confirm(self, viewer: Viewer) -> None:
        """End a stream whose caller may not look on any more."""
        viewer.is_confirming = True
        try:
            async with self._confirming:
                await viewer.asked.confirm()
        except UnauthenticatedError as error:
            viewer.finish(end("Unauthenticated", str(error)))
        except ForbiddenError as error:
            viewer.finish(end("Forbidden", str(error)))
        except CarillonError:
            message = "your permissions cannot be confirmed, as the API server is unavailable: connect again"
            viewer.finish(end("Unavailable", message))
        finally:
            viewer.is_confirming = False

    def _open_all(self) -> None:
        if self._feed is not None:
            for viewer in self._viewers:
                viewer.open(self._feed.failing)

    def _wake_all(self) -> None:
        for viewer in self._viewers:
            viewer.wake()
