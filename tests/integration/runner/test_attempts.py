"""Attempts of the runner on a real Postgres: retries, waits, time-outs and ends."""

import socket
import time
from typing import Any
from uuid import uuid4

import pytest

from carillon_core import contract
from carillon_core.contract import ExitCode
from support.attempts import COUNT, QUICK, SLOW, retrying, server, tried
from support.http_server import CountingServer
from support.runner import SLOT, Runners, over_both

__all__ = ["server"]

pytest_generate_tests = over_both


def test_an_execution_without_retries_has_one_attempt(runners: Runners) -> None:
    """The attempt has the times of its execution, whose origin is the task."""
    assert runners.start(COUNT).wait() == ExitCode.SUCCEEDED
    row, (attempt,) = runners.row(), runners.attempts()
    assert tried(runners) == [(1, "succeeded", None, "report-1-x")]
    assert (attempt["started_at"], attempt["error"]) == (row["started_at"], None)
    assert row["origin"] == runners.task_uid


def test_a_request_is_the_origin_of_its_execution(runners: Runners) -> None:
    """Two requests for the same task and time are two executions."""
    for origin in (uuid4(), uuid4()):
        more = {contract.ENV_ORIGIN: str(origin), contract.ENV_CAUSE: "manual"}
        assert runners.start(COUNT, more=more).wait() == ExitCode.SUCCEEDED
        assert runners.query("SELECT 1 FROM executions WHERE origin = %s", origin)
    assert runners.counter() == 2


def test_a_failed_request_is_sent_again_until_it_succeeds(runners: Runners, server: CountingServer) -> None:
    """Each attempt is recorded, and all have the execution's idempotency key."""
    server.replies = [(500, {}), (503, {"Retry-After": "0"}), (200, {})]
    runner = runners.start({"http": {"url": server.url + "/{{ attempt }}"}}, more=retrying(**QUICK))
    assert runner.wait() == ExitCode.SUCCEEDED, runner.log
    failed = [(number, "failed", "HTTP5xx", "report-1-x") for number in (1, 2)]
    assert tried(runners) == [*failed, (3, "succeeded", None, "report-1-x")]
    row = runners.row()
    assert (row["status"], row["error"], row["result"]["statusCode"]) == ("succeeded", None, 200)
    assert [path for path, _ in server.seen] == ["/1", "/2", "/3"]
    assert len({key for _, key in server.seen}) == 1
    attempts = runners.attempts()
    assert [attempt["status_code"] for attempt in attempts] == [500, 503, 200]
    assert attempts[-1]["response_time_ms"] == row["result"]["responseTimeMs"]
    times = [(a["started_at"], a["finished_at"]) for a in attempts]
    assert [moment for pair in times for moment in pair] == sorted(moment for pair in times for moment in pair)
    assert times[-1][1] == row["finished_at"]


def test_when_no_attempt_is_left_the_last_one_is_the_executions_end(runners: Runners, server: CountingServer) -> None:
    """The execution ends with the result of the last attempt, and the error says that it was the last."""
    server.replies = [(500, {})]
    runner = runners.start({"http": {"url": server.url}}, more=retrying(**QUICK))
    assert runner.wait() == ExitCode.FAILED
    row = runners.row()
    assert (row["status"], row["reason"], row["result"]["statusCode"]) == ("failed", "HTTP5xx", 500)
    assert row["error"] == "the server answered 500, expected 2xx; attempt 3 was the last one allowed"
    assert [attempt[0] for attempt in tried(runners)] == [1, 2, 3]
    assert len(server.seen) == 3


@pytest.mark.parametrize(("reply", "want"), [((404, {}), 1), ((429, {}), 2), ((302, {"Location": "ftp://h/"}), 1)])
def test_what_would_fail_the_same_way_is_not_sent_again(
    runners: Runners, server: CountingServer, reply: tuple[int, dict[str, str]], want: int
) -> None:
    """A 4xx that does not pass and an invalid redirect are not retried."""
    server.replies = [reply]
    task = {"http": {"url": server.url, "maxRedirects": 2}}
    runner = runners.start(task, more=retrying(limit=1, initialDelaySeconds=0))
    assert runner.wait() == ExitCode.FAILED
    assert len(server.seen) == len(tried(runners)) == want


def test_what_the_server_asks_for_is_waited_for(runners: Runners, server: CountingServer) -> None:
    """Retry-After wins over the shorter delay of the policy."""
    server.replies = [(429, {"Retry-After": "1"}), (200, {})]
    assert runners.start({"http": {"url": server.url}}, more=retrying(**QUICK)).wait() == ExitCode.SUCCEEDED
    first, second = runners.attempts()
    assert (second["started_at"] - first["finished_at"]).total_seconds() >= 1


@pytest.mark.parametrize(("reply", "policy"), [((503, {"Retry-After": "3600"}), QUICK), ((500, {}), SLOW)])
def test_a_wait_that_would_outlast_the_execution_ends_it_at_once(
    runners: Runners, server: CountingServer, reply: tuple[int, dict[str, str]], policy: dict[str, Any]
) -> None:
    """The execution fails with its last reason, and the error says that no time is left."""
    server.replies = [reply]
    runner = runners.start({"http": {"url": server.url}}, more=retrying(**policy))
    assert runner.wait() == ExitCode.FAILED
    row = runners.row()
    assert row["reason"] == "HTTP5xx"
    assert "no time is left for another attempt" in row["error"]
    assert len(server.seen) == 1


def test_an_attempt_beyond_its_own_time_out_has_failed_and_another_follows(runners: Runners) -> None:
    """An attempt that exceeds its time-out fails with the reason timeout and is retried."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        task = {"http": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}}
        began = time.monotonic()
        runner = runners.start(task, more=retrying(limit=1, initialDelaySeconds=0, attemptTimeoutSeconds=1))
        assert runner.wait() == ExitCode.FAILED
    assert time.monotonic() - began < 50
    assert [attempt[1:3] for attempt in tried(runners)] == [("failed", "Timeout")] * 2
    assert [(each["status_code"], each["response_time_ms"]) for each in runners.attempts()] == [(None, None)] * 2
    assert runners.row()["error"].startswith("exceeded the timeout of an attempt of 1 s")


def test_the_time_out_is_that_of_all_attempts_together(runners: Runners) -> None:
    """The execution's time-out ends the running attempt and the execution."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        task = {"http": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}}
        more = retrying(limit=20, initialDelaySeconds=0, attemptTimeoutSeconds=3)
        runner = runners.start(task, timeout_seconds=5.5, more=more)
        assert runner.wait() == ExitCode.TIMED_OUT
    assert [attempt[1:3] for attempt in tried(runners)] == [("failed", "Timeout"), ("timed_out", "Timeout")]


def test_an_end_between_two_attempts_is_the_executions_end(runners: Runners, server: CountingServer) -> None:
    """If the operator closes the row, the runner stops and leaves it unchanged."""
    server.replies = [(500, {})]
    wait = {"limit": 2, "initialDelaySeconds": 5, "factor": 1, "jitter": 0}
    runner = runners.start({"http": {"url": server.url}}, more=retrying(**wait))
    runner.await_line("attempt failed, will retry")
    runners.query("UPDATE executions SET status = 'failed', reason = 'Evicted', finished_at = now()")
    assert runner.wait() == ExitCode.FAILED
    assert runners.row()["reason"] == "Evicted"
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", ["skipped", "missed"])
def test_a_row_that_a_stale_operator_wrote_is_taken_over(runners: Runners, status: str) -> None:
    """The runner overwrites a skipped or missed row, because its Job proves that the slot was launched."""
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
