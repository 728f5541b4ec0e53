"""The row of an execution: claimed before the first effect, closed after the last.

``run`` creates one. The row is reached through the port ``Recorder``: over a
connection to Postgres, or through the recorder, as the URL's scheme says. Only
the adapter that is used is imported.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from carillon_core.contract import ExecutionStatus
from carillon_core.recording.port import (
    Begun,
    End,
    Recorder,
    RecorderUnavailableError,
    RecordRefusedError,
    Row,
    Takeover,
)
from carillon_runner.environment import Environment
from carillon_runner.outcome import Outcome, TaskFailedError

T = TypeVar("T")

CLOSE_SECONDS = 300.0
"""How long to try to record the end of an execution. The Job's deadline may come first."""
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0

_NO_EFFECT = frozenset({"counter", "sleep", "sum"})
"""Task types without an effect before their row is closed: an attempt of a lost pod left nothing behind."""


def recorder_of(environment: Environment) -> Recorder:
    """Return the adapter for the environment's URL; it connects to nothing yet.

    Raises:
        SettingsError: The URL or the CA is invalid.

    """
    if environment.record_url.startswith("http"):
        from carillon_core.adapters.recorder_client import RecorderClient  # noqa: PLC0415  # one of the two only

        execution = environment.execution_id
        return RecorderClient(environment.record_url, environment.recorder_ca, environment.token, execution)
    from carillon_core.adapters.postgres.recorder import PostgresRecorder, Session  # noqa: PLC0415  # psycopg: 0.1 s

    return PostgresRecorder(Session(environment.record_url), environment.token)


