"""``Recorder`` over a connection to Postgres: the functions of the schema ``carillon_runner``.

A runner that was given a database URL uses it, and the recorder for each of its
connections. The role has no privileges on tables; the functions, which are in
``v0004_runner_functions.sql``, verify the token and find the row by it. Every
function that ends a row checks that it is running and belongs to the pod, so a
repeated or late call changes nothing. No SQLAlchemy: it would slow down the
start of each pod.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from carillon_core.contract import ENV_DATABASE_URL, ExecutionStatus
from carillon_core.errors import SettingsError
from carillon_core.recording.port import (
    Attempts,
    Begun,
    End,
    KeyUnknownError,
    RecorderUnavailableError,
    RecordRefusedError,
    Row,
    Takeover,
)

Connection = psycopg.Connection[tuple[Any, ...]]

WHAT = "database"
POD_LOST = "PodLost"
_CANCEL_SECONDS = 2.0

_CONNECT = {
    "connect_timeout": "5",
    # a peer that disappears is noticed within half a minute
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}

# A role may change the defaults of its own sessions: "ALTER ROLE current_user SET …" by one runner applies to all of
# them. A setting in the connection string takes precedence.
_PINNED = {
    "client_encoding": "UTF8",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "0",
    "lock_timeout": "0",
    "role": "none",
    "row_security": "on",
    "search_path": "pg_catalog",
}
STATEMENT_SECONDS = 60

_CLAIM = """
SELECT began, extract(epoch FROM clock_timestamp() - began)::float8
FROM carillon_runner.claim(%(token)s, %(pod)s) AS began
"""
_LOOK = "SELECT status, reason, error, result, pod_name FROM carillon_runner.look(%(token)s)"
# locks the row that prevented the claim until its owner is decided
_LOCK = "SELECT status, reason, error, pod_name, job_name FROM carillon_runner.lock_row(%(token)s)"
# a separate statement after the lock, so that it sees what the previous holder wrote
_LAST_ATTEMPT = """
SELECT number, started_at, extract(epoch FROM clock_timestamp() - started_at)::float8
FROM carillon_runner.last_attempt(%(token)s)
"""
_TAKE_OVER = """
SELECT began, extract(epoch FROM clock_timestamp() - began)::float8
FROM carillon_runner.take_over(%(token)s, %(pod)s, %(number)s, %(error)s) AS began
"""
_CLOSE_LOST = "SELECT carillon_runner.close_lost(%(token)s, %(pod)s, %(error)s)"
_SAVE_ATTEMPTS = "SELECT carillon_runner.save_attempts(%(token)s, %(pod)s, %(attempts)s)"
# all times of a row are the database's: the end is the claim's time plus the duration that the runner measured
_CLOSE = """
SELECT carillon_runner.close_row(%(token)s, %(pod)s, %(status)s, %(reason)s, %(error)s, %(result)s, %(finished_at)s,
                                 %(attempts)s)
"""
# one statement: one transaction and one round trip
_COUNT = "SELECT carillon_runner.increment(%(token)s, %(pod)s, %(name)s, %(attempts)s)"
_REFUSED_TOKEN, _UNKNOWN_KEY = "RT001", "RT002"


class Session:
    """A connection that is opened on demand, and opened again after an error."""

    def __init__(self, url: str, name: str = "carillon-runner", statement_seconds: int = STATEMENT_SECONDS) -> None:
        """Connect to nothing yet.

        Args:
            url: A ``postgresql://`` URL.
            name: What pg_stat_activity shows, unless the URL says another.
            statement_seconds: The time limit of a statement.

        Raises:
            SettingsError: The URL is invalid.

        """
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # its message repeats the URL
            raise SettingsError(
                f"{ENV_DATABASE_URL} is not a valid connection URL: write postgresql://user:password@host:5432/name"
            ) from None
        own = {key: str(value) for key, value in given.items() if value is not None}
        options = f"{own.pop('options', '')} {session_options(statement_seconds)}".strip()
        self._conninfo = make_conninfo("", **(_CONNECT | {"application_name": name} | own), options=options)
        self._password = str(given.get("password") or "")
        self._connection: Connection | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give the connection, and turn the driver's errors into those of the port."""
        in_doubt = False
        try:
            connection = self._connected()
            in_doubt = True
            yield connection
        except psycopg.Error as error:
            if isinstance(error, (psycopg.DataError, psycopg.IntegrityError)) and not _is_misplaced(error):
                raise RecordRefusedError(self._words(error)) from error
            # a forged token must not close a connection that others use
            if error.sqlstate == _REFUSED_TOKEN:
                raise RecordRefusedError(self._words(error), is_token=True) from error
            if error.sqlstate == _UNKNOWN_KEY:
                raise KeyUnknownError(WHAT, self._words(error), in_doubt=False) from error
            self.close()
            raise RecorderUnavailableError(WHAT, self._words(error), in_doubt=in_doubt) from error

    def cancel(self) -> None:
        """Cancel the statement that runs on the connection, if one does; callable from any thread."""
        if (connection := self._connection) is not None:
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> Connection:
        if self._connection is None:
            # no prepared statements: a connection pooler would lose them
            self._connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        return self._connection

    def _words(self, error: psycopg.Error) -> str:
        """Return the driver's message in one line, without the password."""
        # without the position inside a function, if the server has a primary message
        text = " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
        return text.replace(self._password, "***") if self._password else text


