"""Checks the outcome of every slot. Pure; knows the guarantees of the operator, but not its code.

``carillon_core.domain.timetable.schedule`` computes the slots from the calendar
and creation of each task. Each slot that is due by the end of the plan must have
exactly one finished row: its own, or one that covers a range of slots.

- A slot that ran has exactly one Job, one row with status succeeded, and one hit.
- A skipped or missed slot has no Job and no hit, and a true reason: an execution
  of its task was active, or no operator could have launched it before the next
  slot. (If an operator skips a slot and is killed before it writes the status,
  the next operator may record the slot as missed.)
- A container that is retried has one Job for each attempt: in their order, each after the wait of its policy, never
  more than the policy allows, and none after the end of the execution, which is active from the first to the last.
- There is nothing else: no Job or row outside the slots, no row still running.
- Executions of a Forbid task do not overlap, unless a second operator ran that
  saw everything late.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from carillon_core.contract import Cause
from carillon_core.domain.execution import execution_id
from faults.injection.dialect import CARILLON
from faults.verdict.attempts import most_attempts, wrong_attempts
from faults.verdict.launches import TOLERANCE, Launches
from faults.verdict.seen import DOUBLED, LOST, JobSeen, RowSeen, TaskSeen, Violation, World

ASKED = "asked"
"""The task that a plan's requests ask for; it has no slots."""


def decided(world: World) -> bool:
    """Return whether every slot that is due has a Job or a row."""
    return not any("no Job" in v.what for task in world.tasks for v in _Judge(world, task).lost())


def settled(world: World) -> bool:
    """Return whether every slot that is due has a row that has ended."""
    return (
        not world.unheeded
        and not list(_requests(world))
        and not any(world.unrecorded.values())
        and not any(
            "no row" in v.what or "still running" in v.what for task in world.tasks for v in _Judge(world, task).lost()
        )
    )


def violations(world: World) -> list[Violation]:
    """Return every broken guarantee; an empty list is the proof."""
    found = [violation for task in world.tasks for violation in _Judge(world, task).all()]
    known = {ASKED, *(task.name for task in world.tasks)}
    strange = [job for job in world.jobs if job.task not in known]
    found += [Violation(job.task, job.slot, f"Job {job.name} belongs to no task") for job in strange]
    for task_name, number in world.unrecorded.items():
        if number:
            found.append(Violation(task_name, None, f"slots left to record in its status: {number}"))
    found += [
        Violation(name, None, "its suspension is not acknowledged: the operator runs but does nothing")
        for name in sorted(world.unheeded)
    ]
    return [*found, *_requests(world), *_counters(world)]


def _requests(world: World) -> Iterator[Violation]:
    """Yield a violation unless each request has one row that has ended."""
    rows = [row for row in world.rows if row.task == ASKED]
    if len({row.id for row in rows}) != world.requests:
        yield Violation(ASKED, None, f"{world.requests} requests have {len(rows)} rows")
    running = sum(row.status == "running" for row in rows)
    if running:
        yield Violation(ASKED, None, f"ghosts: {running} rows of requests are still running")


def _counters(world: World) -> Iterator[Violation]:
    """Yield the counters that differ from the number of successes of their tasks."""
    wanted: dict[str, int] = defaultdict(int)
    for task in world.tasks:
        if task.spec.task.counter is not None:
            name = task.spec.task.counter.name or task.name
            wanted[name] += sum(row.task == task.name and row.status == "succeeded" for row in world.rows)
    for name, number in wanted.items():
        if world.counters.get(name, 0) != number:
            found = world.counters.get(name, 0)
            yield Violation(name, None, f"the counter is {found} after {number} successful executions")


