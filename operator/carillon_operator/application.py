"""The operator as one thing: its processes, in the order in which they may begin.

It observes as long as it lives. It decides and writes while it leads, all the
time if nobody else could. Each time that it begins to lead, all that decides
and writes is made anew, as in a new process: what an earlier time has left in
memory is not known to be true any more, and what matters is in the cluster.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime

from carillon_core.domain.observed.jobs import ObservedRequest, request_key
from carillon_core.errors import OwnAccountError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import Cluster, HistoryRecorder, JobEvent, JSONObject, ObjectKind, RunnerKeys
from carillon_core.resources.scheduled_task import ScheduledTaskStatus
from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.closer import Closer
from carillon_operator.apply.janitor import Janitor
from carillon_operator.apply.key_registrar import KeyRegistrar
from carillon_operator.apply.launcher import Launcher
from carillon_operator.apply.maintainer import Maintain, Maintainer
from carillon_operator.apply.outbox import Entry, Outbox
from carillon_operator.apply.runner_secret import RunnerSecret
from carillon_operator.apply.status_writer import Status, StatusWriter, WithStatus
from carillon_operator.gather.refused_pods import RefusedPods
from carillon_operator.gather.watching import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, Watching
from carillon_operator.leadership.election import Elector
from carillon_operator.leadership.endings import end, unless_stopped
from carillon_operator.leadership.fenced_cluster import FencedCluster
from carillon_operator.reconciler import Reconciler, Writers
from carillon_operator.settings import Settings
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.ownership import Ownership
from carillon_operator.state.work_queue import Key, WorkQueue

log = get_logger(__name__)

DRAIN_SECONDS = 5.0
"""How long a stopping operator tries to write what the history and the statuses still lack."""
HANDOVER_SECONDS = 0.5
"""The same for one that another waits for: what is left is derived again by that."""
TURN_SECONDS = 1.0
"""How long turns that have begun may still take: one that is cut off may leave a Job whose answer nobody waits for."""
OBSERVER_SECONDS = 5.0
"""How long a stopping operator waits for its observer to end in good order."""
STATUS_WRITERS = 8

Observer = Callable[[ObservedStore, WorkQueue, asyncio.Event], Coroutine[None, None, None]]
"""Feeds the ScheduledTasks to the store and their keys to the queue until the event is set: kopf, for life."""


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
        elector: Elector | None = None,
    ) -> None:
        """Connect the parts with each other; nothing runs yet.

        Args:
            settings: The operator's.
            cluster: Where it launches.
            history: Where it records.
            observe: Feeds what is to be decided about.
            clock: The time of day, in UTC.
            keys: Where the key of the runners' tokens is to be known.
            maintain: Maintains the history, which is left as it is without.
            elector: Says when to decide and write; without, that is always.

        """
        self._settings = settings
        self._cluster = cluster if elector is None else FencedCluster(cluster, elector.leads)
        self._history = history
        self._observe = observe
        self._clock = clock
        self._keys = keys
        self._elector = elector
        # one of the shards is enough for what concerns none of them more than the others
        self._maintainer = None if maintain is None or settings.shard.index else Maintainer(maintain)
        self.store = ObservedStore()
        self._ownership = Ownership(settings.shard, self.store, settings.scope)
        self.queue = WorkQueue(clock)
        self._watching = Watching(
            self._cluster, self.store, self.queue, settings.scope, self._ownership.unseen, self._take, self._forget
        )
        self._deciding = elector is None
        if elector is not None:
            self.queue.close()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Make all that decides and writes."""
        cluster, history, clock = self._cluster, self._history, self._clock
        self.outbox = Outbox(history)
        self.outbox.on_written = self._written
        self.statuses = StatusWriter(cluster, clock, self)
        self._announcer = Announcer(cluster)
        self._registrar = KeyRegistrar(self._keys, self._settings.runner.token_key, self._settings.sweep_seconds)
        self._secret = RunnerSecret(cluster, self._settings.runner.secret_name, self._settings.runner_database_url)
        self.janitor = Janitor(cluster, self.store)
        self.refused_pods = RefusedPods(cluster, self.store, self._ownership, self.queue, clock)
        self.closer = Closer(
            cluster=cluster,
            history=history,
            store=self.store,
            ownership=self._ownership,
            outbox=self.outbox,
            announcer=self._announcer,
            clock=clock,
        )
        self._launcher = launcher = Launcher(
            cluster=cluster,
            store=self.store,
            secret=self._secret,
            announcer=self._announcer,
            template=self._settings.runner,
            clock=clock,
        )
        self.reconciler = Reconciler(
            cluster=cluster,
            store=self.store,
            ownership=self._ownership,
            queue=self.queue,
            writers=Writers(launcher, self.outbox, self.statuses, self._announcer, self.closer, self.janitor),
            clock=clock,
            pod_defaults=self._settings.runner.pod,
        )

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
        """Begin to decide, once the Jobs are known: before, Forbid would not see what is active."""
        if not await unless_stopped(stop, self._watching.synced()):
            return
        log.info("ready")
        if self._settings.ready_file is not None:
            self._settings.ready_file.touch()
        if self._elector is None:
            await self._decide(stop)
        else:
            await self._elector.run(self._lead, stop)

    async def _lead(self, stop: asyncio.Event) -> bool:
        """Decide for as long as this operator leads, on what is there since it does; return whether all turns ended."""
        self._begin_anew()
        try:
            if await unless_stopped(stop, self._watching.catch_up()):
                self._deciding = True
                self.queue.open()
                for key in self.store.all_keys():
                    self.queue.add(key)
                return await self._decide(stop)
            return True
        finally:
            self._deciding = False
            self.queue.close()
            self.store.forget_decisions()

    async def _decide(self, stop: asyncio.Event) -> bool:
        """Run all that decides and writes until ``stop`` is set, then write what is still to be written.

        Returns:
            Whether every turn that had begun has ended, so that no launch is still on its way.

        """
        async with asyncio.TaskGroup() as group:
            writers = (
                self.outbox.run(),
                *self.statuses.processes(STATUS_WRITERS),
                self._announcer.run(),
                self.janitor.run(),
                self._registrar.run(),
                *(() if self._maintainer is None else (self._maintainer.run(),)),
            )
            workers = (self.reconciler.run_worker() for _ in range(self._settings.workers))
            others = (self.queue.run_sleeper(), self._run_sweeps(), self._watching.look_again())
            looking = self.refused_pods.processes()
            deciding = [group.create_task(process) for process in (*others, *looking, *workers)]
            writing = [group.create_task(process) for process in writers]
            try:
                await stop.wait()
                rested = await self._end_turns()
                await end(deciding)
                await self._drain()
            finally:
                await end([*deciding, *writing])
        return rested and not self._launcher.in_doubt

    async def _end_turns(self) -> bool:
        """Begin no turn any more, and let those that have begun end; return whether they did in time."""
        self.queue.close()
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self.queue.rested()
        except TimeoutError:
            log.info("turns are cut off", after_s=TURN_SECONDS)
            return False
        return True

    async def _drain(self) -> None:
        """Write what is still to be written: records first, for a status can be derived again."""
        self.statuses.hurry()
        seconds = DRAIN_SECONDS if self._elector is None else HANDOVER_SECONDS
        for waiting, what in ((self.outbox.drained(), "records"), (self.statuses.drained(), "statuses")):
            try:
                async with asyncio.timeout(seconds):
                    await waiting
            except TimeoutError:
                log.warning("stopped before all was written", unwritten=what)

    async def _run_observer(self, stop: asyncio.Event) -> None:
        """Observe until told to stop; what ends the observer by mistake only ends it for a moment."""
        wait = FIRST_RETRY_SECONDS
        while not stop.is_set():
            began = asyncio.get_running_loop().time()
            try:
                await self._observe(self.store, self.queue, stop)
                stop.set()  # it ends of its own accord only when it is told to
            except Exception:
                log.exception("observing tasks failed, will begin again", retry_in_s=wait)
                await asyncio.sleep(wait)
                lasted = asyncio.get_running_loop().time() - began
                wait = FIRST_RETRY_SECONDS if lasted > LAST_RETRY_SECONDS else min(wait * 2, LAST_RETRY_SECONDS)

    def _take(self, event: JobEvent) -> None:
        for change in self.store.changes(event):
            job = change.after or change.before
            if self._deciding and job is not None and self._ownership.owns_job(change.key, job):
                self.closer.job_changed(change)
            elif change.after is None and job is not None:  # nobody here has to record what became of it
                self.store.drop_job((job.namespace, job.name), job.uid)
            if change.after is not None:
                self.refused_pods.expect(change.after)
            self.queue.add(change.key)

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
        await self._secret.mend(await self._watching.compare())
        await self.closer.sweep()

    async def _run_sweeps(self) -> None:
        while True:
            try:
                await self.sweep()
            except (OwnAccountError, UnavailableError) as error:
                log.info("sweep put off", why=str(error))
            except Exception:  # a defect met by one row must not end the operator
                log.exception("sweep failed")
            await asyncio.sleep(self._settings.sweep_seconds)
