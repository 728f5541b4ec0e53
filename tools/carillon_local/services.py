"""The background processes of ``make run``, found again by process number and start time."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from carillon_devcluster.files import end_of, write_atomically
from carillon_devcluster.processes import Process, marked, spawn, stop
from carillon_local.layout import LOGS, PROCESSES, ROOT, LocalError, shown

STOP_SECONDS = 20.0
MARK = "CARILLON_LOCAL_SERVICE"
"""The variable by which a service is found if its record was lost."""
PASSED_ON = ("CARILLON_LOG_LEVEL", "CARILLON_LOG_FORMAT", "CARILLON_HTTP_ALLOW")


@dataclass(frozen=True)
class Service:
    """One background process: ``python -m module`` with its own environment."""

    name: str
    module: str

    @property
    def log(self) -> Path:
        """The file with its output."""
        return LOGS / f"{self.name}.log"

    @property
    def _record(self) -> Path:
        return PROCESSES / f"{self.name}.json"

    def process(self) -> Process | None:
        """Return the process if it is running."""
        try:
            record = json.loads(self._record.read_text())
            found = Process(int(record["pid"]), str(record["start"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found.alive() else None

    @property
    def started_at(self) -> datetime | None:
        """When it was started, if that is known."""
        try:
            return datetime.fromisoformat(json.loads(self._record.read_text())["started_at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def ready_file(self) -> Path:
        """The file that it creates when it is ready, if it supports that."""
        return PROCESSES / f"{self.name}.ready"

    def runs_with(self, environment: Mapping[str, str]) -> bool:
        """Return whether it is running with exactly this environment."""
        if self.process() is None:
            return False
        recorded: object = json.loads(self._record.read_text()).get("environment")
        return recorded == dict(environment)

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it unless it is running with exactly this environment; with another environment, it is restarted."""
        if self.runs_with(environment):
            return
        self.stop()
        LOGS.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".old.log"))
        python = ROOT / ".venv" / "bin" / "python"
        process = spawn(python, ["-m", self.module], self.log, {**self._base_environment(), **environment})
        started_at = datetime.now(UTC).isoformat()
        record = {**asdict(process), "started_at": started_at, "environment": dict(environment)}
        write_atomically(self._record, json.dumps(record))

    def stop(self) -> None:
        """Stop it, gracefully at first; do nothing if it is not running."""
        process = self.process()
        # also processes whose record was lost
        stop([*([process] if process else []), *marked(f"{MARK}={self._mark}")], STOP_SECONDS)
        self._record.unlink(missing_ok=True)
        self.ready_file.unlink(missing_ok=True)

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

    @property
    def _mark(self) -> str:
        return f"{ROOT}:{self.name}:"

    def _base_environment(self) -> dict[str, str]:
        """Return the variables of every service; it inherits nothing else from the caller's shell."""
        passed_on = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(ROOT / ".carillon"),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            MARK: self._mark,
            **passed_on,
        }


OPERATOR = Service("operator", "carillon_operator")
API = Service("api", "carillon_api")
RECORDER = Service("recorder", "carillon_recorder")
HTTPBIN = Service("httpbin", "carillon_local.httpbin_server")
ALL = (API, OPERATOR, RECORDER, HTTPBIN)
