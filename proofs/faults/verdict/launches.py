"""What must hold of the Jobs of a task, for both schedulers, with rows or without. Pure.

The oracles of Carillon and of the CronJob controller share it: ``oracle`` adds
what rows must say, ``cronjobs`` what must hold without rows.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise

from carillon_core.resources.scheduled_task import ConcurrencyPolicy
from faults.injection.dialect import Dialect
from faults.verdict.attempts import most_attempts, number_of
from faults.verdict.pulses import overlaps
from faults.verdict.seen import OVERLAPPED, JobSeen, TaskSeen, Violation, World

TOLERANCE = timedelta(milliseconds=500)
"""The maximum difference between two observers of one event on a busy machine."""
SECOND = "the second operator"
"""The prefix of a blur's reason if a second operator that sees everything late causes it."""
RECOVERY = timedelta(seconds=1)
"""How long an operator may need after an outage to decide about every task."""


class Launches:
    """The Jobs of one task."""

    dialect: Dialect

    def __init__(self, world: World, task: TaskSeen) -> None:
        """Sort the Jobs by slot."""
        self._world = world
        self._task = task
        self._slots = task.slots(world.until)
        self._jobs: dict[datetime, list[JobSeen]] = defaultdict(list)
        for job in world.jobs:
            if job.task == task.name:
                self._jobs[job.slot].append(job)

    def ghosts(self) -> Iterator[Violation]:
        """Yield Jobs that belong to no slot or were created too early."""
        for slot, jobs in self._jobs.items():
            for job in jobs:
                number = number_of(job, self.dialect.job_name(self._task.name, slot))
                if job.task_uid != self._task.uid or not 1 <= number <= most_attempts(self._task):
                    yield Violation(self._task.name, slot, f"Job {job.name} is not this task's")
                if self.is_off_grid(slot):
                    yield Violation(self._task.name, slot, f"Job {job.name} is of a time that is no slot")
                if job.seen_at + self._world.ahead < slot:
                    yield Violation(
                        self._task.name, slot, f"Job {job.name} was created before its slot, at {job.seen_at}"
                    )

    def is_off_grid(self, slot: datetime) -> bool:
        """Return whether a time is no slot of the task."""
        return self._task.next_slot(slot - timedelta(seconds=1)) != slot or slot <= self._task.created_at

    def overlaps(self) -> Iterator[Violation]:
        """Yield Jobs of a Forbid task that were certainly launched while another was active."""
        if self._task.spec.concurrency_policy is not ConcurrencyPolicy.FORBID:
            return
        for (_, before), (after, _) in pairwise(self._spans()):
            ended = self.first_end(before)
            if self._is_late_second(after.seen_at):
                continue  # Forbid is only guaranteed with one operator, which knows its own Jobs
            if ended is None or after.seen_at + TOLERANCE < ended:
                told = f"until {ended:%H:%M:%S.%f}" if ended else "to the end"
                what = (
                    f"overlap: {after.name} was created at {after.seen_at:%H:%M:%S.%f}, {before.name} was active {told}"
                )
                yield Violation(self._task.name, after.slot, what, OVERLAPPED)

    def _spans(self) -> list[tuple[JobSeen, JobSeen]]:
        """Return the Jobs with which executions begin and end, by their begin: it is active between its attempts."""
        if most_attempts(self._task) > 1:
            groups = [sorted(jobs, key=lambda job: job.seen_at) for jobs in self._jobs.values()]
            spans = [(jobs[0], jobs[-1]) for jobs in groups]
        else:
            spans = [(job, job) for jobs in self._jobs.values() for job in jobs]
        return sorted(spans, key=lambda span: span[0].seen_at)

    def pulse_overlaps(self) -> Iterator[Violation]:
        """Yield processes of a Forbid task that ran at the same time, according to the times that they noted."""
        if self._task.spec.concurrency_policy is not ConcurrencyPolicy.FORBID:
            return
        slots = self._slots_of_jobs()
        for before, after in overlaps(pulse for pulse in self._world.pulses if pulse.task == self._task.name):
            if self._is_late_second(after.first):
                continue
            what = (
                f"overlap: a process of {after.job} began at {after.first:%H:%M:%S.%f}, and one of {before.job} lived"
                f" until {before.last:%H:%M:%S.%f}"
            )
            yield Violation(self._task.name, slots.get(after.job), what, OVERLAPPED)

    def _slots_of_jobs(self) -> Mapping[str, datetime]:
        return {job.name: slot for slot, jobs in self._jobs.items() for job in jobs}

    def _is_late_second(self, at: datetime) -> bool:
        return any(blur.why.startswith(SECOND) and blur.start <= at for blur in self._world.blurs)

    def first_end(self, job: JobSeen) -> datetime | None:
        """Return the earliest evidence that an execution ended."""
        return job.ended_at

    def last_end(self, job: JobSeen) -> datetime | None:
        """Return when the last pod of an execution was seen to end."""
        return job.last_end_at

    def was_active(self, slot: datetime, decided_at: datetime) -> bool:
        """Return whether an execution of another slot was active, as far as was known when a slot was decided."""
        for jobs in self._jobs.values():
            for job in jobs:
                ended = self.last_end(job)
                begun_in_time = job.seen_at - TOLERANCE <= decided_at
                if job.slot != slot and begun_in_time and (ended is None or ended + TOLERANCE >= slot):
                    return True
        return False

    def was_blurred(self, slot: datetime) -> bool:
        """Return whether Jobs were seen late at a slot."""
        return any(
            blur.task in {"", self._task.name}
            and blur.start <= slot + TOLERANCE
            and (blur.end is None or slot <= blur.end + TOLERANCE)
            for blur in self._world.blurs
        )

    def was_out(self, slot: datetime, following: datetime) -> bool:
        """Return whether a slot could not be launched before the next one."""
        return any(
            outage.task in {"", self._task.name}
            and outage.start <= slot + TOLERANCE
            and (outage.end is None or following <= outage.end + RECOVERY)
            for outage in self._world.outages
        )
