"""The work that undoes faults, such as starting again what was killed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from faults.verdict.seen import Violation


class Repairs:
    """Runs repairs in the background; one that fails is a violation."""

    def __init__(self, violations: list[Violation]) -> None:
        """Take the list that failures are added to."""
        self._violations = violations
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> bool:
        """Whether a repair is still going on."""
        return bool(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start a repair."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def end(self) -> None:
        """Cancel the repairs that are going on and wait for them."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._violations.append(Violation("harness", None, f"could not restart what a fault stopped: {error!r}"))
