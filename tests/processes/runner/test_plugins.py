"""Plugins in an installed distribution are found and run, and their outcome is always recorded."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from carillon_core import contract
from carillon_core.contract import ExecutionStatus
from carillon_runner.environment import Environment
from carillon_runner.interrupts import Interrupts, Stopped
from carillon_runner.outcome import Execution, TaskFailedError
from carillon_runner.plugins import RESULT_LIMIT
from carillon_runner.tasks.plugin import run

UID = UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")

SOURCE = """
import os, pathlib, signal, sys, time
from carillon_runner.plugins import Failure

def echo(execution):
    execution.log.info("hello")
    return {
        "parameters": execution.parameters, "slot": str(execution.slot), "id": str(execution.execution_id),
        "attempt": execution.attempt, "left": execution.deadline - time.monotonic(),
        "secrets": sorted(n for n in os.environ if any(w in n for w in ("DATABASE_URL", "TOKEN", "SECRET"))),
    }

def fails(execution):
    raise ValueError("no such\\nbucket")

def refuses(execution):
    raise Failure("QuotaExceeded", "come back later", again=execution.parameters["again"], retry_after=7)

def leaves(execution):
    sys.exit(0)

def leaves_hard(execution):
    os._exit(0)

def leaves_hard_with_code(execution):
    os._exit(9)

def dies(execution):
    os.kill(os.getpid(), signal.SIGKILL)

def returns(execution):
    return {"a list": [1], "a set": {"x": {1}}, "NaN": {"x": float("nan")}, "numbers": {1: 2}, "nothing": None,
            "much": {"x": "y" * 200000}, "deep": deep()}[execution.parameters["what"]]

def deep():
    whole = {}
    for _ in range(100000):
        whole = {"x": whole}
    return whole

def deaf(execution):
    for name in ("SIGTERM", "SIGINT", "SIGALRM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    pathlib.Path(execution.parameters["file"]).write_text(str(os.getpid()))
    while True:
        time.sleep(60)

def tidy(execution):
    path = execution.parameters["file"]
    try:
        pathlib.Path(path).write_text("begun")
        time.sleep(60)
    finally:
        pathlib.Path(path).write_text("tidy")

constant = 3
"""
POINTS = ["echo", "fails", "refuses", "leaves", "leaves_hard", "leaves_hard_with_code", "dies", "returns", "deaf"]


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution with a name that no other test uses."""
    module = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(SOURCE)
    info = tmp_path / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"{name} = {module}:{name}" for name in [*POINTS, "tidy", "constant", "absent"]]
    lines += ["broken = no_such_module_at_all:run", f"twice = {module}:echo"]
    (info / "entry_points.txt").write_text("[carillon.tasks]\n" + "\n".join(lines) + "\n")
    other = tmp_path / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text(f"[carillon.tasks]\ntwice = {module}:fails\n")
    monkeypatch.syspath_prepend(tmp_path)


def make_execution(name: str, **parameters: Any) -> Execution:
    """Return an execution of a plugin's second attempt."""
    environment = Environment(
        record_url="postgresql://",
        token="",
        execution_id=UID,
        task_uid=UID,
        origin=UID,
        namespace="shop",
        task="report",
        task_type="plugin",
        spec={"name": name, "parameters": parameters},
        slot=datetime(2026, 1, 1, tzinfo=UTC),
        cause="schedule",
        timeout_seconds=60,
        job_name="report-1",
        pod_name="report-1-x",
        termination_log=None,
    )
    return Execution(environment, time.monotonic() + 60, lambda _name: 0, attempt=2)


def failure(name: str, **parameters: Any) -> TaskFailedError:
    """Run a plugin that is expected to fail."""
    with pytest.raises(TaskFailedError) as caught:
        run(make_execution(name, **parameters))
    return caught.value


def test_a_plugin_is_given_its_execution_and_returns_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no access to the runner's other variables."""
    monkeypatch.setenv(contract.ENV_DATABASE_URL, "postgresql://u:hunter2@h/d")
    monkeypatch.setenv(contract.ENV_EXECUTION_TOKEN, "hunter2")
    monkeypatch.setenv(f"{contract.ENV_SECRET_PREFIX}0", "hunter2")
    result = dict(run(make_execution("echo", a=[1, {"b": None}])))
    assert 0 < result.pop("left") <= 60
    assert result == {
        "parameters": {"a": [1, {"b": None}]},
        "slot": "2026-01-01 00:00:00+00:00",
        "id": str(UID),
        "attempt": 2,
        "secrets": [],
    }
    assert os.environ[contract.ENV_DATABASE_URL]


