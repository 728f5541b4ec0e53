"""A slice of ``make timeline``: a year of tasks, and proof that the oracle sees what it looks for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import Launch, Plan, RecordUnlaunched
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTask
from timeline.year import simulate

SEED = 1
TASKS = 20
"""A fifth of those of ``.ci/run``: here every line that decides is measured for coverage."""
DAYS = 365

Broken = Callable[[ObservedTask, Sequence[ObservedJob], datetime], Plan]


def test_every_slot_of_a_year_is_accounted_for_once() -> None:
    """Through outages, kills, lost statuses, edits, suspensions and clocks that are stepped."""
    faults, counts = simulate(SEED, range(TASKS), DAYS)
    print(f"seed {SEED}", *(f"{count:,} {what}" for what, count in sorted(counts.items())), sep="\n")  # noqa: T201  # for whoever looks at a failure
    assert not faults, "\n".join(faults[:10])
    assert counts["slots"] > 10_000
    assert counts["launched"] > 4_000
    assert counts["within leniency"] < counts["slots"] / 200, "little may be forgiven"


def without_resume(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Decide as if no suspension had ever been seen."""
    conditions = [c for c in task.status.conditions if c.type != "Suspended"]
    return decide(replace(task, status=task.status.model_copy(update={"conditions": conditions})), jobs, now)


def without_edits(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Decide as if the calendar had always been what it is."""
    calendar = task.spec.calendar if task.spec else None
    return decide(replace(task, status=task.status.model_copy(update={"calendar": calendar})), jobs, now)


def without_jobs(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Decide as if nothing was active: Forbid and Replace see nobody."""
    return decide(task, [job for job in jobs if not job.active], now)


def launching_twice(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Decide, and with a slot launch the one before it again."""
    plan, former = decide(task, jobs, now), task.status.last_schedule_time
    again = [a for a in plan.actions if isinstance(a, Launch)][:1] if former and not jobs else []
    return replace(plan, actions=(*plan.actions, *(replace(a, slot=former) for a in again if former)))


def without_records(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Decide, and forget every tenth record."""
    plan = decide(task, jobs, now)
    lost = {a.slot for a in plan.actions if isinstance(a, RecordUnlaunched) and a.slot.timestamp() % 600 == 0}
    left = [e for e in plan.status.unrecorded if e.slot not in lost]
    return replace(plan, status=plan.status.model_copy(update={"unrecorded": left}))


def without_deadline(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Decide as if nobody had asked for punctuality."""
    spec = task.spec.model_copy(update={"starting_deadline_seconds": None}) if task.spec else None
    return decide(replace(task, spec=spec), jobs, now)


def without_max_runs(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Decide as if nothing had ever been launched."""
    return decide(replace(task, status=task.status.model_copy(update={"runs": 0})), jobs, now)


def launching_skipped(task: ObservedTask, jobs: Sequence[ObservedJob], now: datetime) -> Plan:
    """Decide, and launch a slot besides recording that it was not."""
    plan = decide(task, jobs, now)
    more = tuple(Launch(a.slot, a.execution_id) for a in plan.actions if isinstance(a, RecordUnlaunched))
    return replace(plan, actions=(*plan.actions, *more[:1]))


BROKEN: dict[str, tuple[Broken, str]] = {
    "a resume that runs what passed": (without_resume, "suspended or invalid"),
    "an edit that runs what passed": (without_edits, "is not a slot"),
    "overlap that nobody sees": (without_jobs, "while an execution was active"),
    "a slot that is launched twice": (launching_twice, "was launched twice"),
    "records that are lost": (without_records, "neither a Job nor a record"),
    "deadlines that nobody keeps": (without_deadline, "past its deadline"),
    "runs that nobody counts": (without_max_runs, "the task had completed"),
    "a slot that is launched and recorded": (launching_skipped, "1 Jobs and 1 records"),
}


@pytest.mark.parametrize(("decides", "want"), BROKEN.values(), ids=BROKEN.keys())
def test_the_oracle_sees_a_broken_decision(decides: Broken, want: str) -> None:
    """What must never happen is seen when it does, in its words, with the task's timeline."""
    found: list[str] = []
    for number in range(40):
        faults, _ = simulate(SEED, [number], 60, decides)
        found += faults
        if any(want in fault for fault in faults):
            break
    assert any(want in fault for fault in found), found[:3]
    assert "operator starts" in found[0]
