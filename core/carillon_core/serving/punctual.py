"""The protocol of the servers: uvicorn's HTTP/1.1 with limits for clients that are slow or send what is no HTTP.

uvicorn limits the time between two requests of a connection, but neither the
time that a request takes to arrive nor the time that a response waits to be
read: a few thousand connections that send or read a byte a minute would block
the process. The API and the recorder derive their protocols from this one.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

ARRIVAL_SECONDS = 30.0
"""How long a request may take to arrive, headers and body; a body has at most 1 MiB."""
TAKING_SECONDS = 30.0
"""How long a response waits for its client to read on."""
LEAST_TAKEN = 64 * 1024
"""How many bytes a client must read in that time, unless fewer are left."""


def last_answer(status: int, media_type: str, body: bytes, *headers: str) -> bytes:
    """Return a whole response, after which the connection is closed."""
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-type: {media_type}", *headers)
    return "\r\n".join((*lines, "connection: close", f"content-length: {len(body)}", "", "")).encode() + body


class PunctualProtocol(H11Protocol):
    """A connection whose requests must arrive within ``arrival_seconds``, and whose responses must be read on."""

    arrival_seconds = ARRIVAL_SECONDS
    taking_seconds = TAKING_SECONDS
    timed_out = last_answer(408, "text/plain", b"the request did not arrive in time")
    """The response to a request that does not arrive in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take uvicorn's arguments."""
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._untaken = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the timer at once: a client that sends nothing occupies a connection, too."""
        super().connection_made(transport)
        if (refusal := self.refused()) is None:
            self._expect()
        else:
            self.transport.write(refusal)
            self._close()

    def refused(self) -> bytes | None:
        """Return the response to a connection that is refused; None if it is not."""
        return None

    def malformed(self, why: str) -> tuple[str, bytes]:
        """Return the media type and the body of the response to what is no HTTP."""
        return "text/plain", why.encode()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._expect_nothing()
        self._is_taken()
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
        """Answer what is no HTTP as ``malformed`` says."""
        media_type, body = self.malformed(msg)
        headers = [
            (b"content-type", media_type.encode()),
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
            self.transport.write(self.timed_out)
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
