"""Ends what its runner could not end, and records what has no runner.

A runner records its own end before it exits. Where a Job is seen to have
failed, or to be gone, its row may still be open, or there may be none: the
pod was evicted, killed for memory, or its image was missing. Then the row is
closed, or written, with what the cluster says. A row that is closed already
stays as it is. A user's container has no runner: its whole record is made here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.plan import EndExecution, Notice, Reason
from carillon_core.domain.execution import Attempt, Closing, ExecutionRecord
from carillon_core.domain.launch.order import Order
from carillon_core.domain.observed.jobs import ObservedJob, PodEnd
from carillon_core.logs import get_logger
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.apply.announcer import Announcer
from carillon_operator.apply.outbox import Outbox
from carillon_operator.state.job_shelf import DELETED_WHILE_ACTIVE, JobChange
from carillon_operator.state.view import View

log = get_logger(__name__)

RECORD_FIRST = timedelta(seconds=2)
"""How long the end of an execution that runs waits for the history to say why."""

_STATUS_OF_RESULT = {
    RunResult.SUCCEEDED: ExecutionStatus.SUCCEEDED,
    RunResult.FAILED: ExecutionStatus.FAILED,
    RunResult.TIMED_OUT: ExecutionStatus.TIMED_OUT,
    RunResult.CANCELLED: ExecutionStatus.CANCELLED,
}
_MAX_MESSAGE = 1024


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
                # Somebody wanted it gone, or its task or its request: no failure of the task's. The runner says the
                # same when its pod is told to end, and whoever is first writes the row.
                self._put(change.before, ExecutionStatus.CANCELLED, Reason.JOB_DELETED, DELETED_WHILE_ACTIVE, None)
            return
        job, task = change.after, self._view.ownership.task(change.key)
        failed = job.result in _STATUS_OF_RESULT and job.result is not RunResult.SUCCEEDED
        news = failed and change.before is not None and change.before.active
        if news and task is not None and task.meta.uid == job.task_uid:
            text = f"Job {job.name} ended as {job.result}: {_message(job)}"
            self._announcer.announce(task.meta, Notice("Warning", Reason.FAILED, text))

    def launched(self, order: Order) -> None:
        """Record that a user's container was launched: no runner will."""
        if not order.container:
            return
        now = self._clock()
        row = ExecutionRecord(
            id=order.execution_id,
            task_uid=order.task_uid,
            origin=order.owner.uid,
            namespace=order.owner.namespace,
            task=order.task_name,
            task_type=order.task.type,
            slot=order.slot,
            cause=order.cause,
            status=ExecutionStatus.RUNNING,
            job_name=order.job_name,
            created_at=now,
            started_at=now,
            retry_of=order.retry_of,
        )
        self._outbox.put([row])

    def close_ended(self, jobs: Sequence[ObservedJob]) -> None:
        """Close, or write, what the runners of these Jobs could not: each once, however often it is called."""
        for job in jobs:
            status = _STATUS_OF_RESULT.get(job.result)
            if status is None or job.uid in self._closed or not self._needs_record(job):
                continue
            self._closed[job.uid] = self._clock()
            if status is ExecutionStatus.SUCCEEDED:
                reason, message = None, None
            else:
                reason, message = job.reason or Reason.FAILED, _message(job)
            self._put(job, status, reason, message, _container_result(job))

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
            self._put(job, end.status, end.reason, end.message, None)
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

    def _put(
        self,
        job: ObservedJob,
        status: ExecutionStatus,
        reason: str | None,
        message: str | None,
        result: dict[str, Any] | None,
    ) -> None:
        """Have an execution recorded as ended: its row closed if it is open, written if there is none."""
        now = self._clock()
        at = max(job.finished_at or now, job.slot)
        begun = min((p.started_at for p in job.attempts if p.started_at), default=None)
        row = ExecutionRecord(
            id=_id(job),
            task_uid=job.task_uid,
            origin=job.origin or job.task_uid,
            namespace=job.namespace,
            task=job.task_name,
            task_type=job.task_type,
            slot=job.slot,
            cause=job.cause,
            status=status,
            reason=reason,
            message=message,
            error=None if status is ExecutionStatus.SUCCEEDED else message,
            job_name=job.name,
            pod_name=job.attempts[-1].pod_name if job.attempts else None,
            created_at=now,
            started_at=begun if job.container else None,
            finished_at=at,
            result=result,
            retry_of=job.retry_of,
            attempts=_attempts(job) if job.container else (),
        )
        closing = Closing(
            id=row.id,
            namespace=row.namespace,
            task=row.task,
            status=status,
            reason=reason,
            message=message,
            finished_at=at,
            result=result,
        )
        self._outbox.put([row, closing])


def _id(job: ObservedJob) -> UUID:
    return UUID(job.execution_id)


def _message(job: ObservedJob) -> str:
    return (job.message or job.reason or "the pod failed")[:_MAX_MESSAGE]


def _container_result(job: ObservedJob) -> dict[str, Any] | None:
    """Return what a user's container left behind: its exit code and its termination message."""
    if not job.container or not job.attempts:
        return None
    last = job.attempts[-1]
    return {"exitCode": last.exit_code, "message": last.message}


def _attempts(job: ObservedJob) -> tuple[Attempt, ...]:
    return tuple(_attempt(number, pod) for number, pod in enumerate(job.attempts, 1))


def _attempt(number: int, pod: PodEnd) -> Attempt:
    status = ExecutionStatus.SUCCEEDED if pod.succeeded else ExecutionStatus.FAILED
    if pod.reason == "DeadlineExceeded":
        status = ExecutionStatus.TIMED_OUT
    return Attempt(
        number=number,
        status=status,
        reason=None if pod.succeeded else (pod.reason or Reason.FAILED),
        error=None if pod.succeeded else pod.message[:_MAX_MESSAGE],
        pod_name=pod.pod_name,
        started_at=pod.started_at,
        finished_at=pod.finished_at,
    )
