"""One term of leadership: all parts that decide and write, created each time the operator starts to lead.

A new term starts like a new process, from the state of the cluster and the
history, so that nothing in memory remains from an earlier term.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime

from carillon_core.adapters.postgres.roles.namespace_login import NamespaceLogins
from carillon_core.errors import OwnAccountError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import ClusterReader, ClusterWriter, HistoryRecorder, RevisionRecorder, RunnerKeys
from carillon_operator.admission.target_secrets import TargetSecrets
from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.closer import Closer
from carillon_operator.apply.effects import Effects
from carillon_operator.apply.janitor import Janitor
from carillon_operator.apply.job_ender import JobEnder
from carillon_operator.apply.key_registrar import KeyRegistrar
from carillon_operator.apply.launcher import Conditions, Launcher
from carillon_operator.apply.maintainer import Maintain, Maintainer
from carillon_operator.apply.outbox import Entry, Outbox
from carillon_operator.apply.runner_access import RecorderAccess, RunnerAccess, RunnerSecret, SharedLogin
from carillon_operator.apply.status_writer import StatusWriter
from carillon_operator.apply.sweeper import Sweeper
from carillon_operator.gather.failed_logs import FailedLogs
from carillon_operator.gather.refused_pods import RefusedPods
from carillon_operator.gather.watching import Watching
from carillon_operator.leadership.endings import end
from carillon_operator.reconciler import Reconciler
from carillon_operator.revisions.chronicler import Chronicler
from carillon_operator.settings import Settings
from carillon_operator.state.job_shelf import JobChange
from carillon_operator.state.view import View

log = get_logger(__name__)

TURN_SECONDS = 1.0
"""How long turns in progress may take at the end: if one is cut off, the response to a launch may be lost."""
STATUS_WRITERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The systems that the operator reads and writes."""

    reader: ClusterReader
    writer: ClusterWriter
    history: HistoryRecorder
    keys: RunnerKeys
    """Where the key of the execution tokens is registered."""
    maintain: Maintain | None = None
    """Maintains the history; without it the history is left as it is."""
    revisions: RevisionRecorder | None = None
    """Where specs are recorded; without it none are."""
    renew: Callable[[], Coroutine[None, None, None]] | None = None
    """Keeps the webhook's certificate valid, for ever; without it others do."""


