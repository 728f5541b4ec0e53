"""What a write of a task would change: its slots, and what the operator would decide at once. Pure.

Nothing is judged here: the times come from the code of ``upcoming``, and the
launches from ``decide``, the operator's own function, which is asked about the
task before and after the write.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, islice
from uuid import UUID

from carillon_api.schemas import FireTime
from carillon_api.schemas.changes.dry_runs import DryRun, EndedExecution, SlotChanges, UnlaunchedSlots
from carillon_api.views.timetables import Timetables
from carillon_api.views.upcoming import Entry, Window, entries_of, slots_of
from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import Action, EndExecution, Launch, RecordUnlaunched
from carillon_core.domain.observed.job_reading import newest_attempts, observed_job
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTarget, ObservedTask
from carillon_core.domain.validity.advice import local_time
from carillon_core.errors import TooMuchWorkError
from carillon_core.ports import JSONObject

AHEAD = timedelta(days=7)
"""How far ahead the slots are compared."""
MOST_CHANGES = 50
"""How many slots that differ one response has."""
MOST_COMPARED = 1_000
"""How many slots of a task are compared."""


@dataclass(frozen=True, slots=True)
class Version:
    """A task before or after a write, and the target that it names."""

    raw: JSONObject
    target: ObservedTarget | None = None


def is_changed(before: JSONObject | None, after: JSONObject | None) -> bool:
    """Return whether a write would change an object: its spec or its labels."""
    return before is None or after is None or _written(before) != _written(after)


def _written(raw: JSONObject) -> tuple[object, object]:
    return raw.get("spec"), raw["metadata"].get("labels") or {}


def task_changes(before: Version | None, after: Version | None, jobs: Sequence[JSONObject], now: datetime) -> DryRun:
    """Return what a write of a task would change.

    Args:
        before: The stored task; None if the write creates it.
        after: The task as it would be stored; None if the write deletes it.
        jobs: The task's Jobs, as far as they are known. One that cannot be read is left out.
        now: The current time.

    """
    changed = is_changed(before.raw if before else None, after.raw if after else None)
    try:
        return CPU_LIMIT.run(partial(_task_changes, before, after, jobs, now))
    except TooMuchWorkError as error:
        return DryRun(changed=changed, notes=[f"what would change cannot be computed: {error}"])


def _task_changes(before: Version | None, after: Version | None, raws: Sequence[JSONObject], now: datetime) -> DryRun:
    jobs = newest_attempts(job for job in map(_observed, raws) if job is not None)
    slots = slot_changes(before.raw if before else None, after.raw if after else None, now)
    if after is None:
        ends = [_ended(job.execution_id, job.name) for job in jobs if job.active]
        return DryRun(changed=True, slots=slots, ends=ends)
    known = set(_decided(before, jobs, now)) if before else set()
    new = [action for action in _decided(after, jobs, now) if action not in known]
    return DryRun(
        changed=is_changed(before.raw if before else None, after.raw),
        slots=slots,
        launches=[action.slot for action in new if isinstance(action, Launch)],
        unlaunched=[_unlaunched(action) for action in new if isinstance(action, RecordUnlaunched)],
        ends=[_ended(action.execution_id, action.job_name) for action in new if isinstance(action, EndExecution)],
    )


def _observed(raw: JSONObject) -> ObservedJob | None:
    try:
        return observed_job(raw)
    except Exception:  # noqa: BLE001  # tenants can write Jobs: an unreadable one must not fail the answer
        return None


def _decided(version: Version, jobs: Sequence[ObservedJob], now: datetime) -> Sequence[Action]:
    """Return what the operator would do about a version of the task now."""
    return decide(replace(ObservedTask.from_object(version.raw), target=version.target), jobs, now).actions


def _unlaunched(action: RecordUnlaunched) -> UnlaunchedSlots:
    return UnlaunchedSlots(
        slot=action.slot,
        first_slot=action.first_slot,
        status=action.status,
        reason=action.reason,
        message=action.message,
    )


def _ended(uid: UUID | str, job: str) -> EndedExecution:
    return EndedExecution(id=UUID(str(uid)), job_name=job)


def slot_changes(before: JSONObject | None, after: JSONObject | None, now: datetime) -> SlotChanges:
    """Return the slots that would vanish and appear, beginning now.

    A task has slots as ``upcoming`` says: none while it is suspended, invalid or being deleted, and at most as many as
    ``maxRuns`` leaves.
    """
    old, new = _entry(before), _entry(after)
    window = Window(now, now, now + AHEAD, MOST_COMPARED)
    if (old.schedule, old.runs_left) == (new.schedule, new.runs_left):
        return SlotChanges(vanishing=[], appearing=[], until=now + AHEAD)
    vanishing: list[FireTime] = []
    appearing: list[FireTime] = []
    until = now + AHEAD
    both = heapq.merge(_slots(old, window, 0), _slots(new, window, 1))
    for compared, (slot, group) in enumerate(groupby(both, key=lambda each: each[0])):
        owners = [owner for _, owner in group]
        if owners == [0]:
            vanishing.append(FireTime(time=slot, local_time=local_time(slot, old.zone)))
        elif owners == [1]:
            appearing.append(FireTime(time=slot, local_time=local_time(slot, new.zone)))
        if len(vanishing) + len(appearing) == MOST_CHANGES or compared + 1 == MOST_COMPARED:
            until = slot
            break
    return SlotChanges(vanishing=vanishing, appearing=appearing, until=until)


_NOTHING = Entry("", "", "UTC", None, None)


def _entry(raw: JSONObject | None) -> Entry:
    """Return the slots of a version; not from the app's cache, where a write that is not made would stand for later."""
    return _NOTHING if raw is None else entries_of([raw], Timetables())[0]


def _slots(entry: Entry, window: Window, owner: int) -> Iterator[tuple[datetime, int]]:
    if entry.schedule is None:
        return
    for slot in islice(slots_of(entry.schedule, entry.runs_left, window), window.count):
        yield slot, owner
