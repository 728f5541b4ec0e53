"""Attempts of the runner on a real Postgres: retries, lost pods, and a database that goes away between two."""

import json
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from carillon_core import contract
from carillon_core.contract import ExitCode
from support.http_server import CountingServer
from support.runner import SLOT, Forwarder, Runners, Running

COUNT: dict[str, Any] = {"counter": {}}
QUICK = {"limit": 2, "initialDelaySeconds": 0}
SLOW = {"limit": 2, "initialDelaySeconds": 600, "jitter": 0}


def retrying(**policy: Any) -> Mapping[str, str]:
    """Return the variable of a retry policy."""
    return {contract.ENV_RETRY: json.dumps(policy)}


@pytest.fixture
def server() -> Iterator[CountingServer]:
    """Give a server that counts its requests."""
    with CountingServer() as made:
        yield made


def tried(runners: Runners, execution: UUID | None = None) -> list[tuple[Any, ...]]:
    """Return number, status, reason and pod of the attempts."""
    rows = runners.attempts(execution)
    for row in rows:
        assert (row["finished_at"] is None) == (row["status"] == "running")
        assert row["finished_at"] is None or row["started_at"] <= row["finished_at"]
    return [(row["number"], row["status"], row["reason"], row["pod_name"]) for row in rows]


def test_an_execution_without_retries_has_one_attempt(runners: Runners) -> None:
    """With the times of its execution, and its origin the task."""
    assert runners.start(COUNT).wait() == ExitCode.SUCCEEDED
    row, (attempt,) = runners.row(), runners.attempts()
    assert tried(runners) == [(1, "succeeded", None, "report-1-x")]
    assert (attempt["started_at"], attempt["error"]) == (row["started_at"], None)
    assert row["origin"] == runners.task_uid


def test_a_request_is_the_origin_of_its_execution(runners: Runners) -> None:
    """Two may ask for the same task at the same time."""
    for origin in (uuid4(), uuid4()):
        more = {contract.ENV_ORIGIN: str(origin), contract.ENV_CAUSE: "manual"}
        assert runners.start(COUNT, more=more).wait() == ExitCode.SUCCEEDED
        assert runners.query("SELECT 1 FROM executions WHERE origin = %s", origin)
    assert runners.counter() == 2


def test_a_failed_request_is_sent_again_until_it_succeeds(runners: Runners, server: CountingServer) -> None:
    """Each attempt with its class; the key of idempotency is the execution's in all of them."""
    server.replies = [(500, {}), (503, {"Retry-After": "0"}), (200, {})]
    runner = runners.start({"http": {"url": server.url + "/{{ attempt }}"}}, more=retrying(**QUICK))
    assert runner.wait() == ExitCode.SUCCEEDED, runner.log
    failed = [(number, "failed", "http_5xx", "report-1-x") for number in (1, 2)]
    assert tried(runners) == [*failed, (3, "succeeded", None, "report-1-x")]
    row = runners.row()
    assert (row["status"], row["error"], row["result"]["statusCode"]) == ("succeeded", None, 200)
    assert [path for path, _ in server.seen] == ["/1", "/2", "/3"]
    assert len({key for _, key in server.seen}) == 1
    times = [(a["started_at"], a["finished_at"]) for a in runners.attempts()]
    assert [moment for pair in times for moment in pair] == sorted(moment for pair in times for moment in pair)
    assert times[-1][1] == row["finished_at"]


def test_when_no_attempt_is_left_the_last_one_is_the_executions_end(runners: Runners, server: CountingServer) -> None:
    """With its result, and a sentence that says so."""
    server.replies = [(500, {})]
    runner = runners.start({"http": {"url": server.url}}, more=retrying(**QUICK))
    assert runner.wait() == ExitCode.FAILED
    row = runners.row()
    assert (row["status"], row["reason"], row["result"]["statusCode"]) == ("failed", "http_5xx", 500)
    assert row["error"] == "the server answered 500, expected 2xx; attempt 3 was the last one allowed"
    assert [attempt[0] for attempt in tried(runners)] == [1, 2, 3]
    assert len(server.seen) == 3


