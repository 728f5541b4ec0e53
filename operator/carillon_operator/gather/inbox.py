"""What another thread observes, handed over to the operator's loop and taken there in slices.

The loop runs all the callbacks of a turn that wait when it begins. One callback
for each object would make a turn as long as the loop is behind.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from carillon_operator.guard.slices import Slices

EventT = TypeVar("EventT")


class Inbox(Generic[EventT]):
    """Events on their way to the loop, in their order."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, take: Callable[[EventT], None], slices: Slices | None = None
    ) -> None:
        """Take the loop, and what takes an event there."""
        self._loop = loop
        self._take = take
        self._slices = slices or Slices()
        self._waiting: deque[EventT] = deque()
        self._lock = threading.Lock()
        self._awake = False
        """Whether a turn is to come."""

    def put(self, event: EventT) -> None:
        """Hand an event over. Any thread may call it."""
        with self._lock:
            self._waiting.append(event)
            if self._awake:
                return
            self._awake = True
        with suppress(RuntimeError):  # the loop has ended, and the process with it
            self._loop.call_soon_threadsafe(self._turn)

    def _turn(self) -> None:
        self._slices.begin()
        while True:
            with self._lock:
                if not self._waiting:
                    self._awake = False
                    return
                event = self._waiting.popleft()
            try:
                self._take(event)
            except Exception as error:  # noqa: BLE001  # the others are taken
                self._loop.call_exception_handler({"message": "an event was not taken", "exception": error})
            if self._slices.over:
                self._loop.call_soon(self._turn)
                return
