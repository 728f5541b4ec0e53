"""Waiting for what other processes do."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that other processes or the clock make true."""
    while not condition():  # noqa: ASYNC110  # other processes cannot set an event of ours
        await asyncio.sleep(0.02)
