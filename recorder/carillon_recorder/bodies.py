"""Reads a request's body within bounds: its own size, the time it may take, and what all of them may take together."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from carillon_recorder.refusals import RefusedRequestError, busy

READ_SECONDS = 10.0
MAX_BYTES_TOGETHER = 64 * 2**20
"""What the bodies of all requests in progress may take; a body is held until its request has been answered."""


class Bodies:
    """The bodies of the requests in progress."""

    def __init__(self, most: int = MAX_BYTES_TOGETHER) -> None:
        """Start with none."""
        self._left = most

    @contextmanager
    def room_for(self, request: Request, most_bytes: int) -> Iterator[int]:
        """Reserve the bytes that a request announces, at most ``most_bytes``, for as long as the block lasts.

        Raises:
            RefusedRequestError: It announces none or too many, or there is no room now.

        """
        length = _length(request)
        if length > most_bytes:
            raise RefusedRequestError(413, "BodyTooLarge", f"the request's body is larger than {most_bytes} bytes")
        if length > self._left:
            raise busy("the requests in progress are too large together")
        self._left -= length
        try:
            yield length
        finally:
            self._left += length


def _length(request: Request) -> int:
    text = request.headers.get("Content-Length", "")
    if "Transfer-Encoding" in request.headers or not text.isdecimal():
        raise RefusedRequestError(411, "LengthRequired", "the request needs a Content-Length, and no Transfer-Encoding")
    return int(text)  # h11 refuses one of more than 20 digits


async def body_of(request: Request) -> bytes:
    """Return the body.

    Raises:
        RefusedRequestError: It does not arrive in time.
        ClientDisconnect: The client has gone.

    """
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.body()
    except TimeoutError:
        why = f"the request's body did not arrive within {READ_SECONDS:g} s"
        raise RefusedRequestError(408, "TooSlow", why, retry_after=1) from None
