"""Chooses the finished Jobs to delete: beyond the history limits, too old, or suspended by their queue. Pure.

A Job is deleted only when the stored status counts its slot as settled and
includes its result. Until then only the Job keeps a restarted operator from
launching the slot again, or from losing a failure.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from carillon_core.domain.decision.plan import DeleteJob
from carillon_core.domain.observed.jobs import FinishedJob, ObservedJob
from carillon_core.resources.scheduled_task import RunResult, ScheduledTaskSpec, ScheduledTaskStatus


def superfluous_jobs(
    spec: ScheduledTaskSpec, stored: ScheduledTaskStatus, scheduled: Sequence[ObservedJob], now: datetime
) -> tuple[list[DeleteJob], datetime | None]:
    """Return the Jobs to delete now, and when the next one reaches its maximum age, if one does.

    Args:
        spec: The task's spec.
        stored: The status that the API server has.
        scheduled: The Jobs of the task's slots, oldest slot first; those of requests are deleted with their request.
        now: The current time.

    """
    finished = [job for job in scheduled if not job.active and not job.ending]
    succeeded = [job for job in finished if job.result is RunResult.SUCCEEDED]
    others = [job for job in finished if job.result is not RunResult.SUCCEEDED]
    doomed = _all_but_last(succeeded, spec.successful_jobs_history_limit)
    doomed += _all_but_last(others, spec.failed_jobs_history_limit)
    doomed += [job for job in finished if job.taken_back and job not in doomed]
    later: datetime | None = None
    if spec.ttl_seconds_after_finished is not None:
        for job in finished:
            end = (job.finished_at or job.slot) + timedelta(seconds=spec.ttl_seconds_after_finished)
            if end > now:
                later = end if later is None else min(later, end)
            elif job not in doomed:
                doomed.append(job)
    settled = stored.settled_until
    backlog = stored.backlog
    ready = [
        job
        for job in doomed
        if settled is not None
        and job.slot <= settled
        and stored.counted_until is not None
        and (job.finished_at or job.slot) <= stored.counted_until
        and not (backlog is not None and backlog.owes(job.slot))
    ]
    return [DeleteJob(job.name, job.uid) for job in sorted(ready, key=lambda job: job.slot)], later


def _all_but_last(jobs: list[FinishedJob], count: int) -> list[FinishedJob]:
    return jobs[: max(0, len(jobs) - count)]