def _is_misplaced(error: psycopg.Error) -> bool:
    """Return whether a row was on its way to the default partition when the partition of its month was created.

    In this case no named constraint is violated, and the next try reaches the right partition.
    """
    return isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name is None


def session_options(statement_seconds: int = STATEMENT_SECONDS) -> str:
    """Return the settings that a session pins, as libpq's parameter ``options`` has them."""
    pinned = _PINNED | {"statement_timeout": f"{statement_seconds}s"}
    # a backslash before a space, or the rest would be another option
    return " ".join(f"-c {name}={value}".replace(" ", "\\ ").replace("\\ ", " ", 1) for name, value in pinned.items())


class PostgresRecorder:
    """The row that a token names, over a session."""

    what = WHAT

    def __init__(self, session: Session, token: str) -> None:
        """Take the session, which others may have used before, and the token."""
        self._session = session
        self._token = token

    def claim(self, pod: str) -> Begun | None:
        """See ``Recorder``."""
        began_at, age = self._row(_CLAIM, pod=pod) or (None, None)
        return None if began_at is None or age is None else Begun(1, began_at, age)

    def look(self) -> Row | None:
        """See ``Recorder``."""
        row = self._row(_LOOK)
        return None if row is None else Row(*row)

    def take_over(self, wanted: Takeover) -> Begun | Row | str:
        """See ``Recorder``."""
        with self._session.connection() as connection, connection.transaction():
            return self._taken_over(connection, wanted)

    def _taken_over(self, connection: Connection, wanted: Takeover) -> Begun | Row | str:
        def one(statement: str, **more: Any) -> tuple[Any, ...] | None:
            return connection.execute(statement.encode(), {"token": self._token, "pod": wanted.pod, **more}).fetchone()

        row = one(_LOCK)
        if row is None:
            return "another execution owns this slot"
        status, reason, error, pod, job = row
        last, began_at, age = one(_LAST_ATTEMPT) or (0, None, 0.0)
        is_lost = status == ExecutionStatus.RUNNING and job == wanted.job and pod != wanted.pod
        if wanted.again and status == ExecutionStatus.RUNNING and pod == wanted.pod and began_at is not None:
            # ours: an earlier try succeeded and its answer was lost
            return Begun(last, began_at, age)
        if wanted.again and (status, reason, job) == (ExecutionStatus.FAILED, POD_LOST, wanted.job):
            return Row(status, reason, error, pod=pod)
        if status not in {ExecutionStatus.SKIPPED, ExecutionStatus.MISSED} and not is_lost:
            return f"already {status}, by pod {pod}" if pod else f"already {status}"
        sentence = f"pod {pod} was lost; the outcome of its attempt is unknown"
        if is_lost and wanted.most_attempts is not None and last >= wanted.most_attempts:
            sentence += "; the retry policy allows no further attempt"
            one(_CLOSE_LOST, error=sentence)
            return Row(ExecutionStatus.FAILED, POD_LOST, sentence, pod=pod)
        taken_at, age = one(_TAKE_OVER, number=last + 1, error=sentence) or (None, 0.0)
        if taken_at is None:
            raise RecordRefusedError("the execution's row no longer exists")
        return Begun(last + 1, taken_at, age)

    def save_attempts(self, pod: str, attempts: Attempts) -> bool:
        """See ``Recorder``."""
        return bool(self._value(_SAVE_ATTEMPTS, pod=pod, attempts=json.dumps(attempts)))

    def increment(self, pod: str, name: str, attempts: Attempts) -> int | None:
        """See ``Recorder``."""
        counted = self._value(_COUNT, pod=pod, name=name, attempts=json.dumps(attempts))
        return None if counted is None else int(counted)

    def close(self, pod: str, end: End) -> bool:
        """See ``Recorder``."""
        values = {
            "status": end.status,
            "reason": end.reason,
            "error": end.error,
            "result": end.result,
            "finished_at": end.finished_at,
            "attempts": json.dumps(end.attempts),
        }
        return bool(self._value(_CLOSE, pod=pod, **values))

    def disconnect(self) -> None:
        """See ``Recorder``."""
        self._session.close()

    def abandon(self) -> None:
        """See ``Recorder``: otherwise a statement would keep waiting for locks, and closing the row would wait too."""
        self._session.cancel()
        self._session.close()

    def _value(self, statement: str, **more: Any) -> Any:
        row = self._row(statement, **more)
        return None if row is None else row[0]

    def _row(self, statement: str, **more: Any) -> tuple[Any, ...] | None:
        with self._session.connection() as connection:
            return connection.execute(statement.encode(), {"token": self._token, **more}).fetchone()
