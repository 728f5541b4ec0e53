"""The row of an execution in Postgres: claimed before the first effect, closed after the last.

``run`` creates one. The runner's role has no privileges on tables: it calls
functions of the schema ``carillon_runner`` with the execution's token, which
identifies the row. Every function that ends a row checks that it is running and
belongs to this pod, so a repeated or late call changes nothing.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from carillon_core.contract import ENV_DATABASE_URL, ExecutionStatus
from carillon_core.errors import SettingsError, UnavailableError
from carillon_runner.environment import Environment
from carillon_runner.outcome import Outcome, TaskFailedError

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]

CLOSE_SECONDS = 300.0
"""How long to try to record the end of an execution. The Job's deadline may come first."""
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0
_CANCEL_SECONDS = 2.0
POD_LOST = "PodLost"

_CONNECT = {
    "application_name": "carillon-runner",
    "connect_timeout": "5",
    # a peer that disappears is noticed within half a minute
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}

# the functions are in v0004_runner_functions.sql
_CLAIM = "SELECT carillon_runner.claim(%(token)s, %(pod)s)"
_LOOK = "SELECT status, reason, error, result, pod_name FROM carillon_runner.look(%(token)s)"
# locks the row that prevented the claim until its owner is decided
_LOCK = "SELECT status, reason, error, pod_name, job_name FROM carillon_runner.lock_row(%(token)s)"
# a separate statement after the lock, so that it sees what the previous holder wrote
_LAST_ATTEMPT = "SELECT number, started_at FROM carillon_runner.last_attempt(%(token)s)"
_TAKE_OVER = "SELECT carillon_runner.take_over(%(token)s, %(pod)s, %(number)s, %(error)s)"
_CLOSE_LOST = "SELECT carillon_runner.close_lost(%(token)s, %(pod)s, %(error)s)"
_SAVE_ATTEMPTS = "SELECT carillon_runner.save_attempts(%(token)s, %(pod)s, %(attempts)s)"
# all times of a row are the database's: the end is the claim's time plus the duration measured here
_CLOSE = """
SELECT carillon_runner.close_row(%(token)s, %(pod)s, %(status)s, %(reason)s, %(error)s, %(result)s, %(finished_at)s,
                                 %(attempts)s)
"""
# one statement: one transaction and one round trip
_COUNT = "SELECT carillon_runner.increment(%(token)s, %(pod)s, %(name)s, %(attempts)s)"
_REFUSED_TOKEN = "RT001"  # noqa: S105  # an SQLSTATE

_NO_EFFECT = frozenset({"counter", "sleep", "sum"})
"""Task types without an effect before their row is closed: an attempt of a lost pod left nothing behind."""


class RefusedError(Exception):
    """The database refuses the row. Retrying would not help."""


