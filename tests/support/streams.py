"""Clients of the stream of changes: one without a socket, and the events that any client receives."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message

from support.api import AS_CALLER, Facade

EVENTS = "/api/v1/events"
SECONDS = 5.0
"""How long a test waits for an event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as an EventSource would give it."""

    type: str
    id: str | None
    data: Any


def parsed(block: str) -> Event | None:
    """Return the event of a block of lines; None for one without data."""
    fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
    if "data" not in fields:
        return None
    return Event(fields["event"], fields.get("id"), json.loads(fields["data"]))


@dataclass
class Stream:
    """A client that reads as fast as events come, unless a test clears ``reads``."""

    status: int = 0
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    """What has been received and not been taken by ``event``."""
    received: bytes = b""
    """All that has been received."""
    is_complete: bool = False
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.reads.set()

    async def receive(self) -> Message:
        """Be connected until the test disconnects."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the app."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], Headers(raw=message["headers"])
        else:
            await self.reads.wait()
            self.body += message["body"]
            self.received += message["body"]
            self.is_complete = not message.get("more_body", False)
        self._changed.set()

    async def wait(self) -> None:
        """Wait for the next message."""
        self._changed.clear()
        await asyncio.wait_for(self._changed.wait(), SECONDS)

    async def begun(self) -> None:
        """Wait for the response's headers."""
        while not self.status:
            await self.wait()

    async def event(self, *types: str) -> Event:
        """Return the next event, or the next one of these types."""
        while True:
            block, found, rest = self.body.partition(b"\n\n")
            if not found:
                assert not self.is_complete, self.received.decode()
                await self.wait()
                continue
            self.body = rest
            event = parsed(block.decode())
            if event is not None and (not types or event.type in types):
                return event

    async def complete(self) -> list[Event]:
        """Wait for the end of the response; return the events that were not taken."""
        while not self.is_complete:
            await self.wait()
        return list(events_of(self.body.decode()))


def events_of(text: str) -> Iterator[Event]:
    """Yield the events of a whole stream."""
    for block in text.split("\n\n"):
        if (event := parsed(block)) is not None:
            yield event


@asynccontextmanager
async def stream(
    facade: Facade, query: str = "", headers: Mapping[str, str] = AS_CALLER, method: str = "GET"
) -> AsyncIterator[Stream]:
    """Open a stream of a facade; disconnect in the end."""
    opened = Stream()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": EVENTS,
        "raw_path": EVENTS.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("facade", 80),
    }
    request = asyncio.create_task(facade.app(scope, opened.receive, opened.send))
    try:
        await opened.begun()
        yield opened
    finally:
        opened.gone.set()
        opened.reads.set()
        await asyncio.wait_for(request, SECONDS)
