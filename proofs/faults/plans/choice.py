"""Enumerates plans: each fault at each step of a clean trace, in the order of a seed. Pure.

The first plans are one of each fault; then the faults take turns, each with
its steps shuffled, so that any first few hundred are a fair sample. Every
eighth plan has two faults.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, zip_longest

from faults.plans.plan import (
    EVENT_FAULTS,
    KILLS,
    POD_FAULTS,
    RECORDER_FAULTS,
    STRANGER_FAULTS,
    WRITE_FAULTS,
    Fault,
    Injection,
    Plan,
    Step,
)
from faults.plans.scenarios import turn

Traces = Mapping[str, Sequence[Step]]
"""The steps of a run without faults, by scenario."""
DOWN = (0, 1, 3)
"""How many seconds a killed process stays down: none, less than a slot, or past a slot."""
PAIRS_EVERY = 8
LISTS = ("all", "tasks", "jobs", "pods")
LATE_MS = (0, 1000, 2600)
CLOCK_STEPS = ("3600", "-3600")
GRACES = ("1", "4")
"""Seconds: shorter and longer than a stubborn container needs to its end."""
PROPAGATIONS = ("Background", "Foreground", "Orphan")
_POD_LIVES = frozenset({"event-pods-added", "event-pods-changed", "event-pods-running"})


ONLY: Mapping[str, frozenset[Fault]] = {
    "strangers": STRANGER_FAULTS | {Fault.KILL_AFTER},
    "grace": POD_FAULTS
    | {Fault.JOB_DELETED, Fault.KILL_AFTER, Fault.KILL_AT_EVENT, Fault.STALE_RESTART, Fault.RELIST, Fault.DROP},
}
"""The faults of scenarios that have been made for some."""


def enumerated(steps: Sequence[Step], only: frozenset[Fault] = frozenset()) -> dict[Fault, list[Injection]]:
    """Return every single fault at every step where it makes sense, by fault; those of strangers only if asked for."""
    found: dict[Fault, list[Injection]] = {fault: [] for fault in Fault}
    for step in dict.fromkeys(steps):
        for fault in _faults_at(step):
            if _makes_sense(fault, step):
                found[fault].extend(_variants(fault, step))
    found[Fault.SECOND_OPERATOR] = [Injection(Fault.SECOND_OPERATOR, what=str(late)) for late in LATE_MS]
    wanted = only or frozenset(Fault) - STRANGER_FAULTS
    return {fault: injections for fault, injections in found.items() if fault in wanted}


def _faults_at(step: Step) -> Sequence[Fault]:
    if step.is_record:
        return RECORDER_FAULTS
    return EVENT_FAULTS if step.is_event else WRITE_FAULTS


def _makes_sense(fault: Fault, step: Step) -> bool:
    if fault is Fault.HIDDEN_PODS or fault in POD_FAULTS:
        return step.kind in _POD_LIVES
    if fault in STRANGER_FAULTS:
        return step.kind == "event-jobs-added"
    if fault is Fault.JOB_DELETED:
        return step.kind in {*_POD_LIVES, "event-jobs-added", "event-jobs-changed"}
    if fault is Fault.DROP:
        # an API server never loses the only event of an object, and no client could notice
        return step.kind != "event-tasks-added"
    return True


def _variants(fault: Fault, step: Step) -> Iterator[Injection]:
    if fault is Fault.STALE_RESTART:
        yield from (Injection(fault, step, what=what) for what in LISTS)
    elif fault in {Fault.POD_DELETED, Fault.POD_EVICTED}:
        yield from (Injection(fault, step, what=grace) for grace in GRACES)
    elif fault is Fault.CLOCK_STEP:
        yield from (Injection(fault, step, what=seconds) for seconds in CLOCK_STEPS)
    elif fault is Fault.HOSTILE_OBJECTS:
        yield from (Injection(fault, step, what=how) for how in ("jobs", "pods", "tasks"))
    elif fault is Fault.REQUESTS:
        yield from (Injection(fault, step, what=count) for count in ("300", "1000"))
    elif fault is Fault.JOB_DELETED:
        yield from (Injection(fault, step, what=how) for how in PROPAGATIONS)
    elif fault is Fault.POSTGRES_STOP_KILL:
        yield from (Injection(fault, step, down=3, what=what) for what in ("", "first"))
    elif fault in {Fault.POSTGRES_STOP, Fault.POSTGRES_FULL}:
        yield Injection(fault, step, down=3)
    elif fault in KILLS or fault in {Fault.RECORDER_KILL, Fault.RECORDER_KILL_AFTER}:
        yield from (Injection(fault, step, down=down) for down in DOWN)
    else:
        yield Injection(fault, step)


@lru_cache(maxsize=8)
def ordered(steps: tuple[Step, ...], seed: int, only: frozenset[Fault] = frozenset()) -> tuple[Injection, ...]:
    """Return every single fault, shuffled within its kind, the kinds in turn."""
    shuffler = random.Random(seed)  # noqa: S311  # a reproducible sample, not a secret
    by_fault = enumerated(steps, only)
    for injections in by_fault.values():
        shuffler.shuffle(injections)
    turns = zip_longest(*by_fault.values())
    return tuple(injection for injection in chain.from_iterable(turns) if injection is not None)


def plan(number: int, traces: Traces, seed: int) -> Plan:
    """Return the plan of a number; the same seed and traces give the same plan.

    Args:
        number: From 0.
        traces: Those of runs without faults.
        seed: Any number.

    """
    scenario, index = turn(number)
    only = ONLY.get(scenario, frozenset())
    singles = ordered(tuple(traces[scenario]), seed, only)
    by_kind = {injection.fault for injection in singles}
    bound = [injection for injection in singles if injection.at is not None]
    own = random.Random(f"{seed}/{number}")  # noqa: S311  # a reproducible sample, not a secret
    if index >= len(by_kind) and index % PAIRS_EVERY == 0:
        return Plan(number, scenario, tuple(own.sample(bound, 2)))
    if index >= len(singles):
        first = own.choice(singles)
        return Plan(number, scenario, (first, own.choice([i for i in bound if i != first])))
    return Plan(number, scenario, (singles[index],))


def another(plan: Plan, traces: Traces, seed: int, again: int) -> Plan:
    """Return a plan with the same kinds of fault at other steps, for one whose faults were not reached.

    Args:
        plan: The plan.
        traces: Those of runs without faults.
        seed: The seed of the run.
        again: How often the plan was replaced before, from 1.

    """
    own = random.Random(f"{seed}/{plan.number}/{again}")  # noqa: S311  # a reproducible sample, not a secret
    by_fault = enumerated(traces[plan.scenario], ONLY.get(plan.scenario, frozenset()))
    injections = [own.choice(by_fault[injection.fault]) for injection in plan.injections]
    return Plan(plan.number, plan.scenario, tuple(dict.fromkeys(injections)))


def trace_of(steps: Sequence[Step], most: int = 2) -> list[Step]:
    """Return the steps of a clean run at which a plan may strike, sorted.

    The number of status patches and Events varies between runs; the first few
    of each kind occur in all.
    """
    return sorted({step for step in steps if step.nth <= most and not step.kind.startswith("get-")})
