"""Ends what its runner could not end, and records what has no runner.

A runner records its own end before it exits. Where a Job is seen to have
failed, or to be gone, its row may still be open, or there may be none: the
pod was evicted, killed for memory, or its image was missing. Then the row is
closed, or written, with what the cluster says. A row that is closed already
stays as it is. A user's container has no runner: its whole record is made here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.plan import EndExecution, Notice, Reason
from carillon_core.domain.decision.records import DELETED, End, decided_end, end_of, ended_rows, failed, failure_message
from carillon_core.domain.launch.order import Order
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.logs import get_logger
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.outbox import Outbox
from carillon_operator.state.job_shelf import JobChange
from carillon_operator.state.view import View

log = get_logger(__name__)

RECORD_FIRST = timedelta(seconds=2)
"""How long the end of an execution that runs waits for the history to say why."""


class Closer:
    """Sees to it that every execution reaches a terminal state."""

    def __init__(
        self,
        *,
        view: View,
        outbox: Outbox,
        announcer: Announcer,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the Jobs' owners, and where records and Events go."""
        self._view = view
        self._outbox = outbox
        self._announcer = announcer
        self._clock = clock
        self._closed: dict[str, datetime] = {}

    def job_changed(self, change: JobChange) -> None:
        """Announce a failure as it happens, and close what was deleted while it was active."""
        if change.after is None:
            if change.before is not None and change.before.active:
                self._put(change.before, DELETED)
            return
        job, task = change.after, self._view.ownership.task(change.key)
        news = failed(job) and change.before is not None and change.before.active
        if news and task is not None and task.meta.uid == job.task_uid:
            text = f"Job {job.name} ended as {job.result}: {failure_message(job)}"
            self._announcer.announce(task.meta, Notice("Warning", Reason.FAILED, text))

    def launched(self, order: Order) -> None:
        """Record that a user's container was launched: no runner will."""
        if not order.container:
            return
        self._outbox.put([order.running_row(self._clock())])

    def close_ended(self, jobs: Sequence[ObservedJob]) -> None:
        """Close, or write, what the runners of these Jobs could not: each once, however often it is called."""
        for job in jobs:
            end = end_of(job)
            if end is None or job.uid in self._closed or not self._needs_record(job):
                continue
            self._closed[job.uid] = self._clock()
            self._put(job, end)

    def is_recorded(self, job: ObservedJob) -> bool:
        """Return whether the history has the end of a Job, so that the Job may go."""
        if job.active:
            return False
        return not self._needs_record(job) or (job.uid in self._closed and not self._outbox.waits(_id(job)))

    def end(self, job: ObservedJob, end: EndExecution) -> bool:
        """Record the end that the operator decided on; return whether the Job may be ended now.

        The row comes first: it is to say why the execution was ended, where its
        runner would only say that it was. For one that runs a history that is
        away is not waited for: its runner, or the sweep, closes the row then. One
        that cannot start has no runner that would record anything.
        """
        if job.uid not in self._closed:
            self._closed[job.uid] = self._clock()
            self._put(job, decided_end(end))
        if not self._outbox.waits(_id(job)):
            return True
        return end.status is not ExecutionStatus.FAILED and self._clock() - self._closed[job.uid] >= RECORD_FIRST

    def forget_closed(self, before: datetime) -> None:
        """Drop what was closed before that time, unless its Job still exists."""
        known = self._view.store.jobs.uids()
        for uid in [u for u, at in self._closed.items() if u not in known and at < before]:
            del self._closed[uid]

    def _needs_record(self, job: ObservedJob) -> bool:
        return job.container or job.result is not RunResult.SUCCEEDED

    def _put(self, job: ObservedJob, end: End) -> None:
        """Have an execution recorded as ended: its row closed if it is open, written if there is none."""
        self._outbox.put(ended_rows(job, end, self._clock()))


def _id(job: ObservedJob) -> UUID:
    return UUID(job.execution_id)