class Record:
    """The row of one execution, and what is not stored in it yet."""

    def __init__(self, environment: Environment) -> None:
        """Connect to nothing yet.

        Raises:
            SettingsError: See ``recorder_of``.

        """
        self._environment = environment
        self._recorder = recorder_of(environment)
        self._began = 0.0
        self._began_at = datetime.min.replace(tzinfo=UTC)
        self._unsaved: dict[int, dict[str, Any]] = {}
        self._log = logging.getLogger("carillon.runner")
        self.what = self._recorder.what
        """Where it is: in the ``database``, or with the ``recorder``."""
        self.attempt = 1
        """The number of the current attempt."""

    def claim(self, until: float, pause: Callable[[float], None]) -> str | Outcome | None:
        """Take the execution and begin an attempt; return None if it is ours.

        It is ours if there was no row; if the row says that the slot was skipped
        or missed, because its writer did not see our Job; or if it belongs to a
        lost pod of our Job and another attempt is allowed. If no attempt is
        allowed, the row is closed and its outcome returned. Any other row belongs
        to another execution, and a sentence naming its owner is returned.

        It may be interrupted anywhere: an existing row of this pod is ours only
        if an earlier try of this process may have written it. A row left by a
        previous process of the pod is not run again.

        Args:
            until: When to give up, on ``time.monotonic``'s clock.
            pause: Waits the given number of seconds between tries. An exception from it ends the tries.

        Raises:
            UnavailableError: The database, or the recorder, stayed unreachable.
            RecordRefusedError: The row is refused.

        """
        e = self._environment
        most_attempts = None if e.task_type in _NO_EFFECT else 1 + e.retry.limit

        def take(in_doubt: bool) -> str | Outcome | None:  # noqa: FBT001  # what ``_persist`` calls
            begun = self._recorder.claim(e.pod_name)
            if begun is None:
                taken = self._recorder.take_over(Takeover(e.pod_name, e.job_name, in_doubt, most_attempts))
                if isinstance(taken, str):
                    return taken
                if isinstance(taken, Row):
                    return _outcome(taken)
                begun = taken
                if begun.number > 1:
                    self._log.warning("taken over", extra={"fields": {"attempt": begun.number}})
            self._begin(begun)
            return None

        return self._persist(take, until, pause)

    def _begin(self, begun: Begun) -> None:
        self.attempt, self._began_at = begun.number, begun.at
        self._began = time.monotonic() - begun.age_seconds
        # already stored; kept for the statements that end it
        self._unsaved = {begun.number: _new_attempt(begun.number, begun.at)}

    def _now(self) -> datetime:
        """Return the database's time as computed from the claim and this process's clock."""
        return self._began_at + timedelta(seconds=time.monotonic() - self._began)

    def end_attempt(self, outcome: Outcome, finished_at: datetime | None = None) -> None:
        """Note how the attempt ended. ``save_attempts`` writes it, or ``close`` at the latest."""
        self._unsaved[self.attempt] |= {
            "status": outcome.status.value,
            "reason": outcome.reason,
            "error": outcome.error,
            "finished_at": (finished_at or self._now()).isoformat(),
        }
        if (response := outcome.response) is not None:
            answered = {"status_code": response.status_code, "response_time_ms": response.time_ms}
            self._unsaved[self.attempt] |= answered

    def begin_attempt(self) -> None:
        """Note that the next attempt starts."""
        self.attempt += 1
        self._unsaved[self.attempt] = _new_attempt(self.attempt, self._now())

    def leave(self, outcome: Outcome) -> bool:
        """Note how the attempt was interrupted and leave the row open for the next pod; return False if it is closed.

        One try: the pod has little time left. An attempt that could not be recorded counts as that of a lost pod.
        """
        # an attempt that has ended keeps its end: the signal may come in the wait for the next one
        if "finished_at" not in self._unsaved[self.attempt]:
            self.end_attempt(outcome)
        return self.save_attempts()

    def save_attempts(self) -> bool:
        """Write the noted attempts, in one try; return False if the row is no longer ours.

        If that is not possible now, the attempts are kept for the next call.
        """
        try:
            is_ours = self._recorder.save_attempts(self._environment.pod_name, self._noted())
        except (RecorderUnavailableError, RecordRefusedError) as error:
            self._log.warning("attempt not recorded yet, will retry", extra={"fields": {"error": _words(error)}})
            return True
        self._unsaved = {self.attempt: self._unsaved[self.attempt]}
        return is_ours

    def _noted(self) -> list[dict[str, Any]]:
        return list(self._unsaved.values())

    def count(self, name: str) -> int:
        """Increment a counter and close the row as succeeded; return the counter's new value.

        Both happen or neither, and only once even if answers are lost: a row
        closed by an earlier try has the value in its result. Retries until a
        signal ends it.

        Raises:
            TaskFailedError: The row is no longer ours (``RowClosed``), the counter would exceed bigint, or its name
                cannot be stored (``CounterRefused``).

        """
        pod = self._environment.pod_name

        def increment(_in_doubt: bool) -> int:  # noqa: FBT001  # what ``_persist`` calls
            # the increment ends the attempt
            self._unsaved[self.attempt]["status"] = ExecutionStatus.SUCCEEDED.value
            counted = self._recorder.increment(pod, name, self._noted())
            if counted is not None:
                return counted
            row = self._recorder.look()
            if row is not None and (row.status, row.pod) == (ExecutionStatus.SUCCEEDED, pod):
                return int(json.loads(row.result or "")["value"])
            raise TaskFailedError("RowClosed", "the execution was closed by another process before it counted")

        try:
            return self._persist(increment, float("inf"), time.sleep)
        except RecordRefusedError as error:
            raise TaskFailedError(
                "CounterRefused", "Postgres cannot store a counter with this name or value"
            ) from error

    def close(self, outcome: Outcome) -> Outcome:
        """Record the end and return the outcome in the row, which differs if another process closed it before.

        Raises:
            UnavailableError: The database stayed unreachable.
            RecordRefusedError: The row no longer exists, or the database refuses it even without its result.

        """
        finished_at = self._now()
        # an attempt that has ended keeps its end: the execution may end while it waits for the next one
        if "finished_at" not in self._unsaved[self.attempt]:
            self.end_attempt(outcome, finished_at)
        try:
            return self._close(outcome, finished_at)
        except RecordRefusedError as error:
            if outcome.result is None:
                raise
            # a result that jsonb cannot store must not prevent the end from being recorded
            self._log.error("the database refuses the result", extra={"fields": {"error": str(error)}})
            reason, sentence = "ResultRefused", "the task finished, but Postgres cannot store its result"
            refused = Outcome(ExecutionStatus.FAILED, reason, sentence)
            self.end_attempt(refused, finished_at)
            return self._close(refused, finished_at)

    def _close(self, outcome: Outcome, finished_at: datetime) -> Outcome:
        def update(_in_doubt: bool) -> Outcome:  # noqa: FBT001  # what ``_persist`` calls
            end = End(
                status=outcome.status.value,
                reason=outcome.reason,
                error=outcome.error,
                result=outcome.result,
                finished_at=finished_at.isoformat(),
                attempts=self._noted(),
            )
            if self._recorder.close(self._environment.pod_name, end):
                return outcome
            row = self._recorder.look()
            if row is None:
                raise RecordRefusedError("the execution's row no longer exists")
            theirs = _outcome(row)
            # equal outcomes: it was our call, and its answer was lost
            return outcome if (theirs.status, theirs.reason) == (outcome.status, outcome.reason) else theirs

        return self._persist(update, time.monotonic() + CLOSE_SECONDS, time.sleep)

    def disconnect(self) -> None:
        """Close the connection. A long execution does not need one meanwhile."""
        self._recorder.disconnect()

    def abandon(self) -> None:
        """Close the connection and end what a signal left running on it."""
        self._recorder.abandon()

    def _persist(self, work: Callable[[bool], T], until: float, pause: Callable[[float], None]) -> T:
        """Return the result of ``work``, tried again until the time is up; it is told if a try may have succeeded."""
        wait = FIRST_WAIT_SECONDS
        failures = 0
        in_doubt = False
        while True:
            try:
                done = work(in_doubt)
            except RecorderUnavailableError as error:
                in_doubt |= error.in_doubt
                failures += 1
                # once, not at each try: this may last for hours
                if failures == 1:
                    self._log.warning("%s unreachable, retrying", error.what, extra={"fields": {"error": error.why}})
                left = until - time.monotonic()
                if left <= 0:
                    raise
                # spread, so that a thousand runners do not come again at the same instant
                spread = random.uniform(0.5, 1.0)  # noqa: S311  # not used for security
                pause(min(max(wait, error.retry_after * 2) * spread, left))
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            else:
                if failures:
                    self._log.info("%s reached", self.what, extra={"fields": {"failures": failures}})
                return done


def _new_attempt(number: int, began_at: datetime) -> dict[str, Any]:
    return {"number": number, "status": ExecutionStatus.RUNNING.value, "started_at": began_at.isoformat()}


def _outcome(row: Row) -> Outcome:
    return Outcome(ExecutionStatus(row.status), row.reason, row.error, row.result)


def _words(error: RecorderUnavailableError | RecordRefusedError) -> str:
    return error.why if isinstance(error, RecorderUnavailableError) else str(error)
