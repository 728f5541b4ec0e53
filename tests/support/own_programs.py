"""Our programs, as processes with a log file each."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support.forked import PRELOADED, ForkedProgram

ROOT = Path(__file__).resolve().parents[2]


class Programs:
    """The programs that were started, by name."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Take the folder of the logs and the settings that all programs have."""
        self._logs = folder
        self._settings = dict(settings)
        self._processes: dict[str, ForkedProgram | subprocess.Popen[bytes]] = {}

    def spawn(self, name: str, module: str, **settings: str) -> None:
        """Start one of our programs with its own log file."""
        kept = {k: v for k, v in os.environ.items() if k.startswith(("COV", "PATH", "LANG"))}
        environment = {
            **kept,
            "HOME": str(self._logs),
            **self._settings,
            **settings,
        }
        log = self._log_path(name)
        log.unlink(missing_ok=True)
        if f"{module}.__main__" in PRELOADED:
            self._processes[name] = ForkedProgram(module, environment, log)
            return
        with log.open("wb") as file:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module], env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT
            )

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop one of our programs with a signal; return its exit code.

        Raises:
            TimeoutExpired: If it does not end; it is killed, so that the next can be started.

        """
        process = self._processes.pop(name)
        process.send_signal(number)
        try:
            return process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()

    def pid(self, name: str) -> int:
        """Return the process id of one of our programs."""
        return self._processes[name].pid

    def known(self, name: str) -> bool:
        """Return whether one of our programs was started and not stopped by us."""
        return name in self._processes

    def runs(self, name: str) -> bool:
        """Return whether one of our programs is still running."""
        return self._processes[name].poll() is None

    def log(self, name: str) -> str:
        """Return the log of one of our programs since its last start."""
        return self._log_path(name).read_text(errors="replace")

    def end_all(self) -> None:
        """Stop each program that still runs."""
        for name in list(self._processes):
            self.end(name)

    def _log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"