@pytest.mark.parametrize(("reply", "want"), [((404, {}), 1), ((429, {}), 2), ((302, {"Location": "ftp://h/"}), 1)])
def test_what_would_fail_the_same_way_is_not_sent_again(
    runners: Runners, server: CountingServer, reply: tuple[int, dict[str, str]], want: int
) -> None:
    """A 4xx, but those that pass; a redirect that leads nowhere."""
    server.replies = [reply]
    task = {"http": {"url": server.url, "maxRedirects": 2}}
    runner = runners.start(task, more=retrying(limit=1, initialDelaySeconds=0))
    assert runner.wait() == ExitCode.FAILED
    assert len(server.seen) == len(tried(runners)) == want


def test_what_the_server_asks_for_is_waited_for(runners: Runners, server: CountingServer) -> None:
    """Instead of the policy's own wait, which is shorter."""
    server.replies = [(429, {"Retry-After": "1"}), (200, {})]
    assert runners.start({"http": {"url": server.url}}, more=retrying(**QUICK)).wait() == ExitCode.SUCCEEDED
    first, second = runners.attempts()
    assert (second["started_at"] - first["finished_at"]).total_seconds() >= 1


@pytest.mark.parametrize(("reply", "policy"), [((503, {"Retry-After": "3600"}), QUICK), ((500, {}), SLOW)])
def test_a_wait_that_would_outlast_the_execution_ends_it_at_once(
    runners: Runners, server: CountingServer, reply: tuple[int, dict[str, str]], policy: dict[str, Any]
) -> None:
    """As what it was, with a word on why there is no further attempt."""
    server.replies = [reply]
    runner = runners.start({"http": {"url": server.url}}, more=retrying(**policy))
    assert runner.wait() == ExitCode.FAILED
    row = runners.row()
    assert row["reason"] == "http_5xx"
    assert "no time is left for another attempt" in row["error"]
    assert len(server.seen) == 1


def test_an_attempt_beyond_its_own_time_out_has_failed_and_another_follows(runners: Runners) -> None:
    """Its class is ``timeout``; the execution goes on."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        task = {"http": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}}
        began = time.monotonic()
        runner = runners.start(task, more=retrying(limit=1, initialDelaySeconds=0, attemptTimeoutSeconds=1))
        assert runner.wait() == ExitCode.FAILED
    assert time.monotonic() - began < 50
    assert [attempt[1:3] for attempt in tried(runners)] == [("failed", "timeout")] * 2
    assert runners.row()["error"].startswith("exceeded the timeout of an attempt of 1 s")


def test_the_time_out_is_that_of_all_attempts_together(runners: Runners) -> None:
    """It ends the attempt that runs, and the execution as timed out."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        task = {"http": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}}
        more = retrying(limit=20, initialDelaySeconds=0, attemptTimeoutSeconds=1)
        runner = runners.start(task, timeout_seconds=1.5, more=more)
        assert runner.wait() == ExitCode.TIMED_OUT
    assert [attempt[1:3] for attempt in tried(runners)] == [("failed", "timeout"), ("timed_out", "timeout")]


def test_a_signal_ends_the_wait_between_two_attempts(runners: Runners, server: CountingServer) -> None:
    """As cancelled, and the attempt before keeps its own end."""
    server.replies = [(500, {})]
    runner = runners.start({"http": {"url": server.url}}, timeout_seconds=3600, more=retrying(**SLOW))
    runner.await_line("attempt failed, will retry")
    runner.process.terminate()
    assert runner.wait() == ExitCode.CANCELLED
    assert tried(runners) == [(1, "failed", "http_5xx", "report-1-x")]
    assert runners.row()["error"] == "terminated by SIGTERM; attempt 1 had failed with http_5xx"


