"""The attempts' part of a turn: launches those that are due, and removes the Jobs of those that others have followed.

The name of an attempt's Job is its lock. The Job before it is deleted once it
exists: from then on its own existence is all that there is to know, as with a
slot's first Job. The first Job stays until the stored status settles its slot.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.plan import EndExecution, Reason, earliest
from carillon_core.domain.decision.records import DELETED_WHILE_ACTIVE, cancellation
from carillon_core.domain.decision.status import condition_true
from carillon_core.domain.launch.next_attempt import next_attempt
from carillon_core.domain.observed.job_reading import times_out_at
from carillon_core.domain.observed.jobs import ActiveJob, ObservedJob
from carillon_core.errors import NotFoundError
from carillon_core.logs import get_logger
from carillon_core.ports import JobReader
from carillon_core.resources.base import MAX_MESSAGE
from carillon_operator.apply.effects import Effects
from carillon_operator.state.job_shelf import JobChange, as_believed
from carillon_operator.state.view import View
from carillon_operator.state.work_queue import Key

log = get_logger(__name__)

OWNER_GONE = "its task or request was deleted before the next attempt"
TOO_LATE = "no time is left for another attempt: it could not be launched before timeoutSeconds had passed"
STATUS_SECONDS = timedelta(seconds=1)
"""When to look again whether a status is stored: statuses are written once a second."""


class AttemptTurn:
    """Carries the executions of containers from one attempt to the next."""

    def __init__(self, reader: JobReader, view: View, effects: Effects, clock: Callable[[], datetime]) -> None:
        """Take the API server, which is asked before each launch, the view and the effects."""
        self._reader = reader
        self._view = view
        self._jobs = view.store.jobs
        self._effects = effects
        self._clock = clock
        self._refused: dict[tuple[str, str], EndExecution] = {}
        """Why no attempt follows those of these Jobs, by namespace and uid, until their ends are recorded."""

    async def reconcile(self, key: Key) -> datetime | None:
        """Launch the attempts of a key that are due; return when to look again."""
        again: datetime | None = None
        for name in self._jobs.index.superseded(key):
            earlier = self._jobs.get(*name)
            if earlier is not None and self._view.ownership.owns_job(key, earlier):
                again = earliest(again, await self._retire(key, earlier))
        now = self._clock()
        for job in self._view.ownership.jobs_of(key):
            if not isinstance(job, ActiveJob) or job.retry_at is None or self._jobs.ends.has(job):
                continue
            if not self._has_owner(key, job):
                self._close_ownerless(job)
            elif (end := self._refused.get((job.namespace, job.uid))) is not None:
                again = earliest(again, await self._end(key, job, end))
            elif job.cancelled_by:  # it is about to be deleted
                message = cancellation(job.cancelled_by)
                end = _end_of(job, ExecutionStatus.CANCELLED, Reason.JOB_DELETED, message)
                again = earliest(again, await self._end(key, job, end))
            elif job.retry_at > now:
                again = earliest(again, job.retry_at)
            else:
                again = earliest(again, await self._launch_next(key, job))
        return again

    async def _retire(self, key: Key, earlier: ObservedJob) -> datetime | None:
        """Delete the Job of an attempt that another has followed, or end the other if the execution was cancelled."""
        name = self._jobs.index.newest(earlier)
        newest = self._jobs.get(*name) if name[1] != earlier.name else None
        revoked = earlier.cancelled_by or self._jobs.ends.has(earlier) or self._effects.closer.has_closed(earlier)
        if revoked and newest is not None and newest.active and not newest.ending and not self._jobs.ends.has(newest):
            # the launch was on its way when the execution was cancelled
            message = cancellation(earlier.cancelled_by) if earlier.cancelled_by else DELETED_WHILE_ACTIVE
            await self._end(key, newest, _end_of(newest, ExecutionStatus.CANCELLED, Reason.JOB_DELETED, message))
        if self._jobs.was_deleted(earlier):
            if newest is None or not newest.active:
                self._jobs.drop((earlier.namespace, earlier.name), earlier.uid)
            return None
        if earlier.active and earlier.retry_at is None and not _is_late(earlier, newest):
            return None  # its pods have not ended, so somebody else has created the other
        if not self._is_settled(key, earlier):
            return self._clock() + STATUS_SECONDS
        self._effects.janitor.delete_job(earlier.namespace, earlier.name, earlier.uid)
        return None

    def _is_settled(self, key: Key, job: ObservedJob) -> bool:
        """Return whether the stored status says that an execution was launched, so that it is not launched again."""
        if job.cause is Cause.MANUAL:
            name = self._view.store.requests.name_of(job.origin)
            request = None if name is None else self._view.store.requests.get(name)
            return request is None or condition_true(request.stored, "Accepted")
        task = self._view.store.tasks.get(key)
        if task is None or task.meta.uid != job.origin:
            return True
        settled, backlog = task.stored.settled_until, task.stored.backlog
        return settled is not None and job.slot <= settled and not (backlog is not None and backlog.owes(job.slot))

    def _has_owner(self, key: Key, job: ObservedJob) -> bool:
        """Return whether the task or request of an execution exists and is not being deleted."""
        if job.cause is Cause.MANUAL:
            name = self._view.store.requests.name_of(job.origin)
            request = None if name is None or name[0] != job.namespace else self._view.store.requests.get(name)
            return request is not None and request.meta.deletion_timestamp is None
        task = self._view.store.tasks.get(key)
        return task is not None and task.meta.uid == job.origin and task.meta.deletion_timestamp is None

    def _close_ownerless(self, job: ActiveJob) -> None:
        """Close the row of an execution whose owner is known to be gone: no attempt follows."""
        if self._view.store.believes(job) and not self._effects.closer.has_closed(job):
            self._effects.closer.end(job, _end_of(job, ExecutionStatus.CANCELLED, Reason.JOB_DELETED, OWNER_GONE))

    async def _launch_next(self, key: Key, job: ActiveJob) -> datetime | None:
        """Launch the next attempt, unless the API server knows better than the watch."""
        try:
            raw = await self._reader.get_job(job.namespace, job.name)
        except NotFoundError:
            raw = None
        if raw is None or raw["metadata"]["uid"] != job.uid:
            # by another operator that has launched the next one, or by a user: the next turn finds out
            self._take([self._jobs.drop((job.namespace, job.name), job.uid)])
            self._view.queue.add(key)
            return None
        changes = [self._jobs.put(raw)]
        if not any(pod.pod_name for pod in job.attempts[-1:]):  # no watch has shown its pod
            changes += [self._jobs.put_pod(pod) for pod in await self._reader.pods_of_job(job.namespace, job.uid)]
        self._take(changes)
        fresh = self._jobs.get(job.namespace, job.name)
        if not isinstance(fresh, ActiveJob) or fresh.retry_at is None or fresh.cancelled_by:
            self._view.queue.add(key)
            return None
        if fresh.retries is not None and self._clock() >= times_out_at(fresh, fresh.retries):
            # for as long, no operator could launch it
            reason = next((pod.reason for pod in fresh.attempts[-1:] if pod.reason), Reason.FAILED)
            why = f"{_failure(fresh)}; {TOO_LATE}"
            self._refused[job.namespace, job.uid] = end = _end_of(fresh, ExecutionStatus.FAILED, reason, why)
            return await self._end(key, fresh, end)
        manifest = next_attempt(as_believed(raw, self._jobs.raw_of(fresh)), fresh, self._clock())
        refused = await self._effects.launcher.launch_attempt(key, manifest, fresh.execution_id)
        if refused is not None:
            why = f"attempt {fresh.number + 1} was not launched: {refused.message}"
            self._refused[job.namespace, job.uid] = end = _end_of(fresh, ExecutionStatus.FAILED, refused.reason, why)
            return await self._end(key, fresh, end)
        late = round((self._clock() - fresh.retry_at).total_seconds() * 1000)
        name = manifest["metadata"]["name"]
        why = _failure(fresh)
        log.info("next attempt launched", task="/".join(key), job=name, number=fresh.number + 1, late_ms=late, why=why)
        self._effects.closer.attempt_ended(fresh)
        self._view.queue.add(key)
        return None

    def _take(self, changes: Sequence[JobChange | None]) -> None:
        for change in changes:
            if change is not None:
                self._effects.closer.job_changed(change)

    async def _end(self, key: Key, job: ObservedJob, end: EndExecution) -> datetime | None:
        again = await self._effects.ender.apply(key, [job], [end])
        if self._jobs.ends.has(job):
            self._refused.pop((job.namespace, job.uid), None)
        return again


def _failure(job: ActiveJob) -> str:
    """Return why the attempt of a Job that waits for the next one failed, as a sentence."""
    last = job.attempts[-1] if job.attempts else None
    by_code = f"the container exited with code {last.exit_code}" if last is not None and last.exit_code else ""
    return (last and last.message) or by_code or (last and last.reason) or "the pod failed"


def _is_late(earlier: ObservedJob, newest: ObservedJob | None) -> bool:
    """Return whether a Job was created after the Job of a later attempt: by a request that had been given up."""
    times = (earlier.admitted_at, None if newest is None else newest.admitted_at)
    return times[0] is not None and times[1] is not None and times[0] >= times[1]


def _end_of(
    job: ObservedJob,
    status: Literal[ExecutionStatus.CANCELLED, ExecutionStatus.FAILED],
    reason: str,
    message: str,
) -> EndExecution:
    return EndExecution(job.name, job.uid, UUID(job.execution_id), status, reason, message[:MAX_MESSAGE])
