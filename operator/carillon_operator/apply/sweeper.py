"""Closes open executions whose Job is gone, which no runner and no event will close."""

from collections.abc import Callable
from datetime import datetime, timedelta

from carillon_core.domain.decision.records import lost_closing
from carillon_core.domain.execution import ExecutionRecord, job_names_of
from carillon_core.domain.observed.job_reading import observed_job
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.errors import NotFoundError, OwnAccountError, UnavailableError
from carillon_core.logs import get_logger
from carillon_core.ports import HistoryRecorder, JobReader
from carillon_operator.apply.closer import Closer
from carillon_operator.apply.outbox import Outbox
from carillon_operator.state.view import View

log = get_logger(__name__)

YOUNG = timedelta(seconds=30)
"""The Job of an open row younger than this may not have been seen yet."""


class Sweeper:
    """Compares the open executions of the history with the Jobs that exist."""

    def __init__(
        self,
        reader: JobReader,
        history: HistoryRecorder,
        view: View,
        outbox: Outbox,
        closer: Closer,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the history, the observed Jobs, and where closings go."""
        self._reader = reader
        self._history = history
        self._view = view
        self._outbox = outbox
        self._closer = closer
        self._clock = clock

    async def sweep(self) -> None:
        """Close the open executions whose Job is gone.

        The API server is asked, since a Job that no watch has shown may still
        exist. Rows of another shard are left to its operator, which knows what
        it has just launched and what waits to be recorded.
        """
        now = self._clock()
        self._closer.forget_closed(before=now - YOUNG)
        for row in await self._history.open_executions():
            if self._view.ownership.owns_row(row):
                await self._look_at(row, now)

    async def _look_at(self, row: ExecutionRecord, now: datetime) -> None:
        """Close an open row if its Job is gone; one that we fail to judge waits for the next sweep.

        Raises:
            OwnAccountError: Our own account is rejected, for the other rows as well.
            UnavailableError: The API server is away.

        """
        try:
            if not await self._may_close_itself(row, now):
                self._outbox.put([lost_closing(row, now)])
        except (OwnAccountError, UnavailableError):
            raise
        except Exception:  # tenants can write Jobs: one that we fail to read must not keep the others' rows open
            log.exception("an open row is left to the next sweep", execution=str(row.id), namespace=row.namespace)

    async def _may_close_itself(self, row: ExecutionRecord, now: datetime) -> bool:
        """Return whether an open row is young, or has a Job whose end may still close it."""
        if row.started_at is not None and now - row.started_at < YOUNG:
            return True
        names = job_names_of(row)
        jobs = (self._view.store.jobs.get(row.namespace, name) for name in names)
        known = next((job for job in jobs if job is not None and _is_of(job, row)), None)
        if known is not None:
            self._view.store.learn_owner(row)
            self._closer.close_ended([known])  # the end that the Job shows takes precedence
            if _may_end(known, now) or self._closer.waits(known):
                return True
        listed = len(names) > 1
        for name in await self._reader.existing_jobs(row.namespace, row.task_uid, names) if listed else names:
            try:
                job = observed_job(await self._reader.get_job(row.namespace, name))
            except NotFoundError:
                if listed:  # deleted this moment, perhaps because a later attempt has followed
                    return True
                continue
            if job is not None and _is_of(job, row):
                return _may_end(job, now)
        return False


def _is_of(job: ObservedJob, row: ExecutionRecord) -> bool:
    return job.task_uid == row.task_uid and job.execution_id == str(row.id)


def _may_end(job: ObservedJob, now: datetime) -> bool:
    """Return whether a Job's runner may still close its row, or the Job's own end is about to."""
    return job.active or (job.finished_at is not None and now - job.finished_at < YOUNG)
