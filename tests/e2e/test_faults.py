"""A small part of ``make faults``: one plan of each kind, with its own cluster and databases."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from faults.plans.plan import Plan
from faults.run import Result
from faults.world import World

LANES = 3
PLANS = {
    "nothing fails": "no fault",
    "killed before a Job is created": "kill-before@create-jobs/api#2",
    "killed after a Job is created": "kill-after@create-jobs/api#2",
    "killed after a Job is created, and away for a slot": "kill-after@create-jobs/count#1,down=3",
    "told to stop while a Job is created": "terminate@create-jobs/over#1",
    "the answer to a Job's creation is lost": "lost-answer@create-jobs/api#2",
    "the answer to a Job's creation comes after the next slot": "late-answer@create-jobs/count#1",
    "a status meets a conflict": "conflict@patch-status/api#2",
    "too many requests": "too-many@create-jobs/api#1",
    "an error after the commit": "error-after@create-jobs/count#2",
    "a Job's creation is sent twice": "sent-twice@create-jobs/over#1",
    "the API server is away for a slot": "unavailable@create-jobs/api#2",
    "Postgres stops": "postgres-stop@create-jobs/api#2,down=3",
    "a pod's end is not seen": "drop@event-pods-ended/api#1",
    "a task is seen late": "delay@event-tasks-added/api#1",
    "a Job's end is seen twice": "duplicate@event-jobs-ended/api#1",
    "the pods' watch is too far behind": "gone-in-stream@event-pods-running/api#1",
    "the tasks have to be listed anew": "gone-in-stream@event-tasks-changed/api#1",
    "the Jobs' watch is answered with 410": "relist@event-jobs-added/api#1",
    "two operators": "second-operator,what=0",
    "killed while the history lacks a skipped slot": "postgres-stop-kill@create-jobs/slow#1,down=3",
    "the tasks' watch is answered with 410": "relist@event-tasks-changed/api#1",
    "two operators, one of which sees everything late": "second-operator,what=2600",
    "lists of the past after a restart": "stale-restart@create-events/over#1,what=jobs",
}


@pytest.fixture(scope="module")
def results() -> Mapping[str, Result]:
    """Run all plans, several at a time; give the results by the plans' texts."""
    found: dict[str, Result] = {}

    async def run() -> None:
        async with World.running(LANES) as world:
            plans = [Plan.parse(f"mixed: {text}", number) for number, text in enumerate(PLANS.values())]
            await world.run(plans, lambda result: found.update({str(result.plan): result}))
            # on a busy machine, a plan may end before its step occurs
            for plan in [plan for plan in plans if len(found[str(plan)].fired) < len(plan.injections)]:
                await world.run([plan], lambda result: found.update({str(result.plan): result}))

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
