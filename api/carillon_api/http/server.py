"""The server's protocol: uvicorn's HTTP/1.1 with limits for clients that are slow or many. ``__main__`` uses it.

uvicorn limits the time between two requests of a connection, but neither the
time that a request takes to arrive nor the time that a response waits to be
read, nor the number of connections of an address: a few thousand connections
that send or read a byte a minute would block the process.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Protocol

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from carillon_api.http.problems import MEDIA_TYPE, Kind
from carillon_api.schemas import Problem

ARRIVAL_SECONDS = 30.0
"""How long a request may take to arrive, headers and body; a body has at most 1 MiB."""
TAKING_SECONDS = 30.0
"""How long a response waits for its client to read on."""
LEAST_TAKEN = 64 * 1024
"""How many bytes a client must read in that time, unless fewer are left."""
KEEP_ALIVE_SECONDS = 15
"""How long a connection may be idle between two requests."""
MAX_HEAD_BYTES = 32 * 1024
"""The size limit of an incomplete request line with headers; beyond it the answer is 400, before the app is called."""


def problem_of(kind: Kind, detail: str) -> bytes:
    """Return the body of a problem for a request that did not reach the app, so that it has no path and no id."""
    problem = Problem(
        type=kind.type, title=kind.title, status=kind.status, detail=detail, instance="", request_id="", errors=[]
    )
    return problem.model_dump_json(by_alias=True, exclude_none=True).encode()


def _last_answer(kind: Kind, detail: str, *headers: str) -> bytes:
    """Return a whole response, after which the connection is closed."""
    body = problem_of(kind, detail)
    lines = (f"HTTP/1.1 {kind.status} {HTTPStatus(kind.status).phrase}", f"content-type: {MEDIA_TYPE}", *headers)
    return "\r\n".join((*lines, "connection: close", f"content-length: {len(body)}", "", "")).encode() + body


TIMED_OUT = _last_answer(
    Kind.REQUEST_TIMEOUT, f"the request did not arrive within {ARRIVAL_SECONDS:g} s: send it again"
)
TOO_MANY = _last_answer(
    Kind.RATE_LIMITED,
    "your address has too many connections: close some, or use one for several requests",
    "retry-after: 1",
)


class Held(Protocol):
    """Counts the connections of each address."""

    def take(self, address: str | None) -> str | None:
        """Count a connection and return the place it counts for; None if it is refused."""
        ...

    def release(self, place: str) -> None:
        """Count a connection no longer."""
        ...


class PunctualH11Protocol(H11Protocol):
    """A connection whose requests must arrive within ``ARRIVAL_SECONDS``, and whose responses must be read on.

    ``limited_to`` makes the class that counts connections.
    """

    arrival_seconds = ARRIVAL_SECONDS
    taking_seconds = TAKING_SECONDS
    held: Held | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take uvicorn's arguments."""
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._untaken = 0
        self._place: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the timer at once: a client that sends nothing occupies a connection, too."""
        super().connection_made(transport)
        if self.held is not None:
            self._place = self.held.take(self.client[0] if self.client else None)
            if self._place is None:
                self.transport.write(TOO_MANY)
                self._close()
                return
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._expect_nothing()
        self._is_taken()
        if self.held is not None and self._place is not None:
            self.held.release(self._place)
            self._place = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the timer: the client does not read as fast as the response is written."""
        super().pause_writing()
        self._must_be_taken()

    def resume_writing(self) -> None:
        """Stop the timer."""
        super().resume_writing()
        self._is_taken()

    def data_received(self, data: bytes) -> None:
        """Process bytes; the timer runs while a request is incomplete, and stops when it has arrived."""
        super().data_received(data)
        if self._is_arriving():
            self._expect()
        else:
            self._expect_nothing()

    def on_response_complete(self) -> None:
        """Start the next cycle; if the next request has already begun to arrive, start its timer."""
        super().on_response_complete()
        self._must_be_taken()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._expect()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a problem, as every other error; uvicorn's own answer is plain text."""
        body = problem_of(Kind.MALFORMED, msg)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"connection", b"close"),
            (b"content-length", str(len(body)).encode()),
        ]
        events = (h11.Response(status_code=400, headers=headers, reason=b"Bad Request"), h11.Data(data=body))
        for event in (*events, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._close()

    def _is_arriving(self) -> bool:
        """Return whether a request is incomplete."""
        return self.conn.their_state in {h11.IDLE, h11.SEND_BODY} and not self.transport.is_closing()

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.arrival_seconds, self._give_up)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE or self.conn.our_state is h11.SEND_RESPONSE:
            self.transport.write(TIMED_OUT)
        self._close()

    def _close(self) -> None:
        """Close the connection once the client has read everything; if it does not, close it anyway."""
        self.transport.close()
        self._must_be_taken()

    def _must_be_taken(self) -> None:
        self._is_taken()
        self._untaken = self.transport.get_write_buffer_size()
        if self._untaken:
            self._taking = self.loop.call_later(self.taking_seconds, self._look_again)

    def _is_taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _look_again(self) -> None:
        """Close the connection if the client has not read on."""
        left = self.transport.get_write_buffer_size()
        if left and self._untaken - left < LEAST_TAKEN:
            self.transport.abort()
        else:
            self._must_be_taken()


def limited_to(held: Held) -> type[PunctualH11Protocol]:
    """Return the protocol of a server whose connections are counted."""
    return type("LimitedH11Protocol", (PunctualH11Protocol,), {"held": held})
