"""How the facade listens: uvicorn's HTTP/1.1 with a bound on how slowly a request may come. ``__main__`` uses it.

uvicorn bounds the time between two requests of a connection, but not the time
that one takes to arrive: a few thousand connections that send a byte a minute
would hold the process for good.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from carillon_api.http.problems import MEDIA_TYPE, Kind
from carillon_api.schemas import Problem

ARRIVAL_SECONDS = 30.0
"""So long a request may take to arrive, head and body; a body has at most 1 MiB."""
KEEP_ALIVE_SECONDS = 15
"""So long a connection may be idle between two requests."""
MAX_HEAD_BYTES = 32 * 1024
"""Of a request's line and headers that are not whole yet; more is refused with 400 before the app sees it."""


def problem_of(kind: Kind, detail: str) -> bytes:
    """Return the body of a problem of a request that never came to the app: nobody knows its path, and it has no id."""
    problem = Problem(
        type=kind.type, title=kind.title, status=kind.status, detail=detail, instance="", request_id="", errors=[]
    )
    return problem.model_dump_json(by_alias=True, exclude_none=True).encode()


def _timed_out() -> bytes:
    body = problem_of(
        Kind.REQUEST_TIMEOUT, f"a request has {ARRIVAL_SECONDS:g} s to arrive, head and body: send it again"
    )
    lines = ("HTTP/1.1 408 Request Timeout", f"content-type: {MEDIA_TYPE}", "connection: close")
    return "\r\n".join((*lines, f"content-length: {len(body)}", "", "")).encode() + body


TIMED_OUT = _timed_out()


class PunctualH11Protocol(H11Protocol):
    """One connection, whose requests must have arrived ``ARRIVAL_SECONDS`` after they began."""

    arrival_seconds = ARRIVAL_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what uvicorn gives a protocol."""
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Expect a request from the first moment: one that never begins holds a connection too."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request that has begun must have arrived in time, one that has arrived may take its own."""
        super().data_received(data)
        if self._is_arriving():
            self._expect()
        else:
            self._expect_nothing()

    def on_response_complete(self) -> None:
        """Begin the next cycle; a request whose beginning had come already must come to its end in time too."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._expect()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as every other error is answered; uvicorn's own would be plain text."""
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
        """Return whether a part of a request is there and the rest is not."""
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
