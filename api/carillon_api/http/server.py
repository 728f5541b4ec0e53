"""The server's protocol: uvicorn's HTTP/1.1 with a time limit for each request to arrive. ``__main__`` uses it.

uvicorn limits the time between two requests of a connection, but not the time
that a request takes to arrive: a few thousand connections that send a byte a
minute would block the process.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from carillon_api.http.problems import MEDIA_TYPE, Kind
from carillon_api.schemas import Problem

ARRIVAL_SECONDS = 30.0
"""How long a request may take to arrive, headers and body; a body has at most 1 MiB."""
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


def _timed_out() -> bytes:
    body = problem_of(Kind.REQUEST_TIMEOUT, f"the request did not arrive within {ARRIVAL_SECONDS:g} s: send it again")
    lines = ("HTTP/1.1 408 Request Timeout", f"content-type: {MEDIA_TYPE}", "connection: close")
    return "\r\n".join((*lines, f"content-length: {len(body)}", "", "")).encode() + body


TIMED_OUT = _timed_out()


class PunctualH11Protocol(H11Protocol):
    """A connection whose requests must arrive completely within ``ARRIVAL_SECONDS``."""

    arrival_seconds = ARRIVAL_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take uvicorn's arguments."""
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Start the timer at once: a client that sends nothing occupies a connection, too."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._expect_nothing()
        super().connection_lost(exc)

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
        self.transport.close()

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
        self.transport.close()
