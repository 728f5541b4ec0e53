"""The runner as a program with a real Postgres: it records everything, and nothing twice."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from carillon_core.contract import ExitCode
from carillon_core.recording.wire import Operation
from support.recorder import Recorders
from support.runner import PATIENCE_SECONDS, SLOT, Runners, Way, over_both

pytest_generate_tests = over_both

COUNT: dict[str, Any] = {"counter": {}}
SLEEP: dict[str, Any] = {"sleep": {"durationSeconds": 600}}


@pytest.mark.parametrize(
    ("task", "want_code", "want"),
    [
        ({"sum": {"a": 1, "b": 2}}, ExitCode.SUCCEEDED, {"status": "succeeded", "result": {"sum": 3}}),
        (COUNT, ExitCode.SUCCEEDED, {"status": "succeeded", "result": {"counter": "report", "value": 1}}),
        ({"zip": {}}, ExitCode.FAILED, {"status": "failed", "reason": "UnknownTaskType", "result": None}),
        ({"sum": {"a": 1}}, ExitCode.FAILED, {"status": "failed", "reason": "KeyError", "result": None}),
        (
            {"sum": {"a": 1e308, "b": 1e308}},
            ExitCode.FAILED,
            {"status": "failed", "reason": "Overflow", "error": "the sum is too large for a floating-point number"},
        ),
        (
            {"http": {"url": "http://127.0.0.1:1/"}},
            ExitCode.FAILED,
            {"status": "failed", "reason": "Connection", "result": None},
        ),
        ({"counter": {"name": "a\0b"}}, ExitCode.FAILED, {"status": "failed", "reason": "CounterRefused"}),
    ],
)
def test_a_task_leaves_its_row(
    runners: Runners, task: dict[str, Any], want_code: ExitCode, want: dict[str, Any]
) -> None:
    """The row is complete and closed, with times in order; exit code and termination message agree."""
    runner = runners.start(task)
    code = runner.wait()
    row = runners.row()
    assert {name: row[name] for name in want} == want, runner.log
    assert code == want_code
    assert (row["namespace"], row["task"], row["slot"], row["cause"]) == ("shop", "report", SLOT, "schedule")
    assert (row["job_name"], row["pod_name"], row["task_type"]) == ("report-1", "report-1-x", next(iter(task)))
    assert row["created_at"] <= row["started_at"] <= row["finished_at"]
    assert row["message"] == row["error"]
    if want_code is ExitCode.SUCCEEDED:
        assert json.loads(runner.termination_message()) == row["result"]
    else:
        assert runner.termination_message() == row["error"]
        assert "\n" not in row["error"]


def test_a_sleep_records_how_long_it_slept(runners: Runners) -> None:
    """The times of the row include it."""
    assert runners.start({"sleep": {"durationSeconds": 1}}).wait() == ExitCode.SUCCEEDED
    row = runners.row()
    assert 1 <= row["result"]["sleptSeconds"] < 10
    assert (row["finished_at"] - row["started_at"]).total_seconds() >= 1


def test_a_request_records_its_answer(runners: Runners) -> None:
    """Characters that jsonb rejects are replaced; an unexpected status has the answer, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner = runners.start({"http": {"url": f"http://127.0.0.1:{listener.getsockname()[1]}/"}})
        client, _ = listener.accept()
        with client:
            client.recv(65_536)
            client.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\na\0b\xff\xc3")
        assert runner.wait() == ExitCode.FAILED
    row = runners.row()
    assert row["reason"] == "HTTP5xx"
    assert row["result"]["statusCode"] == 500
    assert row["result"]["body"] == "ab\ufffd\ufffd"
    assert row["result"]["responseTimeMs"] > 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_that_nobody_answers_times_out(runners: Runners, scheme: str) -> None:
    """This includes a hanging handshake: a blocking socket does not block the runner."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
        assert runners.start({"http": {"url": url}}, timeout_seconds=0.5).wait() == ExitCode.TIMED_OUT
    row = runners.row()
    assert (row["status"], row["reason"], row["result"]) == ("timed_out", "Timeout", None)


def test_a_request_that_is_answered_drop_by_drop_times_out(runners: Runners) -> None:
    """Each byte is in time, but the response never ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.settimeout(PATIENCE_SECONDS)
        runner = runners.start({"http": {"url": url}}, timeout_seconds=3)
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while runner.process.poll() is None:
                client.sendall(b".")
                time.sleep(0.01)  # the drops
        assert runner.wait() == ExitCode.TIMED_OUT
    assert (runners.row()["status"], runners.row()["result"]) == ("timed_out", None)


