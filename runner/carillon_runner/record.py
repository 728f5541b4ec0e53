"""The execution's row in Postgres, in plain SQL: claimed before the first effect, closed after the last.

``run`` makes one. The tables are ``carillon_core.adapters.postgres.tables``';
the row's guard, "running, and of this pod", is in every statement that ends it,
so that whatever is sent twice, or late, changes nothing.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
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

_CONNECT = {
    "application_name": "carillon-runner",
    "connect_timeout": "5",
    # a peer that vanished without a word is noticed within half a minute
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}

_CLAIM = """
INSERT INTO executions
    (id, task_uid, namespace, task, task_type, slot, cause, status, job_name, pod_name, started_at)
VALUES
    (%(id)s, %(task_uid)s, %(namespace)s, %(task)s, %(task_type)s, %(slot)s, %(cause)s, 'running',
     %(job)s, %(pod)s, clock_timestamp())
ON CONFLICT DO NOTHING
RETURNING 1
"""
_LOOK = "SELECT status, reason, error, result::text, pod_name FROM executions WHERE id = %(id)s"
# the times of a row are all of one clock, the database's: the end is the start plus what this process measured
_CLOSE = """
UPDATE executions
SET status = %(status)s, reason = %(reason)s, message = %(error)s, error = %(error)s, result = %(result)s::jsonb,
    finished_at = started_at + make_interval(secs => %(seconds)s)
WHERE id = %(id)s AND status = 'running' AND pod_name = %(pod)s
RETURNING 1
"""
# one statement, so one transaction and one round trip: the row's lock first, then the counter's
_COUNT = """
WITH mine AS (
    SELECT id FROM executions WHERE id = %(id)s AND status = 'running' AND pod_name = %(pod)s FOR UPDATE
), counted AS (
    INSERT INTO counters AS c (namespace, name, value, updated_at)
    SELECT %(namespace)s, %(name)s, 1, clock_timestamp() FROM mine
    ON CONFLICT (namespace, name) DO UPDATE SET value = c.value + 1, updated_at = clock_timestamp()
    RETURNING c.value
)
UPDATE executions
SET status = 'succeeded', finished_at = clock_timestamp(),
    result = jsonb_build_object('counter', %(name)s::text, 'value', counted.value)
FROM counted
WHERE executions.id = %(id)s
RETURNING counted.value
"""


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
        self._log = logging.getLogger("carillon.runner")

    def claim(self, until: float, pause: Callable[[float], None]) -> str | None:
        """Insert the row as running; return None if it is ours, else a sentence that says whose it is.

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

        def insert(connection: Connection) -> str | None:
            sent.append(time.monotonic())
            if connection.execute(_CLAIM, self._parameters()).fetchone() is not None:
                self._began = sent[-1]
                return None
            row = connection.execute(_LOOK, self._parameters()).fetchone()
            if row is None:
                return "another execution has this slot"
            status, pod = row[0], row[4]
            if status == ExecutionStatus.RUNNING and pod == self._environment.pod_name and len(sent) > 1:
                self._began = sent[0]
                return None
            return f"it is {status} already, by pod {pod}" if pod else f"it is {status} already"

        return self._persist(insert, until, pause)

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
            row = connection.execute(_COUNT, self._parameters(name=name)).fetchone()
            if row is not None:
                return int(row[0])
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
        seconds = time.monotonic() - self._began
        try:
            return self._close(outcome, seconds)
        except RefusedError as error:
            if outcome.result is None:
                raise
            # a result that jsonb cannot hold must not cost the execution its end
            self._log.error("the database refuses the result", extra={"fields": {"error": str(error)}})
            reason, sentence = "ResultRefused", "the task ended, but Postgres cannot store its result"
            return self._close(Outcome(ExecutionStatus.FAILED, reason, sentence), seconds)

    def _close(self, outcome: Outcome, seconds: float) -> Outcome:
        def update(connection: Connection) -> Outcome:
            values = {
                "status": outcome.status.value,
                "reason": outcome.reason,
                "error": outcome.error,
                "result": outcome.result,
                "seconds": seconds,
            }
            if connection.execute(_CLOSE, self._parameters(**values)).fetchone() is not None:
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

    def _parameters(self, **more: Any) -> dict[str, Any]:
        e = self._environment
        return {
            "id": e.execution_id,
            "task_uid": e.task_uid,
            "namespace": e.namespace,
            "task": e.task,
            "task_type": e.task_type,
            "slot": e.slot,
            "cause": e.cause,
            "job": e.job_name,
            "pod": e.pod_name,
            **more,
        }

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
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                raise RefusedError(self._words(error)) from error
            except psycopg.Error as error:
                self.disconnect()
                words = self._words(error)
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
        text = " ".join(str(error).split()) or type(error).__name__
        return text.replace(self._password, "***") if self._password else text
