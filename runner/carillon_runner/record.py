"""The execution's row in Postgres: claimed before the first effect, closed after the last.

``run`` makes one. The runner's role may touch no table: it calls functions of
the schema ``carillon_runner`` with the execution's token, which says what they
act on. The row's guard, "running, and of this pod", is in every function that
ends it, so that whatever is sent twice, or late, changes nothing.
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
"""How long the end of an execution is tried to be recorded; the Job's deadline may come first."""
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0
_CANCEL_SECONDS = 2.0
POD_LOST = "PodLost"

_CONNECT = {
    "application_name": "carillon-runner",
    "connect_timeout": "5",
    # a peer that vanished without a word is noticed within half a minute
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}

# what each does stands in v0004_runner_functions.sql
_CLAIM = "SELECT carillon_runner.claim(%(token)s, %(pod)s)"
_LOOK = "SELECT status, reason, error, result, pod_name FROM carillon_runner.look(%(token)s)"
# the row that stands in the way of a claim, held until it is decided whose it is
_LOCK = "SELECT status, reason, error, pod_name, job_name FROM carillon_runner.lock_row(%(token)s)"
# a statement of its own, after the lock: it sees what whoever held the lock before has written
_LAST_ATTEMPT = "SELECT number, started_at FROM carillon_runner.last_attempt(%(token)s)"
_TAKE_OVER = "SELECT carillon_runner.take_over(%(token)s, %(pod)s, %(number)s, %(error)s)"
_CLOSE_LOST = "SELECT carillon_runner.close_lost(%(token)s, %(pod)s, %(error)s)"
_SAVE_ATTEMPTS = "SELECT carillon_runner.save_attempts(%(token)s, %(pod)s, %(attempts)s)"
# the times of a row are all of one clock, the database's: the end is the claim's time plus what this process measured
_CLOSE = """
SELECT carillon_runner.close_row(%(token)s, %(pod)s, %(status)s, %(reason)s, %(error)s, %(result)s, %(finished_at)s,
                                 %(attempts)s)
"""
# one statement, so one transaction and one round trip
_COUNT = "SELECT carillon_runner.increment(%(token)s, %(pod)s, %(name)s, %(attempts)s)"
_REFUSED_TOKEN = "RT001"  # noqa: S105  # an SQLSTATE

_NO_EFFECT = frozenset({"counter", "sleep", "sum"})
"""The task types that have no effect before their row is closed: of another pod's try nothing is left."""


class RefusedError(Exception):
    """The database refuses the row as it is: trying again would not help."""


