"""What must hold of the attempts of a container's execution, each of which is a Job of its own. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from carillon_core.contract import Cause
from carillon_core.domain.execution import attempt_number
from faults.verdict.seen import DOUBLED, JobSeen, RowSeen, TaskSeen, Violation

CUT_OFF = timedelta(seconds=1)
"""The time in a row is that of a pod, in whole seconds."""


def most_attempts(task: TaskSeen) -> int:
    """Return how many Jobs an execution of a task may have."""
    return 1 + task.spec.retry.limit if task.spec.task.container is not None else 1


def number_of(job: JobSeen, first_name: str) -> int:
    """Return which attempt a Job is by its name; 0 if it is none."""
    return attempt_number(job.name, first_name, job.slot, Cause.SCHEDULE) or 0


def wrong_attempts(
    task: TaskSeen, slot: datetime, jobs: Sequence[JobSeen], first_name: str, rows: Sequence[RowSeen], slack: timedelta
) -> Iterator[Violation]:
    """Yield what is wrong with the attempts of a slot.

    They follow each other, each after the wait of the policy, and none follows the end of the execution.

    Args:
        task: The task.
        slot: The slot.
        jobs: All Jobs that were ever created for it.
        first_name: The name of its first Job.
        rows: Its rows.
        slack: How far two observers of one event may be apart.

    """
    ordered = sorted(jobs, key=lambda job: job.seen_at)
    numbers = [number_of(job, first_name) for job in ordered]
    if numbers != list(range(1, len(numbers) + 1)):
        told = ", ".join(f"{job.name} at {job.seen_at:%H:%M:%S.%f}" for job in ordered)
        yield Violation(task.name, slot, f"its attempts do not follow each other: {told}", DOUBLED)
        return
    policy = task.spec.retry
    for number, (before, after) in enumerate(pairwise(ordered), 1):
        wait = min(policy.initial_delay_seconds * policy.factor ** (number - 1), policy.max_delay_seconds)
        wait *= 1 - policy.jitter
        if before.ended_at is None or after.seen_at + slack < before.ended_at + timedelta(seconds=wait):
            ended = f"ended at {before.ended_at:%H:%M:%S.%f}" if before.ended_at else "was never seen to end"
            told = f"attempt {number + 1} began at {after.seen_at:%H:%M:%S.%f}, and the one before {ended}"
            yield Violation(task.name, slot, f"{told}: the wait is {wait:g} s")
    ends = [row.finished_at for row in rows if row.finished_at is not None]
    late = [job for job in ordered[1:] if ends and job.seen_at > min(ends) + CUT_OFF + slack]
    for job in late:
        yield Violation(task.name, slot, f"Job {job.name} was created after the execution had ended", DOUBLED)
