"""The operator as one thing: its processes, in the order in which they may begin."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Literal

from carillon_core.domain.observed import ObservedRequest, request_key
from carillon_core.errors import UnavailableError
from carillon_core.ports import Cluster, HistoryRecorder, JobEvent, JSONObject, ObjectKind, RunnerKeys
from carillon_core.resources.scheduled_task import ScheduledTaskStatus
from carillon_operator.announcer import Announcer
from carillon_operator.closer import Closer
from carillon_operator.janitor import Janitor
from carillon_operator.key_registrar import KeyRegistrar
from carillon_operator.launcher import Launcher
from carillon_operator.maintainer import Maintain, Maintainer
from carillon_operator.observed_store import ObservedStore
from carillon_operator.outbox import Entry, Outbox
from carillon_operator.reconciler import Reconciler, Writers
from carillon_operator.runner_secret import RunnerSecret
from carillon_operator.settings import Settings
from carillon_operator.status_writer import Status, StatusWriter, WithStatus
from carillon_operator.work_queue import Key, WorkQueue

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""How long a stopping operator tries to write what the history and the statuses still lack."""
OBSERVER_SECONDS = 5.0
"""How long a stopping operator waits for its observer to end in good order."""
CANCEL_AGAIN_SECONDS = 0.5
STATUS_WRITERS = 8
KINDS: tuple[ObjectKind, ...] = ("ScheduledTask", "RunRequest", "HTTPTarget")
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 30.0

Observer = Callable[[ObservedStore, WorkQueue, asyncio.Event], Coroutine[None, None, None]]
"""Feeds the ScheduledTasks to the store and their keys to the queue until the event is set: kopf, for life."""


async def end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once may not be enough: up to Python 3.11 ``asyncio.wait_for``, by which psycopg waits too,
    swallows a cancellation that comes together with what it waits for.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


