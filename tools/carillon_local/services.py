"""The processes that ``make run`` leaves running: started once, found again by number and start time."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from carillon_devcluster.files import end_of, write_atomically
from carillon_devcluster.processes import Process, spawn, stop
from carillon_local.layout import LOGS, PROCESSES, ROOT, LocalError, shown

STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Service:
    """One background process: ``python -m module`` with an environment of its own."""

    name: str
    module: str

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return LOGS / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return PROCESSES / f"{self.name}.json"

    def process(self) -> Process | None:
        """Return the process if it runs."""
        try:
            record = json.loads(self._record.read_text())
            found = Process(int(record["pid"]), str(record["start"]))
        except (OSError, ValueError, KeyError):
            return None
        return found if found.alive() else None

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it if it does not run with this very environment; one that runs with another is stopped first."""
        if self.process() is not None:
            if self._last_environment() == dict(environment):
                return
            self.stop()
        LOGS.mkdir(parents=True, exist_ok=True)
        python = ROOT / ".venv" / "bin" / "python"
        process = spawn(python, ["-m", self.module], self.log, {**_base_environment(), **environment})
        write_atomically(self._record, json.dumps({**asdict(process), "environment": dict(environment)}))

    def stop(self) -> None:
        """End it, gently at first; do nothing if it does not run."""
        process = self.process()
        if process is not None:
            stop([process], STOP_SECONDS)
        self._record.unlink(missing_ok=True)

    def await_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until it is ready.

        Raises:
            LocalError: If it ended or took too long, with the end of its log.

        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process() is None:
                raise LocalError(f"the {self.name} ended; the end of {shown(self.log)}:\n{end_of(self.log)}")
            if time.monotonic() > deadline:
                tail = end_of(self.log)
                raise LocalError(f"the {self.name} is not ready after {seconds:.0f} s; {shown(self.log)}:\n{tail}")
            time.sleep(0.05)

    def _last_environment(self) -> object:
        return json.loads(self._record.read_text()).get("environment")


def _base_environment() -> dict[str, str]:
    """Return what every service sees; nothing of the caller's shell leaks in."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(ROOT / ".carillon"),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


OPERATOR = Service("operator", "carillon_operator")
API = Service("api", "carillon_api")
HTTPBIN = Service("httpbin", "carillon_local.httpbin_server")
ALL = (API, OPERATOR, HTTPBIN)
