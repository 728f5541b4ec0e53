"""Reads a request's body within bounds: its own size, the time it may take, and what all of them may take together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from carillon_recorder.refusals import RefusedRequestError, busy

READ_SECONDS = 10.0
MAX_BYTES_TOGETHER = 64 * 2**20
"""What the bodies of all requests in progress may take; a body is held until its request has been answered."""
SMALL_BYTES = 64 * 1024
SHARE_OF_SMALL = 8 * 2**20
"""What larger bodies leave free, so that they cannot keep a pod from claiming its execution."""


class Bodies:
    """The bodies of the requests in progress."""

    def __init__(self, most: int = MAX_BYTES_TOGETHER, share_of_small: int = SHARE_OF_SMALL) -> None:
        """Start with none."""
        self._left = most
        self._share_of_small = share_of_small

    @asynccontextmanager
    async def body_of(self, request: Request, most_bytes: int) -> AsyncIterator[bytes]:
        """Read the body; what has arrived counts, for as long as the block lasts.

        Raises:
            RefusedRequestError: Its length is not announced or more than ``most_bytes``, there is no room for it now,
                or it does not arrive in time.
            ClientDisconnect: The client has gone.

        """
        length = _length(request)
        if length > most_bytes:
            raise RefusedRequestError(413, "BodyTooLarge", f"the request's body is larger than {most_bytes} bytes")
        # what is announced costs nothing, and anyone can announce it
        spared = self._share_of_small if length > SMALL_BYTES else 0
        self._check(length, spared)
        body = bytearray()
        taken = 0
        try:
            async with _in_time():
                async for chunk in request.stream():
                    self._check(len(chunk), spared)
                    self._left -= len(chunk)
                    taken += len(chunk)
                    body += chunk
            whole = bytes(body)
            body.clear()
            yield whole
        finally:
            self._left += taken

    def _check(self, length: int, spared: int) -> None:
        if length > self._left - spared:
            raise busy("the requests in progress are too large together")


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(READ_SECONDS):
            yield
    except TimeoutError:
        why = f"the request's body did not arrive within {READ_SECONDS:g} s"
        raise RefusedRequestError(408, "TooSlow", why, retry_after=1) from None


def _length(request: Request) -> int:
    text = request.headers.get("Content-Length", "")
    if "Transfer-Encoding" in request.headers or not text.isdecimal():
        raise RefusedRequestError(411, "LengthRequired", "the request needs a Content-Length, and no Transfer-Encoding")
    return int(text)  # h11 refuses one of more than 20 digits
