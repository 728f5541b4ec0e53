"""Attempts of the runner while the database is down, or its responses are lost."""

from uuid import uuid4

import psycopg
import pytest

from carillon_core.contract import ExitCode
from carillon_core.recording.wire import Operation
from support.attempts import QUICK, lose, retrying, server, tried
from support.http_server import CountingServer
from support.runner import Runners, Way, over_both

__all__ = ["server"]

pytest_generate_tests = over_both


def test_attempts_go_on_without_the_database_and_are_written_at_the_end(
    runners: Runners, way: Way, server: CountingServer
) -> None:
    """All attempts are recorded with their real times."""
    server.replies = [(500, {}), (500, {}), (200, {})]
    server.before_answer = lambda number: way.close() if number == 1 else None
    way.open()
    runner = runners.start({"http": {"url": server.url}}, url=way.url, more=retrying(**QUICK))
    runner.await_line(f"{way.what} unreachable")
    assert len(server.seen) == 3
    assert [attempt[1] for attempt in tried(runners)] == ["running"]
    way.open()
    assert runner.wait() == ExitCode.SUCCEEDED
    want = [(1, "failed", "HTTP5xx"), (2, "failed", "HTTP5xx"), (3, "succeeded", None)]
    assert [attempt[:3] for attempt in tried(runners)] == want
    moments = [moment for row in runners.attempts() for moment in (row["started_at"], row["finished_at"])]
    assert moments == sorted(moments)


@pytest.mark.parametrize("operation", [Operation.CLAIM, Operation.SAVE_ATTEMPTS, Operation.CLOSE])
def test_a_lost_answer_loses_no_attempt(
    runners: Runners, way: Way, server: CountingServer, operation: Operation
) -> None:
    """A lost response to the claim, to an attempt's record or to the closing changes nothing."""
    server.replies = [(500, {}), (200, {})]
    way.lose_answer_to(operation)
    way.open()
    runner = runners.start({"http": {"url": server.url}}, url=way.url, more=retrying(**QUICK))
    assert runner.wait() == ExitCode.SUCCEEDED, runner.log
    assert way.lost.is_set()
    assert [attempt[:3] for attempt in tried(runners)] == [(1, "failed", "HTTP5xx"), (2, "succeeded", None)]
    assert len(server.seen) == 2


@pytest.mark.parametrize("limit", [0, 1])
def test_a_lost_answer_to_a_takeover_is_found_again(
    runners: Runners, way: Way, server: CountingServer, limit: int
) -> None:
    """The takeover or the closing happens once, and the exit code reports it."""
    execution = uuid4()
    server.hold_at = 1
    task = {"http": {"url": server.url}}
    lose(runners, task, execution, retrying(limit=limit), server.reached.wait)
    way.lose_answer_to(Operation.TAKE_OVER)
    way.open()
    runner = runners.start(task, execution=execution, url=way.url, more=retrying(limit=limit))
    assert runner.wait() == (ExitCode.SUCCEEDED if limit else ExitCode.FAILED), runner.log
    assert way.lost.is_set()
    assert [attempt[0] for attempt in tried(runners)] == list(range(1, limit + 2))
    assert len(server.seen) == 1 + limit


def test_a_database_that_does_not_answer_does_not_hold_the_attempts(runners: Runners, server: CountingServer) -> None:
    """If the row is locked, the next attempt starts anyway and the record is written later."""
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
    assert [attempt[:3] for attempt in tried(runners)] == [(1, "failed", "HTTP5xx"), (2, "succeeded", None)]
