"""The attempts of one execution: their time limits, the waits between them, and one outcome.

``run`` calls it after the claim.
"""

import json
import random
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from carillon_core.contract import REASON_TERMINATED, TIMEOUT, ExecutionStatus
from carillon_runner.environment import Environment
from carillon_runner.interrupts import Interrupts, Stopped
from carillon_runner.outcome import Execution, Outcome, Response, TaskFailedError, storable
from carillon_runner.record import Record
from carillon_runner.retry import is_tried_again
from carillon_runner.tasks import task_function

ERROR_LIMIT = 1024
"""Characters of an error in the row, and of a termination message (the kubelet keeps 4096 bytes)."""
REASON_LIMIT = 100
SAVE_SECONDS = 2.0
"""How long to wait for attempts to be written before they are written later."""
_USES_DATABASE = frozenset({"counter", "sum"})
"""Task types that keep the connection: ``counter`` uses it, and ``sum`` finishes before it could be reopened. The
others close it, so that a hundred sleeping runners do not use up the database's connections."""

Teller = Callable[[int, Outcome, float], None]
"""Called with the number of a failed attempt, its outcome, and the seconds until the next one starts."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """The outcome of an attempt, and whether another may follow."""

    outcome: Outcome
    again: bool = False
    retry_after: float | None = None


def run_attempts(environment: Environment, interrupts: Interrupts, record: Record, tell: Teller) -> Outcome:
    """Run the task until an attempt succeeds, none is left, or the time is up; return the last outcome.

    The timeout covers all attempts and the waits between them. A wait that would
    exceed it ends the execution immediately. The outcome of an attempt is written
    before the next one starts, or later if the database is unavailable.
    """
    deadline = time.monotonic() + environment.timeout_seconds
    policy = environment.retry
    while True:
        if environment.task_type not in _USES_DATABASE:
            record.disconnect()
        ended = _attempt(environment, interrupts, record, deadline)
        if not ended.again:
            return ended.outcome
        number = record.attempt
        if not policy.leaves_attempt_after(number):
            return ended.outcome if number == 1 else _with(ended.outcome, f"attempt {number} was the last one allowed")
        # spread, so that a thousand executions do not retry at the same instant
        wait = policy.wait_seconds(number, ended.retry_after, random.random())  # noqa: S311  # not used for security
        left = max(deadline - time.monotonic(), 0)
        if wait >= left:
            why = f"no time is left for another attempt: it would start in {wait:.3g} s, and {left:.3g} s remain"
            return _with(ended.outcome, why)
        tell(number, ended.outcome, wait)
        record.end_attempt(ended.outcome)
        next_at = time.monotonic() + wait
        try:
            if not _save(interrupts, record):
                return ended.outcome
            interrupts.call(partial(_sleep_until, next_at), deadline - time.monotonic())
            record.begin_attempt()
            if not _save(interrupts, record):
                return ended.outcome
        except Stopped as stopped:
            interrupts.disarm()
            return _with(
                _stopped_outcome(environment, stopped), f"attempt {number} had failed with {ended.outcome.reason}"
            )


def _attempt(environment: Environment, interrupts: Interrupts, record: Record, deadline: float) -> _Ended:
    """Run the task once within its time limit and return the outcome, also for unexpected exceptions."""
    now = time.monotonic()
    limit = environment.retry.attempt_timeout_seconds
    is_last = limit is None or now + limit >= deadline
    seconds = deadline - now if limit is None or is_last else limit
    execution = Execution(environment, now + seconds, record.count, record.attempt)
    try:
        return _Ended(interrupts.call(partial(_success, execution), seconds, is_last=is_last))
    except Stopped as stopped:
        interrupts.disarm()
        record.abandon()
        return _Ended(_stopped_outcome(environment, stopped), stopped.status is ExecutionStatus.FAILED)
    except TaskFailedError as failure:
        again = is_tried_again(failure.reason) if failure.again is None else failure.again
        outcome = _outcome(ExecutionStatus.FAILED, failure.reason, failure.message, failure.result)
        return _Ended(replace(outcome, response=_response(environment, failure.result)), again, failure.retry_after)
    except Exception as error:  # noqa: BLE001  # any failure is recorded, so that no pod dies silently
        place = traceback.extract_tb(error.__traceback__)[-1]
        # without the error's message, which may contain a header or a password of the spec
        message = f"the task raised {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        return _Ended(_outcome(ExecutionStatus.FAILED, type(error).__name__, message), again=True)


def _sleep_until(when: float) -> None:
    time.sleep(max(when - time.monotonic(), 0))


def _save(interrupts: Interrupts, record: Record) -> bool:
    """Write the attempts. Return False if the row is no longer ours."""
    try:
        return interrupts.call(record.save_attempts, SAVE_SECONDS, is_last=False)
    except Stopped as stopped:
        interrupts.disarm()
        record.abandon()
        if stopped.status is not ExecutionStatus.FAILED:
            raise
        return True


def _success(execution: Execution) -> Outcome:
    result = task_function(execution.environment.task_type)(execution)
    response = _response(execution.environment, result)
    return Outcome(ExecutionStatus.SUCCEEDED, result=_encoded(result), response=response)


def _response(environment: Environment, result: Mapping[str, Any] | None) -> Response | None:
    """Return the response that the result of an HTTP task describes; a plugin's fields of these names may be others."""
    if environment.task_type != "http" or result is None:
        return None
    return Response(result["statusCode"], result["responseTimeMs"])


def _stopped_outcome(environment: Environment, stopped: Stopped) -> Outcome:
    if stopped.status is ExecutionStatus.CANCELLED:
        return _outcome(stopped.status, REASON_TERMINATED, stopped.message, stopped.result)
    timed_out = stopped.status is ExecutionStatus.TIMED_OUT
    limit = environment.timeout_seconds if timed_out else environment.retry.attempt_timeout_seconds
    return _outcome(stopped.status, TIMEOUT, f"{stopped.message} of {limit:g} s", stopped.result)


def _with(outcome: Outcome, more: str) -> Outcome:
    return replace(outcome, error=f"{outcome.error}; {more}"[:ERROR_LIMIT])


def _outcome(status: ExecutionStatus, reason: str, error: str, result: Mapping[str, Any] | None = None) -> Outcome:
    encoded = None if result is None else _encoded(result)
    return Outcome(status, storable(reason)[:REASON_LIMIT], storable(error)[:ERROR_LIMIT], encoded)


def _encoded(result: Mapping[str, Any]) -> str:
    return json.dumps(result, allow_nan=False, separators=(",", ":"))
