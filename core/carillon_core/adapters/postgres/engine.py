"""How the database is reached, and what its errors mean; ``history`` and ``migrate`` build on it."""

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
from carillon_core.errors import SettingsError, UnavailableError

WHAT = "database"
MIGRATE = "run carillon-migrate upgrade"
LOCK = 0x0CA7_1110
"""The key of the advisory lock that whoever changes tables holds, a migrator or the maintenance, one at a time; any
number, so long as it stays."""
CONNECT_SECONDS = 5
OPERATION_SECONDS = 20
"""After which a call is given up: a database that accepts and never answers must not hold its callers."""
POOL_SIZE = 5
TRUSTED_SECONDS = 1.0
"""A connection that was in use so lately, and has heard nothing since, is taken to be alive; another is asked."""

_UNMIGRATED = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
# not faults of ours: somebody must grant something, or free something, and then it works
_MENDABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,  # such as a primary that became read-only in a failover
    psycopg.NotSupportedError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.InvalidCatalogName,
    psycopg.errors.InvalidSchemaName,
)


def sqlalchemy_url(url: str, name: str = "DATABASE_URL") -> URL:
    """Return the URL as SQLAlchemy wants it, from ``postgresql://`` or ``postgres://``.

    Raises:
        SettingsError: It is no such URL; the message names the variable that it is from, and does not repeat it, for
            it may hold a password.

    """
    try:
        parsed = make_url(url.strip())
    except (ArgumentError, ValueError):
        raise SettingsError(f"{name} cannot be read: it looks like postgresql://user:password@host:5432/name") from None
    if parsed.drivername not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise SettingsError(f"{name} must begin with postgresql://, not {parsed.drivername}://")
    return parsed.set(drivername="postgresql+psycopg")


def credentials(url: str, name: str = "DATABASE_URL") -> tuple[str, str]:
    """Return the user and the password of a URL, empty where it has none; errors as ``sqlalchemy_url``'s."""
    parsed = sqlalchemy_url(url, name)
    user, password = (parsed.query.get(part, "") for part in ("user", "password"))
    return str(parsed.username or user), str(parsed.password or password)


def connect_args(connect_seconds: int = CONNECT_SECONDS) -> dict[str, Any]:
    """Return libpq's parameters for connections of ours: bounded waits, and a name to see in pg_stat_activity."""
    return {
        "connect_timeout": connect_seconds,
        "application_name": "carillon",
        # a peer that vanished without a word is noticed within half a minute
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # a pooler between us and the database loses what a session prepares
        "prepare_threshold": None,
    }


def create_engine(url: str, *, pool_size: int = POOL_SIZE, connect_seconds: int = CONNECT_SECONDS) -> AsyncEngine:
    """Return an engine that connects when it is first used.

    Args:
        url: See ``sqlalchemy_url``.
        pool_size: The most connections held at once.
        connect_seconds: How long a connection may take, and how long a call waits for a free one.

    """
    engine = create_async_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=connect_seconds,
        # what a statement carries is the users': it stays out of tracebacks
        hide_parameters=True,
        connect_args=connect_args(connect_seconds),
        json_deserializer=_read_json,
    )
    event.listen(engine.sync_engine, "handle_error", _give_up_read_only)
    event.listen(engine.sync_engine, "checkin", _note_use)
    event.listen(engine.sync_engine, "checkout", partial(_check_alive, engine.sync_engine))
    return engine


def _read_json(raw: bytes) -> Any:
    """Return what a JSON column has; a plugin's result may be deeper than anybody could be shown, and is cut then.

    A page has hundreds, and the standard library takes several times as long.
    """
    try:
        return from_json(raw)
    except ValueError:
        return from_json(shallow(raw))


def _note_use(_: Any, entry: ConnectionPoolEntry) -> None:
    entry.info["used"] = time.monotonic()


def _check_alive(engine: Engine, connection: Any, entry: ConnectionPoolEntry, _: Any) -> None:
    """Have a connection replaced, and all others of its time, if it has died since it was used.

    SQLAlchemy's own ``pool_pre_ping`` asks each time, which under load is a round trip more for each statement.
    """
    lately = time.monotonic() - entry.info.get("used", time.monotonic()) < TRUSTED_SECONDS
    if lately and not _has_something_to_say(entry.driver_connection):
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.dbapi.Error as error:  # type: ignore[union-attr]  # an engine that has connected has a driver
        raise InvalidatePoolError from error


def _has_something_to_say(connection: Any) -> bool:
    """Return whether the server has sent what nobody asked for, such as why it ends the connection, or its end."""
    waiting = select.poll()
    try:
        waiting.register(connection.fileno(), select.POLLIN)
    except psycopg.Error:  # it is closed already, on our side
        return True
    return bool(waiting.poll(0))


def _give_up_read_only(context: ExceptionContext) -> None:
    """Drop a connection to a primary that became a replica: the next one finds the new primary."""
    if isinstance(context.original_exception, psycopg.errors.ReadOnlySqlTransaction):
        context.is_disconnect = True


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn what the driver raises when the database cannot serve into ``UnavailableError``.

    A breach of a constraint or a malformed statement is a fault of ours and
    passes through as it is.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError(WHAT, "every connection of the pool is busy") from error
    except DBAPIError as error:
        if isinstance(error.orig, _UNMIGRATED):
            raise UnavailableError(WHAT, f"its schema is not there or too old: {MIGRATE}") from error
        if isinstance(error.orig, _MENDABLE) or error.connection_invalidated or _is_misplaced(error.orig):
            raise UnavailableError(WHAT, _reason(error, url)) from error
        raise


@asynccontextmanager
async def bounded(url: URL, seconds: float = OPERATION_SECONDS) -> AsyncIterator[None]:
    """Translate errors as ``translated`` does, and give up after so many seconds."""
    try:
        with translated(url):
            async with asyncio.timeout(seconds):
                yield
    except TimeoutError as error:
        raise UnavailableError(WHAT, f"no answer within {seconds:g} s") from error


def _is_misplaced(error: BaseException | None) -> bool:
    """Return whether a row was on its way to the default partition just when its month got one of its own.

    Then no named constraint was broken, and the next try goes where the row belongs.
    """
    return isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name is None


def _reason(error: DBAPIError, url: URL) -> str:
    """Return the driver's reason in one line, and whatever happens without the password."""
    lines = str(error.orig).splitlines()
    text = lines[0].strip() if lines else ""
    for secret in {url.password, url.password and quote(url.password, safe="")} - {None, ""}:
        text = text.replace(str(secret), "***")
    return text or type(error.orig).__name__
