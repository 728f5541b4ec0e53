"""Ends background tasks: by reliable cancellation, or when the operator is told to stop."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

CANCEL_AGAIN_SECONDS = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended.

    Once may not be enough: up to Python 3.11, ``asyncio.wait_for``, which psycopg uses too, swallows a cancellation
    that arrives together with the awaited result.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


async def unless_stopped(stop: asyncio.Event, waiting: Coroutine[Any, Any, object]) -> bool:
    """Wait for a coroutine until ``stop`` is set; return whether it finished.

    Raises:
        Exception: The error that it failed with.

    """
    coming, stopped = asyncio.ensure_future(waiting), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            return False
        coming.result()
        return True
    finally:
        await end([coming, stopped])


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait this many seconds, or until ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
