"""Real Postgres for tests: ``pytest_plugins = ["support.postgres"]`` loads its fixtures.

One server for a test session (or an xdist worker), one fresh and migrated
database for each test, copied from a template.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from carillon_core.adapters.postgres import migrate
from carillon_core.adapters.postgres.roles import api_role, runner_role
from support.programs import run_embedded_postgres


def with_user(url: str, user: str, password: str) -> str:
    """Return the URL of another user of the same database."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"))


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def user(url: str) -> str:
    """Return the user of a URL."""
    return urlsplit(url).username or ""


def execute(url: str, statement: str, *given: object) -> list[tuple[object, ...]]:
    """Execute a statement; ``{}`` in it is the first name given."""
    with psycopg.connect(url, autocommit=True) as connection:
        if "{}" in statement:
            done = connection.execute(sql.SQL(statement).format(sql.Identifier(str(given[0]))))
        else:
            done = connection.execute(statement.encode(), given)
        return done.fetchall() if done.description else []


@pytest.fixture(scope="session")
def passable_dir() -> Iterator[Callable[[], Path]]:
    """Create temporary directories that the server's account can enter; for root, pytest's own are closed to it."""
    with tempfile.TemporaryDirectory(prefix="carillon-test-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o711)

        def make() -> Path:
            path = root / uuid4().hex[:8]
            path.mkdir(mode=0o711)
            return path

        yield make


@pytest.fixture(scope="session")
def postgres_url(passable_dir: Callable[[], Path]) -> Iterator[str]:
    """Start one Postgres for the session; or use the one of ``CARILLON_TEST_DATABASE_URL``.

    The role needs CREATEDB and CREATEROLE, no more.
    """
    given = os.environ.get("CARILLON_TEST_DATABASE_URL")
    if given:
        yield given
        return
    data_dir = passable_dir() / "postgres"
    started = run_embedded_postgres("start", data_dir, "--fast")
    assert started.returncode == 0, started.stderr
    try:
        yield started.stdout.strip()
    finally:
        stopped = run_embedded_postgres("stop", data_dir)
        assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="session")
def _template(postgres_url: str) -> Iterator[str]:
    """Create a migrated database without connections, as a template."""
    name = f"carillon_template_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate.upgrade(with_database(postgres_url, name))
    yield name
    _drop(postgres_url, name)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """Give a new database without a schema."""
    name = f"carillon_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield with_database(postgres_url, name)
    _drop(postgres_url, name)


@pytest.fixture
def database_url(postgres_url: str, _template: str) -> Iterator[str]:
    """Give a new, migrated and empty database."""
    name = f"carillon_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        # the default strategy writes each page to the log as well, which takes twice the CPU time
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        admin.execute(statement.format(sql.Identifier(name), sql.Identifier(_template)))
    yield with_database(postgres_url, name)
    _drop(postgres_url, name)


@pytest.fixture
def runner_database_url(database_url: str) -> Iterator[str]:
    """Give the test's database with a runner's login, which may only record executions."""
    role = f"runner_{uuid4().hex}"
    url = with_user(database_url, role, uuid4().hex)
    runner_role.prepare(database_url, url)
    with psycopg.connect(database_url, autocommit=True) as owner:
        # so that tests can see what its sessions wait for, and end them
        owner.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))
    yield url
    drop_role(database_url, role)


@pytest.fixture
def api_database_url(database_url: str) -> Iterator[str]:
    """Give the test's database with the API's login, which may only do what the API does."""
    role = f"api_{uuid4().hex}"
    url = with_user(database_url, role, uuid4().hex)
    api_role.prepare(database_url, url)
    yield url
    drop_role(database_url, role)


def drop_role(url: str, role: str) -> None:
    """Drop a role and its privileges in a database."""
    with psycopg.connect(url, autocommit=True) as admin:
        name = sql.Identifier(role)
        # its creator is not a member, and only a member may end its sessions and drop its privileges
        admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
        # only the superuser could end a session that outlives its role
        admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [role])
        admin.execute(sql.SQL("DROP OWNED BY {}").format(name))
        admin.execute(sql.SQL("DROP ROLE {}").format(name))


def _drop(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        # A test that failed may have left a connection. WITH (FORCE) would end it as well, but is refused while an
        # autovacuum worker is in the database, which belongs to no role; without it, Postgres ends the worker itself.
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = %s AND backend_type = 'client backend'",
            [name],
        )
        admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