class Record:
    """The row of one execution, and a connection that is opened on demand and reopened when it is lost."""

    def __init__(self, environment: Environment) -> None:
        """Connect to nothing yet.

        Raises:
            SettingsError: The URL is invalid.

        """
        try:
            given = conninfo_to_dict(environment.database_url)
        except psycopg.ProgrammingError:  # its message repeats the URL
            raise SettingsError(
                f"{ENV_DATABASE_URL} is not a valid connection URL: write postgresql://user:password@host:5432/name"
            ) from None
        self._environment = environment
        self._conninfo = make_conninfo(
            "", **(_CONNECT | {name: str(value) for name, value in given.items() if value is not None})
        )
        self._password = str(given.get("password") or "")
        self._connection: Connection | None = None
        self._began = 0.0
        self._began_at = datetime.min.replace(tzinfo=UTC)
        self._unsaved: dict[int, dict[str, Any]] = {}
        self._log = logging.getLogger("carillon.runner")
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
            UnavailableError: The database stayed unreachable.
            RefusedError: The database refuses the row.

        """
        sent: list[float] = []

        def take(connection: Connection) -> str | Outcome | None:
            sent.append(time.monotonic())
            began_at = self._called(connection, _CLAIM)
            if began_at is not None:
                self._begin(1, began_at, sent[-1])
                return None
            with connection.transaction():
                return self._take_over(connection, sent)

        return self._persist(take, until, pause)

    def _take_over(self, connection: Connection, sent: Sequence[float]) -> str | Outcome | None:
        """Decide under a lock who owns an existing row, and record the decision."""
        e = self._environment
        row = connection.execute(_LOCK, self._parameters()).fetchone()
        if row is None:
            return "another execution owns this slot"
        status, reason, error, pod, job = row
        last, began_at = connection.execute(_LAST_ATTEMPT, self._parameters()).fetchone() or (0, None)
        is_lost = status == ExecutionStatus.RUNNING and job == e.job_name and pod != e.pod_name
        if len(sent) > 1 and status == ExecutionStatus.RUNNING and pod == e.pod_name and began_at is not None:
            # ours: an earlier try succeeded and its answer was lost
            self._begin(last, began_at, sent[0])
            return None
        if len(sent) > 1 and (status, reason, job) == (ExecutionStatus.FAILED, POD_LOST, e.job_name):
            return Outcome(ExecutionStatus.FAILED, reason, error)
        if status not in {ExecutionStatus.SKIPPED, ExecutionStatus.MISSED} and not is_lost:
            return f"already {status}, by pod {pod}" if pod else f"already {status}"
        sentence = f"pod {pod} was lost; the outcome of its attempt is unknown"
        if is_lost and e.task_type not in _NO_EFFECT and not e.retry.leaves_attempt_after(last):
            sentence += "; the retry policy allows no further attempt"
            self._called(connection, _CLOSE_LOST, error=sentence)
            return Outcome(ExecutionStatus.FAILED, POD_LOST, sentence)
        taken_at = self._called(connection, _TAKE_OVER, number=last + 1, error=sentence)
        if taken_at is None:
            raise RefusedError("the execution's row no longer exists")
        self._log.warning("taken over", extra={"fields": {"was": status, "pod": pod, "attempt": last + 1}})
        self._begin(last + 1, taken_at, sent[-1])
        return None

    def _begin(self, number: int, began_at: datetime, began: float) -> None:
        self.attempt, self._began, self._began_at = number, began, began_at
        # already stored; kept for the statements that end it
        self._unsaved = {number: _new_attempt(number, began_at)}

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

        If the database is unavailable, the attempts are kept for the next call.
        """
        try:
            is_ours = self._called(self._connected(), _SAVE_ATTEMPTS, **self._noted())
        except psycopg.Error as error:
            self.disconnect()
            self._log.warning("attempt not recorded yet, will retry", extra={"fields": {"error": self._words(error)}})
            return True
        self._unsaved = {self.attempt: self._unsaved[self.attempt]}
        return bool(is_ours)

    def _noted(self) -> dict[str, Any]:
        return {"attempts": json.dumps(list(self._unsaved.values()))}

    def count(self, name: str) -> int:
        """Increment a counter and close the row as succeeded; return the counter's new value.

        Both happen or neither, and only once even if answers are lost: a row
        closed by an earlier try has the value in its result. Retries until a
        signal ends it.

        Raises:
            TaskFailedError: The row is no longer ours (``RowClosed``), the counter would exceed bigint, or its name
                cannot be stored (``CounterRefused``).

        """

        def increment(connection: Connection) -> int:
            # the statement ends the attempt
            self._unsaved[self.attempt]["status"] = ExecutionStatus.SUCCEEDED.value
            counted = self._called(connection, _COUNT, name=name, **self._noted())
            if counted is not None:
                return int(counted)
            row = connection.execute(_LOOK, self._parameters()).fetchone()
            if row is not None and row[0] == ExecutionStatus.SUCCEEDED and row[4] == self._environment.pod_name:
                return int(json.loads(row[3])["value"])
            raise TaskFailedError("RowClosed", "the execution was closed by another process before it counted")

        try:
            return self._persist(increment, float("inf"), time.sleep)
        except RefusedError as error:
            raise TaskFailedError(
                "CounterRefused", "Postgres cannot store a counter with this name or value"
            ) from error

    def close(self, outcome: Outcome) -> Outcome:
        """Record the end and return the outcome in the row, which differs if another process closed it before.

        Raises:
            UnavailableError: The database stayed unreachable.
            RefusedError: The row no longer exists, or the database refuses it even without its result.

        """
        finished_at = self._now()
        # an attempt that has ended keeps its end: the execution may end while it waits for the next one
        if "finished_at" not in self._unsaved[self.attempt]:
            self.end_attempt(outcome, finished_at)
        try:
            return self._close(outcome, finished_at)
        except RefusedError as error:
            if outcome.result is None:
                raise
            # a result that jsonb cannot store must not prevent the end from being recorded
            self._log.error("the database refuses the result", extra={"fields": {"error": str(error)}})
            reason, sentence = "ResultRefused", "the task finished, but Postgres cannot store its result"
            refused = Outcome(ExecutionStatus.FAILED, reason, sentence)
            self.end_attempt(refused, finished_at)
            return self._close(refused, finished_at)

    def _close(self, outcome: Outcome, finished_at: datetime) -> Outcome:
        def update(connection: Connection) -> Outcome:
            values = {
                "status": outcome.status.value,
                "reason": outcome.reason,
                "error": outcome.error,
                "result": outcome.result,
                "finished_at": finished_at,
                **self._noted(),
            }
            if self._called(connection, _CLOSE, **values):
                return outcome
            row = connection.execute(_LOOK, self._parameters()).fetchone()
            if row is None:
                raise RefusedError("the execution's row no longer exists")
            theirs = Outcome(ExecutionStatus(row[0]), *row[1:4])
            # equal outcomes: it was our call, and its answer was lost
            return outcome if (theirs.status, theirs.reason) == (outcome.status, outcome.reason) else theirs

        return self._persist(update, time.monotonic() + CLOSE_SECONDS, time.sleep)

    def disconnect(self) -> None:
        """Close the connection. A long execution does not need one meanwhile."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """Close the connection and cancel a statement that a signal left running on it."""
        if self._connection is not None:
            # otherwise the statement would keep waiting for locks, and closing the row would wait for it
            with suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=_CANCEL_SECONDS)
        self.disconnect()

    def _called(self, connection: Connection, function: str, **more: Any) -> Any:
        """Call a function and return its value."""
        row = connection.execute(function, self._parameters(**more)).fetchone()
        return None if row is None else row[0]

    def _parameters(self, **more: Any) -> dict[str, Any]:
        return {"token": self._environment.token, "pod": self._environment.pod_name, **more}

    def _connected(self) -> Connection:
        if self._connection is None:
            # no prepared statements: a connection pooler would lose them
            self._connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        return self._connection

    def _persist(self, work: Callable[[Connection], T], until: float, pause: Callable[[float], None]) -> T:
        """Return the result of ``work``, reconnecting until the time is up."""
        wait = FIRST_WAIT_SECONDS
        failures = 0
        while True:
            try:
                done = work(self._connected())
            except psycopg.Error as error:
                if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)) and not _is_misplaced(error):
                    raise RefusedError(self._words(error)) from error
                self.disconnect()
                words = self._words(error)
                if error.sqlstate == _REFUSED_TOKEN:
                    raise RefusedError(words) from error
                failures += 1
                # once, not at each try: this may last for hours
                if failures == 1:
                    self._log.warning("database unreachable, retrying", extra={"fields": {"error": words}})
                left = until - time.monotonic()
                if left <= 0:
                    raise UnavailableError("database", words) from error
                # spread, so that a thousand runners do not reconnect at the same instant
                pause(min(wait * random.uniform(0.5, 1.0), left))  # noqa: S311  # not used for security
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            else:
                if failures:
                    self._log.info("database reached", extra={"fields": {"failures": failures}})
                return done

    def _words(self, error: psycopg.Error) -> str:
        """Return the driver's message in one line, without the password."""
        # without the position inside a function, if the server has a primary message
        text = " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
        return text.replace(self._password, "***") if self._password else text


def _new_attempt(number: int, began_at: datetime) -> dict[str, Any]:
    return {"number": number, "status": ExecutionStatus.RUNNING.value, "started_at": began_at.isoformat()}


def _is_misplaced(error: psycopg.Error) -> bool:
    """Return whether a row was on its way to the default partition when the partition of its month was created.

    In this case no named constraint is violated, and the next try reaches the right partition.
    """
    return isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name is None