class Application:
    """Composed of its ports; runs until ``stop`` is set."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        history: HistoryRecorder,
        observe: Observer,
        clock: Callable[[], datetime],
        keys: RunnerKeys,
        maintain: Maintain | None = None,
    ) -> None:
        """Connect the parts with each other; nothing runs yet. Without ``maintain`` the history is left as it is."""
        self._settings = settings
        self._cluster = cluster
        self._observe = observe
        self.store = ObservedStore()
        self.queue = WorkQueue(clock)
        self.outbox = Outbox(history)
        self.outbox.on_written = self._written
        self._maintainer = None if maintain is None else Maintainer(maintain)
        self.statuses = StatusWriter(cluster, clock, self)
        self._announcer = Announcer(cluster)
        self._registrar = KeyRegistrar(keys, settings.runner.token_key, settings.sweep_seconds)
        self._secret = RunnerSecret(cluster, settings.runner.secret_name, settings.runner_database_url)
        self.janitor = Janitor(cluster, self.store)
        self.closer = Closer(
            cluster=cluster,
            history=history,
            store=self.store,
            outbox=self.outbox,
            announcer=self._announcer,
            clock=clock,
        )
        self.reconciler = Reconciler(
            cluster=cluster,
            store=self.store,
            queue=self.queue,
            writers=Writers(
                Launcher(
                    cluster=cluster,
                    store=self.store,
                    secret=self._secret,
                    announcer=self._announcer,
                    template=settings.runner,
                    clock=clock,
                ),
                self.outbox,
                self.statuses,
                self._announcer,
                self.closer,
                self.janitor,
            ),
            clock=clock,
        )
        self._synced = {"Job": asyncio.Event(), "Pod": asyncio.Event()}

    async def run(self, stop: asyncio.Event) -> None:
        """Run every process until ``stop`` is set or one of them fails."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._watch("Job")),
                group.create_task(self._watch("Pod")),
                group.create_task(self.outbox.run()),
                *(group.create_task(process) for process in self.statuses.processes(STATUS_WRITERS)),
                group.create_task(self._announcer.run()),
                group.create_task(self.janitor.run()),
                group.create_task(self._registrar.run()),
            ]
            observing = group.create_task(self._run_observer(stop))
            if self._maintainer is not None:
                background.append(group.create_task(self._maintainer.run()))
            deciding: list[asyncio.Task[None]] = []
            deciding.append(group.create_task(self._decide_when_synced(group, deciding)))
            try:
                await stop.wait()
                log.info("stopping")
                await end(deciding)
                await self._drain()
                await asyncio.wait({observing}, timeout=OBSERVER_SECONDS)
            finally:
                await end([*deciding, *background, observing])

    async def _drain(self) -> None:
        """Write what is still to be written: records first, for a status can be derived again."""
        for waiting, what in ((self.outbox.drained(), "records"), (self.statuses.drained(), "statuses")):
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await waiting
            except TimeoutError:
                log.warning("stopped before all was written", extra={"fields": {"unwritten": what}})

    async def _run_observer(self, stop: asyncio.Event) -> None:
        """Observe until told to stop; what ends the observer by mistake only ends it for a moment."""
        wait = FIRST_RETRY_SECONDS
        while not stop.is_set():
            began = asyncio.get_running_loop().time()
            try:
                await self._observe(self.store, self.queue, stop)
                stop.set()  # it ends of its own accord only when it is told to
            except Exception:
                log.exception("observing tasks failed, will begin again", extra={"fields": {"retry_in_s": wait}})
                await asyncio.sleep(wait)
                lasted = asyncio.get_running_loop().time() - began
                wait = FIRST_RETRY_SECONDS if lasted > LAST_RETRY_SECONDS else min(wait * 2, LAST_RETRY_SECONDS)

    async def _watch(self, kind: Literal["Job", "Pod"]) -> None:
        while True:
            try:
                async for event in self._cluster.watch_jobs(kind):
                    self._take(event)
            except Exception:  # a defect met by one object, or a permission that is missing
                log.exception("watching failed, will begin again", extra={"fields": {"kind": kind}})
                await asyncio.sleep(FIRST_RETRY_SECONDS)

    def _take(self, event: JobEvent) -> None:
        for change in self.store.changes(event):
            self.closer.job_changed(change)
            self.queue.add(change.key)
        if event.type == "SYNCED":
            self._synced[event.kind].set()

    # what the status writer tells

    def sending(self, kind: WithStatus, key: Key, status: Status) -> None:
        """Know the status again when its event comes."""
        if kind == "ScheduledTask" and isinstance(status, ScheduledTaskStatus):
            self.store.sending(key, status)

    def stored(self, kind: WithStatus, raw: JSONObject) -> None:
        """Go on from what the API server has: what it settles may be recorded, and Jobs it settles may go."""
        if kind == "ScheduledTask":
            self.store.task_stored(raw)
            self.queue.add((raw["metadata"]["namespace"], raw["metadata"]["name"]))
        else:
            self.store.request_stored(raw)
            self.queue.add(request_key(ObservedRequest.from_object(raw)))

    def conflicting(self, kind: WithStatus, raw: JSONObject) -> None:
        """Decide anew about what somebody else has changed."""
        if kind == "ScheduledTask":
            self.store.adopt_task(raw)
            self.queue.add((raw["metadata"]["namespace"], raw["metadata"]["name"]))
        else:
            self.store.adopt_request(raw)
            self.queue.add(request_key(ObservedRequest.from_object(raw)))

    def gone(self, kind: WithStatus, key: Key, uid: str) -> None:
        """Forget an object that turned out to be gone: a deletion that no event told of."""
        self._forget(kind, key, uid)

    def _forget(self, kind: ObjectKind, key: Key, uid: str) -> None:
        if kind == "ScheduledTask":
            self.store.drop_task(key, uid)
            self.queue.add(key)
        elif kind == "RunRequest":
            self.statuses.forget(kind, *key)
            if (changed := self.store.drop_request(key, uid)) is not None:
                self.queue.add(changed)
        else:
            for each in self.store.drop_target(key, uid):
                self.queue.add(each)

    def _written(self, entry: Entry) -> None:
        """Go on with what waited for its record."""
        for key in self.store.keys_of_execution(entry):
            self.queue.add(key)

    async def sweep(self) -> None:
        """Compare what is remembered with what is there: objects, runner Secrets, open executions."""
        namespaces: set[str] = set()
        for kind in KINDS:
            # Read before the list: an object that comes after the list is none that is gone.
            known = self.store.uids(kind)
            present = await self._cluster.uids(kind)
            for key, uid in known.items():
                if present.get(key) != uid:
                    self._forget(kind, key, uid)
            if kind != "HTTPTarget":
                namespaces |= {namespace for namespace, _ in present}
        await self._secret.mend(namespaces)
        await self.closer.sweep()

    async def _run_sweeps(self) -> None:
        while True:
            try:
                await self.sweep()
            except UnavailableError as error:
                log.info("sweep put off", extra={"fields": {"why": str(error)}})
            except Exception:  # a defect met by one row must not end the operator
                log.exception("sweep failed")
            await asyncio.sleep(self._settings.sweep_seconds)

    async def _decide_when_synced(self, group: asyncio.TaskGroup, deciding: list[asyncio.Task[None]]) -> None:
        """Begin to decide, once the Jobs are known: before, Forbid would not see what is active."""
        await asyncio.gather(*(event.wait() for event in self._synced.values()))
        log.info("ready")
        if self._settings.ready_file is not None:
            self._settings.ready_file.touch()
        workers = (self.reconciler.run_worker() for _ in range(self._settings.workers))
        processes = (self.queue.run_sleeper(), self._run_sweeps(), *workers)
        deciding.extend(group.create_task(process) for process in processes)
