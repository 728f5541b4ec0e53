"""One stream: what its client has been sent, and what is left to send. The hub has one for each."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from carillon_api.events.stream_events import Journal, Selection, StreamEvent, ready, reset

RETRY_MILLISECONDS = 2_000, 8_000
"""How long a client waits before it connects again; each is told another time, so that not all come at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asked for."""

    caller: str
    selection: Selection
    after: str | None
    """The ID of the last event that it has received."""
    confirm: Callable[[], Awaitable[None]]
    """Raises a ``CarillonError`` if the caller's credential or permissions have been withdrawn."""


@dataclass(slots=True, eq=False)
class Viewer:
    """A stream of a client.

    It has no queue of its own, only a place in the journal: however slowly the
    client reads, it occupies no more memory, and if the journal has moved on, it
    is told to read the lists again.
    """

    number: int
    asked: Asked
    journal: Journal
    is_confirming: bool = False
    _place: int | None = None
    """The number of the next event to send; None until the sources are being followed."""
    _opening: bytes = b""
    _beats: bool = False
    _end: bytes | None = None
    _is_over: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Say at once when to connect again, so that the client has the response's headers, too."""
        low, high = RETRY_MILLISECONDS
        self._opening = f"retry: {random.randint(low, high)}\n\n".encode()  # noqa: S311  # spreads load, no secret

    def open(self, known: list[StreamEvent]) -> None:
        """Begin: changes from now on, or after the client's cursor, are sent.

        Args:
            known: The state of the sources that are degraded.

        """
        after = self.asked.after
        place = None if after is None else self.journal.place(after)
        self._place = self.journal.following if place is None else place
        cursor = self.journal.cursor(self._place - 1)
        said = [ready(resumed=place is not None)]
        if after is not None and place is None:
            said.append(reset("CursorUnknown", "this replica does not have the events after this ID"))
        said += [event for event in known if self.asked.selection.has(event)]
        self._opening += b"".join(event.text(cursor) for event in said)
        self.wake()

    def wake(self) -> None:
        """Send what there is."""
        self._wake.set()

    def beat(self) -> None:
        """Send a heartbeat unless something else is sent."""
        self._beats = True
        self.wake()

    def finish(self, last: StreamEvent | None = None) -> None:
        """Send no more, except for a last event if the client is still there."""
        if last is not None and self._end is None:
            self._end = last.text()
        self._is_over = True
        self.wake()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what to send, until the stream is over."""
        while True:
            if chunk := self._next():
                yield chunk
            elif self._is_over:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _next(self) -> bytes:
        if self._is_over:
            chunk, self._end = self._end or b"", None
            return chunk
        if self._opening:
            chunk, self._opening = self._opening, b""
            return chunk
        chunk = self._news()
        if not chunk and self._beats:
            chunk = self._heartbeat()
        if chunk:
            self._beats = False
        return chunk

    def _news(self) -> bytes:
        if self._place is None:
            return b""
        found = self.journal.read(self._place, self.asked.selection)
        while found is not None and not found[0] and found[1] > self._place:
            self._place = found[1]
            found = self.journal.read(self._place, self.asked.selection)
        if found is None:
            self._place = self.journal.following
            lost = reset("SlowReader", "the client read too slowly, so events were dropped")
            return lost.text(self.journal.cursor(self._place - 1))
        chunk, self._place = found
        return chunk

    def _heartbeat(self) -> bytes:
        """Return a comment, and the cursor: a client whose selection is quiet would resume too far back otherwise."""
        cursor = "" if self._place is None else f"id: {self.journal.cursor(self._place - 1)}\n"
        return f": heartbeat\n{cursor}\n".encode()
