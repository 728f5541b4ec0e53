"""The turns of the reconciler: one key at a time, first its task, then the requests for it.

``TaskTurn`` and ``RequestTurn`` each gather, decide and apply. The order of
their writes is what makes a crash harmless. The Job comes first: its name is
the slot's lock, and its existence settles the slot even if the status is never
written. The status comes second; it holds what was settled without a launch.
The history is told only when the API server has that status, and the status
drops an entry only when the history has it.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from carillon_core.backoff import Backoff
from carillon_core.domain.decision.plan import Notice, Reason, earliest
from carillon_core.domain.decision.status import Statement, with_condition
from carillon_core.domain.observed.jobs import ObservedRequest
from carillon_core.errors import CarillonError, ForbiddenError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import ClusterReader
from carillon_core.resources.pods import PodSettings
from carillon_core.resources.scheduled_task import DEFAULT_REQUESTS_LIMIT
from carillon_operator.apply.effects import Effects
from carillon_operator.attempt_turn import AttemptTurn
from carillon_operator.gather.lookups import Lookups
from carillon_operator.request_turn import RequestTurn
from carillon_operator.state.agenda import Name
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key
from carillon_operator.task_turn import TaskTurn

log = get_logger(__name__)

RETRIES = Backoff(first=0.2, longest=30.0)
REQUESTS_A_TURN = 50
"""The requests that one turn of a key looks at: the others wait, and so does nobody else, for another turn."""


class Reconciler:
    """Brings each task's Jobs, records and status to the state that ``decide`` returns."""

    def __init__(
        self,
        reader: ClusterReader,
        view: View,
        effects: Effects,
        clock: Callable[[], datetime],
        pod_defaults: PodSettings,
    ) -> None:
        """Take the cluster, the view, the effects, and the pod settings of tasks that set none."""
        self._view = view
        self._effects = effects
        self._clock = clock
        self._lookups = Lookups(reader, reader, view.store)
        self.tasks = TaskTurn(view, self._lookups, effects, clock, pod_defaults)
        self.requests = RequestTurn(view, self._lookups, effects, clock, pod_defaults)
        self.attempts = AttemptTurn(reader, view, effects, clock)
        self._failures: dict[Key, int] = {}
        self._task_uids: dict[Key, str] = {}
        """The task of each key, as of its last turn."""

    async def run_worker(self) -> None:
        """Reconcile the keys of the queue, for ever. A failure of one task does not stop the others."""
        queue = self._view.queue
        while True:
            key = await queue.take()
            try:
                await self.reconcile(key)
                self._failures.pop(key, None)
            except UnavailableError as error:
                self._retry(key, str(error), logging.WARNING)
            except ForbiddenError as error:
                self._report_forbidden(key, error)
                self._retry(key, str(error), logging.WARNING)
            except Exception as error:  # a bug with one object must not end the operator
                log.exception("reconciling failed", task="/".join(key))
                self._retry(key, repr(error), logging.ERROR)
            finally:
                queue.done(key)

    async def reconcile(self, key: Key) -> None:
        """Reconcile a task, then the requests for it that changed or are due.

        They share one turn so that a slot and a request cannot both see no active execution and both launch.
        """
        queue, jobs, agenda = self._view.queue, self._view.store.jobs, self._view.store.agenda
        await self._effects.launcher.resolve_doubt(key)
        if await self._end_graces(key):
            queue.add(key)  # nothing is decided before the others were asked about, and other keys come first
            return
        read = frozenset(jobs.unread.get(key, ()))  # what ends amid this turn is for the next one
        self._look_for_owner(key)
        names, more = agenda.take(key, self._clock(), REQUESTS_A_TURN)
        try:
            requests = self._requests(key, names)
            if any(request.task_name is not None for request in requests):
                await self._look_up(key)
                requests = self._requests(key, names)
            again = earliest(jobs.next_give_up(key), await self.tasks.reconcile(key))
            # set now, so that the next slot is on time even if a request fails
            queue.add_at(key, again)
            failures = await self._reconcile_requests(key, requests, names)
            # after all that may end an execution, so that no attempt follows an end that was just decided
            again = earliest(again, await self.attempts.reconcile(key))
        finally:
            agenda.put_back(key, names)
        self._delete_superfluous(key)
        queue.add_at(key, earliest(again, agenda.next_time(key)))
        if more:
            queue.add(key)
        if failures:
            raise failures[0]
        if not more and jobs.unread.get(key, frozenset()) <= read:
            jobs.unread.pop(key, None)

    def _requests(self, key: Key, names: list[Name]) -> list[ObservedRequest]:
        """Return the requests of these names that are ours, oldest first."""
        found = (self._view.ownership.request(key, name) for name in names)
        return sorted((each for each in found if each is not None), key=lambda r: (r.slot, r.meta.name))

    async def _reconcile_requests(
        self, key: Key, requests: list[ObservedRequest], names: list[Name]
    ) -> list[Exception]:
        """Reconcile requests, and take those that had their turn out of the names; return what failed.

        Raises:
            UnavailableError: The others can have no turn now.

        """
        store, failures = self._view.store, list[Exception]()
        kept = {(request.meta.namespace, request.meta.name) for request in requests}
        names[:] = [name for name in names if name in kept]
        for request in requests:
            name = (request.meta.namespace, request.meta.name)
            try:
                again = await self.requests.reconcile(key, request)
            except UnavailableError:
                raise
            except Exception as error:  # noqa: BLE001  # raised by the caller, after the other requests
                failures.append(error)
                continue
            names.remove(name)
            now = store.requests.get(name)
            if now is not None:
                ended = now.status.finished_at
                waits = ended is None and now.slot <= self._clock() and store.job_of(now) is None
                store.agenda.seen(key, name, again, restless=waits, ended=ended)
        return failures

    def _look_for_owner(self, key: Key) -> None:
        """Look at all requests of a key again if their task is another than before: it decides whose they are."""
        store = self._view.store
        task = store.tasks.get(key)
        uid = "" if task is None else task.meta.uid
        if self._task_uids.get(key, "") != uid:
            for request in store.requests.under(key):
                store.requests.touch((request.meta.namespace, request.meta.name))
        if uid:
            self._task_uids[key] = uid
        else:
            self._task_uids.pop(key, None)

    def _delete_superfluous(self, key: Key) -> None:
        """Delete the oldest requests that have ended, if a task has more of them than it may keep."""
        agenda, task = self._view.store.agenda, self._view.ownership.task(key)
        limit = DEFAULT_REQUESTS_LIMIT
        if task is not None and task.spec is not None:
            limit = task.spec.finished_requests_history_limit
        for name in agenda.beyond(key, limit, REQUESTS_A_TURN):
            request = self._view.ownership.request(key, name)
            if request is not None and request.stored.finished_at is not None and self.requests.delete(request):
                agenda.handed_over(key, name)

    async def _end_graces(self, key: Key) -> bool:
        """Find out which pods of Jobs that are ending still live; return whether that takes another turn."""
        jobs, ownership = self._view.store.jobs, self._view.ownership
        for change in jobs.give_up(key, self._clock()):
            if any(ownership.owns_job(key, job) for job in (change.before, change.after) if job is not None):
                self._effects.closer.job_changed(change)
        return await self._lookups.ends_of_deleted(key)

    async def _look_up(self, key: Key) -> None:
        """Look up a task that requests name, if it has not been observed."""
        try:
            await self._lookups.task(key)
        except CarillonError:
            self.tasks.close_ended(key)  # recording ends does not need the API server
            raise

    def _report_forbidden(self, key: Key, error: ForbiddenError) -> None:
        """Post an Event that the operator lacks a permission; the slot is kept and tried again."""
        task = self._view.ownership.task(key)
        if task is None:
            return
        message = f"the operator lacks the permission to launch it: {error}"
        said = Statement("Ready", "False", Reason.LAUNCH_REFUSED, message)
        status = with_condition(task.status, task.meta, said, self._clock())
        if status != task.status:
            self._effects.announcer.report(
                task.meta, Notice("Warning", Reason.LAUNCH_REFUSED, message, "launch forbidden")
            )
        self._view.store.tasks.set_status(key, task.meta.uid, status)
        self._effects.statuses.put("ScheduledTask", task.meta, status, task.stored)

    def _retry(self, key: Key, why: str, level: int) -> None:
        """Have a key tried again, with growing waits."""
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        delay = RETRIES.wait(failures)
        log.log(level, "reconciling will be retried", task="/".join(key), why=why, retry_in_s=delay)
        self._view.queue.add_after(key, delay)