def test_an_end_between_two_attempts_is_the_executions_end(runners: Runners, server: CountingServer) -> None:
    """The operator has closed it: nothing more is sent, and what it said stands."""
    server.replies = [(500, {})]
    wait = {"limit": 2, "initialDelaySeconds": 1, "factor": 1, "jitter": 0}
    runner = runners.start({"http": {"url": server.url}}, more=retrying(**wait))
    runner.await_line("attempt failed, will retry")
    runners.query("UPDATE executions SET status = 'failed', reason = 'Evicted', finished_at = now()")
    assert runner.wait() == ExitCode.FAILED
    assert runners.row()["reason"] == "Evicted"
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", ["skipped", "missed"])
def test_a_row_that_a_stale_operator_wrote_is_taken_over(runners: Runners, status: str) -> None:
    """The Job is the slot's lock, and it exists: so the slot was neither skipped nor missed."""
    execution = uuid4()
    runners.insert(execution, status)
    runners.query("UPDATE executions SET reason = 'StillActive', message = 'm', error = 'e', first_slot = slot")
    assert runners.start(COUNT, execution=execution).wait() == ExitCode.SUCCEEDED
    row = runners.row()
    assert (row["status"], row["reason"], row["message"], row["error"]) == ("succeeded", None, None, None)
    assert (row["job_name"], row["pod_name"], row["first_slot"]) == ("report-1", "report-1-x", None)
    assert row["started_at"] > SLOT
    assert runners.counter() == 1
    assert tried(runners) == [(1, "succeeded", None, "report-1-x")]


def lose(
    runners: Runners, task: dict[str, Any], execution: UUID, more: Mapping[str, str], reached: Callable[[], Any]
) -> None:
    """Start a runner and kill it when it has come so far."""
    runner = runners.start(task, execution=execution, pod="report-1-lost", more=more, timeout_seconds=3600)
    runner.await_line("execution started")
    reached()
    runner.process.kill()
    runner.process.wait()


def test_a_lost_pods_task_without_effect_is_taken_over(runners: Runners) -> None:
    """Though the retry policy leaves it no attempt: nothing of the first is left."""
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
    """Else the row ends as lost, in words, and nothing is sent."""
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
    # a third pod finds the end, whichever it is
    assert runners.start(task, execution=execution, pod="report-1-z").wait() == ExitCode.ALREADY_CLAIMED


def test_a_lost_pods_attempts_count(runners: Runners, server: CountingServer) -> None:
    """Two of three have failed, and the third was lost: there is none left; the ends of the two stay."""
    execution = uuid4()
    server.replies = [(500, {}), (500, {}), (200, {})]
    server.hold_at = 3
    task = {"http": {"url": server.url}}
    lose(runners, task, execution, retrying(**QUICK), server.reached.wait)
    runner = runners.start(task, execution=execution, more=retrying(**QUICK))
    assert runner.wait() == ExitCode.FAILED
    assert [attempt[1:3] for attempt in tried(runners)] == [
        ("failed", "http_5xx"),
        ("failed", "http_5xx"),
        ("failed", "PodLost"),
    ]
    assert len(server.seen) == 3


def test_a_pod_that_was_lost_in_the_wait_leaves_the_rest_of_its_attempts(
    runners: Runners, server: CountingServer
) -> None:
    """No attempt was running, so none was lost."""
    execution = uuid4()
    server.replies = [(500, {}), (200, {})]
    task = {"http": {"url": server.url}}

    def waits() -> None:
        until = time.monotonic() + 30
        while [row["status"] for row in runners.attempts()] != ["failed"]:
            assert time.monotonic() < until

    lose(runners, task, execution, retrying(**SLOW), waits)
    assert runners.start(task, execution=execution, more=retrying(**SLOW)).wait() == ExitCode.SUCCEEDED
    assert [attempt[1:3] for attempt in tried(runners)] == [("failed", "http_5xx"), ("succeeded", None)]


