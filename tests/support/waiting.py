"""Waits for conditions, with a time limit; never for a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 10) -> None:
    """Wait until the condition is true; raise ``TimeoutError`` if it does not become true."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"still not so after {seconds} s: {getattr(condition, '__name__', condition)}")
        await asyncio.sleep(0.01)  # conditions outside this process send no notification


def until(condition: Callable[[], bool], seconds: float, what: str, every: float = 0.05) -> None:
    """Wait, blocking, until the condition is true; raise ``TimeoutError`` with its name if it does not become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds} s still not so: {what}")
        time.sleep(every)
