"""A recorder that is killed while runners record through it: what it had begun is done once."""

import signal
import time
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from carillon_core.contract import ExitCode
from support.recorder import Recorders
from support.runner import SLOT, Runners
from support.waiting import until

COUNT: dict[str, Any] = {"counter": {}}
PATIENCE = 30.0


@pytest.mark.parametrize("table", ["executions", "counters"])
def test_a_recorder_that_is_killed_in_the_middle_is_replaced_and_counts_once(
    runners: Runners, recorders: Recorders, table: str
) -> None:
    """Killed while a claim or an increment waits in Postgres, where it goes on: the next recorder finds its result."""
    first = recorders.start(runners.runner_url)
    port = int(first.url.rpartition(":")[2])
    assert runners.start(COUNT, url=first.url).wait() == ExitCode.SUCCEEDED
    execution = uuid4()
    with psycopg.connect(runners.database_url) as holder:
        holder.execute(f"LOCK TABLE {table} IN SHARE MODE".encode())
        runner = runners.start(COUNT, url=first.url, execution=execution, slot=SLOT.replace(minute=10))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        until(lambda: bool(runners.query(waiting)), PATIENCE, "it waits in Postgres")
        first.process.kill()
        runner.await_line("recorder unreachable")
        recorders.start(runners.runner_url, port=port)
    assert runner.wait() == ExitCode.SUCCEEDED, runner.log
    assert runners.counter() == 2
    assert runners.row(execution)["result"]["value"] == 2
    assert len(runners.attempts(execution)) == 1


def test_a_signal_reaches_a_runner_whose_recorder_is_silent(runners: Runners, recorders: Recorders) -> None:
    """Stopped, so that it accepts and never answers: the runner ends within its grace."""
    recorder = recorders.start(runners.runner_url)
    runner = runners.start({"sleep": {"durationSeconds": 600}}, url=recorder.url)
    runner.await_line("execution started")
    recorder.process.send_signal(signal.SIGSTOP)
    runner.process.terminate()
    runner.await_line("recorder unreachable")
    recorder.process.send_signal(signal.SIGCONT)
    began = time.monotonic()
    assert runner.wait() == ExitCode.CANCELLED
    assert time.monotonic() - began < PATIENCE
    assert runners.row()["status"] == "cancelled"
