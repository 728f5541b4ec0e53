"""The server's protocol, which limits slow clients and the connections of an address. ``__main__`` uses it."""

import socket
from collections.abc import Callable
from typing import Any, Protocol

import uvicorn

from carillon_api.http.problems import MEDIA_TYPE, Kind
from carillon_api.schemas import Problem
from carillon_core.serving.punctual import ARRIVAL_SECONDS, PunctualProtocol, last_answer

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
    return last_answer(kind.status, MEDIA_TYPE, problem_of(kind, detail), *headers)


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


class PunctualH11Protocol(PunctualProtocol):
    """A connection that counts for its address, and is refused with problems.

    ``limited_to`` makes the class that counts connections.
    """

    timed_out = TIMED_OUT
    held: Held | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take uvicorn's arguments."""
        super().__init__(*args, **kwargs)
        self._place: str | None = None

    def refused(self) -> bytes | None:
        """Count the connection; return the refusal if its address has too many."""
        if self.held is None:
            return None
        self._place = self.held.take(self.client[0] if self.client else None)
        return TOO_MANY if self._place is None else None

    def malformed(self, why: str) -> tuple[str, bytes]:
        """Return a problem, as for every other error."""
        return MEDIA_TYPE, problem_of(Kind.MALFORMED, why)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection no longer."""
        if self.held is not None and self._place is not None:
            self.held.release(self._place)
            self._place = None
        super().connection_lost(exc)


class StreamingServer(uvicorn.Server):
    """uvicorn's server, which ends streams before it waits for its connections: they would not end by themselves."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        """Take uvicorn's configuration, and what ends the streams."""
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then wait for requests in progress."""
        self._end_streams()
        await super().shutdown(sockets)


def limited_to(held: Held) -> type[PunctualH11Protocol]:
    """Return the protocol of a server whose connections are counted."""
    return type("LimitedH11Protocol", (PunctualH11Protocol,), {"held": held})
