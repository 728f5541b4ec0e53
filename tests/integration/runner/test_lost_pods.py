"""A runner that takes over from a lost pod: what is repeated and recorded, whenever the first pod ended."""

import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from carillon_core.contract import ExitCode
from support.attempts import COUNT, QUICK, SLOW, lose, retrying, server, tried
from support.http_server import CountingServer
from support.runner import SLOT, Runners, Running, over_both

__all__ = ["server"]

pytest_generate_tests = over_both


def test_a_lost_pods_task_without_effect_is_taken_over(runners: Runners) -> None:
    """A task without effects runs again even if the retry policy allows no further attempt."""
    execution = uuid4()
    lose(runners, {"sleep": {"durationSeconds": 600}}, execution, {}, lambda: None)
    before = runners.row()["started_at"]
    runner = runners.start({"sleep": {"durationSeconds": 1}}, execution=execution)
    assert runner.wait() == ExitCode.SUCCEEDED
    want = [(1, "failed", "PodLost", "report-1-lost"), (2, "succeeded", None, "report-1-x")]
    assert tried(runners) == want
    row = runners.row()
    assert (row["pod_name"], row["started_at"]) == ("report-1-x", before)
    assert runners.attempts()[0]["error"] == "pod report-1-lost was lost; the outcome of its attempt is unknown"


@pytest.mark.parametrize(("limit", "want"), [(0, ExitCode.FAILED), (1, ExitCode.SUCCEEDED)])
def test_a_lost_pods_request_is_sent_again_only_if_the_policy_leaves_an_attempt(
    runners: Runners, server: CountingServer, limit: int, want: ExitCode
) -> None:
    """Without a further attempt, the row fails with PodLost and nothing is sent."""
    execution = uuid4()
    server.hold_at = 1
    task = {"http": {"url": server.url}}
    lose(runners, task, execution, retrying(limit=limit), server.reached.wait)
    runner = runners.start(task, execution=execution, more=retrying(limit=limit))
    assert runner.wait() == want, runner.log
    assert len(server.seen) == 1 + limit
    lost = (1, "failed", "PodLost", "report-1-lost")
    assert tried(runners) == ([lost, (2, "succeeded", None, "report-1-x")] if limit else [lost])
    row = runners.row()
    if want is ExitCode.FAILED:
        sentence = "pod report-1-lost was lost; the outcome of its attempt is unknown"
        assert (row["status"], row["reason"], row["pod_name"]) == ("failed", "PodLost", "report-1-lost")
        assert row["error"] == runner.termination_message() == f"{sentence}; the retry policy allows no further attempt"
    # a third pod finds the execution ended, in either case
    assert runners.start(task, execution=execution, pod="report-1-z").wait() == ExitCode.ALREADY_CLAIMED


def test_a_lost_pods_attempts_count(runners: Runners, server: CountingServer) -> None:
    """Failed and lost attempts both count towards the limit."""
    execution = uuid4()
    server.replies = [(500, {}), (500, {}), (200, {})]
    server.hold_at = 3
    task = {"http": {"url": server.url}}
    lose(runners, task, execution, retrying(**QUICK), server.reached.wait)
    runner = runners.start(task, execution=execution, more=retrying(**QUICK))
    assert runner.wait() == ExitCode.FAILED
    assert [attempt[1:3] for attempt in tried(runners)] == [
        ("failed", "HTTP5xx"),
        ("failed", "HTTP5xx"),
        ("failed", "PodLost"),
    ]
    assert len(server.seen) == 3


def test_a_pod_that_was_lost_in_the_wait_leaves_the_rest_of_its_attempts(
    runners: Runners, server: CountingServer
) -> None:
    """A pod lost between two attempts does not use up an attempt."""
    execution = uuid4()
    server.replies = [(500, {}), (200, {})]
    task = {"http": {"url": server.url}}

    def waits() -> None:
        until = time.monotonic() + 30
        while [row["status"] for row in runners.attempts()] != ["failed"]:
            assert time.monotonic() < until

    lose(runners, task, execution, retrying(**SLOW), waits)
    assert runners.start(task, execution=execution, more=retrying(**SLOW)).wait() == ExitCode.SUCCEEDED
    assert [attempt[1:3] for attempt in tried(runners)] == [("failed", "HTTP5xx"), ("succeeded", None)]


def test_a_pod_that_was_taken_for_lost_records_nothing_more(runners: Runners) -> None:
    """A pod that still runs after another took over changes neither row nor attempts."""
    execution = uuid4()
    zombie = runners.start({"sleep": {"durationSeconds": 600}}, execution=execution, pod="report-1-lost")
    zombie.await_line("execution started")
    assert runners.start({"sleep": {"durationSeconds": 1}}, execution=execution).wait() == ExitCode.SUCCEEDED
    before = runners.row(), runners.attempts()
    zombie.process.terminate()
    assert zombie.wait() == ExitCode.SUCCEEDED
    assert "the row was already closed" in zombie.log
    assert (runners.row(), runners.attempts()) == before


