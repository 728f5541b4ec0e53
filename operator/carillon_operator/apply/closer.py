"""Records the ends of executions that their runners could not record.

A runner records its own end before it exits. When a Job has failed or is gone,
its row may still be open or may be missing: the pod was evicted, ran out of
memory, or had no image. The closer then closes or writes the row from the state
of the cluster. It never changes a closed row. A container task has no runner, so
its whole record is written here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.plan import EndExecution
from carillon_core.domain.decision.records import (
    End,
    cancelled_end,
    decided_end,
    end_of,
    ended_rows,
    retried_row,
    speaker,
    with_log,
)
from carillon_core.domain.decision.status import end_notice
from carillon_core.domain.launch.order import Order
from carillon_core.domain.observed.jobs import ActiveJob, ObservedJob
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.logs import get_logger
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.outbox import Outbox
from carillon_operator.state.job_shelf import JobChange
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key

log = get_logger(__name__)

_JobId = tuple[str, str]
"""The namespace and the uid of a Job: a pod of another namespace may name the uid as its owner's."""

RECORD_FIRST = timedelta(seconds=2)
"""How long ending a running execution waits until the history has the reason."""


class LogEnds(Protocol):
    """Reads the ends of the logs of failed containers; see ``FailedLogs``."""

    def ask(self, execution: UUID, namespace: str, pod: PodEnd, then: Callable[[str], None]) -> None:
        """Call ``then`` with the end of a log, soon; with nothing if it cannot be read."""
        ...

    def waits(self, execution: UUID) -> bool:
        """Return whether the log of an execution is still to be read."""
        ...


class Closer:
    """Brings the row of every execution to a terminal state."""

    def __init__(
        self,
        *,
        view: View,
        outbox: Outbox,
        logs: LogEnds,
        announcer: Announcer,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the observed Jobs, where records and Events go, and who reads the logs of failed containers."""
        self._view = view
        self._outbox = outbox
        self._logs = logs
        self._announcer = announcer
        self._clock = clock
        self._closed: dict[_JobId, datetime] = {}
        self._untold: dict[_JobId, Key] = {}
        """The Jobs that are gone and whose end is not known yet, each with its key: their ends are to be announced."""

    def job_changed(self, change: JobChange) -> None:
        """Announce an end, and close the execution of a Job that was deleted while it was active."""
        job, before = change.after or change.gone, change.before
        if job is None:
            if before is not None and before.active:
                self._untold[_job_id(before)] = change.key  # the API server is asked how it ended
            return
        end = None if change.gone is None else end_of(change.gone)
        if change.gone is not None and end is not None and self._needs_record(change.gone):
            self._put(change.gone, end, self._clock())
        if job.active and job.ending and job.cancelled_by:
            # not in the history yet: until its pods have ended, the execution may still succeed
            self._view.store.jobs.ends.put(job.namespace, cancelled_end(job), self._clock())
        if not job.active and before is not None and before.active:
            self._announce(change.key, job)

    def _announce(self, key: Key, job: ObservedJob) -> None:
        """Announce the end of a Job."""
        self._untold.pop(_job_id(job), None)
        task = self._view.ownership.task(key)
        # the end that this operator decided on was announced with the decision
        announced = self._view.store.jobs.ends.has(job) and not job.cancelled_by
        if not announced and task is not None and task.meta.uid == job.task_uid:
            self._announcer.report(task.meta, end_notice(job))

    def launched(self, order: Order) -> None:
        """Record the launch of a container task, which has no runner to record it."""
        if not order.container:
            return
        self._outbox.put([order.running_row(self._clock())])

    def attempt_ended(self, job: ActiveJob) -> None:
        """Record the attempts of an execution of which another has been launched."""
        self._outbox.put([retried_row(job, self._clock())])

    def has_closed(self, job: ObservedJob) -> bool:
        """Return whether the end of a Job was taken for the end of its execution."""
        return _job_id(job) in self._closed

    def close_ended(self, jobs: Sequence[ObservedJob]) -> None:
        """Close or write the rows that the runners of these Jobs could not; each Job is handled once.

        It also announces the ends of Jobs that were not known when they were deleted.
        """
        for job in jobs:
            if not job.active and _job_id(job) in self._untold:
                self._announce(self._untold[_job_id(job)], job)
            end = end_of(job)
            if end is None or _job_id(job) in self._closed or not self._needs_record(job):
                continue
            self._closed[_job_id(job)] = now = self._clock()
            self._put_with_log(job, end, now)

    def is_recorded(self, job: ObservedJob) -> bool:
        """Return whether the history has the end of a Job, so that the Job may be deleted."""
        if job.active or not self._view.store.believes(job):
            return False
        return not self._needs_record(job) or (_job_id(job) in self._closed and not self.waits(job))

    def end(self, job: ObservedJob, end: EndExecution) -> bool:
        """Record the end that the operator decided on; return whether the Job may be ended now.

        The record comes first because it has the reason; the runner would only
        record that it was terminated. A running execution does not wait long for
        an unavailable history: its runner, or the sweep, closes the row then. A
        Job that cannot start has no runner to record anything, so it waits.
        """
        if _job_id(job) not in self._closed:
            self._closed[_job_id(job)] = now = self._clock()
            decided = decided_end(job, end)
            record = self._put if decided.result is None else self._put_with_log
            record(job, decided, now)
        if not self.waits(job):
            return True
        return end.status is not ExecutionStatus.FAILED and self._clock() - self._closed[_job_id(job)] >= RECORD_FIRST

    def forget_closed(self, before: datetime) -> None:
        """Forget what was closed before that time, unless its Job still exists."""
        known = self._view.store.jobs.uids()
        for job in [j for j, at in self._closed.items() if j[1] not in known and at < before]:
            del self._closed[job]
        for job in [j for j in self._untold if j[1] not in known]:
            del self._untold[job]

    def _needs_record(self, job: ObservedJob) -> bool:
        return self._view.store.believes(job) and (job.container or job.result is not RunResult.SUCCEEDED)

    def waits(self, job: ObservedJob) -> bool:
        """Return whether the end of a Job is still to be written, with or without the end of a log."""
        return self._logs.waits(_id(job)) or self._outbox.waits(_id(job))

    def _put_with_log(self, job: ObservedJob, end: End, seen: datetime) -> None:
        """Record an end, with the end of its container's log if that failed and the log can be read soon."""
        pod = speaker(job, end)
        if pod is None:
            self._put(job, end, seen)
            return
        self._logs.ask(_id(job), job.namespace, pod, lambda said: self._put(job, with_log(end, said), seen))

    def _put(self, job: ObservedJob, end: End, seen: datetime) -> None:
        """Record that an execution ended: close its row if it is open, write it if it is missing.

        Only a Job whose owner is known in its namespace may do that.
        """
        if not self._view.store.believes(job):
            log.warning("a Job claims an owner that its namespace does not have", namespace=job.namespace, job=job.name)
            return
        self._outbox.put(ended_rows(job, end, seen))


def _job_id(job: ObservedJob) -> _JobId:
    return job.namespace, job.uid


def _id(job: ObservedJob) -> UUID:
    return UUID(job.execution_id)
