"""Ends what its runner could not end: executions whose pod or Job failed, vanished or never began.

A runner records its own end before it exits. Where a Job is seen to have
failed, or to be gone, its row may still be open, or there may be none: the
pod was evicted, killed for memory, or its image was missing. Then the row is
closed, or written, with what the cluster says. A row that is closed already
stays as it is.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Closing, ExecutionRecord
from carillon_core.domain.observed import ObservedJob, ObservedTask
from carillon_core.domain.plan import Notice, Reason
from carillon_core.errors import UnavailableError
from carillon_core.ports import HistoryRecorder
from carillon_core.resources.scheduled_task import RunResult
from carillon_operator.announcer import Announcer
from carillon_operator.observed_store import JobChange, ObservedStore
from carillon_operator.outbox import Entry, Outbox
from carillon_operator.runner_secret import RunnerSecret

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
        history: HistoryRecorder,
        store: ObservedStore,
        outbox: Outbox,
        announcer: Announcer,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the history to sweep, and where its closings go."""
        self._history = history
        self._store = store
        self._outbox = outbox
        self._announcer = announcer
        self._clock = clock

    def job_changed(self, change: JobChange) -> None:
        """Close the execution of a Job that has failed, or that was deleted while it was active."""
        now = self._clock()
        task = self._store.task(change.key)
        if change.after is None:
            if change.before is not None and change.before.active:
                gone = "its Job was deleted while it was active"
                self._close(change, change.before, ExecutionStatus.FAILED, Reason.JOB_DELETED, gone, now)
            return
        job = change.after
        if job.active or (change.before is not None and not change.before.active):
            return
        status = _STATUS_OF_RESULT.get(job.result)
        if status is None:
            return
        message = (job.message or job.reason or "the pod failed")[:1024]
        self._close(change, job, status, job.reason or Reason.FAILED, message, job.finished_at or now)
        if task is not None and task.meta.uid == job.task_uid:
            text = f"Job {job.name} ended as {job.result}: {message}"
            self._announcer.announce(task.meta, Notice("Warning", Reason.FAILED, text), now)

    def _close(
        self,
        change: JobChange,
        job: ObservedJob,
        status: ExecutionStatus,
        reason: str,
        message: str,
        at: datetime,
    ) -> None:
        try:
            uid = UUID(job.execution_id)
        except ValueError:  # somebody edited the annotation
            log.warning("Job without an execution id", extra={"fields": {"job": job.name}})
            return
        task = self._store.task(change.key)
        row = ExecutionRecord(
            id=uid,
            task_uid=job.task_uid,
            namespace=change.key[0],
            task=change.key[1],
            task_type=_task_type(task, job),
            slot=job.slot,
            cause=Cause.SCHEDULE,
            status=status,
            reason=reason,
            message=message,
            error=message,
            job_name=job.name,
            created_at=self._clock(),
            finished_at=at,
        )
        closing = Closing(id=uid, status=status, reason=reason, message=message, finished_at=at)
        entries: list[Entry] = [row, closing]
        self._outbox.put(entries)

    async def run_sweeps(self, every_seconds: float, secret: RunnerSecret) -> None:
        """Sweep now and then, for ever."""
        while True:
            try:
                await self.sweep()
            except UnavailableError as error:
                log.info("sweep put off", extra={"fields": {"why": str(error)}})
            await asyncio.sleep(every_seconds)
            secret.doubt()

    async def sweep(self) -> None:
        """Close the open executions whose Job is gone: nobody else will."""
        now = self._clock()
        closings = []
        for row in await self._history.open_executions():
            if row.started_at is not None and now - row.started_at < YOUNG:
                continue
            job = self._store.job(row.namespace, row.job_name or "")
            if job is not None and job.task_uid == row.task_uid:
                continue
            message = "its Job is gone and its end was not recorded"
            closings.append(
                Closing(
                    id=row.id,
                    status=ExecutionStatus.FAILED,
                    reason=Reason.JOB_DELETED,
                    message=message,
                    finished_at=now,
                )
            )
        self._outbox.put(closings)


def _task_type(task: ObservedTask | None, job: ObservedJob) -> str:
    if task is not None and task.meta.uid == job.task_uid and task.spec is not None:
        return task.spec.task.type
    return "unknown"
