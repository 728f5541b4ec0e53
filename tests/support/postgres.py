"""Real Postgres for tests: ``pytest_plugins = ["support.postgres"]`` brings its fixtures.

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
from support.programs import run_embedded_postgres


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def passable_dir() -> Iterator[Callable[[], Path]]:
    """Make temporary directories that the server's account can pass; pytest's own are closed to it under root."""
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

    The role needs CREATEDB, no more.
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
    """Create a migrated database that nobody connects to any more."""
    name = f"carillon_template_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate.upgrade(with_database(postgres_url, name))
    yield name
    _drop(postgres_url, name)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """Give a database of the test's own without any schema."""
    name = f"carillon_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield with_database(postgres_url, name)
    _drop(postgres_url, name)


@pytest.fixture
def database_url(postgres_url: str, _template: str) -> Iterator[str]:
    """Give a database of the test's own, migrated and empty."""
    name = f"carillon_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(statement.format(sql.Identifier(name), sql.Identifier(_template)))
    yield with_database(postgres_url, name)
    _drop(postgres_url, name)


def _drop(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        # FORCE: a test that failed may have left a connection
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
