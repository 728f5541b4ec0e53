"""The task types without external dependencies, their table, and the signals that end them."""

import io
import math
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from carillon_core.contract import ExecutionStatus
from carillon_core.resources.tasks import TASK_TYPES
from carillon_runner.environment import Environment
from carillon_runner.interrupts import Interrupts, Stopped
from carillon_runner.outcome import Execution, TaskFailedError
from carillon_runner.tasks import TASK_MODULES, addition, counter, sleep, task_function

UID = UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")


def make_execution(task_type: str, **spec: Any) -> Execution:
    """Return an execution whose counter is always 7."""
    environment = Environment(
        record_url="postgresql://",
        token="",
        execution_id=UID,
        task_uid=UID,
        origin=UID,
        namespace="shop",
        task="report",
        task_type=task_type,
        spec=spec,
        slot=datetime(2026, 1, 1, tzinfo=UTC),
        cause="schedule",
        timeout_seconds=60,
        job_name="report-1",
        pod_name="report-1-x",
        termination_log=None,
    )
    return Execution(environment, time.monotonic() + 60, lambda _name: 7)


@pytest.fixture
def interrupts() -> Any:
    """Give installed interrupts, and restore the handlers afterwards."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    hook = sys.unraisablehook
    made = Interrupts()
    made.install()
    yield made
    made.disarm()
    sys.unraisablehook = hook
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_every_task_type_of_the_resource_has_its_function() -> None:
    """The runner can run every task type of a ScheduledTask except container, which needs no runner."""
    assert set(TASK_MODULES) == set(TASK_TYPES) - {"container", "job"}
    assert all(callable(task_function(task_type)) for task_type in TASK_MODULES)


def test_an_unknown_task_type_is_refused_by_name() -> None:
    """The reason is specific, so that the row explains the failure."""
    with pytest.raises(TaskFailedError, match="does not know the task type 'container'") as caught:
        task_function("container")
    assert caught.value.reason == "UnknownTaskType"


@pytest.mark.parametrize(("a", "b", "want"), [(1, 2, 3), (0.5, 0.25, 0.75), (1, 0.5, 1.5), (2**80, 1, 2**80 + 1)])
def test_sum_keeps_whole_numbers_whole(a: float, b: float, want: float) -> None:
    """This holds for numbers of any size."""
    result = addition.run(make_execution("sum", a=a, b=b))
    assert result == {"sum": want}
    assert type(result["sum"]) is type(want)


@pytest.mark.parametrize(("a", "b"), [(1.7e308, 1.7e308), (10**400, 0.5)])
def test_a_sum_beyond_the_floats_fails(a: float, b: float) -> None:
    """JSON has no infinity."""
    with pytest.raises(TaskFailedError) as caught:
        addition.run(make_execution("sum", a=a, b=b))
    assert caught.value.reason == "Overflow"


def test_counter_is_named_after_its_task_unless_it_has_a_name() -> None:
    """The result has the counter's name."""
    assert counter.run(make_execution("counter")) == {"counter": "report", "value": 7}
    assert counter.run(make_execution("counter", name="visits")) == {"counter": "visits", "value": 7}


def test_sleep_measures_what_it_slept() -> None:
    """The result is in seconds, with milliseconds."""
    slept = sleep.run(make_execution("sleep", durationSeconds=0.05))["sleptSeconds"]
    assert 0.05 <= slept < 5
    assert slept == round(slept, 3)


def test_a_time_out_ends_a_sleep_that_still_says_how_long_it_was(interrupts: Interrupts) -> None:
    """The exception carries the time slept."""
    with pytest.raises(Stopped) as caught:
        interrupts.call(lambda: sleep.run(make_execution("sleep", durationSeconds=60)), 0.05)
    assert caught.value.status is ExecutionStatus.TIMED_OUT
    assert caught.value.result is not None
    assert caught.value.result["sleptSeconds"] > 0