class Term:
    """Decides and writes until it is told to stop."""

    def __init__(
        self,
        settings: Settings,
        outside: Outside,
        view: View,
        watching: Watching,
        clock: Callable[[], datetime],
    ) -> None:
        """Create the parts; nothing runs yet."""
        reader, writer, runner = outside.reader, outside.writer, settings.runner
        self._settings = settings
        self._view = view
        self._watching = watching
        self.outbox = Outbox(outside.history, self._written)
        self.statuses = StatusWriter(reader, writer, clock, view)
        self.janitor = Janitor(writer, view.store)
        self.refused_pods = RefusedPods(reader, view, clock)
        self.announcer = Announcer(writer, clock)
        self._access = _access(settings, writer)
        secrets = TargetSecrets(reader, runner.secret_name, settings.target_secrets)
        self._launcher = Launcher(
            reader=reader,
            writer=writer,
            jobs=view.store.jobs,
            conditions=Conditions(self._access, secrets.problem),
            template=runner,
            announcer=self.announcer,
        )
        self.failed_logs = FailedLogs(reader)
        self.closer = Closer(
            view=view, outbox=self.outbox, logs=self.failed_logs, announcer=self.announcer, clock=clock
        )
        self.sweeper = Sweeper(reader, outside.history, view, self.outbox, self.closer, clock)
        self.chronicler = Chronicler(outside.revisions, view, clock)
        effects = Effects(
            chronicler=self.chronicler,
            launcher=self._launcher,
            outbox=self.outbox,
            statuses=self.statuses,
            announcer=self.announcer,
            closer=self.closer,
            ender=JobEnder(writer, view, self.closer, self.janitor, clock),
            janitor=self.janitor,
        )
        self.reconciler = Reconciler(reader, view, effects, clock, runner.pod)
        self._registrar = KeyRegistrar(outside.keys, runner.token_key, settings.sweep_seconds)
        # only the first shard does what concerns all shards
        maintain = None if settings.shard.index else outside.maintain
        self._maintainer = None if maintain is None else Maintainer(maintain)
        self._renew = None if settings.shard.index else outside.renew

    def job_changed(self, change: JobChange) -> None:
        """Take a change of a Job: announce its failure, record its end, expect its pod."""
        job = change.after or change.before
        if job is not None and self._view.ownership.owns_job(change.key, job):
            self.closer.job_changed(change)
        else:
            forget_unowned(self._view, change)
        if change.after is not None:
            self.refused_pods.expect(change.after)

    async def run(self, stop: asyncio.Event, drain_seconds: float) -> bool:
        """Decide and write until ``stop`` is set, then write the rest.

        Args:
            stop: Set when the operator is to stop.
            drain_seconds: The maximum time to write the remaining records at the end, and the same for statuses.

        Returns:
            Whether all turns have ended, so that no launch is still in progress.

        """
        async with asyncio.TaskGroup() as group:
            writers = (
                self.outbox.run(),
                *self.failed_logs.processes(),
                *self.statuses.processes(STATUS_WRITERS),
                *self.announcer.processes(),
                self.janitor.run(),
                self._registrar.run(),
                self.chronicler.run(),
                *(() if self._maintainer is None else (self._maintainer.run(),)),
                *(() if self._renew is None else (self._renew(),)),
            )
            workers = (self.reconciler.run_worker() for _ in range(self._settings.workers))
            others = (self._view.queue.run_sleeper(), self._run_sweeps(), self._watching.look_again())
            looking = self.refused_pods.processes()
            deciding = [group.create_task(process) for process in (*others, *looking, *workers)]
            writing = [group.create_task(process) for process in writers]
            try:
                await stop.wait()
                rested = await self._end_turns()
                await end(deciding)
                await self._drain(drain_seconds)
            finally:
                await end([*deciding, *writing])
        return rested and not self._launcher.in_doubt

    async def sweep(self) -> None:
        """Compare the store and the history with the cluster: objects, runner Secrets, open executions."""
        await self._access.repair(await self._watching.compare())
        await self.sweeper.sweep()

    async def _run_sweeps(self) -> None:
        while True:
            try:
                await self.sweep()
            except (OwnAccountError, UnavailableError) as error:
                log.info("sweep postponed", why=str(error))
            except Exception:  # a bug with one row must not end the operator
                log.exception("sweep failed")
            await asyncio.sleep(self._settings.sweep_seconds)

    async def _end_turns(self) -> bool:
        """Start no more turns and wait for those in progress; return whether they ended in time."""
        self._view.queue.close()
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._view.queue.rested()
        except TimeoutError:
            log.info("turns cut off", after_s=TURN_SECONDS)
            return False
        return True

    async def _drain(self, seconds: float) -> None:
        """Write the rest: records first, since a status can be derived again."""
        self.statuses.hurry()
        rest = (
            (self.failed_logs.drained(), "logs of failed containers"),
            (self.outbox.drained(), "records"),
            (self.statuses.drained(), "statuses"),
        )
        for waiting, what in rest:
            try:
                async with asyncio.timeout(seconds):
                    await waiting
            except TimeoutError:
                log.warning("stopped before everything was written", unwritten=what)

    def _written(self, entry: Entry) -> None:
        """Reconcile what waited for its record."""
        self.reconciler.requests.recorded(entry.id)
        self._view.enqueue(self._view.store.keys_of_execution(entry))


def forget_unowned(view: View, change: JobChange) -> None:
    """Forget a deleted Job whose end this operator does not record."""
    if change.after is None and change.before is not None:
        view.store.jobs.drop((change.before.namespace, change.before.name), change.before.uid)


def _access(settings: Settings, writer: ClusterWriter) -> RunnerAccess:
    """Return how runner pods record: by the recorder, or by a database URL in a Secret of each namespace."""
    if settings.recorder is not None:
        return RecorderAccess(settings.recorder)
    url = settings.runner_database_url or ""
    logins = SharedLogin(url) if settings.runner_logins == "shared" else NamespaceLogins(settings.database_url, url)
    return RunnerSecret(writer, settings.runner.secret_name, logins)