def test_a_sleep_beyond_the_time_out_is_timed_out(runners: Runners) -> None:
    """The result has the time slept, which is less than the timeout, because that counts from the runner's start."""
    runner = runners.start(SLEEP, timeout_seconds=2)  # the claim takes part of that time
    assert runner.wait() == ExitCode.TIMED_OUT
    row = runners.row()
    assert (row["status"], row["reason"]) == ("timed_out", "Timeout")
    assert 0 < row["result"]["sleptSeconds"] < SLEEP["sleep"]["durationSeconds"]
    assert runner.termination_message() == "exceeded its timeout of 2 s"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_termination_signal_is_recorded_as_cancelled(runners: Runners, number: signal.Signals) -> None:
    """The row has the cancellation by Kubernetes."""
    runner = runners.start(SLEEP)
    runner.await_line("execution started")
    runner.process.send_signal(number)
    assert runner.wait() == ExitCode.CANCELLED
    row = runners.row()
    assert (row["status"], row["reason"], row["error"]) == ("cancelled", "Terminated", f"terminated by {number.name}")


def test_a_sleeping_runner_holds_no_connection(runners: Runners, database_url: str) -> None:
    """A hundred sleeping runners must not use up the database's connections."""
    runner = runners.start(SLEEP)
    runner.await_line("execution started")
    mine = "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'carillon-runner' AND datname = %s"
    eventually(lambda: runners.query(mine, urlsplit(database_url).path[1:])[0]["n"] == 0)
    runner.process.terminate()
    assert runner.wait() == ExitCode.CANCELLED


