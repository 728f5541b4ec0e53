"""The runner on a real Postgres, told to terminate while its retry policy has attempts left."""

import signal
from uuid import uuid4

import pytest

from carillon_core.contract import ExitCode
from support.attempts import QUICK, SLOW, retrying, server, tried
from support.http_server import CountingServer
from support.runner import Runners, Way, over_both

__all__ = ["server"]

pytest_generate_tests = over_both


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_with_attempts_left_leaves_the_execution_to_the_next_pod(
    runners: Runners, server: CountingServer, number: signal.Signals
) -> None:
    """A drained node ends an attempt and not the execution, until the attempts are used up."""
    execution = uuid4()
    task, more = {"http": {"url": server.url}}, retrying(limit=1, initialDelaySeconds=0)
    for pod, want in (("report-1-a", ExitCode.INTERRUPTED), ("report-1-b", ExitCode.CANCELLED)):
        server.hold_at = len(server.seen) + 1
        server.reached.clear()
        runner = runners.start(task, execution=execution, pod=pod, more=more)
        assert server.reached.wait(30)
        runner.process.send_signal(number)
        assert runner.wait() == want, runner.log
        first = (1, "cancelled", "Terminated", "report-1-a")
        assert tried(runners) == [first, *([(2, "cancelled", "Terminated", "report-1-b")] * (want == 6))]
        assert runners.row()["status"] == ("cancelled" if want == ExitCode.CANCELLED else "running")
        assert f"terminated by {number.name}" in runner.termination_message()
    assert runners.start(task, execution=execution, pod="report-1-c", more=more).wait() == ExitCode.ALREADY_CLAIMED
    assert len(server.seen) == 2


def test_the_next_pod_goes_on_where_a_signal_ended_the_wait(runners: Runners, server: CountingServer) -> None:
    """Between two attempts nothing is lost: the attempt before keeps its own end."""
    execution = uuid4()
    server.replies = [(500, {}), (200, {})]
    task, more = {"http": {"url": server.url}}, retrying(**SLOW)
    runner = runners.start(task, execution=execution, pod="report-1-a", timeout_seconds=3600, more=more)
    runner.await_line("attempt failed, will retry")
    runner.process.terminate()
    assert runner.wait() == ExitCode.INTERRUPTED
    assert runners.row()["status"] == "running"
    assert runners.start(task, execution=execution, more=more).wait() == ExitCode.SUCCEEDED
    assert tried(runners) == [(1, "failed", "HTTP5xx", "report-1-a"), (2, "succeeded", None, "report-1-x")]


def test_a_signal_after_the_operators_end_changes_nothing(runners: Runners, server: CountingServer) -> None:
    """It was replaced, say: the row is closed before the Job is deleted, and no attempt is left open."""
    server.hold_at = 1
    runner = runners.start({"http": {"url": server.url}}, more=retrying(**QUICK))
    assert server.reached.wait(30)
    runners.query("UPDATE executions SET status = 'cancelled', reason = 'Replaced', finished_at = now()")
    runner.process.terminate()
    assert runner.wait() == ExitCode.CANCELLED, runner.log
    assert runners.row()["reason"] == "Replaced"


def test_a_signal_without_the_database_leaves_a_lost_pod(runners: Runners, way: Way, server: CountingServer) -> None:
    """That the attempt was interrupted cannot be recorded; the next pod takes it for lost, and goes on."""
    execution = uuid4()
    server.hold_at = 1
    task, more = {"http": {"url": server.url}}, retrying(**QUICK)
    way.open()
    runner = runners.start(task, execution=execution, pod="report-1-a", url=way.url, more=more)
    assert server.reached.wait(30)
    way.close()
    runner.process.terminate()
    assert runner.wait() == ExitCode.INTERRUPTED, runner.log
    assert runners.start(task, execution=execution, more=more).wait() == ExitCode.SUCCEEDED
    assert tried(runners) == [(1, "failed", "PodLost", "report-1-a"), (2, "succeeded", None, "report-1-x")]
