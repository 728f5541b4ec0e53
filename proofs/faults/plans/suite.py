"""The two suites of plans: on Carillon's ScheduledTasks, and on Kubernetes' CronJobs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faults.injection.dialect import CARILLON, CRONJOBS, Dialect
from faults.injection.pace import MINUTES, SECONDS, Pace
from faults.plans import scenarios
from faults.plans.families import FAMILIES, Family
from faults.plans.plan import POD_FAULTS, STRANGER_FAULTS, Fault, Step
from faults.plans.scenarios import Scenario
from faults.verdict.seen import DOUBLED, LOST, OVERLAPPED

_GRACE = POD_FAULTS | {
    *(Fault.JOB_DELETED, Fault.KILL_AFTER, Fault.KILL_AT_EVENT, Fault.STALE_RESTART, Fault.RELIST, Fault.DROP)
}
_RETRIES = frozenset(
    {
        *(Fault.KILL_AFTER, Fault.KILL_AT_EVENT, Fault.TERMINATE, Fault.STALE_RESTART, Fault.SECOND_OPERATOR),
        *(Fault.LOST_ANSWER, Fault.LATE_ANSWER, Fault.ERROR_AFTER, Fault.SENT_TWICE, Fault.UNAVAILABLE),
        *(Fault.DROP, Fault.DELAY, Fault.DUPLICATE, Fault.CUT, Fault.GONE_IN_STREAM, Fault.RELIST, Fault.HIDDEN_PODS),
    }
)


@dataclass(frozen=True, slots=True)
class Variants:
    """The variants of faults that depend on the interval of the tasks."""

    down: Sequence[int]
    """How many seconds a killed process stays down: none, less than a slot, or past a slot."""
    late_ms: Sequence[int]
    """By how many milliseconds a second operator sees everything late: the same."""
    graces: Sequence[str]
    """Seconds: shorter and longer than a stubborn container needs to its end."""
    lists: Sequence[str]
    """The lists that may be old after a restart."""
    hostile: Sequence[str]
    """The objects that strangers create."""


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """What plans are made of, and how they run."""

    scenarios: Mapping[str, Scenario]
    turns: Sequence[str]
    """The scenarios of successive plans."""
    faults: frozenset[Fault]
    only: Mapping[str, frozenset[Fault]]
    """The faults of scenarios that have been made for some."""
    variants: Variants
    dialect: Dialect
    pace: Pace
    prefix: str = ""
    """What the names of its files begin with."""
    command: str = "make faults"
    findings: Sequence[str] = ()
    """The kinds of violation that the suite counts rather than fails for."""
    timely: Sequence[str] = ("skipped as StillActive", "missed (decided")
    """How the violations begin that depend on when two observers saw the same thing, which a busy machine distorts: a
    plan with no other violation runs a second time and fails if that fails too."""

    def faults_of(self, scenario: str) -> frozenset[Fault]:
        """Return the faults of a scenario."""
        return self.only.get(scenario, self.faults)

    def sees(self, step: Step) -> bool:
        """Return whether a step is the scheduler's: an event that it does not watch only tells of pods and Jobs."""
        return not step.is_event or step.kind.split("-")[1] in self.dialect.watched

    def turn(self, number: int) -> tuple[str, int]:
        """Return the scenario of a plan's number, and how many plans before it have the same scenario."""
        cycles, place = divmod(number, len(self.turns))
        scenario = self.turns[place]
        return scenario, cycles * self.turns.count(scenario) + self.turns[:place].count(scenario)


TASKS = Suite(
    scenarios=scenarios.TASKS,
    turns=("mixed", "grace", "mixed", "strangers", "mixed", "direct", "retries", "grace", "mixed", "direct"),
    faults=frozenset(Fault) - STRANGER_FAULTS,
    only={"strangers": STRANGER_FAULTS | {Fault.KILL_AFTER}, "grace": _GRACE, "retries": _RETRIES},
    variants=Variants(
        down=(0, 1, 3),
        late_ms=(0, 1000, 2600),
        graces=("1", "4"),
        lists=("all", "tasks", "jobs", "pods"),
        hostile=("jobs", "pods", "tasks"),
    ),
    dialect=CARILLON,
    pace=SECONDS,
)
"""Faults in Carillon."""

WITHOUT_EQUIVALENT = (Family.RECORDER, Family.POSTGRES, Family.REQUESTS, Family.CLOCKS)
"""The families that the CronJob controller has no equivalent of: it has no history and no requests, and a Go program
takes its clock from the kernel, where it cannot be set for one process."""
_NONE = {fault for family in WITHOUT_EQUIVALENT for fault in FAMILIES[family]} | {Fault.HIDDEN_PODS}

NATIVE = Suite(
    scenarios=scenarios.CRONJOBS,
    turns=("cron", "cron-grace", "cron", "cron-strangers", "cron", "cron", "cron", "cron-grace"),
    faults=frozenset(Fault) - STRANGER_FAULTS - _NONE,
    only={"cron-strangers": frozenset({Fault.HOSTILE_OBJECTS, Fault.KILL_AFTER}), "cron-grace": _GRACE},
    variants=Variants(
        down=(0, 20, 62),
        late_ms=(0, 20_000, 62_000),
        graces=("5", "120"),
        lists=("all", "cronjobs", "jobs"),
        hostile=("jobs",),
    ),
    dialect=CRONJOBS,
    pace=MINUTES,
    prefix="native-",
    command="make faults NATIVE=1",
    findings=(LOST, DOUBLED, OVERLAPPED),
    timely=(LOST,),
)
"""The same faults in the CronJob controller."""