def test_a_pod_that_was_taken_for_lost_records_nothing_more(runners: Runners) -> None:
    """A node that only seemed to be gone: the row is the other pod's, and the counter counts once."""
    execution = uuid4()
    zombie = runners.start({"sleep": {"durationSeconds": 600}}, execution=execution, pod="report-1-lost")
    zombie.await_line("execution started")
    assert runners.start({"sleep": {"durationSeconds": 1}}, execution=execution).wait() == ExitCode.SUCCEEDED
    before = runners.row(), runners.attempts()
    zombie.process.terminate()
    assert zombie.wait() == ExitCode.SUCCEEDED
    assert "the row was already closed" in zombie.log
    assert (runners.row(), runners.attempts()) == before


def test_attempts_go_on_without_the_database_and_are_written_at_the_end(
    runners: Runners, forwarder: Forwarder, server: CountingServer
) -> None:
    """All of them, with the times at which they were."""
    server.replies = [(500, {}), (500, {}), (200, {})]
    server.before_answer = lambda number: forwarder.close() if number == 1 else None
    forwarder.open()
    runner = runners.start({"http": {"url": server.url}}, url=forwarder.url, more=retrying(**QUICK))
    runner.await_line("database unreachable")
    assert len(server.seen) == 3
    assert [attempt[1] for attempt in tried(runners)] == ["running"]
    forwarder.open()
    assert runner.wait() == ExitCode.SUCCEEDED
    want = [(1, "failed", "http_5xx"), (2, "failed", "http_5xx"), (3, "succeeded", None)]
    assert [attempt[:3] for attempt in tried(runners)] == want
    moments = [moment for row in runners.attempts() for moment in (row["started_at"], row["finished_at"])]
    assert moments == sorted(moments)


@pytest.mark.parametrize("statement", [b"runner.claim", b"runner.save_attempts", b"runner.close_row"])
def test_a_lost_answer_loses_no_attempt(
    runners: Runners, forwarder: Forwarder, server: CountingServer, statement: bytes
) -> None:
    """The claim's, that of an attempt's record, or the end's."""
    server.replies = [(500, {}), (200, {})]
    forwarder.lose_answer_to(statement)
    forwarder.open()
    runner = runners.start({"http": {"url": server.url}}, url=forwarder.url, more=retrying(**QUICK))
    assert runner.wait() == ExitCode.SUCCEEDED, runner.log
    assert forwarder.lost.is_set()
    assert [attempt[:3] for attempt in tried(runners)] == [(1, "failed", "http_5xx"), (2, "succeeded", None)]
    assert len(server.seen) == 2


@pytest.mark.parametrize("limit", [0, 1])
def test_a_lost_answer_to_a_takeover_is_found_again(
    runners: Runners, forwarder: Forwarder, server: CountingServer, limit: int
) -> None:
    """It took over, or it closed: once, and its exit code says so."""
    execution = uuid4()
    server.hold_at = 1
    task = {"http": {"url": server.url}}
    lose(runners, task, execution, retrying(limit=limit), server.reached.wait)
    forwarder.lose_answer_to(b"COMMIT")
    forwarder.open()
    runner = runners.start(task, execution=execution, url=forwarder.url, more=retrying(limit=limit))
    assert runner.wait() == (ExitCode.SUCCEEDED if limit else ExitCode.FAILED), runner.log
    assert forwarder.lost.is_set()
    assert [attempt[0] for attempt in tried(runners)] == list(range(1, limit + 2))
    assert len(server.seen) == 1 + limit


def test_a_database_that_does_not_answer_does_not_hold_the_attempts(runners: Runners, server: CountingServer) -> None:
    """Here for a lock on the row: the attempt is written later, and what was sent for it is not carried out."""
    server.replies = [(500, {}), (200, {})]
    with psycopg.connect(runners.database_url) as holder:

        def hold(number: int) -> None:
            if number == 1:
                holder.execute("SELECT 1 FROM executions FOR UPDATE")

        server.before_answer = hold
        runner = runners.start({"http": {"url": server.url}}, more=retrying(**QUICK))
        server.await_requests(2)
        holder.rollback()
    assert runner.wait() == ExitCode.SUCCEEDED
    assert [attempt[:3] for attempt in tried(runners)] == [(1, "failed", "http_5xx"), (2, "succeeded", None)]


