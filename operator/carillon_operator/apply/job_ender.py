"""Ends executions and deletes Jobs once the history has their ends. Both turns use it."""

from collections.abc import Callable, Sequence
from datetime import datetime

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.plan import Action, DeleteJob, EndExecution
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.errors import NotFoundError
from carillon_core.ports import JobWriter
from carillon_operator.apply.closer import RECORD_FIRST, Closer
from carillon_operator.apply.janitor import Janitor
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key


class JobEnder:
    """Carries out the part of a plan that ends Jobs."""

    def __init__(
        self, writer: JobWriter, view: View, closer: Closer, janitor: Janitor, clock: Callable[[], datetime]
    ) -> None:
        """Take the janitor, which deletes Jobs, and the closer, which records their ends."""
        self._writer = writer
        self._view = view
        self._closer = closer
        self._janitor = janitor
        self._clock = clock

    async def apply(self, key: Key, jobs: Sequence[ObservedJob], actions: Sequence[Action]) -> datetime | None:
        """End executions and delete finished Jobs; return when to look again, if an end waits for its record."""
        by_uid = {job.uid: job for job in jobs}
        look_again: datetime | None = None
        for action in actions:
            if isinstance(action, EndExecution):
                # a container that runs is recorded when it has ended: what it has done by then may be all of its work
                runs = by_uid[action.job_uid].container and action.status is ExecutionStatus.CANCELLED
                if runs or self._closer.end(by_uid[action.job_uid], action):
                    await self._end(key, action)
                else:
                    # the record comes first: when it is written, or at that time, this key has another turn
                    look_again = self._clock() + RECORD_FIRST
            elif isinstance(action, DeleteJob) and self._closer.is_recorded(by_uid[action.job_uid]):
                self._janitor.delete_job(key[0], action.job_name, action.job_uid)
        return look_again

    async def _end(self, key: Key, end: EndExecution) -> None:
        self._view.store.jobs.ends.put(key[0], end, self._clock())
        try:
            await self._writer.delete_job(key[0], end.job_name, end.job_uid)
        except NotFoundError:
            self._view.store.jobs.drop((key[0], end.job_name), end.job_uid)
            self._view.queue.add(key)