class _Judge(Launches):
    """Checks one task."""

    dialect = CARILLON

    def __init__(self, world: World, task: TaskSeen) -> None:
        super().__init__(world, task)
        self._rows = [row for row in world.rows if row.task == task.name]
        self._excused = world.killed_pods | world.disturbed

    def all(self) -> Iterator[Violation]:
        """Yield all violations."""
        yield from self.lost()
        yield from self.ghosts()
        yield from self.overlaps()
        yield from self.pulse_overlaps()
        yield from self._false_ends()
        for slot in sorted({*self._slots, *self._jobs}):
            yield from self._twice(slot)
        for slot in self._slots:
            yield from self._ending(slot)

    def lost(self) -> Iterator[Violation]:
        """Yield the slots without exactly one finished row."""
        for slot in self._slots:
            rows = self._rows_of(slot)
            if not rows:
                jobs = self._jobs.get(slot, [])
                seen = f"{len(jobs)} Jobs, {len(self._hits(slot))} hits" if jobs else "no Job"
                yield Violation(self._task.name, slot, f"lost: it is due and has no row ({seen})", LOST)
            elif len(rows) > 1:
                told = ", ".join(f"{row.status} {row.reason or ''}" for row in rows)
                yield Violation(self._task.name, slot, f"has {len(rows)} rows: {told}")
            elif rows[0].status == "running":
                yield Violation(self._task.name, slot, "a ghost: its row is still running")

    def _rows_of(self, slot: datetime) -> list[RowSeen]:
        own = [row for row in self._rows if row.slot == slot]
        if own:
            return own
        return [row for row in self._rows if row.first_slot is not None and row.first_slot <= slot < row.slot]

    def _hits(self, slot: datetime) -> Sequence[datetime]:
        uid = execution_id(self._task.uid, slot, Cause.SCHEDULE)
        return self._world.hits.get(str(uid), ())

    def _twice(self, slot: datetime) -> Iterator[Violation]:
        jobs, hits = self._jobs.get(slot, []), self._hits(slot)
        if most_attempts(self._task) > 1:
            first = self.dialect.job_name(self._task.name, slot)
            yield from wrong_attempts(self._task, slot, jobs, first, self._rows_of(slot), TOLERANCE)
        elif len(jobs) > 1:
            times = ", ".join(f"{job.seen_at:%H:%M:%S.%f}" for job in jobs)
            yield Violation(self._task.name, slot, f"{len(jobs)} Jobs were created, at {times}", DOUBLED)
        if len(hits) > 1:
            times = ", ".join(f"{hit:%H:%M:%S.%f}" for hit in hits)
            yield Violation(self._task.name, slot, f"ran twice: {len(hits)} hits, at {times}", DOUBLED)

    def ghosts(self) -> Iterator[Violation]:
        """Yield Jobs and rows that belong to no slot or were created too early."""
        yield from super().ghosts()
        for row in self._rows:
            if self.is_off_grid(row.slot):
                yield Violation(self._task.name, row.slot, f"a row ({row.status}) is of a time that is no slot")
            if row.id != str(execution_id(self._task.uid, row.slot, Cause.SCHEDULE)):
                yield Violation(self._task.name, row.slot, f"its row has the id {row.id}, which is not the slot's")

    def _false_ends(self) -> Iterator[Violation]:
        """Yield rows that contradict what their processes noted."""
        for slot, jobs in self._jobs.items():
            rows = self._rows_of(slot)
            names = {job.name for job in jobs} - self._world.killed_pods
            own = [pulse for pulse in self._world.pulses if pulse.job in names]
            witnessed = own or (self._task.spec.task.container is not None and names)
            if len(rows) != 1 or not witnessed or rows[0].status == "running":
                continue
            finished, row = sum(pulse.finished for pulse in own), rows[0]
            if finished > 1:
                yield Violation(self._task.name, slot, f"ran to its end {finished} times", DOUBLED)
            if bool(finished) != (row.status == "succeeded"):
                told = "ran to its end" if finished else "did not run to its end"
                yield Violation(self._task.name, slot, f"its row says {row.status} {row.reason or ''}, and it {told}")

    def first_end(self, job: JobSeen) -> datetime | None:
        """Return the earliest evidence that an execution ended: its own, or its row."""
        row = next((row for row in self._rows if row.slot == job.slot and row.finished_at), None)
        return min((t for t in (job.ended_at, row.finished_at if row else None) if t), default=None)

    def _ending(self, slot: datetime) -> Iterator[Violation]:
        """Yield the violations in the outcome of a slot."""
        rows = self._rows_of(slot)
        if len(rows) != 1:
            return
        row = rows[0]
        jobs, hits = self._jobs.get(slot, []), self._hits(slot)
        if row.status in {"skipped", "missed"}:
            for job in jobs:
                told = f"{row.status} {row.reason}"
                yield Violation(self._task.name, slot, f"its row says {told}, and yet there is Job {job.name}")
            if hits:
                yield Violation(self._task.name, slot, f"its row says {row.status}, and yet it ran: {len(hits)} hits")
            why = self._unjust(slot, row)
            if why is not None:
                yield Violation(self._task.name, slot, why)
            return
        if not jobs:
            yield Violation(self._task.name, slot, f"its row says {row.status}, and there never was a Job")
        elif row.status not in {"succeeded", "running"} and not self._excused & {job.name for job in jobs}:
            yield Violation(self._task.name, slot, f"its row says {row.status} {row.reason or ''}, no fault did that")
        if row.status == "succeeded" and self._task.spec.task.http is not None and not hits:
            yield Violation(self._task.name, slot, "its row says succeeded, and there was no hit")

    def _unjust(self, slot: datetime, row: RowSeen) -> str | None:
        """Return why a slot should have run, or None if it was skipped or missed correctly."""
        if row.reason == "StillActive":
            if self.was_active(slot, row.created_at) or self.was_blurred(slot):
                return None
            return f"skipped as StillActive (decided {row.created_at:%H:%M:%S.%f}), and no execution was active"
        if row.reason == "SupersededByLaterSlot":
            following = self._task.next_slot(slot)
            if following is not None and self.was_out(slot, following):
                return None
            # it was skipped by an operator that was killed before it wrote the status
            if self.was_active(slot, row.created_at):
                return None
            return f"missed (decided {row.created_at:%H:%M:%S.%f}), and an operator could have launched it in time"
        return f"{row.status} for the reason {row.reason}, which this plan cannot give"

    def last_end(self, job: JobSeen) -> datetime | None:
        """Return when a Job was first seen to end; a Job whose pod was killed goes on until another pod ends it.

        That also holds if the killed pod had recorded its end: the next pod finds that out ten seconds later.
        """
        retried = self._task.spec.retry.limit > 0
        if retried or job.name in self._world.disturbed:  # a Job that was not deleted itself may start another pod
            row = next((row for row in self._rows if row.slot == job.slot), None)
            return max((t for t in (job.last_end_at, row.finished_at if row else None) if t), default=None)
        return None if job.name in self._world.killed_pods else job.ended_at
