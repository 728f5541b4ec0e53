"""A small part of ``make faults``: plans of different kinds, with their own cluster and databases; CI runs more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from faults.carillon import world
from faults.plans.plan import Plan
from faults.run import Result

LANES = 3
PLANS = {
    "nothing fails": "no fault",
    "killed before a Job is created": "kill-before@create-jobs/api#2",
    "killed after a Job is created, and away for a slot": "kill-after@create-jobs/count#1,down=3",
    "the answer to a Job's creation is lost": "lost-answer@create-jobs/api#2",
    "the answer to a Job's creation comes after the next slot": "late-answer@create-jobs/count#1",
    "the API server is away for a slot": "unavailable@create-jobs/api#2",
    "Postgres stops": "postgres-stop@create-jobs/api#2,down=3",
    "a pod's end is not seen": "drop@event-pods-ended/api#1",
    "the Jobs' watch is answered with 410": "relist@event-jobs-added/api#1",
    "killed while the history lacks a skipped slot": "postgres-stop-kill@create-jobs/slow#1,down=3",
    "two operators, one of which sees everything late": "second-operator,what=2600",
    "lists of the past after a restart": "stale-restart@create-events/over#1,what=jobs",
}


@pytest.fixture(scope="module")
def results() -> Mapping[str, Result]:
    """Run all plans, several at a time; give the results by the plans' texts."""
    found: dict[str, Result] = {}

    async def run() -> None:
        async with world.running(LANES) as lanes:
            plans = [Plan.parse(f"mixed: {text}", number) for number, text in enumerate(PLANS.values())]
            await lanes.run(plans, lambda result: found.update({str(result.plan): result}))
            # on a busy machine, a plan may end before its step occurs
            for plan in [plan for plan in plans if len(found[str(plan)].fired) < len(plan.injections)]:
                await lanes.run([plan], lambda result: found.update({str(result.plan): result}))

    asyncio.run(run())
    return found


@pytest.mark.parametrize("text", PLANS.values(), ids=PLANS.keys())
def test_no_slot_is_lost_or_run_twice(results: Mapping[str, Result], text: str) -> None:
    """The fault has occurred, and there is no violation."""
    kept(results, text)


def kept(results: Mapping[str, Result], text: str) -> None:
    """Assert that a plan's fault has occurred, and that there is no violation."""
    result = results[f"mixed: {text}"]
    story = "\n".join(map(str, result.log))
    assert not result.violations, f"{[str(violation) for violation in result.violations]}\n{story}"
    assert len(result.fired) == len(result.plan.injections)
    assert result.slots >= 4
