"""Where changes come from: one look a second at the history, and one watch of the tasks, for all viewers."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from carillon_api.events.feed import Feed, SourceName
from carillon_api.events.stream_events import of_execution, of_task
from carillon_core.backoff import Backoff, Tries
from carillon_core.errors import CarillonError, ExpiredError
from carillon_core.ports import ChangedExecutions, ChangedTasks, TaskWatch

LOOK_SECONDS = 1.0
"""The time between two looks at the history."""
RETRIES = Backoff(first=1.0, longest=30.0)


class Source(Protocol):
    """Something that changes."""

    @property
    def name(self) -> SourceName:
        """Its name."""
        ...

    async def follow(self, feed: Feed) -> None:
        """Report its changes until cancelled; failures are reported, too, and tried again."""
        ...


@dataclass(frozen=True, slots=True)
class ExecutionSource:
    """The executions in the database."""

    changed: ChangedExecutions
    namespaces: tuple[str, ...] = ()
    """The served namespaces; empty means all."""
    seconds: float = LOOK_SECONDS
    retries: Backoff = RETRIES

    @property
    def name(self) -> SourceName:
        """Its name."""
        return "executions", None

    async def follow(self, feed: Feed) -> None:
        """Look for changes again and again."""
        position: str | None = None
        tries = Tries(self.retries)
        while True:
            try:
                found = await self.changed.since(position, self.namespaces)
            except CarillonError as error:
                feed.fails(self.name, str(error))
                await asyncio.sleep(tries.failed())
                continue
            tries.succeeded()
            if position is None:
                feed.begun(self.name)
            feed.works(self.name)
            position = found.position
            if found.complete:
                for change in found.items:
                    feed.add(of_execution(change))
            else:
                feed.gap(self.name, "TooManyChanges", "too many executions changed at once")
            await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class TaskSource:
    """The tasks of a namespace, or of all."""

    changed: ChangedTasks
    namespace: str | None = None
    retries: Backoff = RETRIES

    @property
    def name(self) -> SourceName:
        """Its name."""
        return "tasks", self.namespace

    async def follow(self, feed: Feed) -> None:
        """Watch, and continue where a connection ended."""
        watch = self.changed.watch(self.namespace)
        tries = Tries(self.retries)
        has_begun = False
        while True:
            try:
                if not has_begun:
                    await watch.begin()
                    has_begun = True
                    feed.begun(self.name)
                began = asyncio.get_running_loop().time()
                await self._read(watch, feed, tries)
            except ExpiredError:
                has_begun = False
                await asyncio.sleep(tries.failed())
            except CarillonError as error:
                feed.fails(self.name, str(error))
                await asyncio.sleep(tries.failed())
            else:
                # a server or a proxy that ends each watch at once would be asked in a tight loop
                if asyncio.get_running_loop().time() - began < self.retries.first:
                    await asyncio.sleep(tries.failed())

    async def _read(self, watch: TaskWatch, feed: Feed, tries: Tries) -> None:
        async with aclosing(watch.changes()) as changes:
            async for change in changes:
                feed.works(self.name)
                if change is not None:
                    tries.succeeded()
                    feed.add(of_task(change))
