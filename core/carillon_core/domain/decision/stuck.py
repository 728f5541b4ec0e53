"""Gives up executions whose pod does not start, or is not created, in time, with Kubernetes' own reason. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.decision.plan import EndExecution, Notice, Reason
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.resources.base import MAX_MESSAGE

PATIENCE = timedelta(seconds=45)
"""How long an image or a Secret may be missing after the pod's creation, as someone may be about to create it; also how
long a pod may be refused after the first attempt to create it."""
YOUNG = timedelta(seconds=10)
"""A Job without a pod is not checked before this age: its controller may be busy."""
LOOK_AGAIN = timedelta(seconds=15)
LOOK_AGAIN_AT_LAST = timedelta(seconds=60)
"""The maximum interval between two checks. The Job controller retries at growing intervals, and so do the checks."""


def stuck_executions(own: Sequence[ObservedJob], now: datetime) -> tuple[list[EndExecution], datetime | None]:
    """Return the executions to give up, and when to check the next one, if one has trouble.

    An execution that waits for quota runs until its deadline. An execution
    whose pod was refused is given up only if a check after ``PATIENCE``
    (``PodTrouble.seen_at``) still found no pod.
    """
    ends: list[EndExecution] = []
    later: datetime | None = None
    for job in own:
        if job.trouble is None or not job.active or job.ending or job.trouble.waits:
            continue
        give_up_at = job.trouble.since + PATIENCE
        if give_up_at > now:
            later = give_up_at if later is None else min(later, give_up_at)
            continue
        if job.trouble.seen_at is not None and job.trouble.seen_at < give_up_at:
            continue  # the next check reconciles its task
        message = f"the pod of {job.name} cannot start: {job.trouble.reason}: {job.trouble.message}"[:MAX_MESSAGE]
        ends.append(
            EndExecution(job.name, job.uid, UUID(job.execution_id), ExecutionStatus.FAILED, job.trouble.reason, message)
        )
    return ends, later


def no_room_notices(job: ObservedJob, said: str | None) -> tuple[Notice, ...]:
    """Return the Event for a Job that waits for quota, unless the status already has a message about it.

    Other troubles are announced when the execution is given up; this one is not
    given up. The figures in its message keep changing, so it is announced once.
    """
    if said or job.trouble is None or not job.trouble.waits or not job.active:
        return ()
    message = f"{job.name} waits: {job.trouble.sentence}"[:MAX_MESSAGE]
    return (Notice("Warning", Reason.STUCK, message, "pod waits for quota", job.trouble.reason),)


def hopeless(trouble: PodTrouble, now: datetime) -> bool:
    """Return whether a trouble has lasted so long that its execution is given up."""
    return not trouble.waits and trouble.since + PATIENCE <= now


def given_up(job: ObservedJob) -> bool:
    """Return whether the execution of a Job has been given up; its Job may still exist until that is recorded."""
    trouble = job.trouble
    return trouble is not None and trouble.seen_at is not None and hopeless(trouble, trouble.seen_at)


def begun_at(job: ObservedJob) -> datetime:
    """Return since when a Job may have pods."""
    return job.admitted_at or job.slot


def first_look(job: ObservedJob) -> datetime:
    """Return when to check for the first time why a Job has no pod."""
    return begun_at(job) + YOUNG


def next_look(job: ObservedJob, now: datetime) -> datetime:
    """Return when to check again why a Job has no pod, at growing intervals.

    A Job that may be given up is checked once more when that is due.
    """
    if now < first_look(job):
        return first_look(job)
    if job.trouble is not None and not job.trouble.waits and now < job.trouble.since + PATIENCE:
        return max(job.trouble.since + PATIENCE, now + LOOK_AGAIN)
    return now + min(max(now - begun_at(job), LOOK_AGAIN), LOOK_AGAIN_AT_LAST)
