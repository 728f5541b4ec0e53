"""Programs that are forked from a process that has imported their modules: a start costs a tenth of the time."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from multiprocessing import forkserver
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Self

import coverage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.context import ForkServerProcess
    from pathlib import Path

PRELOADED = ("carillon_recorder.__main__", "carillon_operator.__main__", "carillon_api.__main__")
"""What the process that forks has imported."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*PRELOADED, __name__])


class ForkedProgram:
    """A program as ``python -m`` would run it, with what tests use of ``subprocess.Popen``."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path) -> None:
        """Start it; both of its outputs go to the end of a file."""
        log.touch(0o600)
        _serve_unmeasured()
        self._process: ForkServerProcess = _context.Process(target=_run, args=(module, dict(environment), str(log)))
        self._process.start()
        self.pid = self._process.pid or 0

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for its end."""
        self._process.join()

    def poll(self) -> int | None:
        """Return its exit code, or None if it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code when it has ended.

        Raises:
            TimeoutExpired: It still runs after ``timeout`` seconds.

        """
        self._process.join(timeout)
        if (code := self.poll()) is None:
            raise TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()


def _serve_unmeasured() -> None:
    """Start the process that forks, unless it runs: without coverage, which would be lost when tests kill programs."""
    measuring = {name: os.environ.pop(name) for name in tuple(os.environ) if name.startswith("COVERAGE_")}
    forkserver.ensure_running()
    os.environ.update(measuring)


def _run(module: str, environment: Mapping[str, str], log: str) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(out, number)
    os.close(out)
    os.environ.clear()
    os.environ.update(environment)
    _read_environment_again()
    sys.argv = [module]
    sys.modules.pop(f"{module}.__main__", None)
    measured = coverage.process_startup() if environment.get("COVERAGE_PROCESS_CONFIG") else None
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        if measured is not None:
            measured.stop()
            measured.save()


def _read_environment_again() -> None:
    # the official client reads it on import
    for name in ("kubernetes.config.kube_config", "kubernetes.aio.config.kube_config"):
        if module := sys.modules.get(name):
            vars(module)["KUBE_CONFIG_DEFAULT_LOCATION"] = os.environ.get("KUBECONFIG", "~/.kube/config")
