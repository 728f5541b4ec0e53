"""``make faults``: run plans, print the counts, exit with 1 on any violation.

Runs PLANS (300) plans of SEED (1), LANES at a time. PLAN replays one, by its
number or its text, and keeps its log in any case.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from carillon_local.layout import STATE, shown
from faults.plans import choice
from faults.plans.plan import Fault, Plan, Step
from faults.plans.scenarios import SCENARIOS
from faults.run import Result
from faults.world import World

FOLDER = STATE / "faults"
TRACE = FOLDER / "trace.json"
LANES = 6
CLEAN_RUNS = 2
TIMELY = ("skipped as StillActive", "missed (decided")
"""The violations that depend on when two observers saw the same thing, which a busy machine distorts: a plan with
no other violation runs a second time and fails if that fails too. Lost, repeated or unfinished slots always fail."""


@dataclass(slots=True)
class Tally:
    """The outcome of all plans."""

    seed: int
    total: int
    began: float = field(default_factory=time.monotonic)
    plans: int = 0
    slots: int = 0
    jobs: int = 0
    rows: int = 0
    hits: int = 0
    violations: int = 0
    failed: list[Result] = field(default_factory=list)
    unconfirmed: list[Result] = field(default_factory=list)
    fired: Counter[Fault] = field(default_factory=Counter)
    unreached: list[Plan] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count a plan's result; print failures and progress."""
        self.plans += 1
        self.slots += result.slots
        self.jobs += result.jobs
        self.rows += result.rows
        self.hits += result.hits
        self.fired.update(injection.fault for injection in result.fired)
        if len(result.fired) < len(result.plan.injections):
            self.unreached.append(result.plan)
        if result.violations:
            self.failed.append(result)
            self.violations += len(result.violations)
            kept = keep(result)
            print(f"\nplan {result.plan.number} FAILED: {result.plan}")
            for violation in result.violations:
                print(f"  {violation}")
            print(f"  log: {shown(kept)}")
            print(f"  replay: make faults PLAN='{result.plan}'", flush=True)
        elif result.log:
            keep(result)
        elif self.plans % 20 == 0:
            print(f"{self.plans} of {self.total} plans, {time.monotonic() - self.began:.0f} s", flush=True)

    def doubtful(self) -> list[Plan]:
        """Return the plans whose only violations depend on observation times."""
        return [
            result.plan
            for result in self.failed
            if all(violation.what.startswith(TIMELY) for violation in result.violations)
        ]

    def confirm(self, again: Result) -> None:
        """Take the second run of a doubtful plan; without violations the plan has not failed."""
        if not again.violations:
            first = next(result for result in self.failed if result.plan == again.plan)
            self.failed.remove(first)
            self.violations -= len(first.violations)
            self.unconfirmed.append(first)

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        lines = [
            f"{self.plans} plans of seed {self.seed} in {seconds:.0f} s",
            f"{self.slots} slots due, {self.jobs} Jobs created, {self.rows} rows, {self.hits} hits",
            "faults injected: " + ", ".join(f"{fault} {self.fired[fault]}" for fault in Fault if self.fired[fault]),
            f"plans whose fault was not reached: {len(self.unreached)}",
            *(f"  {plan.number} {plan}" for plan in self.unreached),
            f"failed once, but not in a second run: {len(self.unconfirmed)}",
            *(f"  {result.plan.number} {result.plan}" for result in self.unconfirmed),
            f"violations: {self.violations} in {len(self.failed)} plans",
            *(f"  {result.plan.number} {result.plan}" for result in self.failed),
        ]
        return "\n".join(lines)


def keep(result: Result) -> Path:
    """Write a plan's log to a file and return its path."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"plan-{result.plan.number}.log"
    path.write_text("".join(f"{line}\n" for line in (result.plan, *result.log)))
    return path


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 1 if any plan failed."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--plans", type=_from_one, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=_from_one, default=LANES)
    parser.add_argument("--plan", default="", help="replay one plan, given by its number or text")
    given = parser.parse_args(arguments)
    if given.plan and not given.plan.isdigit():
        try:
            Plan.parse(given.plan)
        except ValueError as error:
            parser.error(f"--plan: {error}")
    try:
        return asyncio.run(_main(given))
    except asyncio.CancelledError:
        print("\nstopped; all processes have ended", file=sys.stderr)
        return 128 + signal.SIGTERM


def _from_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 (got {text})")
    return number


async def _main(given: argparse.Namespace) -> int:
    _end_in_good_order()
    tally = Tally(given.seed, 1 if given.plan else given.plans)
    async with World.running(1 if given.plan else min(given.lanes, given.plans)) as world:
        if given.plan and not given.plan.isdigit():
            wanted = [Plan.parse(given.plan)]
        else:
            # a number refers to the trace of the run that printed it
            steps = _remembered() if given.plan else []
            steps = steps or await _clean_trace(world, tally)
            numbers = [int(given.plan)] if given.plan else range(given.plans)
            wanted = [choice.plan(number, steps, given.seed) for number in numbers]
        if given.plan:
            wanted = list(_announced(wanted))
        else:
            for log in FOLDER.glob("plan-*.log"):  # of an earlier run, where numbers refer to other plans
                log.unlink()
        await world.run(wanted, tally.add, keep_log=bool(given.plan))
        if not given.plan:
            await world.run(tally.doubtful(), tally.confirm)
    print(f"\n{tally}")
    if given.plan:
        print(f"log: {shown(FOLDER / f'plan-{wanted[0].number}.log')}")
    return 1 if tally.failed else 0


def _end_in_good_order() -> None:
    """Make SIGTERM cancel the run as Ctrl-C does, so that no process of a lane is left running."""
    loop, running = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        loop.add_signal_handler(signal.SIGTERM, lambda: None)  # a second one must not interrupt the clean-up
        if running is not None:
            running.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)


def _announced(wanted: list[Plan]) -> Iterator[Plan]:
    for plan in wanted:
        print(f"plan {plan.number}: {plan}", flush=True)
        yield plan


def _remembered() -> list[Step]:
    try:
        return [Step(**step) for step in json.loads(TRACE.read_text())]
    except (OSError, ValueError, TypeError):
        return []


async def _clean_trace(world: World, tally: Tally) -> list[Step]:
    """Run without faults and return the steps that all these runs have in common; they are judged like other plans."""
    found: list[set[Step]] = []
    scenario = next(iter(SCENARIOS))

    def tell(result: Result) -> None:
        tally.add(result)
        found.append(set(choice.trace_of(result.steps)))

    await world.run([Plan(-1 - number, scenario) for number in range(CLEAN_RUNS)], tell)
    steps = sorted(set.intersection(*found))
    FOLDER.mkdir(parents=True, exist_ok=True)
    TRACE.write_text(json.dumps([{"kind": s.kind, "task": s.task, "nth": s.nth} for s in steps]))
    print(f"a run without faults has {len(steps)} steps: {_told(steps)}", flush=True)
    return steps


def _told(steps: list[Step]) -> str:
    counts = Counter(step.kind for step in steps)
    return ", ".join(f"{kind} {number}" for kind, number in counts.items())


if __name__ == "__main__":
    sys.exit(main())