def test_a_time_out_ends_a_read_that_nobody_answers(interrupts: Interrupts) -> None:
    """A socket that blocks for ever does not prevent the timeout."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Stopped):
        interrupts.call(lambda: ours.recv(1), 0.05)


class _Killing:
    """Sends a signal to this process where Python drops exceptions."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self._number)
        sum(range(1000))  # the handler is called between two instructions


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGALRM])
def test_an_exception_that_python_drops_is_raised_again(
    interrupts: Interrupts, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """At once, and without a traceback in the log."""
    interrupts.install()  # pytest has a hook of its own for what is dropped

    def work() -> None:
        _Killing(number)
        time.sleep(5)

    with pytest.raises(Stopped):
        interrupts.call(work, 3600)
    assert "Traceback" not in capfd.readouterr().err


class _Terminal(io.StringIO):
    """A standard error that sends a signal to this process while it writes."""

    def write(self, text: str) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return len(text) + 0 * sum(range(1000))  # see _Killing


class _Complaining:
    """Raises where Python prints exceptions and drops those that come meanwhile."""

    def __del__(self) -> None:
        raise ValueError


def _leave_open() -> None:
    open("/dev/null", "w")  # noqa: PTH123, SIM115  # left open on purpose: Python then prints a warning


@pytest.mark.parametrize("drop", [_Complaining, _leave_open])
def test_a_signal_is_not_lost_while_python_prints_what_it_drops(
    interrupts: Interrupts, monkeypatch: pytest.MonkeyPatch, drop: Callable[[], object]
) -> None:
    """The same holds for warnings: an exception that is raised while Python prints one disappears."""
    interrupts.install()
    monkeypatch.setattr(sys, "stderr", _Terminal())
    monkeypatch.setattr(warnings, "showwarning", _show)  # pytest has one of its own

    def work() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            drop()
        time.sleep(5)  # the work that the signal ends

    with pytest.raises(Stopped):
        interrupts.call(work, 3600)


def _show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels(interrupts: Interrupts, number: signal.Signals) -> None:
    """Kubernetes sends SIGTERM, a terminal SIGINT."""
    with pytest.raises(Stopped, match=number.name) as caught:
        interrupts.call(lambda: os.kill(os.getpid(), number))
    assert caught.value.status is ExecutionStatus.CANCELLED


def test_outside_a_call_a_signal_is_noted_and_ends_the_next_call(interrupts: Interrupts) -> None:
    """It does not interrupt the current code, and is not lost."""
    os.kill(os.getpid(), signal.SIGTERM)
    ran: list[int] = []
    with pytest.raises(Stopped):
        interrupts.call(lambda: ran.append(1))
    assert ran == []


def test_a_second_signal_does_not_come_up_in_the_handling_of_the_first(interrupts: Interrupts) -> None:
    """It does not interrupt the cleanup."""
    cleaned: list[bool] = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append(True)

    with pytest.raises(Stopped):
        interrupts.call(work)
    assert cleaned == [True]


def test_a_time_out_whose_exception_was_lost_is_raised_again(interrupts: Interrupts) -> None:
    """Python drops exceptions raised in a destructor, so the timer fires again."""
    lost: list[Stopped] = []

    def work() -> None:
        try:
            time.sleep(60)
        except Stopped as stopped:
            lost.append(stopped)
        time.sleep(60)

    began = time.monotonic()
    with pytest.raises(Stopped):
        interrupts.call(work, 0.05)
    assert len(lost) == 1
    assert time.monotonic() - began < 30


def test_the_end_of_an_attempt_is_not_the_end_of_the_execution(interrupts: Interrupts) -> None:
    """It stops the current call, repeatedly if necessary, and does not affect the next one."""
    lost: list[Stopped] = []

    def work() -> None:
        try:
            time.sleep(60)
        except Stopped as stopped:
            lost.append(stopped)
        time.sleep(60)

    with pytest.raises(Stopped) as caught:
        interrupts.call(work, 0.05, is_last=False)
    assert {stopped.status for stopped in (*lost, caught.value)} == {ExecutionStatus.FAILED}
    assert interrupts.call(lambda: 3, 60) == 3
    with pytest.raises(Stopped) as caught:
        interrupts.call(lambda: time.sleep(60), 0)
    assert caught.value.status is ExecutionStatus.TIMED_OUT


def test_a_signal_wins_over_the_end_of_an_attempt(interrupts: Interrupts) -> None:
    """It arrived earlier, and no further attempt may follow."""
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped) as caught:
        interrupts.call(lambda: time.sleep(60), 0.05, is_last=False)
    assert caught.value.status is ExecutionStatus.CANCELLED


def test_a_call_that_is_done_in_time_leaves_no_timer(interrupts: Interrupts) -> None:
    """The task's timeout does not apply while the record is written."""
    assert interrupts.call(lambda: 3, 60) == 3
    assert math.isclose(signal.getitimer(signal.ITIMER_REAL)[0], 0)
