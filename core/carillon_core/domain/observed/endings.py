"""How the execution of a Job ended, in words: for statuses, Events and rows. Pure."""

from datetime import datetime

from carillon_core.domain.observed.job_reading import decisive_end
from carillon_core.domain.observed.jobs import ObservedJob
from carillon_core.resources.base import MAX_MESSAGE
from carillon_core.resources.scheduled_task import RunResult


def exit_code(job: ObservedJob) -> int | None:
    """Return the exit code of a user's container that failed; None if it is not known, or if a runner ran the task."""
    if not job.container or job.active or job.result is RunResult.SUCCEEDED:
        return None
    pod = decisive_end(job, succeeded=False)
    return None if pod is None else pod.exit_code


def failure_message(job: ObservedJob) -> str:
    """Return why a Job failed, as a sentence; never empty."""
    code = exit_code(job)
    by_code = f"the container exited with code {code}" if code else ""
    return (job.message or by_code or job.reason or "the pod failed")[:MAX_MESSAGE]


def how_ended(job: ObservedJob) -> str:
    """Return what happened to a Job that did not succeed, as a verb."""
    return {RunResult.TIMED_OUT: "timed out", RunResult.CANCELLED: "was cancelled"}.get(job.result, "failed")


def ending(job: ObservedJob) -> str:
    """Return how a Job ended, as the message of an Event."""
    if job.result is RunResult.SUCCEEDED:
        seconds = duration_seconds(job)
        return f"Job {job.name} succeeded" + ("" if seconds is None else f" in {seconds} s")
    code = exit_code(job)
    how = how_ended(job) if code is None else f"{how_ended(job)} with exit code {code}"
    reason = f" ({job.reason})" if job.reason else ""
    return f"Job {job.name} {how}{reason}: {failure_message(job)}"[:MAX_MESSAGE]


def begun_at(job: ObservedJob) -> datetime | None:
    """Return when the first pod of a Job started; None if that is not known."""
    if job.retries is not None and job.retries.begun_at is not None:
        return job.retries.begun_at
    if job.earlier_pods:
        return job.admitted_at
    return min((pod.started_at for pod in job.attempts if pod.started_at is not None), default=None)


def duration_seconds(job: ObservedJob) -> int | None:
    """Return how long an execution that has ended took, from its first pod's start; None if that is not known."""
    begun = begun_at(job) or job.admitted_at
    if begun is None or job.finished_at is None:
        return None
    return max(0, int((job.finished_at - begun).total_seconds()))
