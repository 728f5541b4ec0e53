"""The plans of ``make faults``: complete, fair, and reproducible from a seed."""

from __future__ import annotations

import pytest

from faults.__main__ import main
from faults.plans import choice
from faults.plans.plan import (
    EVENT_FAULTS,
    POD_FAULTS,
    RECORDER_FAULTS,
    STRANGER_FAULTS,
    WRITE_FAULTS,
    Fault,
    Injection,
    Plan,
    Step,
)
from faults.plans.suite import TASKS

STEPS = (
    Step("create-jobs", "api", 1),
    Step("create-jobs", "api", 2),
    Step("patch-status", "api", 1),
    Step("create-secrets", "", 1),
    Step("event-tasks-added", "api", 1),
    Step("event-jobs-added", "api", 1),
    Step("event-pods-running", "api", 1),
    Step("event-pods-ended", "api", 1),
    Step("record-claim", "api", 1),
    Step("record-close", "api", 1),
)
SCENARIOS, TURNS, turn = TASKS.scenarios, TASKS.turns, TASKS.turn
TRACES = dict.fromkeys(SCENARIOS, STEPS)


def made(number: int, seed: int = 7) -> Plan:
    """Return the plan of a number."""
    return choice.plan(number, TRACES, seed)


def ordered() -> tuple[Injection, ...]:
    """Return every single fault of the scenario ``mixed``, in the order of a seed."""
    return choice.ordered(STEPS, 7, TASKS, "mixed")


def test_every_fault_is_among_the_first_plans() -> None:
    """Even a small number of plans has each of them, with the recorder as the product has it."""
    wanted = set(Fault) - STRANGER_FAULTS
    count = len(wanted)
    first = [plan for n in range(4 * count) if turn(n)[1] < count and (plan := made(n)).scenario == "mixed"]
    assert {plan.injections[0].fault for plan in first} == wanted
    assert all(len(plan.injections) == 1 for plan in first)


def test_scenarios_take_turns() -> None:
    """In every fifth plan runners log in to Postgres themselves; no plan of a scenario is left out."""
    numbers = range(4 * len(TURNS))
    assert [made(number).scenario for number in numbers] == list(TURNS) * 4
    for scenario in set(TURNS):
        indexes = [turn(number)[1] for number in numbers if turn(number)[0] == scenario]
        assert indexes == list(range(len(indexes)))
    assert TURNS.count("direct") / len(TURNS) == 1 / 5
    assert SCENARIOS["direct"].direct
    assert not SCENARIOS["mixed"].direct


def test_every_fault_strikes_at_every_step_where_it_makes_sense() -> None:
    """Writes, events and requests to the recorder have their own faults; every position occurs."""
    singles = ordered()
    events = {step for step in STEPS if step.is_event}
    records = {step for step in STEPS if step.is_record}
    writes = set(STEPS) - events - records
    for fault in RECORDER_FAULTS:
        assert {i.at for i in singles if i.fault is fault} == records, fault
    for fault in WRITE_FAULTS:
        assert {i.at for i in singles if i.fault is fault} == writes, fault
    for fault in set(EVENT_FAULTS) - {Fault.DROP, Fault.JOB_DELETED, Fault.HIDDEN_PODS, *POD_FAULTS, *STRANGER_FAULTS}:
        assert {i.at for i in singles if i.fault is fault} == events, fault


def test_an_objects_only_event_is_not_dropped() -> None:
    """No API server does that, and no client could notice it."""
    dropped = {i.at for i in ordered() if i.fault is Fault.DROP}
    assert Step("event-tasks-added", "api", 1) not in dropped


@pytest.mark.parametrize("fault", [*sorted(POD_FAULTS), Fault.HIDDEN_PODS])
def test_a_pod_is_killed_or_deleted_before_it_has_ended(fault: Fault) -> None:
    """After its end there is nothing to kill or to hide."""
    killed = {i.at for i in ordered() if i.fault is fault}
    assert killed == {Step("event-pods-running", "api", 1)}


def test_a_job_is_deleted_before_its_end() -> None:
    """Before its pod runs, too."""
    deleted = {i.at for i in ordered() if i.fault is Fault.JOB_DELETED}
    assert deleted == {Step("event-jobs-added", "api", 1), Step("event-pods-running", "api", 1)}


@pytest.mark.parametrize("scenario", TASKS.only)
def test_a_scenario_that_was_made_for_some_faults_has_only_those(scenario: str) -> None:
    """Pods that ignore SIGTERM need no conflict of a write; and each of its faults is among its first plans."""
    own = [plan for number in range(300) if (plan := made(number)).scenario == scenario]
    only = TASKS.only[scenario]
    assert {injection.fault for plan in own for injection in plan.injections} == only
    assert {plan.injections[0].fault for plan in own[: len(only)]} == only


def test_a_number_means_the_same_plan_again() -> None:
    """This holds for the same seed and trace; another seed gives other plans."""
    numbers = range(200)
    first = [made(number) for number in numbers]
    assert [made(number) for number in numbers] == first
    assert [made(number, seed=8) for number in numbers] != first


def test_no_single_plan_comes_twice_before_all_have_come() -> None:
    """After that, there are endless pairs."""
    count = len(ordered())
    plans = [(turn(n)[1], made(n)) for n in range(4 * count) if turn(n)[0] == "mixed"]
    singles = [plan for index, plan in plans if index < count and len(plan.injections) == 1]
    assert len({str(plan) for plan in singles}) == len(singles)
    later = [plan for index, plan in plans if index >= count]
    assert later
    assert all(len(set(plan.injections)) == 2 for plan in later)


@pytest.mark.parametrize(
    "text",
    [
        "mixed: no fault",
        "mixed: kill-after@create-jobs/api#2",
        "mixed: kill-after@create-jobs/api#2,down=3",
        "mixed: stale-restart@patch-status/slow#1,what=all + drop@event-pods-ended/api#1",
        "mixed: never-sent@create-secrets/#1",
        "mixed: second-operator,what=2600",
    ],
)
def test_a_plans_text_is_enough_to_replay_it(text: str) -> None:
    """Parsing and printing it gives the same text."""
    assert str(Plan.parse(text)) == text


def test_every_plan_survives_its_text() -> None:
    """This holds for all generated plans."""
    plans = [made(number) for number in range(300)]
    assert [Plan.parse(str(plan), plan.number) for plan in plans] == plans


@pytest.mark.parametrize("text", ["", "kill-after@", "kill-after@create-jobs", "nonsense", "kill-after@a/b#x"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    """The error is a sentence."""
    with pytest.raises(ValueError, match=r"is not a fault|is not a valid Fault"):
        Injection.parse(text)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (["--plan", "nonsense"], "'nonsense' is not a scenario: write one of mixed"),
        (["--plan", "mixed: nonsense"], "'nonsense' is not a valid Fault"),
        (["--plans", "0"], "must be at least 1 (got 0)"),
        (["--lanes", "-1"], "must be at least 1 (got -1)"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_started(
    given: list[str], want: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Starting a cluster takes a while."""
    with pytest.raises(SystemExit):
        main(given)
    assert want in capsys.readouterr().err


def test_a_trace_keeps_the_first_few_of_each_kind() -> None:
    """Later ones differ from run to run."""
    seen = [Step("patch-status", "api", nth) for nth in range(1, 9)]
    assert choice.trace_of(seen[::-1]) == seen[:2]