@pytest.mark.parametrize(
    ("name", "parameters", "reason", "words"),
    [
        ("nobody", {}, "PluginNotFound", "installed: absent, broken, constant, "),
        ("broken", {}, "PluginBroken", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("absent", {}, "PluginBroken", "AttributeError"),
        ("constant", {}, "PluginBroken", "is not a function"),
        ("twice", {}, "PluginBroken", "several packages"),
        ("returns", {"what": "a list"}, "PluginBroken", "returned list"),
        ("returns", {"what": "nothing"}, "PluginBroken", "returned NoneType"),
        ("returns", {"what": "a set"}, "PluginBroken", "JSON cannot encode"),
        ("returns", {"what": "NaN"}, "PluginBroken", "JSON cannot encode"),
        ("returns", {"what": "numbers"}, "PluginBroken", "text keys"),
        ("returns", {"what": "much"}, "PluginBroken", f"at most {RESULT_LIMIT}"),
        ("returns", {"what": "deep"}, "PluginBroken", "RecursionError"),
        ("fails", {}, "ValueError", "the plugin fails raised ValueError: no such bucket"),
        ("refuses", {"again": True}, "QuotaExceeded", "come back later"),
        ("leaves", {}, "SystemExit", "SystemExit: 0"),
        ("leaves_hard", {}, "PluginCrashed", "exited with code 0"),
        ("leaves_hard_with_code", {}, "PluginCrashed", "exited with code 9"),
        ("dies", {}, "PluginCrashed", "was killed by SIGKILL"),
    ],
)
def test_whatever_a_plugin_does_is_a_failure_with_a_class(
    name: str, parameters: dict[str, Any], reason: str, words: str
) -> None:
    """The message is one line that says what to fix."""
    failed = failure(name, **parameters)
    assert failed.reason == reason
    assert words in failed.message
    assert "\n" not in failed.message


@pytest.mark.parametrize("again", [True, False])
def test_a_failure_may_say_whether_and_when_to_try_again(again: bool) -> None:  # noqa: FBT001  # the one column
    """Only the plugin can know that."""
    failed = failure("refuses", again=again)
    assert (failed.again, failed.retry_after) == (again, 7)


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


def once_written(path: Path, then: Callable[[], None]) -> threading.Thread:
    """Wait in the background for a file that is not empty, and then call a function."""

    def wait() -> None:
        until = time.monotonic() + 30
        while not (path.exists() and path.read_text()) and time.monotonic() < until:
            time.sleep(0.005)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_signal_lets_a_plugin_clean_up(tmp_path: Path, interrupts: Interrupts) -> None:
    """It gets SIGTERM, and time to end."""
    path = tmp_path / "state"
    thread = once_written(path, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped) as caught:
        interrupts.call(lambda: run(make_execution("tidy", file=str(path))), 30)
    thread.join()
    assert caught.value.status is ExecutionStatus.CANCELLED
    assert path.read_text() == "tidy"


def test_a_plugin_that_hears_nothing_is_killed(
    tmp_path: Path, interrupts: Interrupts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeout does not depend on its cooperation."""
    monkeypatch.setattr("carillon_runner.tasks.plugin.GRACE_SECONDS", 0.1)
    path = tmp_path / "pid"
    thread = once_written(path, lambda: os.kill(os.getpid(), signal.SIGALRM))
    with pytest.raises(Stopped) as caught:
        interrupts.call(lambda: run(make_execution("deaf", file=str(path))), 30)
    thread.join()
    assert caught.value.status is ExecutionStatus.TIMED_OUT
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


def test_a_plugin_ends_with_its_runner(tmp_path: Path) -> None:
    """It also ends with a killed runner, so that a lost pod has no effects concurrent with those of the next."""
    path = tmp_path / "pid"
    program = f"""
        import sys
        sys.path[:0] = {[str(tmp_path), *sys.path]!r}
        import importlib.util
        spec = importlib.util.spec_from_file_location("tests_of_plugins", {__file__!r})
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.run(module.make_execution("deaf", file={str(path)!r}))
    """
    runner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    once_written(path, runner.kill).join()
    assert runner.wait(timeout=30) == -signal.SIGKILL
    plugin = int(path.read_text())
    until = time.monotonic() + 10
    while state_of(plugin) not in {"Z", ""}:
        if time.monotonic() > until:
            os.kill(plugin, signal.SIGKILL)
            pytest.fail("the plugin outlived its runner")
        time.sleep(0.01)


def state_of(pid: int) -> str:
    """Return the kernel's state letter of a process (proc(5)); empty if it does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_plugin_logs_to_the_pods_log(capfd: pytest.CaptureFixture[str]) -> None:
    """The logger has the plugin's name."""
    handler = logging.StreamHandler()
    log = logging.getLogger("carillon.plugin.echo")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        run(make_execution("echo"))
    finally:
        log.removeHandler(handler)
    assert "hello" in capfd.readouterr().err
