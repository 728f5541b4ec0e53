"""The connection of the history to Postgres: URLs, unreachable servers, closed connections."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
import pytest

from carillon_core.adapters.postgres import engine
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.listing import list_statement
from carillon_core.errors import NotFoundError, SettingsError, UnavailableError
from carillon_core.ports import ExecutionQuery
from support.postgres_history import PASSWORD, history

__all__ = ["history"]


def changed(url: str, **parts: str) -> str:
    """Return the URL with some parts replaced, named as in ``urlsplit``."""
    return urlunsplit(urlsplit(url)._replace(**parts))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Provide a port that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("case", ["nobody listens", "it never answers", "wrong password", "no such database"])
async def test_unreachable(database_url: str, silent_port: int, case: str) -> None:
    """Every call raises UnavailableError, with one line that has no password."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    address = urlsplit(database_url)
    url = {
        "nobody listens": f"postgresql://carillon:{PASSWORD}@127.0.0.1:{closed_port}/carillon",
        "it never answers": f"postgres://carillon:{PASSWORD}@127.0.0.1:{silent_port}/carillon",
        "wrong password": changed(
            database_url, netloc=f"{address.username}:{PASSWORD}@{address.hostname}:{address.port}"
        ),
        "no such database": changed(database_url, path="/nowhere"),
    }[case]
    history = PostgresHistory.from_url(url, connect_seconds=2)
    calls = [history.ping(), history.open_executions(), history.get(UUID(int=1)), history.list(ExecutionQuery())]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, UnavailableError)
        assert outcome.what == "database"
        for secret in (PASSWORD, "p@ss", address.password):
            assert str(secret) not in str(outcome)
        assert "\n" not in str(outcome)
    await history.aclose()


async def test_a_call_is_given_up_when_the_database_hangs(database_url: str) -> None:
    """A statement that does not return is given up, and the connection works afterwards."""
    hanging = engine.create_engine(database_url)
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE executions")
        with pytest.raises(UnavailableError, match=r"no answer within 0\.3 s"):
            async with engine.bounded(hanging.url, 0.3), hanging.connect() as connection:
                await connection.execute(*list_statement(ExecutionQuery(), None))
    async with engine.bounded(hanging.url), hanging.connect() as connection:
        assert (await connection.execute(*list_statement(ExecutionQuery(), None))).all() == []
    await hanging.dispose()


async def test_a_server_that_cut_the_connections_is_found_again(history: PostgresHistory, database_url: str) -> None:
    """The pool replaces connections that were closed while idle."""
    await history.ping()
    with psycopg.connect(database_url, autocommit=True) as admin:
        cut = admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchall()
    assert cut == [(True,)]
    await history.ping()


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
async def test_an_idle_connection_is_asked_whatever_it_has_heard(
    database_url: str, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """A closed connection is replaced, whether or not it was used within the trusted time."""
    monkeypatch.setattr(engine, "TRUSTED_SECONDS", seconds)
    history = PostgresHistory.from_url(database_url)
    for _ in range(3):
        await history.ping()
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'carillon'"
            )
    await history.ping()
    await history.aclose()


async def test_reading_leaves_no_transaction_open(history: PostgresHistory, database_url: str) -> None:
    """An open transaction would keep Postgres from cleaning up."""
    await history.list(ExecutionQuery())
    with pytest.raises(NotFoundError):
        await history.get(uuid4())
    await history.summary(datetime.now(UTC))
    with psycopg.connect(database_url, autocommit=True) as admin:
        states = admin.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'carillon'"
        ).fetchall()
    assert states == [("idle",)]


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://u:hush@h/d", "postgresql://u:hush@h:port/d", "postgresql+asyncpg://u:hush@h/d"]
)
def test_a_url_that_is_none_is_a_setting_to_mend(url: str) -> None:
    """The message names the setting and does not repeat the URL."""
    with pytest.raises(SettingsError, match="DATABASE_URL") as refused:
        engine.create_engine(url)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "given", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg://u@h/d", " postgres://u@h/d\n"]
)
def test_the_usual_urls_are_taken(given: str) -> None:
    """Each usual form of the URL is accepted."""
    assert engine.sqlalchemy_url(given).render_as_string() == "postgresql+psycopg://u@h/d"