PLANS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "counter": (COUNT, {}),
    "request": ({"http": {}}, {}),
    "retried request": ({"http": {}}, {"limit": 2, "initialDelaySeconds": 0}),
}
MOMENTS = 8


def test_an_end_at_any_moment_leaves_no_double_effect_and_no_ghost(runners: Runners, server: CountingServer) -> None:
    """Killed or terminated anywhere in its life, and a second pod of the Job after it, the record is whole and true.

    As many succeeded counters as the counter says; no request that the policy does not allow; no row and no attempt
    that runs; a success only if it was one.
    """
    rng = random.Random(4711)  # noqa: S311  # nothing secret about it
    server.before_answer = lambda _number: time.sleep(0.03)
    runs = [
        (uuid4(), plan, step, rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        for plan in PLANS
        for step in range(MOMENTS)
    ]
    lives = {plan: life(runners, server, plan) for plan in PLANS}

    def lose_one(index: int) -> tuple[int, int]:
        execution, plan, step, number = runs[index]
        first = start(runners, server, plan, execution, index, "report-1-lost")
        if step % 2:
            first.await_line("execution started")
            moment = 0.06 * step / MOMENTS
        else:
            # most of a life is the interpreter's start, in which nothing can be lost
            moment = lives[plan] * (0.4 + 0.9 * step / (MOMENTS - 2))
        with suppress(subprocess.TimeoutExpired):
            first.process.wait(timeout=moment)
        first.process.send_signal(number)
        return first.wait(), start(runners, server, plan, execution, index, "report-1-x").wait()

    with ThreadPoolExecutor(3) as pool:
        codes = list(pool.map(lose_one, range(len(runs))))
    ran_out = {ExitCode.SUCCEEDED, ExitCode.FAILED}
    succeeded_counters = 1  # of the measured life
    for (execution, plan, _, _), (first, second) in zip(runs, codes, strict=True):
        row, attempts = runners.row(execution), runners.attempts(execution)
        told = f"{plan}: {first}, {second}, {row}, {attempts}"
        assert row["status"] in {"succeeded", "failed", "cancelled"}, told
        assert all(attempt["finished_at"] is not None for attempt in attempts), told
        assert [attempt["number"] for attempt in attempts] == list(range(1, len(attempts) + 1)), told
        assert (second == ExitCode.ALREADY_CLAIMED) or (first not in ran_out and second in ran_out), told
        sent = [status for key, status in server.answers if key == str(execution)]
        most = {"counter": 0, "request": 1, "retried request": 3}[plan]
        assert len(sent) <= most, told
        if plan == "counter":
            succeeded_counters += row["status"] == "succeeded"
            assert row["reason"] != "PodLost", told
        elif row["status"] == "succeeded":
            assert sent[-1] == 200, told
            assert attempts[-1]["status"] == "succeeded", told
    assert runners.counter() == succeeded_counters
    # the moments were spread over all of it: before the claim, within an attempt, after the end
    assert any(first < 0 and second == ExitCode.SUCCEEDED for first, second in codes)
    assert any(row["reason"] == "PodLost" for row in runners.query("SELECT reason FROM attempts"))
    assert any(first == ExitCode.SUCCEEDED for first, _ in codes)


def life(runners: Runners, server: CountingServer, plan: str) -> float:
    """Return how long a runner of this plan lives if nobody ends it."""
    began = time.monotonic()
    index = len(PLANS) * MOMENTS + list(PLANS).index(plan)
    start(runners, server, plan, uuid4(), index, "report-1-x").wait()
    return time.monotonic() - began


def start(runners: Runners, server: CountingServer, plan: str, execution: UUID, index: int, pod: str) -> Running:
    """Start a pod of one of the plans, on a slot of its own."""
    task, policy = PLANS[plan]
    if "http" in task:
        # a request that may be sent again fails at first
        task = {"http": {"url": f"{server.url}/{'flaky' if policy else 'good'}"}}
    slot = SLOT + timedelta(minutes=index)
    return runners.start(task, execution=execution, pod=pod, slot=slot, more=retrying(**policy))
