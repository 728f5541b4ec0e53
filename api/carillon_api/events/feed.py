"""What the sources report into: it collects their changes for a moment and appends them to the journal."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from carillon_api.events.stream_events import Journal, StreamEvent, degraded, recovered, reset
from carillon_core.logs import get_logger

log = get_logger(__name__)

SourceName = tuple[str, str | None]
"""The kind of a source, and the namespace that it follows; None means all."""


@dataclass(slots=True)
class Feed:
    """One period in which there are viewers: the journal, and the state of each source.

    Changes within ``flush_seconds`` are sent together, and of those of one object only the last: an operator that
    patches a task's status three times in a moment wakes 500 viewers once.
    """

    sources: Sequence[SourceName]
    on_open: Callable[[], None]
    """Called once each source is being followed, or has failed for the first time."""
    on_news: Callable[[], None]
    """Called when the journal has more."""
    flush_seconds: float
    journal: Journal = field(default_factory=Journal)
    _settled: set[SourceName] = field(default_factory=set)
    _failing: dict[SourceName, StreamEvent] = field(default_factory=dict)
    _pending: dict[tuple[str, ...], StreamEvent] = field(default_factory=dict)
    _flush: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether viewers may read the lists: what changes from then on is noticed."""
        return len(self._settled) == len(self.sources)

    @property
    def failing(self) -> list[StreamEvent]:
        """An event for each source that fails."""
        return list(self._failing.values())

    def add(self, event: StreamEvent) -> None:
        """Report a change."""
        # the later of two takes its place at the end
        self._pending.pop(event.key, None)
        self._pending[event.key] = event
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(self.flush_seconds, self.flush)

    def begun(self, source: SourceName) -> None:
        """Report that a source is followed from now on, and that its earlier changes are unknown."""
        if source in self._settled:
            self.gap(source, "SourceInterrupted", f"changes of {source[0]} may have been missed")
        self.works(source)
        self._settle(source)

    def works(self, source: SourceName) -> None:
        """Report that a source works, without a gap."""
        if self._failing.pop(source, None) is not None:
            log.info("events are sent again", source=source[0], namespace=source[1])
            self._append(recovered(*source))

    def fails(self, source: SourceName, why: str) -> None:
        """Report that a source does not work at present."""
        if source not in self._failing:
            log.warning("events are late", source=source[0], namespace=source[1], why=why)
            # the reason is for the log: it may name hosts and accounts
            self._failing[source] = degraded(*source, f"changes of {source[0]} cannot be read at present")
            self._append(self._failing[source])
        self._settle(source)

    def gap(self, source: SourceName, reason: str, message: str) -> None:
        """Report that changes of a source may have been missed."""
        self._append(reset(reason, message, source[1]))

    def flush(self) -> None:
        """Append what is pending to the journal."""
        self.close()
        pending, self._pending = self._pending, {}
        for event in pending.values():
            self.journal.add(event)
        if pending:
            self.on_news()

    def close(self) -> None:
        """Stop the timer."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None

    def _append(self, event: StreamEvent) -> None:
        self.flush()
        self.journal.add(event)
        self.on_news()

    def _settle(self, source: SourceName) -> None:
        if source not in self._settled:
            self._settled.add(source)
            if self.is_open:
                self.on_open()
