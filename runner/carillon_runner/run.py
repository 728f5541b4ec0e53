"""One execution from its claim to its exit code. ``__main__`` calls it with the environment and the signals."""

import logging
import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from carillon_core.contract import TERMINATION_LOG, ExecutionStatus, ExitCode
from carillon_core.errors import UnavailableError
from carillon_core.recording.port import RecordRefusedError
from carillon_runner.attempts import ERROR_LIMIT, run_attempts
from carillon_runner.environment import Environment
from carillon_runner.interrupts import Interrupts, Stopped
from carillon_runner.logs import configure_logging
from carillon_runner.outcome import Outcome, storable
from carillon_runner.record import Record

_EXIT_CODES: Mapping[ExecutionStatus, ExitCode] = {
    ExecutionStatus.SUCCEEDED: ExitCode.SUCCEEDED,
    ExecutionStatus.FAILED: ExitCode.FAILED,
    ExecutionStatus.TIMED_OUT: ExitCode.TIMED_OUT,
    ExecutionStatus.CANCELLED: ExitCode.CANCELLED,
}


def run(environment: Environment, interrupts: Interrupts) -> ExitCode:
    """Claim the execution, run its task, record the end; return the exit code, which agrees with the row.

    Raises:
        SettingsError: The URL to record at, or the recorder's CA, is invalid.

    """
    configure_logging()
    record = Record(environment)
    teller = _Teller(environment)
    try:
        return _run(environment, interrupts, record, teller)
    finally:
        record.disconnect()


def _run(environment: Environment, interrupts: Interrupts, record: Record, teller: "_Teller") -> ExitCode:
    until = time.monotonic() + environment.claim_seconds
    try:
        taken = record.claim(until, lambda seconds: interrupts.call(partial(time.sleep, seconds)))
    except Stopped as stopped:
        interrupts.disarm()
        return teller.not_run(ExitCode.NOT_RECORDED, f"{stopped.message} before the {record.what} could be reached")
    except (UnavailableError, RecordRefusedError) as error:
        return teller.not_run(ExitCode.NOT_RECORDED, str(error))
    if isinstance(taken, Outcome):
        return teller.finished(taken, taken)
    if taken is not None:
        return teller.not_run(ExitCode.ALREADY_CLAIMED, taken)
    teller.started(record.attempt)
    outcome = run_attempts(environment, interrupts, record, teller.failed)
    another = outcome.status is ExecutionStatus.CANCELLED and environment.retry.leaves_attempt_after(record.attempt)
    try:
        recorded = None if another and record.leave(outcome) else record.close(outcome)
    except (UnavailableError, RecordRefusedError) as error:
        return teller.not_recorded(outcome, str(error))
    return teller.interrupted(outcome) if recorded is None else teller.finished(outcome, recorded)


class _Teller:
    """Reports progress in the log and in the termination message."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._began = time.monotonic()
        self._log = logging.getLogger("carillon.runner")

    def started(self, attempt: int) -> None:
        more = {} if attempt == 1 else {"attempt": attempt}
        self._tell(logging.INFO, "execution started", type=self._environment.task_type, **more)

    def failed(self, attempt: int, outcome: Outcome, wait: float) -> None:
        fields = {"attempt": attempt, "reason": outcome.reason, "error": outcome.error, "in_seconds": round(wait, 3)}
        self._tell(logging.WARNING, "attempt failed, will retry", **fields)

    def not_run(self, code: ExitCode, why: str) -> ExitCode:
        self._tell(logging.WARNING, "not run", why=why, exit=code.name)
        self._write(f"not run: {why}")
        return code

    def interrupted(self, outcome: Outcome) -> ExitCode:
        self._tell(logging.WARNING, "attempt interrupted, left to another pod", why=outcome.error)
        self._write(f"interrupted, and left to another pod: {outcome.error}")
        return ExitCode.INTERRUPTED

    def not_recorded(self, outcome: Outcome, why: str) -> ExitCode:
        fields = {"status": outcome.status.value, "reason": outcome.reason, "error": outcome.error}
        self._tell(logging.ERROR, "could not record the end", why=why, **fields, result=outcome.result)
        self._write(f"{outcome.status.value}, but this could not be recorded: {why}")
        return ExitCode.NOT_RECORDED

    def finished(self, outcome: Outcome, recorded: Outcome) -> ExitCode:
        if (recorded.status, recorded.reason) != (outcome.status, outcome.reason):
            self._tell(
                logging.WARNING,
                "the row was already closed and is unchanged",
                status=outcome.status.word,
                reason=outcome.reason,
            )
        self._tell(
            logging.INFO if recorded.status is ExecutionStatus.SUCCEEDED else logging.ERROR,
            "execution ended",
            status=recorded.status.word,
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
            self._tell(logging.WARNING, "could not write the termination message", error=error.strerror)
