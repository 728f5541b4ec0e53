"""The operator as a whole: observes all the time, and decides and writes while it leads.

Without a Lease it leads all the time. Each term of leadership is an object of
its own (``Term``); what is observed stays from one term to the next.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime

from carillon_core.backoff import Tries
from carillon_core.logs import get_logger
from carillon_core.ports import JobEvent
from carillon_operator.gather.watching import RETRIES, Watching
from carillon_operator.guard.guard import Guard
from carillon_operator.guard.slices import Slices
from carillon_operator.leadership.election import Elector
from carillon_operator.leadership.endings import unless_stopped
from carillon_operator.leadership.fence import FencedWriter
from carillon_operator.settings import Settings
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.ownership import Ownership
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import WorkQueue
from carillon_operator.term import Outside, Term, forget_unowned

log = get_logger(__name__)

DRAIN_SECONDS = 5.0
"""How long a stopping operator tries to write the remaining records and statuses."""
HANDOVER_SECONDS = 0.5
"""The same if another operator is waiting to lead; it derives the rest again."""
OBSERVER_SECONDS = 5.0
"""How long a stopping operator waits for its observer to end by itself."""

Observer = Callable[[ObservedStore, WorkQueue, asyncio.Event], Coroutine[None, None, None]]
"""Feeds Carillon's objects to the store and their keys to the queue until the event is set: kopf, in production."""


class Application:
    """Composed of its ports; runs until ``stop`` is set."""

    def __init__(
        self,
        settings: Settings,
        outside: Outside,
        observe: Observer,
        clock: Callable[[], datetime],
        elector: Elector | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Connect the parts with each other; nothing runs yet.

        Args:
            settings: The operator's.
            outside: The cluster and the history.
            observe: Feeds the objects to decide about.
            clock: The time of day, in UTC.
            elector: Says when to decide and write; without it, that is always.
            guard: Keeps one object from stopping the operator; by default one that remembers nothing after a restart.

        """
        self._settings = settings
        self._outside = outside
        if elector is not None:
            self._outside = replace(outside, writer=FencedWriter(outside.writer, elector.leads))
        self._observe = observe
        self._clock = clock
        self._elector = elector
        self.store = ObservedStore(guard)
        self.queue = WorkQueue(clock)
        self._view = View(self.store, Ownership(settings.shard, self.store, settings.scope), self.queue)
        self._watching = Watching(self._outside.reader, self._view, settings.scope, self._take)
        self.term: Term | None = None
        """The current term; None while another operator leads."""
        if elector is None:
            self.term = self._new_term()
        else:
            self.queue.close()

    @property
    def ownership(self) -> Ownership:
        """Which of the observed objects this operator decides about."""
        return self._view.ownership

    def _new_term(self) -> Term:
        return Term(self._settings, self._outside, self._view, self._watching, self._clock)

    async def run(self, stop: asyncio.Event) -> None:
        """Run every process until ``stop`` is set or one of them fails."""
        async with asyncio.TaskGroup() as group:
            self._watching.start()
            observing = group.create_task(self._run_observer(stop))
            deciding = group.create_task(self._decide_when_synced(stop))
            try:
                await stop.wait()
                log.info("stopping")
                await asyncio.wait({deciding})
                await asyncio.wait({observing}, timeout=OBSERVER_SECONDS)
            finally:
                await self._watching.stop(deciding, observing)

    async def _decide_when_synced(self, stop: asyncio.Event) -> None:
        """Start to decide once the Jobs are known: without them Forbid would not see what is active."""
        if not await unless_stopped(stop, self._watching.synced()):
            return
        log.info("ready")
        if self._settings.ready_file is not None:
            self._settings.ready_file.touch()
        if self._elector is not None:
            await self._elector.run(self._lead, stop)
        elif self.term is not None:
            await self.term.run(stop, DRAIN_SECONDS)

    async def _lead(self, stop: asyncio.Event) -> bool:
        """Decide for one term, starting from what exists now; return whether all turns ended."""
        try:
            if not await unless_stopped(stop, self._watching.catch_up()):
                return True
            self.term = self._new_term()
            self.queue.open()
            slices = Slices()
            for key in self.store.all_keys():
                self.queue.add(key)
                await slices.rest()
            return await self.term.run(stop, HANDOVER_SECONDS)
        finally:
            self.term = None
            self.queue.close()
            self.store.forget_decisions()

    async def _run_observer(self, stop: asyncio.Event) -> None:
        """Observe until told to stop; an observer that fails is started again."""
        tries = Tries(RETRIES)
        while not stop.is_set():
            began = asyncio.get_running_loop().time()
            try:
                await self._observe(self.store, self.queue, stop)
                stop.set()  # it ends by itself only when it is told to
            except Exception:
                if asyncio.get_running_loop().time() - began > RETRIES.longest:
                    tries.succeeded()
                wait = tries.failed()
                log.exception("observing tasks failed, starting again", retry_in_s=wait)
                await asyncio.sleep(wait)

    def _take(self, event: JobEvent) -> None:
        """Take an event of a Job or a pod."""
        for change in self.store.jobs.changes(event):
            try:
                if self.term is not None:
                    self.term.job_changed(change)
                else:
                    forget_unowned(self._view, change)
            except Exception:  # a bug with one Job must not end the watch of the others
                log.exception("change of a Job not noted", task="/".join(change.key))
            self.queue.add(change.key)
