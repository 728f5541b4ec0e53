"""Connects to the database and translates its errors; the other modules of this package use it."""

import asyncio
import select
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import psycopg.errors
from pydantic_core import from_json
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import Engine, ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from carillon_core.adapters.decoding import shallow
from carillon_core.errors import NoAnswerError, SettingsError, UnavailableError

WHAT = "database"
MIGRATE = "run carillon-migrate upgrade"
LOCK = 0x0CA7_1110
"""The key of the advisory lock that a migration and the maintenance hold while they change tables, one at a time. The
number is arbitrary but must not change."""
CONNECT_SECONDS = 5
OPERATION_SECONDS = 20
"""The time limit of a call: a database that accepts connections but never answers must not block its callers."""
POOL_SIZE = 5
TRUSTED_SECONDS = 1.0
"""A connection that was used within this time is assumed to be alive unless the server has sent something since; an
older one is tested first."""

_UNMIGRATED = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
# not our defects: the call works once an administrator has granted or freed something
_TEMPORARY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,  # such as a primary that became read-only in a failover
    psycopg.NotSupportedError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.InvalidCatalogName,
    psycopg.errors.InvalidSchemaName,
)


def sqlalchemy_url(url: str, name: str = "DATABASE_URL") -> URL:
    """Return a ``postgresql://`` or ``postgres://`` URL in the form that SQLAlchemy expects.

    Raises:
        SettingsError: The URL is invalid. The message names its variable and does not repeat the URL, which may contain
            a password.

    """
    try:
        parsed = make_url(url.strip())
    except (ArgumentError, ValueError):
        raise SettingsError(f"{name}: must be a URL such as postgresql://user:password@host:5432/name") from None
    if parsed.drivername not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise SettingsError(f'{name}: must begin with postgresql:// (got "{parsed.drivername}://")')
    return parsed.set(drivername="postgresql+psycopg")


def credentials(url: str, name: str = "DATABASE_URL") -> tuple[str, str]:
    """Return the user and the password of a URL, empty if it has none; raises what ``sqlalchemy_url`` raises."""
    parsed = sqlalchemy_url(url, name)
    user, password = (parsed.query.get(part, "") for part in ("user", "password"))
    return str(parsed.username or user), str(parsed.password or password)


def required_login(url: str, name: str) -> tuple[str, str]:
    """Return the user and the password of a URL that must have both.

    Raises:
        SettingsError: The URL is invalid, or lacks one of them.

    """
    user, password = credentials(url, name)
    if not user or not password:
        raise SettingsError(f"{name}: must contain a user and a password, postgresql://user:password@host:5432/name")
    return user, password


def connect_args(connect_seconds: int = CONNECT_SECONDS) -> dict[str, Any]:
    """Return libpq's parameters for our connections: time-outs, and a name that pg_stat_activity shows."""
    return {
        "connect_timeout": connect_seconds,
        "application_name": "carillon",
        # a peer that vanished is noticed within half a minute
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # a connection pooler in between loses prepared statements
        "prepare_threshold": None,
    }


def create_engine(url: str, *, pool_size: int = POOL_SIZE, connect_seconds: int = CONNECT_SECONDS) -> AsyncEngine:
    """Return an engine that connects on first use.

    Args:
        url: See ``sqlalchemy_url``.
        pool_size: The maximum number of connections.
        connect_seconds: The time limit for connecting, and for waiting for a free connection.

    """
    engine = create_async_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=connect_seconds,
        # parameters are users' data and stay out of tracebacks
        hide_parameters=True,
        connect_args=connect_args(connect_seconds),
        json_deserializer=_read_json,
    )
    event.listen(engine.sync_engine, "handle_error", _give_up_read_only)
    event.listen(engine.sync_engine, "checkin", _note_use)
    event.listen(engine.sync_engine, "checkout", partial(_check_alive, engine.sync_engine))
    return engine


def _read_json(raw: bytes) -> Any:
    """Parse a JSON column; cut what is nested too deeply to be shown, as a plugin's result may be.

    Uses pydantic's parser because a page has hundreds of values and ``json`` takes several times as long.
    """
    try:
        return from_json(raw)
    except ValueError:
        return from_json(shallow(raw))


def _note_use(_: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["used"] = time.monotonic()


def _check_alive(engine: Engine, connection: Any, entry: ConnectionPoolEntry, _: Any) -> None:
    """Replace a connection that has died since its last use, and all connections that are as old.

    SQLAlchemy's own ``pool_pre_ping`` tests every time, which under load costs another round trip per statement.
    """
    lately = time.monotonic() - entry.info.get("used", time.monotonic()) < TRUSTED_SECONDS
    if lately and not _has_unread_data(entry.driver_connection):
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.dbapi.Error as error:  # type: ignore[union-attr]  # an engine that has connected has a driver
        raise InvalidatePoolError from error


def _has_unread_data(connection: Any) -> bool:
    """Return whether the server has sent something unasked, such as the reason why it closes the connection."""
    waiting = select.poll()
    try:
        waiting.register(connection.fileno(), select.POLLIN)
    except psycopg.Error:  # closed on our side
        return True
    return bool(waiting.poll(0))


def _give_up_read_only(context: ExceptionContext) -> None:
    """Drop a connection to a primary that became a replica; the next connection finds the new primary."""
    if isinstance(context.original_exception, psycopg.errors.ReadOnlySqlTransaction):
        context.is_disconnect = True


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn the driver's errors about a database that cannot serve into ``UnavailableError``.

    A violated constraint, a malformed statement or a value that is too large is
    our defect and passes through unchanged.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise NoAnswerError(WHAT, "all connections of the pool are in use") from error
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.ConnectionTimeout):
            raise NoAnswerError(WHAT, _reason(error, url)) from error
        if isinstance(error.orig, _UNMIGRATED):
            raise UnavailableError(WHAT, f"its schema is missing or too old: {MIGRATE}") from error
        if _is_too_large(error.orig):
            raise
        if isinstance(error.orig, _TEMPORARY) or error.connection_invalidated or _is_misplaced(error.orig):
            raise UnavailableError(WHAT, _reason(error, url)) from error
        raise


@asynccontextmanager
async def bounded(url: URL, seconds: float = OPERATION_SECONDS) -> AsyncIterator[None]:
    """Translate errors as ``translated`` does, and give up after ``seconds``."""
    try:
        with translated(url):
            async with asyncio.timeout(seconds):
                yield
    except TimeoutError as error:
        raise NoAnswerError(WHAT, f"no answer within {seconds:g} s") from error


def _is_too_large(error: BaseException | None) -> bool:
    """Return whether a statement exceeds a limit of Postgres' own, such as that of a row of an index (class 54)."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("54")


def _is_misplaced(error: BaseException | None) -> bool:
    """Return whether a row was routed to the default partition while its month got a partition of its own.

    No named constraint is violated then, and the next attempt reaches the right partition.
    """
    return isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name is None


def _reason(error: DBAPIError, url: URL) -> str:
    """Return the driver's reason in one line, without the password."""
    lines = str(error.orig).splitlines()
    text = lines[0].strip() if lines else ""
    for secret in {url.password, url.password and quote(url.password, safe="")} - {None, ""}:
        text = text.replace(str(secret), "***")
    return text or type(error.orig).__name__
