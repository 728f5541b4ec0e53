"""``make faults``: run plans, print the counts, exit with 1 on any violation.

Runs PLANS (300) plans of SEED (1), LANES at a time. A plan whose faults were not
reached is replaced by another of the same kind. FROM continues a run that was
stopped, from a plan's number; the results add up in ``results.jsonl``, whose
table ``--summary`` prints. PLAN replays one plan, by its number or its text, and
keeps its log in any case. NATIVE does all of this with Kubernetes' own CronJob
controller, whose violations are counted and do not fail the run.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from carillon_local.layout import shown
from faults import summary
from faults.carillon import world as carillon_world
from faults.native import world as native_world
from faults.plans import choice
from faults.plans.families import Family, families_of
from faults.plans.plan import Plan, Step
from faults.plans.suite import NATIVE, TASKS, Suite
from faults.run import Result
from faults.tally import FOLDER, Tally
from faults.world import World

LANES = 6
CLEAN_RUNS = 2
ROUNDS = 5
"""How often a plan whose faults were not reached is replaced."""


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 1 if any plan failed."""
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--plans", type=_from_one, default=300)
    parser.add_argument("--from", type=int, default=0, dest="first", help="continue with the plan of this number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=_from_one, default=LANES)
    parser.add_argument("--plan", default="", help="replay one plan, given by its number or text")
    parser.add_argument("--family", choices=list(Family), help="only plans with a fault of this family; not recorded")
    parser.add_argument("--native", action="store_const", const=NATIVE, default=TASKS, dest="suite")
    parser.add_argument("--summary", action="store_true", help="print the table of the results file and run nothing")
    given = parser.parse_args(arguments)
    if given.summary:
        print(summary.told(_record(given.suite), given.suite.findings))
        return 0
    if given.plan and not given.plan.isdigit():
        try:
            Plan.parse(given.plan, scenarios=given.suite.scenarios)
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


def _record(suite: Suite) -> Path:
    return FOLDER / f"{suite.prefix}results.jsonl"


async def _main(given: argparse.Namespace) -> int:
    _end_in_good_order()
    FOLDER.mkdir(parents=True, exist_ok=True)
    alone = given.plan or given.family
    suite: Suite = given.suite
    total = 1 if given.plan else given.plans - given.first
    tally = Tally(given.seed, total, None if alone else _record(suite), suite)
    tally.continue_from(given.first)
    running = native_world.running if suite is NATIVE else carillon_world.running
    async with running(1 if given.plan else min(given.lanes, given.plans)) as world:
        if given.plan and not given.plan.isdigit():
            wanted = [Plan.parse(given.plan)]
        else:
            # a number refers to the traces of the run that printed it
            traces = _remembered(suite, given.seed) if alone or given.first else {}
            traces = traces or await _clean_traces(world, tally)
            numbers = [int(given.plan)] if given.plan else range(given.first, given.plans)
            wanted = [choice.plan(number, traces, given.seed, suite) for number in numbers]
            if given.family:
                wanted = [plan for plan in wanted if given.family in families_of(plan)]
        if given.plan:
            wanted = list(_announced(wanted))
        elif not given.first and not given.family:
            for log in FOLDER.glob(
                f"{suite.prefix}plan-*.log"
            ):  # of an earlier run, where numbers refer to other plans
                log.unlink()
        try:
            if given.plan:
                await world.run(wanted, tally.add, keep_log=True)
            else:
                await _run_all(
                    world, wanted, tally, partial(choice.another, traces=traces, seed=given.seed, suite=suite)
                )
        except asyncio.CancelledError:
            print(f"\n{tally}\ncontinue with: {suite.command} SEED={given.seed} FROM={tally.next_number}", flush=True)
            raise
    print(f"\n{tally}")
    if given.plan:
        print(f"log: {shown(tally.log_of(wanted[0]))}")
    return 1 if tally.broken or (tally.unreached and not given.plan) else 0


async def _run_all(world: World, wanted: list[Plan], tally: Tally, another: Callable[..., Plan]) -> None:
    """Run plans, and soon after each those that take the place of others or run a second time."""
    rounds: Counter[int] = Counter()

    def others() -> Iterator[Plan]:
        for plan in tally.take_unreached():
            rounds[plan.number] += 1
            if rounds[plan.number] > ROUNDS:
                tally.unreached.append(plan)
            else:
                yield another(plan, again=rounds[plan.number])

    def in_order() -> Iterator[Plan]:
        for plan in wanted:
            yield from [*others(), *tally.take_doubtful()]
            yield plan

    await world.run(in_order(), tally.add)
    while left := [*others(), *tally.take_doubtful()]:
        await world.run(left, tally.add)


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


def _trace_file(suite: Suite, seed: int) -> Path:
    return FOLDER / f"{suite.prefix}trace-{seed}.json"


def _remembered(suite: Suite, seed: int) -> choice.Traces:
    try:
        known = json.loads(_trace_file(suite, seed).read_text())
        return {scenario: [Step(**step) for step in known[scenario]] for scenario in suite.scenarios}
    except (OSError, ValueError, TypeError, LookupError):
        return {}


async def _clean_traces(world: World, tally: Tally) -> choice.Traces:
    """Run each scenario without faults; return the steps that its runs have in common. They are judged like plans."""
    found: dict[str, list[set[Step]]] = {scenario: [] for scenario in tally.suite.scenarios}

    def tell(result: Result) -> None:
        tally.add(result)
        found[result.plan.scenario].append(set(choice.trace_of(result.steps)))

    clean = [scenario for scenario in tally.suite.scenarios for _ in range(CLEAN_RUNS)]
    await world.run([Plan(-1 - number, scenario) for number, scenario in enumerate(clean)], tell)
    traces = {scenario: sorted(set.intersection(*seen)) for scenario, seen in found.items()}
    plain = {name: [{"kind": s.kind, "task": s.task, "nth": s.nth} for s in steps] for name, steps in traces.items()}
    _trace_file(tally.suite, tally.seed).write_text(json.dumps(plain))
    for scenario, steps in traces.items():
        print(f"{scenario}: a run without faults has {len(steps)} steps: {_told(steps)}", flush=True)
    return traces


def _told(steps: list[Step]) -> str:
    counts = Counter(step.kind for step in steps)
    return ", ".join(f"{kind} {number}" for kind, number in counts.items())


if __name__ == "__main__":
    sys.exit(main())
