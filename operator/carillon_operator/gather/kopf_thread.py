"""Runs kopf in a thread and an event loop of its own.

When kopf fails, as it does when its watch is answered with 410, it cancels
every task of its loop that is younger than itself, including tasks of others.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import kopf

from carillon_core.logs import get_logger

log = get_logger(__name__)

CLOSING_SECONDS = 0.25
"""How long TLS connections may take to close, as aiohttp's documentation advises under "Graceful shutdown"."""
ENDING_SECONDS = 8.0
"""How long kopf may take to end after one of its tasks has ended; its handlers may use 5 s of that."""

Spawn = Callable[[asyncio.Event], Coroutine[Any, Any, Collection[asyncio.Task[Any]]]]
"""Starts kopf's tasks, which end when the event is set."""


class KopfThread:
    """kopf in its thread, started once."""

    def __init__(self, spawn: Spawn) -> None:
        """Take what starts kopf's tasks; must be called in the operator's loop."""
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._halting: asyncio.Future[Callable[[], object]] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when kopf has ended, with its error if it failed."""

    def start(self) -> None:
        """Start the thread. It is a daemon: if kopf does not end when it is told to, the process still ends."""
        threading.Thread(target=asyncio.run, args=(self._run(),), name="kopf", daemon=True).start()

    async def halt(self) -> None:
        """Tell kopf to end; does nothing if it has ended."""
        if not self.ended.done():
            with suppress(RuntimeError):  # its loop has ended already
                (await self._halting)()

    async def _run(self) -> None:
        """Run kopf in its own loop and report how it ended to the operator's loop."""
        try:
            await self._operate()
        except BaseException as error:  # noqa: BLE001  # it is raised where ``ended`` is awaited
            report = partial(_fail, self.ended, error)
        else:
            report = partial(_succeed, self.ended)
        with suppress(RuntimeError):  # the operator's loop has ended, and the process with it
            self._loop.call_soon_threadsafe(report)

    async def _operate(self) -> None:
        # An event of this loop: kopf would wait for a threading.Event in a thread that outlives its failure.
        own, halted = asyncio.get_running_loop(), asyncio.Event()
        self._loop.call_soon_threadsafe(self._halting.set_result, partial(own.call_soon_threadsafe, halted.set))
        try:
            ignored = asyncio.all_tasks()
            await until_ended(await self._spawn(halted), ignored)
        finally:
            # TLS connections close in the background, for which the loop must run a moment longer
            await asyncio.sleep(CLOSING_SECONDS)


async def until_ended(tasks: Collection[asyncio.Task[Any]], ignored: Collection[asyncio.Task[Any]] = ()) -> None:
    """Run kopf's root tasks until one of them ends; then end the others, and wait for them only for a while.

    A watch that kopf cancels at a bad moment swallows the cancellation and goes on. kopf would wait for it for ever,
    and the operator, which no longer watches anything, would look alive.

    Args:
        tasks: The result of ``kopf.spawn_tasks``.
        ignored: The tasks of the loop that are not kopf's.

    Raises:
        Exception: The error of the task that ended first.

    """
    running = asyncio.ensure_future(kopf.run_tasks(tasks, ignored=[*ignored]))
    first, _ = await asyncio.wait([*tasks, running], return_when=asyncio.FIRST_COMPLETED)
    done, _ = await asyncio.wait([running], timeout=ENDING_SECONDS)
    if not done:
        log.error("kopf does not end, continuing without it", waited_seconds=ENDING_SECONDS)
    for task in [*done, *first]:
        task.result()


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
