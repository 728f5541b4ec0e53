"""Checks what became of the slots of CronJobs, which leave no rows. Pure.

``launches`` has what this oracle shares with that of Carillon. A slot is

- lost if it has no Job, although no execution was active and the controller could
  have launched it before the next slot, or if its Job never ran anything;
- doubled if it has two Jobs, or if two processes began for it: its effect happened
  twice;
- overlapped, for Forbid, if its Job was created, or its process began, while an
  earlier one of the CronJob was alive.

What kept the controller from seeing or launching excuses a slot as it does for
Carillon; that Carillon also records such a slot is not compared.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from carillon_core.resources.scheduled_task import ConcurrencyPolicy
from faults.injection.dialect import CRONJOBS
from faults.verdict.launches import TOLERANCE, Launches
from faults.verdict.pulses import Pulse
from faults.verdict.seen import DOUBLED, LOST, TaskSeen, Violation, World


def decided(world: World) -> bool:
    """Return whether every slot that is due has a Job or an excuse."""
    return not any(list(_Judge(world, task).unlaunched()) for task in world.tasks)


def settled(world: World) -> bool:
    """Return whether also every Job has run something."""
    return decided(world) and not any(list(_Judge(world, task).idle()) for task in world.tasks)


def violations(world: World) -> list[Violation]:
    """Return everything that was lost, doubled or overlapped, or should not be there."""
    found = [violation for task in world.tasks for violation in _Judge(world, task).all()]
    known = {task.name for task in world.tasks}
    strange = [job for job in world.jobs if job.task not in known]
    return found + [Violation(job.task, job.slot, f"Job {job.name} belongs to no CronJob") for job in strange]


class _Judge(Launches):
    """Checks one CronJob."""

    dialect = CRONJOBS

    def __init__(self, world: World, task: TaskSeen) -> None:
        super().__init__(world, task)
        slots = self._slots_of_jobs()
        self._processes: dict[datetime, list[Pulse]] = defaultdict(list)
        for pulse in world.pulses:
            if pulse.task == task.name and pulse.job in slots:
                self._processes[slots[pulse.job]].append(pulse)

    def all(self) -> Iterator[Violation]:
        """Yield all violations, an overlap of two slots once."""
        yield from self.unlaunched()
        yield from self.idle()
        yield from self.ghosts()
        for slot in sorted(self._jobs):
            yield from self._doubled(slot)
        told = set()
        for violation in (*self.pulse_overlaps(), *self.overlaps()):
            if violation.slot not in told:
                told.add(violation.slot)
                yield violation

    def unlaunched(self) -> Iterator[Violation]:
        """Yield the slots without a Job that should have one."""
        for slot in self._slots:
            if self._jobs.get(slot) or self._is_excused(slot):
                continue
            yield Violation(self._task.name, slot, "lost: it is due and has no Job, and no execution was active", LOST)

    def _is_excused(self, slot: datetime) -> bool:
        following = self._task.next_slot(slot)
        forbids = self._task.spec.concurrency_policy is ConcurrencyPolicy.FORBID
        if forbids and (self.was_active(slot, slot + TOLERANCE) or self.was_blurred(slot)):
            return True
        return following is not None and self.was_out(slot, following)

    def idle(self) -> Iterator[Violation]:
        """Yield the slots whose Jobs never ran anything, although nothing was done to them."""
        if self._task.spec.concurrency_policy is ConcurrencyPolicy.REPLACE:
            return  # a Job may be replaced before its pod runs
        touched = self._world.killed_pods | self._world.disturbed
        for slot, jobs in self._jobs.items():
            names = {job.name for job in jobs}
            if slot <= self._world.until and not names & touched and not self._processes.get(slot):
                yield Violation(self._task.name, slot, f"lost: {', '.join(names)} never ran anything", LOST)

    def _doubled(self, slot: datetime) -> Iterator[Violation]:
        jobs, processes = self._jobs[slot], self._processes.get(slot, ())
        if len(jobs) > 1:
            times = ", ".join(f"{job.seen_at:%H:%M:%S.%f}" for job in jobs)
            yield Violation(self._task.name, slot, f"doubled: {len(jobs)} Jobs were created, at {times}", DOUBLED)
        elif len(processes) > 1:
            times = ", ".join(f"{pulse.first:%H:%M:%S.%f}" for pulse in processes)
            yield Violation(self._task.name, slot, f"doubled: {len(processes)} processes began, at {times}", DOUBLED)
