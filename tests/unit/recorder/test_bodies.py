"""What the bodies of requests may take together."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.requests import Request

from carillon_recorder.bodies import SMALL_BYTES, Bodies
from carillon_recorder.refusals import RefusedRequestError

LARGE = 4 * SMALL_BYTES


def request(announced: int, chunks: Sequence[bytes], *, ends: bool = True) -> Request:
    """Return a request whose body arrives in these pieces; one that does not end waits after them for ever."""
    left = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if ends:
        left[-1]["more_body"] = False

    async def receive() -> Any:
        return left.pop(0) if left else await asyncio.Event().wait()

    headers = [(b"content-length", str(announced).encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def read(bodies: Bodies, given: Request) -> bytes:
    """Return the body of a request."""
    async with bodies.body_of(given, LARGE) as body:
        return body


async def test_what_is_announced_and_does_not_arrive_blocks_nobody() -> None:
    """As when a few connections announce as much as all may have together, and send a byte each."""
    bodies = Bodies(2 * LARGE, 0)
    async with asyncio.TaskGroup() as tasks:
        silent = [tasks.create_task(read(bodies, request(LARGE, [b"{"], ends=False))) for _ in range(100)]
        await asyncio.sleep(0)
        assert await read(bodies, request(LARGE, [b"x" * LARGE])) == b"x" * LARGE
        for task in silent:
            task.cancel()


async def test_large_bodies_leave_room_for_small_ones() -> None:
    """A claim goes through while there is no more room for a result; what is over is free again."""
    bodies = Bodies(2 * LARGE, SMALL_BYTES)
    async with AsyncExitStack() as held:
        await held.enter_async_context(bodies.body_of(request(LARGE, [b"x" * LARGE]), LARGE))
        for chunks in ([b"x" * LARGE], [b"x"] * LARGE):
            with pytest.raises(RefusedRequestError) as refused:
                await read(bodies, request(LARGE, chunks))
            assert (refused.value.code, refused.value.retry_after) == ("Busy", 1)
        assert await read(bodies, request(SMALL_BYTES, [b"x" * SMALL_BYTES])) == b"x" * SMALL_BYTES
    assert len(await read(bodies, request(LARGE, [b"x" * (LARGE // 2)] * 2))) == LARGE