PLANS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "counter": (COUNT, {}),
    "request": ({"http": {}}, {}),
    "retried request": ({"http": {}}, {"limit": 2, "initialDelaySeconds": 0}),
}
MOMENTS = 8


def test_an_end_at_any_moment_leaves_no_double_effect_and_no_ghost(runners: Runners, server: CountingServer) -> None:
    """The record is complete and correct if the first pod ends at any moment and a second one follows.

    The counter equals the number of succeeded counters; no more requests are sent than the policy allows; no row or
    attempt keeps running; and a row succeeds only if its task did.
    """
    rng = random.Random(4711)  # noqa: S311  # a sample, the same each time
    server.before_answer = lambda _number: time.sleep(0.03)
    runs = [
        (uuid4(), plan, step, rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        for plan in PLANS
        for step in range(MOMENTS)
    ]
    with ThreadPoolExecutor(3) as pool:  # as many at once as below
        lives = dict(zip(PLANS, pool.map(partial(life, runners, server), PLANS), strict=True))

    def lose_one(index: int) -> tuple[int, int]:
        execution, plan, step, number = runs[index]
        first = start(runners, server, plan, execution, index, "report-1-lost")
        if step % 2:
            first.await_line("execution started")
            moment = 0.06 * step / MOMENTS
        else:
            # most of the time is the start of the interpreter, during which nothing can be lost
            moment = lives[plan] * (0.4 + 0.9 * step / (MOMENTS - 2))
        with suppress(subprocess.TimeoutExpired):
            first.process.wait(timeout=moment)
        first.process.send_signal(number)
        return first.wait(), start(runners, server, plan, execution, index, "report-1-x").wait()

    with ThreadPoolExecutor(3) as pool:
        codes = list(pool.map(lose_one, range(len(runs))))
    succeeded_counters = 1  # the run that was measured
    for (execution, plan, _, _), ended in zip(runs, codes, strict=True):
        row = true_row(runners, server, execution, plan, ended)
        succeeded_counters += plan == "counter" and row["status"] == "succeeded"
    assert runners.counter() == succeeded_counters
    # the moments include some before the claim, some within an attempt, and some after the end
    assert any(first < 0 and second == ExitCode.SUCCEEDED for first, second in codes)
    assert any(row["reason"] == "PodLost" for row in runners.query("SELECT reason FROM attempts"))
    assert any(first == ExitCode.SUCCEEDED for first, _ in codes)


def true_row(
    runners: Runners, server: CountingServer, execution: UUID, plan: str, codes: tuple[int, int]
) -> dict[str, Any]:
    """Return the row of an execution whose two pods ended with these exit codes, if it is complete and correct."""
    ran_out = {ExitCode.SUCCEEDED, ExitCode.FAILED}
    first, second = codes
    row, attempts = runners.row(execution), runners.attempts(execution)
    told = f"{plan}: {first}, {second}, {row}, {attempts}"
    assert row["status"] in {"succeeded", "failed", "cancelled"}, told
    assert all(attempt["finished_at"] is not None for attempt in attempts), told
    assert [attempt["number"] for attempt in attempts] == list(range(1, len(attempts) + 1)), told
    assert (second == ExitCode.ALREADY_CLAIMED) or (first not in ran_out and second in ran_out), told
    sent = [status for key, status in server.answers if key == str(execution)]
    assert len(sent) <= {"counter": 0, "request": 1, "retried request": 3}[plan], told
    if plan == "counter":
        assert row["reason"] != "PodLost", told
    elif row["status"] == "succeeded":
        assert sent[-1] == 200, told
        assert attempts[-1]["status"] == "succeeded", told
    return row


def life(runners: Runners, server: CountingServer, plan: str) -> float:
    """Return how long a runner of this plan takes."""
    began = time.monotonic()
    index = len(PLANS) * MOMENTS + list(PLANS).index(plan)
    start(runners, server, plan, uuid4(), index, "report-1-x").wait()
    return time.monotonic() - began


def start(runners: Runners, server: CountingServer, plan: str, execution: UUID, index: int, pod: str) -> Running:
    """Start a pod of a plan, on a slot of its own."""
    task, policy = PLANS[plan]
    if "http" in task:
        # a request that may be retried fails at first
        task = {"http": {"url": f"{server.url}/{'flaky' if policy else 'good'}"}}
    slot = SLOT + timedelta(minutes=index)
    return runners.start(task, execution=execution, pod=pod, slot=slot, more=retrying(**policy))
