"""The tally of a run: what was not reached does not count, and a run that was stopped goes on."""

from pathlib import Path

import pytest

from faults.plans.choice import another, enumerated
from faults.plans.families import FAMILIES, FAMILY_OF, Family
from faults.plans.plan import Fault, Injection, Plan, Step
from faults.plans.suite import TASKS
from faults.run import Result
from faults.summary import first_missing, read, told
from faults.tally import Tally
from faults.verdict.seen import Violation

STEPS = [Step("create-jobs", "api", number) for number in range(1, 6)]


def result(number: int, *, reached: bool = True, violations: tuple[Violation, ...] = (), seconds: float = 1) -> Result:
    """Return the result of a plan with one fault."""
    plan = Plan(number, "mixed", (Injection(Fault.CONFLICT, STEPS[0]),))
    return Result(
        plan, [], list(plan.injections) if reached else [], list(violations), slots=2, jobs=1, rows=2, seconds=seconds
    )


def test_a_plan_whose_fault_was_not_reached_does_not_count(tmp_path: Path) -> None:
    """It is handed out once, to be replaced."""
    tally = Tally(1, 2, tmp_path / "results.jsonl")
    tally.add(result(0))
    tally.add(result(1, reached=False))
    assert tally.plans == 1
    assert [plan.number for plan in tally.take_unreached()] == [1]
    assert tally.take_unreached() == []


def test_its_place_is_taken_by_a_plan_of_the_same_kind() -> None:
    """The same one each time, and another in each round."""
    plan = result(7).plan
    found = [another(plan, {"mixed": STEPS}, 1, again) for again in range(1, 9)]
    assert found == [another(plan, {"mixed": STEPS}, 1, again) for again in range(1, 9)]
    assert {injection.fault for each in found for injection in each.injections} == {Fault.CONFLICT}
    assert {each.number for each in found} == {7}
    assert len(set(found)) > 1
    assert all(each.injections[0] in enumerated(STEPS, TASKS, "mixed")[Fault.CONFLICT] for each in found)


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """From a number: what was recorded below it counts, what was recorded from it on is run again."""
    record = tmp_path / "results.jsonl"
    first = Tally(1, 3, record)
    for number in range(3):
        first.add(result(number))
    other_seed = Tally(2, 1, record)
    other_seed.add(result(0))
    second = Tally(1, 1, record)
    second.continue_from(2)
    second.add(result(2))
    assert (second.earlier, second.plans, second.slots) == (2, 1, 6)
    assert second.fired == {"conflict": 3}
    assert "1 plans of seed 1" in str(second)
    assert "and 2 of earlier runs" in str(second)
    assert [line.number for line in read(record) if line.seed == 2] == [0], "other seeds' results stay"
    third = Tally(1, 3, record)
    third.continue_from(3)
    assert third.earlier == 3


def test_a_violation_counts_for_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its fault was reached or not."""
    monkeypatch.setattr("faults.tally.FOLDER", tmp_path)
    tally = Tally(1, 1, tmp_path / "results.jsonl")
    tally.add(result(0, reached=False, violations=(Violation("api", None, "a slot is lost"),)))
    assert (len(tally.failed), tally.violated) == (1, {"conflict": 1})


def test_every_fault_belongs_to_one_family() -> None:
    """No plan is missing from the table."""
    assert set(FAMILY_OF) == set(Fault)
    assert set(FAMILIES) == set(Family)
    assert sum(len(faults) for faults in FAMILIES.values()) == len(Fault)


def test_the_results_file_adds_up_by_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several runs, each with its pace; what failed once but not again has no violation."""
    monkeypatch.setattr("faults.tally.FOLDER", tmp_path)
    record = tmp_path / "results.jsonl"
    first = Tally(1, 2, record)
    first.add(result(0, seconds=4))
    first.add(result(1, seconds=8, violations=(Violation("api", None, "a slot is lost"),)))
    second = Tally(1, 1, record)
    second.continue_from(2)
    second.add(result(2, seconds=6, violations=(Violation("api", None, "missed (decided too late)"),)))
    assert "| writes | 3 | 2 | 10.0 |" in told(record)
    assert [plan.number for plan in second.take_doubtful()] == [2]
    second.add(result(2, seconds=6))
    assert second.take_doubtful() == []
    assert second.plans == 1
    assert "| writes | 3 | 1 | 10.0 |" in told(record)
    assert "Seed 1: 3 plans, 6 slots due" in told(record)
    assert "1 failed once, but not in a second run" in told(record)


def test_a_run_that_is_stopped_says_where_to_go_on(tmp_path: Path) -> None:
    """Lanes finish out of order: the first plan without a result counts, and half a line is none."""
    record = tmp_path / "results.jsonl"
    tally = Tally(1, 9, record)
    assert tally.next_number == 0
    for number in (0, 1, 3, 4):
        tally.add(result(number))
    assert tally.next_number == 2
    whole = record.read_text()
    record.write_text(whole[: len(whole) - 20])
    assert first_missing(read(record), 1) == 2
    assert [line.number for line in read(record)] == [0, 1, 3]


def test_a_doubtful_plan_that_fails_again_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs a second time, and no third one; a plan that lost a slot does not run again."""
    monkeypatch.setattr("faults.tally.FOLDER", tmp_path)
    tally = Tally(1, 2, tmp_path / "results.jsonl")
    late = (Violation("api", None, "skipped as StillActive, and no execution was active"),)
    tally.add(result(0, violations=late))
    tally.add(result(1, violations=(*late, Violation("api", None, "a slot is lost"))))
    assert [plan.number for plan in tally.take_doubtful()] == [0]
    tally.add(result(0, violations=late))
    assert tally.take_doubtful() == []
    assert ([each.plan.number for each in tally.failed], tally.unconfirmed) == ([0, 1], [])
