"""``make faults``: run plans, print the counts, exit with 1 at any violation.

PLANS (300) plans under SEED (1), LANES at once; PLAN replays one, by its
number or by its text, and keeps its log whatever comes of it.
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
"""How a violation reads that rests on when two observers saw one thing. On a busy machine that may deceive: a plan with
no other violation is run again, and has failed if it fails again. What was lost, doubled or left running never is."""


@dataclass(slots=True)
class Tally:
    """What all plans came to."""

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
        """Take a plan's result, and say what is worth saying."""
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
            print(f"  its log: {shown(kept)}")
            print(f"  again: make faults PLAN='{result.plan}'", flush=True)
        elif result.log:
            keep(result)
        elif self.plans % 20 == 0:
            print(f"{self.plans} of {self.total} plans, {time.monotonic() - self.began:.0f} s", flush=True)

    def doubtful(self) -> list[Plan]:
        """Return the plans that failed by nothing but the times at which things were seen."""
        return [
            result.plan
            for result in self.failed
            if all(violation.what.startswith(TIMELY) for violation in result.violations)
        ]

    def confirm(self, again: Result) -> None:
        """Take a doubtful plan's second run: a plan that keeps its promises then has not failed."""
        if not again.violations:
            first = next(result for result in self.failed if result.plan == again.plan)
            self.failed.remove(first)
            self.violations -= len(first.violations)
            self.unconfirmed.append(first)

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        lines = [
            f"{self.plans} plans under seed {self.seed} in {seconds:.0f} s",
            f"{self.slots} slots due, {self.jobs} Jobs created, {self.rows} rows, {self.hits} hits",
            "faults injected: " + ", ".join(f"{fault} {self.fired[fault]}" for fault in Fault if self.fired[fault]),
            f"plans with a fault that was not reached: {len(self.unreached)}",
            *(f"  {plan.number} {plan}" for plan in self.unreached),
            f"not confirmed by a second run: {len(self.unconfirmed)}",
            *(f"  {result.plan.number} {result.plan}" for result in self.unconfirmed),
            f"violations: {self.violations} in {len(self.failed)} plans",
            *(f"  {result.plan.number} {result.plan}" for result in self.failed),
        ]
        return "\n".join(lines)


def keep(result: Result) -> Path:
    """Write a plan's log to a file, and return where."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"plan-{result.plan.number}.log"
    path.write_text("".join(f"{line}\n" for line in (result.plan, *result.log)))
    return path


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 1 if any promise was broken."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--plans", type=_from_one, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=_from_one, default=LANES)
    parser.add_argument("--plan", default="", help="replay one: its number, or its text")
    given = parser.parse_args(arguments)
    if given.plan and not given.plan.isdigit():
        try:
            Plan.parse(given.plan)
        except ValueError as error:
            parser.error(f"--plan: {error}")
    try:
        return asyncio.run(_main(given))
    except asyncio.CancelledError:
        print("\ntold to end: nothing of it runs any more", file=sys.stderr)
        return 128 + signal.SIGTERM


def _from_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is too few: write 1 or more")
    return number


async def _main(given: argparse.Namespace) -> int:
    _end_in_good_order()
    tally = Tally(given.seed, 1 if given.plan else given.plans)
    async with World.running(1 if given.plan else min(given.lanes, given.plans)) as world:
        if given.plan and not given.plan.isdigit():
            wanted = [Plan.parse(given.plan)]
        else:
            # a number means a plan of the trace of the run that printed it
            steps = _remembered() if given.plan else []
            steps = steps or await _clean_trace(world, tally)
            numbers = [int(given.plan)] if given.plan else range(given.plans)
            wanted = [choice.plan(number, steps, given.seed) for number in numbers]
        if given.plan:
            wanted = list(_announced(wanted))
        else:
            for log in FOLDER.glob("plan-*.log"):  # of a run before: its numbers mean other plans
                log.unlink()
        await world.run(wanted, tally.add, keep_log=bool(given.plan))
        if not given.plan:
            await world.run(tally.doubtful(), tally.confirm)
    print(f"\n{tally}")
    if given.plan:
        print(f"its log: {shown(FOLDER / f'plan-{wanted[0].number}.log')}")
    return 1 if tally.failed else 0


def _end_in_good_order() -> None:
    """Have SIGTERM end what runs, as Ctrl-C does by itself: each lane has processes that would live on."""
    loop, running = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        loop.add_signal_handler(signal.SIGTERM, lambda: None)  # a second one must not cut the cleaning up off
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
    """Run without faults, and return what every such run goes through; each is a plan and judged like any other."""
    found: list[set[Step]] = []
    scenario = next(iter(SCENARIOS))

    def tell(result: Result) -> None:
        tally.add(result)
        found.append(set(choice.trace_of(result.steps)))

    await world.run([Plan(-1 - number, scenario) for number in range(CLEAN_RUNS)], tell)
    steps = sorted(set.intersection(*found))
    FOLDER.mkdir(parents=True, exist_ok=True)
    TRACE.write_text(json.dumps([{"kind": s.kind, "task": s.task, "nth": s.nth} for s in steps]))
    print(f"a run without faults has {len(steps)} steps to strike at: {_told(steps)}", flush=True)
    return steps


def _told(steps: list[Step]) -> str:
    counts = Counter(step.kind for step in steps)
    return ", ".join(f"{kind} {number}" for kind, number in counts.items())


if __name__ == "__main__":
    sys.exit(main())