class Record:
    """One execution's row, and the connection to it: made when it is first needed, and again when it is lost."""

    def __init__(self, environment: Environment) -> None:
        """Connect to nothing yet.

        Raises:
            SettingsError: libpq cannot read the URL.

        """
        try:
            given = conninfo_to_dict(environment.database_url)
        except psycopg.ProgrammingError:  # its message repeats the URL
            raise SettingsError(
                f"{ENV_DATABASE_URL} cannot be read by libpq: it looks like postgresql://user:password@host:5432/name"
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
        """The number of the attempt that runs."""

    def claim(self, until: float, pause: Callable[[float], None]) -> str | Outcome | None:
        """Take the execution and begin an attempt; return None if it is ours.

        It is, if there was no row; if there was one that says that the slot was
        skipped or missed, for its writer did not see the Job that we are of; and
        if it is that of a lost pod of our Job, and another attempt may be made.
        If none may, the row is closed, and that is returned. Any other row is
        somebody else's, and a sentence that says whose is returned.

        Safe to be cut off anywhere: a row of this pod that is there already is
        ours only if an earlier try of this very process may have written it. One
        that a former process of the pod left is not run a second time.

        Args:
            until: When to give up, on ``time.monotonic``'s clock.
            pause: Waits so many seconds between two tries; what it raises ends the tries.

        Raises:
            UnavailableError: The database stayed out of reach.
            RefusedError: It refuses the row.

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
        """Decide whose a row is that was there before, under its lock, and write that down."""
        e = self._environment
        row = connection.execute(_LOCK, self._parameters()).fetchone()
        if row is None:
            return "another execution has this slot"
        status, reason, error, pod, job = row
        last, began_at = connection.execute(_LAST_ATTEMPT, self._parameters()).fetchone() or (0, None)
        is_lost = status == ExecutionStatus.RUNNING and job == e.job_name and pod != e.pod_name
        if len(sent) > 1 and status == ExecutionStatus.RUNNING and pod == e.pod_name and began_at is not None:
            # ours since an earlier try, whose answer was lost
            self._begin(last, began_at, sent[0])
            return None
        if len(sent) > 1 and (status, reason, job) == (ExecutionStatus.FAILED, POD_LOST, e.job_name):
            return Outcome(ExecutionStatus.FAILED, reason, error)
        if status not in {ExecutionStatus.SKIPPED, ExecutionStatus.MISSED} and not is_lost:
            return f"it is {status} already, by pod {pod}" if pod else f"it is {status} already"
        sentence = f"pod {pod} was lost, and what became of its attempt is not known"
        if is_lost and e.task_type not in _NO_EFFECT and not e.retry.leaves_attempt_after(last):
            sentence += "; the retry policy allows no other"
            self._called(connection, _CLOSE_LOST, error=sentence)
            return Outcome(ExecutionStatus.FAILED, POD_LOST, sentence)
        taken_at = self._called(connection, _TAKE_OVER, number=last + 1, error=sentence)
        if taken_at is None:
            raise RefusedError("the execution's row is gone")
        self._log.warning("taken over", extra={"fields": {"was": status, "pod": pod, "attempt": last + 1}})
        self._begin(last + 1, taken_at, sent[-1])
        return None

    def _begin(self, number: int, began_at: datetime, began: float) -> None:
        self.attempt, self._began, self._began_at = number, began, began_at
        # it is there already: kept for the statements that end it
        self._unsaved = {number: self._new_attempt(began_at)}

    def _new_attempt(self, began_at: datetime) -> dict[str, Any]:
        return {"number": self.attempt, "status": ExecutionStatus.RUNNING.value, "started_at": began_at.isoformat()}

    def _now(self) -> datetime:
        """Return the database's time, as far as this process can tell without it."""
        return self._began_at + timedelta(seconds=time.monotonic() - self._began)

    def end_attempt(self, outcome: Outcome, finished_at: datetime | None = None) -> None:
        """Note how the attempt ended; ``save_attempts`` or, at the latest, ``close`` writes it."""
        self._unsaved[self.attempt] |= {
            "status": outcome.status.value,
            "reason": outcome.reason,
            "error": outcome.error,
            "finished_at": (finished_at or self._now()).isoformat(),
        }

    def begin_attempt(self) -> None:
        """Note that the next attempt begins."""
        self.attempt += 1
        self._unsaved[self.attempt] = self._new_attempt(self._now())

    def save_attempts(self) -> bool:
        """Write what was noted, in one try; return False if the row is no longer ours, so that nobody need go on.

        A database that is away is no reason to stop: what could not be written
        is kept for the next time.
        """
        try:
            is_ours = self._called(self._connected(), _SAVE_ATTEMPTS, **self._noted())
        except psycopg.Error as error:
            self.disconnect()
            self._log.warning("an attempt is recorded later", extra={"fields": {"error": self._words(error)}})
            return True
        self._unsaved = {self.attempt: self._unsaved[self.attempt]}
        return bool(is_ours)

    def _noted(self) -> dict[str, Any]:
        return {"attempts": json.dumps(list(self._unsaved.values()))}

    def count(self, name: str) -> int:
        """Increment a counter and close the row as succeeded; return the counter's new value.

        Both or neither, and once however often the answer is lost: a row that is
        closed already, by an earlier try of ours, has the value in its result.
        Tried until a signal ends it.

        Raises:
            TaskFailedError: The row is no longer ours to close (``RowClosed``), or the counter is at the end of
                bigint, or has a name that no text column takes (``CounterRefused``).

        """

        def increment(connection: Connection) -> int:
            # ended by the statement, which knows when it has counted
            self._unsaved[self.attempt]["status"] = ExecutionStatus.SUCCEEDED.value
            counted = self._called(connection, _COUNT, name=name, **self._noted())
            if counted is not None:
                return int(counted)
            row = connection.execute(_LOOK, self._parameters()).fetchone()
            if row is not None and row[0] == ExecutionStatus.SUCCEEDED and row[4] == self._environment.pod_name:
                return int(json.loads(row[3])["value"])
            raise TaskFailedError("RowClosed", "the execution was closed by somebody else before it counted")

        try:
            return self._persist(increment, float("inf"), time.sleep)
        except RefusedError as error:
            raise TaskFailedError("CounterRefused", "Postgres cannot keep a counter of this name or value") from error

    def close(self, outcome: Outcome) -> Outcome:
        """Record the end; return what the row says, which is another's word if the row was closed before.

        Raises:
            UnavailableError: The database stayed out of reach, or the row is gone.
            RefusedError: It refuses the row even without its result.

        """
        finished_at = self._now()
        # one that has an end keeps it: the execution may end while it waits for the next one
        if "finished_at" not in self._unsaved[self.attempt]:
            self.end_attempt(outcome, finished_at)
        try:
            return self._close(outcome, finished_at)
        except RefusedError as error:
            if outcome.result is None:
                raise
            # a result that jsonb cannot hold must not cost the execution its end
            self._log.error("the database refuses the result", extra={"fields": {"error": str(error)}})
            reason, sentence = "ResultRefused", "the task ended, but Postgres cannot store its result"
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
                raise RefusedError("the execution's row is gone")
            theirs = Outcome(ExecutionStatus(row[0]), *row[1:4])
            # the same: it was ours, its answer lost on the way
            return outcome if (theirs.status, theirs.reason) == (outcome.status, outcome.reason) else theirs

        return self._persist(update, time.monotonic() + CLOSE_SECONDS, time.sleep)

    def disconnect(self) -> None:
        """End the connection, if there is one: an execution that takes its time needs none meanwhile."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """End the connection and whatever statement a signal left running on it."""
        if self._connection is not None:
            # else the statement would go on to wait for its locks, and the closing of the row for it
            with suppress(psycopg.Error):
                self._connection.cancel_safe(timeout=_CANCEL_SECONDS)
        self.disconnect()

    def _called(self, connection: Connection, function: str, **more: Any) -> Any:
        """Return the one value that a function returns."""
        row = connection.execute(function, self._parameters(**more)).fetchone()
        return None if row is None else row[0]

    def _parameters(self, **more: Any) -> dict[str, Any]:
        return {"token": self._environment.token, "pod": self._environment.pod_name, **more}

    def _connected(self) -> Connection:
        if self._connection is None:
            # no prepared statements: a pooler between us and the database would lose them
            self._connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        return self._connection

    def _persist(self, work: Callable[[Connection], T], until: float, pause: Callable[[float], None]) -> T:
        """Return what ``work`` returns, on one connection after another until the time is up."""
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
                # once, not once a try: this may go on for hours
                if failures == 1:
                    self._log.warning("database out of reach, trying again", extra={"fields": {"error": words}})
                left = until - time.monotonic()
                if left <= 0:
                    raise UnavailableError("database", words) from error
                # spread, so that a thousand runners do not come back in the same instant
                pause(min(wait * random.uniform(0.5, 1.0), left))  # noqa: S311  # nothing secret about it
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            else:
                if failures:
                    self._log.info("database reached", extra={"fields": {"failures": failures}})
                return done

    def _words(self, error: psycopg.Error) -> str:
        """Return the driver's words in one line, whatever happens without the password."""
        # without where in a function it happened, if the server says what did
        text = " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
        return text.replace(self._password, "***") if self._password else text


def _is_misplaced(error: psycopg.Error) -> bool:
    """Return whether a row was on its way to the default partition just when its month got one of its own.

    Then no named constraint was broken, and the next try goes where the row belongs.
    """
    return isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name is None
