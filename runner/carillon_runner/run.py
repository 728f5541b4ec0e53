"""One execution from its claim to its exit code; ``__main__`` calls it with the environment and the signals."""

import json
import logging
import os
import time
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from carillon_core.contract import TERMINATION_LOG, ExecutionStatus, ExitCode
from carillon_core.errors import UnavailableError
from carillon_core.logs import configure_logging
from carillon_runner.environment import Environment
from carillon_runner.interrupts import Interrupts, Stopped
from carillon_runner.outcome import Execution, Outcome, TaskFailedError, storable
from carillon_runner.record import Record, RefusedError
from carillon_runner.tasks import task_function

ERROR_LIMIT = 1024
"""Characters of an error in the row, and of a termination message (the kubelet keeps 4096 bytes)."""

_EXIT_CODES: Mapping[ExecutionStatus, ExitCode] = {
    ExecutionStatus.SUCCEEDED: ExitCode.SUCCEEDED,
    ExecutionStatus.FAILED: ExitCode.FAILED,
    ExecutionStatus.TIMED_OUT: ExitCode.TIMED_OUT,
    ExecutionStatus.CANCELLED: ExitCode.CANCELLED,
}
_USES_DATABASE = frozenset({"counter", "sum"})
"""The task types that keep the connection: the one works on it, the other is done before it could be made again.
Any other gives it back, or a hundred sleeping runners would use up the database's connections."""


def run(environment: Environment, interrupts: Interrupts) -> ExitCode:
    """Claim the execution, run its task, record the end; return the exit code, which is what the row says.

    Raises:
        SettingsError: libpq cannot read the database's URL.

    """
    configure_logging("INFO", "text")
    record = Record(environment)
    teller = _Teller(environment)
    try:
        return _run(environment, interrupts, record, teller)
    finally:
        record.disconnect()


def _run(environment: Environment, interrupts: Interrupts, record: Record, teller: "_Teller") -> ExitCode:
    until = time.monotonic() + environment.timeout_seconds
    try:
        taken = record.claim(until, lambda seconds: interrupts.call(partial(time.sleep, seconds)))
    except Stopped as stopped:
        interrupts.disarm()
        return teller.not_run(ExitCode.NOT_RECORDED, f"{stopped.message} before the database was reached")
    except (UnavailableError, RefusedError) as error:
        return teller.not_run(ExitCode.NOT_RECORDED, str(error))
    if taken is not None:
        return teller.not_run(ExitCode.ALREADY_CLAIMED, taken)
    teller.started()
    if environment.task_type not in _USES_DATABASE:
        record.disconnect()
    outcome = run_task(environment, interrupts, record)
    try:
        recorded = record.close(outcome)
    except (UnavailableError, RefusedError) as error:
        return teller.not_recorded(outcome, str(error))
    return teller.finished(outcome, recorded)


def run_task(environment: Environment, interrupts: Interrupts, record: Record) -> Outcome:
    """Run the task within its time-out; return what became of it, whatever it raises."""
    try:
        return interrupts.call(partial(_succeed, environment, record), environment.timeout_seconds)
    except Stopped as stopped:
        interrupts.disarm()
        record.abandon()
        timed_out = stopped.status is ExecutionStatus.TIMED_OUT
        limit = f" of {environment.timeout_seconds:g} s" if timed_out else ""
        return _outcome(
            stopped.status, "timeout" if timed_out else "Terminated", f"{stopped.message}{limit}", stopped.result
        )
    except TaskFailedError as failure:
        return _outcome(ExecutionStatus.FAILED, failure.reason, failure.message, failure.result)
    except Exception as error:  # noqa: BLE001  # whatever it is, it ends in the row, not in a pod that died in silence
        place = traceback.extract_tb(error.__traceback__)[-1]
        # without the error's own words: they may repeat a header or a password of the spec
        message = f"the task raised {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        return _outcome(ExecutionStatus.FAILED, type(error).__name__, message)


def _succeed(environment: Environment, record: Record) -> Outcome:
    task = task_function(environment.task_type)
    execution = Execution(environment, time.monotonic() + environment.timeout_seconds, record.count)
    return Outcome(ExecutionStatus.SUCCEEDED, result=_encoded(task(execution)))


def _outcome(status: ExecutionStatus, reason: str, error: str, result: Mapping[str, Any] | None = None) -> Outcome:
    encoded = None if result is None else _encoded(result)
    return Outcome(status, storable(reason), storable(error)[:ERROR_LIMIT], encoded)


def _encoded(result: Mapping[str, Any]) -> str:
    return json.dumps(result, allow_nan=False, separators=(",", ":"))


class _Teller:
    """Says how the execution goes: on the log and in the termination message."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._began = time.monotonic()
        self._log = logging.getLogger("carillon.runner")

    def started(self) -> None:
        self._tell(logging.INFO, "execution started", type=self._environment.task_type)

    def not_run(self, code: ExitCode, why: str) -> ExitCode:
        self._tell(logging.WARNING, "nothing was run", why=why, exit=code.name)
        self._write(f"nothing was run: {why}")
        return code

    def not_recorded(self, outcome: Outcome, why: str) -> ExitCode:
        fields = {"status": outcome.status.value, "reason": outcome.reason, "error": outcome.error}
        self._tell(logging.ERROR, "the end could not be recorded", why=why, **fields, result=outcome.result)
        self._write(f"{outcome.status.value}, but that could not be recorded: {why}")
        return ExitCode.NOT_RECORDED

    def finished(self, outcome: Outcome, recorded: Outcome) -> ExitCode:
        if (recorded.status, recorded.reason) != (outcome.status, outcome.reason):
            self._tell(
                logging.WARNING,
                "the row had been closed before, and stays as it is",
                status=outcome.status.value,
                reason=outcome.reason,
            )
        self._tell(
            logging.INFO if recorded.status is ExecutionStatus.SUCCEEDED else logging.ERROR,
            "execution ended",
            status=recorded.status.value,
            **{name: value for name in ("reason", "error") if (value := getattr(recorded, name))},
        )
        if recorded.status is not ExecutionStatus.SUCCEEDED:
            self._write(recorded.error or recorded.reason or recorded.status.value)
        elif recorded.result is not None and len(recorded.result) <= ERROR_LIMIT:
            self._write(recorded.result)
        return _EXIT_CODES.get(recorded.status, ExitCode.ALREADY_CLAIMED)

    def _tell(self, level: int, message: str, **fields: Any) -> None:
        common = {
            "execution": self._environment.execution_id,
            "task": f"{self._environment.namespace}/{self._environment.task}",
            "slot": self._environment.slot.isoformat(),
        }
        fields["seconds"] = round(time.monotonic() - self._began, 3)
        self._log.log(level, message, extra={"fields": common | fields})

    def _write(self, message: str) -> None:
        given = self._environment.termination_log
        if given is None and not os.access(TERMINATION_LOG, os.W_OK):
            return
        try:
            Path(given or TERMINATION_LOG).write_text(storable(message)[:ERROR_LIMIT], encoding="utf-8")
        except OSError as error:
            self._tell(logging.WARNING, "the termination message could not be written", error=error.strerror)
