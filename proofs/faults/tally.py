"""The outcome of all plans of a run, and of the runs before it that it continues."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from carillon_local.layout import STATE, shown
from faults import summary
from faults.plans.families import families_of
from faults.plans.plan import Fault, Plan
from faults.plans.suite import TASKS, Suite
from faults.run import Result
from faults.summary import Line, Summary

FOLDER = STATE / "faults"


@dataclass(slots=True)
class Tally:
    """The outcome of all plans."""

    seed: int
    total: int
    record: Path | None = None
    """Where each result is written; an interrupted run is continued from it."""
    suite: Suite = TASKS
    began: float = field(default_factory=time.monotonic)
    plans: int = 0
    earlier: int = 0
    """The plans of the runs that this one continues."""
    slots: int = 0
    jobs: int = 0
    rows: int = 0
    hits: int = 0
    violations: int = 0
    failed: list[Result] = field(default_factory=list)
    unconfirmed: list[Result] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    violated: Counter[str] = field(default_factory=Counter)
    """The plans with violations, by fault."""
    unreached: list[Plan] = field(default_factory=list)
    """The plans whose faults were not reached: they prove nothing, and others take their place."""
    _doubtful: list[Plan] = field(default_factory=list)
    _repeated: list[Plan] = field(default_factory=list)
    _lines: dict[int, Line] = field(default_factory=dict)
    """The results of this run and of those that it continues, by number."""

    def add(self, result: Result) -> None:
        """Count a plan's result, or take the second run of a doubtful plan; print failures and progress."""
        if result.plan in self._repeated:
            self._repeated.remove(result.plan)
            self.confirm(result)
            return
        if len(result.fired) < len(result.plan.injections) and not result.violations:
            self.unreached.append(result.plan)
            return
        self.plans += 1
        self.slots += result.slots
        self.jobs += result.jobs
        self.rows += result.rows
        self.hits += result.hits
        self.fired.update(injection.fault.value for injection in result.fired)
        self._write(result)
        if result.violations:
            self.failed.append(result)
            if all(violation.what.startswith(tuple(self.suite.timely)) for violation in result.violations):
                self._doubtful.append(result.plan)
            self.violations += len(result.violations)
            self.violated.update(injection.fault.value for injection in result.plan.injections)
            kept = self.keep(result)
            print(f"\nplan {result.plan.number} FAILED: {result.plan}")
            for violation in result.violations:
                print(f"  {violation}")
            print(f"  log: {shown(kept)}")
            print(f"  replay: {self.suite.command} PLAN='{result.plan}'", flush=True)
        elif result.log:
            self.keep(result)
        elif self.plans % 20 == 0:
            print(f"{self.plans} of {self.total} plans, {time.monotonic() - self.began:.0f} s", flush=True)

    def take_unreached(self) -> list[Plan]:
        """Return the plans whose faults were not reached since the last call."""
        found, self.unreached = self.unreached, []
        return found

    def take_doubtful(self) -> list[Plan]:
        """Return the plans since the last call whose only violations depend on observation times, to be repeated."""
        found, self._doubtful = self._doubtful, []
        self._repeated += found
        return found

    def confirm(self, again: Result) -> None:
        """Take the second run of a doubtful plan; without violations the plan has not failed."""
        if not again.violations:
            first = next(result for result in self.failed if result.plan == again.plan)
            self.failed.remove(first)
            self.violations -= len(first.violations)
            self.violated.subtract(injection.fault.value for injection in first.plan.injections)
            self.unconfirmed.append(first)
            self._write(again, unconfirmed=True)

    def continue_from(self, number: int) -> None:
        """Count the plans below a number that earlier runs of the same seed have recorded; drop their later ones."""
        if self.record is None:
            return
        kept = [line for line in summary.read(self.record) if line.seed != self.seed or line.number < number]
        for line in kept:
            if line.seed == self.seed:
                self.earlier += 1
                self.slots += line.slots
                self.jobs += line.jobs
                self.rows += line.rows
                self.fired.update(line.faults)
                if line.violations:
                    self.violated.update(line.faults)
                self._lines[line.number] = line
        self.record.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    @property
    def broken(self) -> bool:
        """Whether a plan failed for another reason than those that the suite only counts."""
        return any(v.kind not in self.suite.findings for result in self.failed for v in result.violations)

    def log_of(self, plan: Plan) -> Path:
        """Return the path of a plan's log."""
        return FOLDER / f"{self.suite.prefix}plan-{plan.number}.log"

    def keep(self, result: Result) -> Path:
        """Write a plan's log to a file and return its path."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = self.log_of(result.plan)
        path.write_text("".join(f"{line}\n" for line in (result.plan, *result.log)))
        return path

    @property
    def next_number(self) -> int:
        """Where a run that is stopped now goes on."""
        return summary.first_missing(self._lines.values(), self.seed)

    def _write(self, result: Result, *, unconfirmed: bool = False) -> None:
        if result.plan.number < 0:
            return
        line = Line(
            seed=self.seed,
            number=result.plan.number,
            plan=str(result.plan),
            faults=[injection.fault.value for injection in result.fired],
            families=[family.value for family in families_of(result.plan)],
            violations=[str(violation) for violation in result.violations],
            slots=result.slots,
            jobs=result.jobs,
            rows=result.rows,
            seconds=round(result.seconds, 1),
            unconfirmed=unconfirmed,
            kinds=dict(Counter(violation.kind for violation in result.violations if violation.kind)),
        )
        self._lines[line.number] = line
        if self.record is not None:
            with self.record.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        pace = f"{self.plans * 60 / seconds:.0f} a minute" if seconds else ""
        continued = f", and {self.earlier} of earlier runs" if self.earlier else ""
        lines = [
            f"{self.plans} plans of seed {self.seed} in {seconds:.0f} s ({pace}){continued}",
            f"{self.slots} slots due, {self.jobs} Jobs created, {self.rows} rows, {self.hits} hits",
            str(Summary.of(self.seed, self._lines.values(), self.suite.findings)),
            "injected, and plans with violations, by kind of fault:",
            *(
                f"  {fault.value:<20} {self.fired[fault.value]:>6} {self.violated[fault.value]:>4}"
                for fault in Fault
                if self.fired[fault.value]
            ),
            f"plans whose fault was not reached, though they were replaced: {len(self.unreached)}",
            *(f"  {plan.number} {plan}" for plan in self.unreached),
            f"failed once, but not in a second run: {len(self.unconfirmed)}",
            *(f"  {result.plan.number} {result.plan}" for result in self.unconfirmed),
            f"violations: {self.violations} in {len(self.failed)} plans",
            *(f"  {result.plan.number} {result.plan}" for result in self.failed),
        ]
        return "\n".join(lines)
