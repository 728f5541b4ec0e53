"""Ends what its runner could not end: executions whose pod or Job failed, vanished or never began.

A runner records its own end before it exits. Where a Job is seen to have
failed, or to be gone, its row may still be open, or there may be none: the
pod was evicted, killed for memory, or its image was missing. Then the row is
closed, or written, with what the cluster says. A row that is closed already
stays as it is.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.domain.observed import ObservedJob, ObservedTask, observed_job
from carillon_core.domain.plan import Notice, Reason
from carillon_core.errors import NotFoundError
from carillon_core.ports import Cluster, HistoryRecorder
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.announcer import Announcer
from carillon_operator.observed_store import DELETED_WHILE_ACTIVE, JobChange, ObservedStore
from carillon_operator.outbox import Outbox

log = logging.getLogger(__name__)

YOUNG = timedelta(seconds=30)
"""An open row younger than this may be of a Job whose watch event is still on its way."""

_STATUS_OF_RESULT = {
    RunResult.FAILED: ExecutionStatus.FAILED,
    RunResult.TIMED_OUT: ExecutionStatus.TIMED_OUT,
    RunResult.CANCELLED: ExecutionStatus.CANCELLED,
}


class Closer:
    """Sees to it that every execution reaches a terminal state."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        history: HistoryRecorder,
        store: ObservedStore,
        outbox: Outbox,
        announcer: Announcer,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the history to sweep, and where its closings go."""
        self._cluster = cluster
        self._history = history
        self._store = store
        self._outbox = outbox
        self._announcer = announcer
        self._clock = clock
        self._closed: dict[str, datetime] = {}

    def job_changed(self, change: JobChange) -> None:
        """Announce a failure as it happens, and close what was deleted while it was active."""
        task = self._store.task(change.key)
        if change.after is None:
            if change.before is not None and change.before.active:
                self._outbox.put([_closing(change.key[0], change.before, DELETED_WHILE_ACTIVE, self._clock())])
            return
        job = change.after
        failed = job.result in _STATUS_OF_RESULT and change.before is not None and change.before.active
        if failed and task is not None and task.meta.uid == job.task_uid:
            text = f"Job {job.name} ended as {job.result}: {_message(job)}"
            self._announcer.announce(task.meta, Notice("Warning", Reason.FAILED, text), self._clock())

    def close_ended(self, task: ObservedTask, jobs: Sequence[ObservedJob]) -> None:
        """Close, or write, the executions of a task's failed Jobs: each once, however often it is called."""
        now = self._clock()
        for job in jobs:
            status = _STATUS_OF_RESULT.get(job.result)
            if status is None or job.task_uid != task.meta.uid or job.uid in self._closed:
                continue
            self._closed[job.uid] = now
            at = job.finished_at or now
            reason = job.reason or Reason.FAILED
            row = ExecutionRecord(
                id=UUID(job.execution_id),
                task_uid=job.task_uid,
                namespace=task.meta.namespace,
                task=task.meta.name,
                task_type=task.spec.task.type if task.spec else "unknown",
                slot=job.slot,
                cause=Cause.SCHEDULE,
                status=status,
                reason=reason,
                message=_message(job),
                error=_message(job),
                job_name=job.name,
                created_at=now,
                finished_at=at,
            )
            closing = Closing(
                id=row.id,
                namespace=row.namespace,
                status=status,
                reason=reason,
                message=_message(job),
                finished_at=at,
            )
            self._outbox.put([row, closing])

    async def sweep(self) -> None:
        """Close the open executions whose Job is gone: nobody else will.

        Whether it is gone, the API server is asked: a Job that the watch has
        not shown is not gone.
        """
        now = self._clock()
        self._forget_old(now)
        for row in await self._history.open_executions():
            if row.started_at is not None and now - row.started_at < YOUNG:
                continue
            known = self._store.job(row.namespace, row.job_name or "")
            if known is not None and known.task_uid == row.task_uid:
                continue
            if row.job_name and await self._is_there(row):
                continue
            closing = Closing(
                id=row.id,
                namespace=row.namespace,
                status=ExecutionStatus.FAILED,
                reason=Reason.JOB_DELETED,
                message="its Job is gone and its end was not recorded",
                finished_at=now,
            )
            self._outbox.put([closing])

    async def _is_there(self, row: ExecutionRecord) -> bool:
        try:
            job = observed_job(await self._cluster.get_job(row.namespace, row.job_name or ""))
        except NotFoundError:
            return False
        return job is not None and job.task_uid == row.task_uid

    def _forget_old(self, now: datetime) -> None:
        """Drop what was closed a day ago: its Job is long gone."""
        for uid in [u for u, at in self._closed.items() if now - at > timedelta(days=1)]:
            del self._closed[uid]


def _message(job: ObservedJob) -> str:
    return (job.message or job.reason or "the pod failed")[:1024]


def _closing(namespace: str, job: ObservedJob, message: str, at: datetime) -> Closing:
    return Closing(
        id=UUID(job.execution_id),
        namespace=namespace,
        status=ExecutionStatus.FAILED,
        reason=Reason.JOB_DELETED,
        message=message,
        finished_at=at,
    )
