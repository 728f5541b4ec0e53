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
from faults.plans.suite import TASKS, Suite, Variants

Traces = Mapping[str, Sequence[Step]]
"""The steps of a run without faults, by scenario."""
PAIRS_EVERY = 8
CLOCK_STEPS = ("3600", "-3600")
PROPAGATIONS = ("Background", "Foreground", "Orphan")
_ON_OBJECTS = POD_FAULTS | {Fault.JOB_DELETED}
"""The faults that strike what an event is about, not the event."""
_POD_LIVES = frozenset({"event-pods-added", "event-pods-changed", "event-pods-running"})


def enumerated(steps: Sequence[Step], suite: Suite, scenario: str) -> dict[Fault, list[Injection]]:
    """Return every single fault of a scenario at every step where it makes sense, by fault."""
    found: dict[Fault, list[Injection]] = {fault: [] for fault in Fault}
    for step in dict.fromkeys(steps):
        for fault in _faults_at(step):
            if _makes_sense(fault, step) and (suite.sees(step) or fault in _ON_OBJECTS):
                found[fault].extend(_variants(fault, step, suite.variants))
    found[Fault.SECOND_OPERATOR] = [Injection(Fault.SECOND_OPERATOR, what=str(late)) for late in suite.variants.late_ms]
    wanted = suite.faults_of(scenario)
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
        return step.kind not in {"event-tasks-added", "event-cronjobs-added"}
    return True


def _variants(fault: Fault, step: Step, of: Variants) -> Iterator[Injection]:
    if fault is Fault.STALE_RESTART:
        yield from (Injection(fault, step, what=what) for what in of.lists)
    elif fault in {Fault.POD_DELETED, Fault.POD_EVICTED}:
        yield from (Injection(fault, step, what=grace) for grace in of.graces)
    elif fault is Fault.CLOCK_STEP:
        yield from (Injection(fault, step, what=seconds) for seconds in CLOCK_STEPS)
    elif fault is Fault.HOSTILE_OBJECTS:
        yield from (Injection(fault, step, what=how) for how in of.hostile)
    elif fault is Fault.REQUESTS:
        yield from (Injection(fault, step, what=count) for count in ("300", "1000"))
    elif fault is Fault.JOB_DELETED:
        yield from (Injection(fault, step, what=how) for how in PROPAGATIONS)
    elif fault is Fault.POSTGRES_STOP_KILL:
        yield from (Injection(fault, step, down=3, what=what) for what in ("", "first"))
    elif fault in {Fault.POSTGRES_STOP, Fault.POSTGRES_FULL}:
        yield Injection(fault, step, down=3)
    elif fault in KILLS or fault in {Fault.RECORDER_KILL, Fault.RECORDER_KILL_AFTER}:
        yield from (Injection(fault, step, down=down) for down in of.down)
    else:
        yield Injection(fault, step)


@lru_cache(maxsize=8)
def ordered(steps: tuple[Step, ...], seed: int, suite: Suite, scenario: str) -> tuple[Injection, ...]:
    """Return every single fault, shuffled within its kind, the kinds in turn."""
    shuffler = random.Random(seed)  # noqa: S311  # a reproducible sample, not a secret
    by_fault = enumerated(steps, suite, scenario)
    for injections in by_fault.values():
        shuffler.shuffle(injections)
    turns = zip_longest(*by_fault.values())
    return tuple(injection for injection in chain.from_iterable(turns) if injection is not None)


def plan(number: int, traces: Traces, seed: int, suite: Suite = TASKS) -> Plan:
    """Return the plan of a number; the same seed and traces give the same plan.

    Args:
        number: From 0.
        traces: Those of runs without faults.
        seed: Any number.
        suite: What plans are made of.

    """
    scenario, index = suite.turn(number)
    singles = ordered(tuple(traces[scenario]), seed, suite, scenario)
    by_kind = {injection.fault for injection in singles}
    bound = [injection for injection in singles if injection.at is not None]
    own = random.Random(f"{seed}/{number}")  # noqa: S311  # a reproducible sample, not a secret
    if index >= len(by_kind) and index % PAIRS_EVERY == 0:
        return Plan(number, scenario, tuple(own.sample(bound, 2)))
    if index >= len(singles):
        first = own.choice(singles)
        return Plan(number, scenario, (first, own.choice([i for i in bound if i != first])))
    return Plan(number, scenario, (singles[index],))


def another(plan: Plan, traces: Traces, seed: int, again: int, suite: Suite = TASKS) -> Plan:
    """Return a plan with the same kinds of fault at other steps, for one whose faults were not reached.

    Args:
        plan: The plan.
        traces: Those of runs without faults.
        seed: The seed of the run.
        again: How often the plan was replaced before, from 1.
        suite: What plans are made of.

    """
    own = random.Random(f"{seed}/{plan.number}/{again}")  # noqa: S311  # a reproducible sample, not a secret
    by_fault = enumerated(traces[plan.scenario], suite, plan.scenario)
    injections = [own.choice(by_fault[injection.fault]) for injection in plan.injections]
    return Plan(plan.number, plan.scenario, tuple(dict.fromkeys(injections)))


def trace_of(steps: Sequence[Step], most: int = 2) -> list[Step]:
    """Return the steps of a clean run at which a plan may strike, sorted.

    The number of status patches and Events varies between runs; the first few
    of each kind occur in all.
    """
    return sorted({step for step in steps if step.nth <= most and not step.kind.startswith("get-")})
