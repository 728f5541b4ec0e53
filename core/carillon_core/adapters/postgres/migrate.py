"""Migrates the schema and reports its revision; ``__main__`` and the tests call it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util.exc import CommandError
from sqlalchemy import Connection, NullPool, create_engine, text

from carillon_core.adapters.postgres.engine import LOCK, connect_args, sqlalchemy_url, translated
from carillon_core.adapters.postgres.tables import SCHEMA_REVISION
from carillon_core.errors import SettingsError, UnavailableError
from carillon_core.logs import get_logger

LOCK_SECONDS = 60
"""How long a migration waits for another one, and for the lock of any table, before it gives up."""
RETRY_SECONDS = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Revision:
    """The revision of the schema (None: no schema), and the newest one."""

    current: str | None
    head: str

    @property
    def is_head(self) -> bool:
        """Whether the schema is at the newest revision."""
        return self.current == self.head


def upgrade(url: str, *, wait_seconds: float = 0) -> Revision:
    """Upgrade the schema to the newest revision; a schema of that or a later revision stays unchanged.

    Args:
        url: The database.
        wait_seconds: How long to wait for a database that is unavailable.

    Raises:
        UnavailableError: The database stayed unavailable, or another migration did not end in time.
        SettingsError: The URL is invalid.

    """
    there = current(url, wait_seconds=wait_seconds)
    if there.current is not None and there.current > there.head:
        log.warning(
            "the schema is newer than this version of Carillon and stays unchanged",
            revision=there.current,
            newest_known=there.head,
        )
        return there
    return _migrate(url, wait_seconds, lambda config: command.upgrade(config, "head"))


def downgrade(url: str, revision: str, *, wait_seconds: float = 0) -> Revision:
    """Downgrade the schema to a revision, or to ``base``, the empty schema; dropped data is lost.

    Raises:
        UnavailableError: As for ``upgrade``.
        SettingsError: The URL is invalid, or the revision does not exist.

    """
    return _migrate(url, wait_seconds, lambda config: command.downgrade(config, revision))


def current(url: str, *, wait_seconds: float = 0) -> Revision:
    """Return the revision of the schema and the newest one; raises what ``upgrade`` raises."""
    with _connected(url, wait_seconds) as connection:
        return _revision(connection)


def _migrate(url: str, wait_seconds: float, run: Callable[[Config], None]) -> Revision:
    with _connected(url, wait_seconds) as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        # held until the end of the transaction: a second migration reads the revision after the first has committed,
        # and finds nothing left to do
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        config = Config()
        config.set_main_option("script_location", "carillon_core.adapters.postgres:migrations")
        config.attributes["connection"] = connection
        try:
            run(config)
        except CommandError as error:
            raise SettingsError(f"cannot migrate the schema: {error}") from error
        revision = _revision(connection)
    log.info("schema migrated", revision=revision.current, newest=revision.head)
    return revision


def _revision(connection: Connection) -> Revision:
    return Revision(MigrationContext.configure(connection).get_current_revision(), SCHEMA_REVISION)


@contextmanager
def _connected(url: str, wait_seconds: float) -> Iterator[Connection]:
    """Open a transaction, and commit it unless an error is raised."""
    parsed = sqlalchemy_url(url)
    engine = create_engine(parsed, poolclass=NullPool, connect_args=connect_args())
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            with translated(parsed):
                connection = engine.connect()
            break
        except UnavailableError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            log.warning("waiting for the database", why=error.why, giving_up_in_seconds=round(left))
            time.sleep(min(RETRY_SECONDS, left))
    with translated(parsed), connection, connection.begin():
        yield connection