def eventually(holds: Callable[[], bool]) -> None:
    """Return when the condition is true; fail if it never is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.02)


def test_a_counter_grows_by_one_for_each_execution_and_not_for_a_repetition(runners: Runners) -> None:
    """A second run of the same execution finds its row taken, in any pod."""
    first = uuid4()
    assert runners.start(COUNT, execution=first).wait() == ExitCode.SUCCEEDED
    for pod in ("report-1-x", "report-1-y"):
        again = runners.start(COUNT, execution=first, pod=pod)
        assert again.wait() == ExitCode.ALREADY_CLAIMED
        assert again.termination_message() == "not run: already succeeded, by pod report-1-x"
    assert runners.counter() == 1
    second = uuid4()
    assert runners.start(COUNT, execution=second, slot=SLOT.replace(minute=10)).wait() == ExitCode.SUCCEEDED
    assert runners.counter() == 2
    assert runners.row(second)["result"] == {"counter": "report", "value": 2}


def test_of_two_runners_at_once_one_runs(runners: Runners) -> None:
    """Ten times, two Jobs that claim the same slot start at the same moment."""
    for minute in range(10):
        execution, slot = uuid4(), SLOT.replace(minute=minute)
        pair = [runners.start(COUNT, execution=execution, pod=name, job=name, slot=slot) for name in ("x", "y")]
        assert sorted(runner.wait() for runner in pair) == [ExitCode.SUCCEEDED, ExitCode.ALREADY_CLAIMED]
    assert runners.counter() == 10


def test_two_pods_of_one_job_at_once_count_once(runners: Runners) -> None:
    """Kubernetes prevents this; if it happened, the later pod would take the first for lost, and still count once."""
    for minute in range(5):
        execution, slot = uuid4(), SLOT.replace(minute=minute)
        pair = [runners.start(COUNT, execution=execution, pod=pod, slot=slot) for pod in ("x", "y")]
        assert {runner.wait() for runner in pair} <= {ExitCode.SUCCEEDED, ExitCode.ALREADY_CLAIMED}
        assert runners.row(execution)["status"] == "succeeded"
    assert runners.counter() == 5


@pytest.mark.parametrize(
    ("status", "pod", "job"),
    [
        ("running", "report-0-y", "report-0"),
        ("running", "report-1-x", "report-1"),
        ("failed", None, None),
        ("succeeded", "report-1-y", "report-1"),
        ("cancelled", "report-1-x", "report-1"),
    ],
)
def test_a_row_that_is_there_already_is_left_alone(
    runners: Runners, status: str, pod: str | None, job: str | None
) -> None:
    """This holds for another Job's row, an ended one, and this pod's row from an earlier process."""
    execution = uuid4()
    runners.insert(execution, status, pod, job)
    before = runners.row()
    assert runners.start(COUNT, execution=execution).wait() == ExitCode.ALREADY_CLAIMED
    assert runners.row() == before
    assert runners.counter() == 0
    assert runners.attempts() == []


def test_another_execution_of_the_slot_is_left_alone(runners: Runners) -> None:
    """The key is the origin and the slot, not the id."""
    runners.insert(uuid4(), "skipped")
    assert runners.start(COUNT).wait() == ExitCode.ALREADY_CLAIMED
    assert runners.counter() == 0


def test_a_database_that_comes_late_is_waited_for(runners: Runners, way: Way) -> None:
    """One log line says so, without the password; then the execution continues normally."""
    runner = runners.start(COUNT, url=way.url)
    runner.await_line(f"{way.what} unreachable")
    way.open()
    assert runner.wait() == ExitCode.SUCCEEDED
    assert runner.log.count(f"{way.what} unreachable") == 1
    assert runners.counter() == 1


def test_a_database_that_never_comes_ends_the_waiting_at_the_time_out(runners: Runners, way: Way) -> None:
    """Nothing is run, and the log and the termination message say so without the password."""
    runner = runners.start(COUNT, url=way.url, timeout_seconds=0.5)
    assert runner.wait() == ExitCode.NOT_RECORDED
    assert runner.termination_message().startswith(f"not run: {way.what} is unavailable")
    password = urlsplit(way.forwarder.url).password
    assert password or way.by_path
    assert not password or password not in runner.log + runner.termination_message()


def test_a_signal_ends_the_waiting_for_the_database(runners: Runners, way: Way) -> None:
    """There is no row for it, so the exit code is a different one."""
    runner = runners.start(COUNT, url=way.url)
    runner.await_line(f"{way.what} unreachable")
    runner.process.terminate()
    assert runner.wait() == ExitCode.NOT_RECORDED


def test_an_end_that_finds_the_database_away_is_recorded_when_it_is_back(runners: Runners, way: Way) -> None:
    """It has the time of the end, not that of the write."""
    way.open()
    runner = runners.start(SLEEP, url=way.url)
    runner.await_line("execution started")
    way.close()
    runner.process.terminate()
    runner.await_line(f"{way.what} unreachable")
    # a signal while the end is being recorded changes nothing
    runner.process.terminate()
    way.open()
    assert runner.wait() == ExitCode.CANCELLED
    assert runners.row()["status"] == "cancelled"


@pytest.mark.parametrize("operation", [Operation.CLAIM, Operation.INCREMENT, Operation.CLOSE])
@pytest.mark.parametrize("task", [COUNT, {"sleep": {"durationSeconds": 1}}], ids=["counter", "sleep"])
def test_a_lost_answer_changes_nothing(runners: Runners, way: Way, task: dict[str, Any], operation: Operation) -> None:
    """For claim, counter and end, the executed statement is detected, not repeated."""
    way.lose_answer_to(operation)
    way.open()
    runner = runners.start(task, url=way.url)
    assert runner.wait() == ExitCode.SUCCEEDED
    assert "closed before" not in runner.log
    assert runners.row()["status"] == "succeeded"
    counts = task is COUNT
    assert runners.counter() == (1 if counts else 0)
    assert way.lost.is_set() is (counts or operation is not Operation.INCREMENT)


@pytest.mark.parametrize("how", ["signal", "time-out"])
def test_a_counter_that_waits_for_a_lock_can_be_ended(runners: Runners, how: str) -> None:
    """Its statement is cancelled, so that it does not count later."""
    assert runners.start(COUNT).wait() == ExitCode.SUCCEEDED
    execution = uuid4()
    with psycopg.connect(runners.database_url) as holder:
        holder.execute("SELECT * FROM counters FOR UPDATE")
        seconds = 60 if how == "signal" else 5
        runner = runners.start(COUNT, execution=execution, slot=SLOT.replace(minute=10), timeout_seconds=seconds)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        eventually(lambda: bool(runners.query(waiting)))
        if how == "signal":
            runner.process.terminate()
        assert runner.wait() == (ExitCode.CANCELLED if how == "signal" else ExitCode.TIMED_OUT)
        assert not runners.query(waiting)
    assert runners.row(execution)["status"] == ("cancelled" if how == "signal" else "timed_out")
    assert runners.counter() == 1


def test_a_row_that_the_operator_closed_stays_as_it_is(runners: Runners) -> None:
    """The first result stays; the exit code agrees with it, and the log reports it."""
    runner = runners.start(SLEEP)
    runner.await_line("execution started")
    runners.query("UPDATE executions SET status = 'failed', reason = 'Evicted', finished_at = now()")
    before = runners.row()
    runner.process.terminate()
    assert runner.wait() == ExitCode.FAILED
    assert "the row was already closed" in runner.log
    assert runners.row() == before


def test_a_row_that_was_closed_before_the_count_is_not_counted(runners: Runners) -> None:
    """The counter checks the row under its lock."""
    execution = uuid4()
    assert runners.start(COUNT, slot=SLOT.replace(minute=1)).wait() == ExitCode.SUCCEEDED
    with psycopg.connect(runners.database_url) as holder:
        # between the claim and the count: both need the table
        holder.execute("SELECT * FROM counters FOR UPDATE")
        runner = runners.start(COUNT, execution=execution)
        runner.await_line("execution started")
        runner.process.send_signal(signal.SIGSTOP)
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        for blocked in runners.query(waiting):
            runners.query("SELECT pg_terminate_backend(%s)", blocked["pid"])
        eventually(lambda: not runners.query(waiting))
        runners.query(
            "UPDATE executions SET status = 'failed', reason = 'Evicted', finished_at = now() WHERE id = %s", execution
        )
    runner.process.send_signal(signal.SIGCONT)
    assert runner.wait() == ExitCode.FAILED
    assert runners.row(execution)["reason"] == "Evicted"
    assert runners.counter() == 1


def test_a_signal_at_any_moment_leaves_the_counter_and_the_rows_in_agreement(runners: Runners) -> None:
    """The number of succeeded rows equals the counter, no row is left running, and the exit codes agree."""
    codes_without_row = {-signal.SIGTERM, ExitCode.NOT_RECORDED}
    status_of = {ExitCode.SUCCEEDED: "succeeded", ExitCode.CANCELLED: "cancelled"}
    seen: set[int] = set()
    began = time.monotonic()
    assert runners.start(COUNT, slot=SLOT.replace(minute=59)).wait() == ExitCode.SUCCEEDED
    life = time.monotonic() - began
    for step in range(30):
        execution = uuid4()
        runner = runners.start(COUNT, execution=execution, slot=SLOT.replace(minute=step))
        try:
            # the last one is left alone: while the load grows, all other moments may be too early
            runner.process.wait(timeout=1.5 * life * step / 30 if step < 29 else PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            runner.process.terminate()
        code = runner.wait()
        seen.add(code)
        rows = runners.query("SELECT status FROM executions WHERE id = %s", execution)
        if code in codes_without_row:
            assert rows == []
        else:
            assert rows == [{"status": status_of[ExitCode(code)]}], runner.log
    succeeded = runners.query("SELECT count(*) AS n FROM executions WHERE status = 'succeeded'")[0]["n"]
    assert runners.counter() == succeeded
    # the moments are spread over the whole life of a runner
    assert seen & {-signal.SIGTERM, ExitCode.CANCELLED}
    assert ExitCode.SUCCEEDED in seen


def test_a_schema_that_is_not_there_yet_is_waited_for(
    runners: Runners, transport: str, recorders: Recorders, empty_database_url: str
) -> None:
    """It counts as an unavailable database, because the migration may run a moment later."""
    url = empty_database_url if transport == "postgres" else recorders.start(empty_database_url).url
    runner = runners.start(COUNT, url=url, timeout_seconds=0.5)
    assert runner.wait() == ExitCode.NOT_RECORDED
    assert 'schema "carillon_runner" does not exist' in runner.log
