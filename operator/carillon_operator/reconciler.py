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
from carillon_core.errors import CarillonError, ForbiddenError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import ClusterReader
from carillon_core.resources.pods import PodSettings
from carillon_operator.apply.effects import Effects
from carillon_operator.gather.lookups import Lookups
from carillon_operator.request_turn import RequestTurn
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key
from carillon_operator.task_turn import TaskTurn

log = get_logger(__name__)

RETRIES = Backoff(first=0.2, longest=30.0)


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
        self._failures: dict[Key, int] = {}

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
        """Reconcile a task, then the requests for it, oldest first.

        They share one turn so that a slot and a request cannot both see no active execution and both launch.
        """
        queue, ownership = self._view.queue, self._view.ownership
        await self._effects.launcher.resolve_doubt(key)
        if any(request.task_name is not None for request in ownership.requests_of(key)):
            await self._look_up(key)
        times = [await self.tasks.reconcile(key)]
        # set now, so that the next slot is on time even if a request fails
        queue.add_at(key, times[0])
        failures: list[Exception] = []
        for request in ownership.requests_of(key):
            try:
                times.append(await self.requests.reconcile(key, request))
            except UnavailableError:
                raise
            except Exception as error:  # noqa: BLE001  # raised below, after the other requests
                failures.append(error)
        queue.add_at(key, earliest(*times))
        if failures:
            raise failures[0]

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
            self._effects.announcer.announce(task.meta, Notice("Warning", Reason.LAUNCH_REFUSED, message))
        self._view.store.tasks.set_status(key, task.meta.uid, status)
        self._effects.statuses.put("ScheduledTask", task.meta, status, task.stored)

    def _retry(self, key: Key, why: str, level: int) -> None:
        """Have a key tried again, with growing waits."""
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        delay = RETRIES.wait(failures)
        log.log(level, "reconciling will be retried", task="/".join(key), why=why, retry_in_s=delay)
        self._view.queue.add_after(key, delay)
