"""A Postgres server for each lane, so that a plan can stop its own without affecting others."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from carillon_core.adapters.postgres import migrate
from carillon_local import roles
from carillon_local.layout import free_port
from embedded_postgres import EmbeddedPostgres
from faults.processes.threads import in_thread
from faults.verdict.seen import RowSeen

FIRST_PORT = 21_000
"""Below the ephemeral ports: a restarted server needs its old port."""
CONNECTIONS = 60
"""Enough for a plan, and few enough to be taken in a moment."""
ENDINGS = 3
"""How often the product's sessions are ended while strangers take all: it may connect again in between."""
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND application_name <> 'stranger'"
)


def prepared(folder: Path) -> Path:
    """Create, migrate and stop a server; return its folder, which lanes copy."""
    server = EmbeddedPostgres(folder, port=free_port(FIRST_PORT), fast=True)
    try:
        url = server.start()
        migrate.upgrade(url)
        roles.prepare_runner(url)
    finally:
        server.stop()
    return folder


@dataclass(slots=True)
class Database:
    """The server of one lane."""

    server: EmbeddedPostgres
    url: str
    runner_url: str

    @classmethod
    @asynccontextmanager
    async def running(cls, template: Path, folder: Path, port: int) -> AsyncIterator["Database"]:
        """Run a copy of the template on a port."""
        await in_thread(_copy, template, folder)
        server = EmbeddedPostgres(folder, port=free_port(port), fast=True, max_connections=CONNECTIONS)
        try:
            url = await in_thread(server.start)
            yield cls(server, url, roles.runner_url(url))
        finally:
            await in_thread(server.stop)

    async def stop(self) -> None:
        """Stop the server; its connections are cut."""
        await in_thread(self.server.stop)

    async def start(self) -> None:
        """Start the server again at the same address."""
        await in_thread(self.server.start)

    @asynccontextmanager
    async def filled(self) -> AsyncIterator[int]:
        """Take every connection, those of the product too, until the block ends; yield how many."""
        async with AsyncExitStack() as stack:
            first = await psycopg.AsyncConnection.connect(self.url, autocommit=True)
            stack.push_async_callback(first.close)
            await first.execute("SET application_name = 'stranger'")
            mine: list[psycopg.AsyncConnection] = []
            for _ in range(ENDINGS):
                await first.execute(_END_OTHERS)
                while (made := await self._one_more()) is not None:
                    stack.push_async_callback(made.close)
                    mine.append(made)
            yield len(mine) + 1

    async def _one_more(self) -> psycopg.AsyncConnection | None:
        try:
            return await psycopg.AsyncConnection.connect(self.url, autocommit=True, application_name="stranger")
        except psycopg.OperationalError:
            return None

    async def look(self, namespace: str) -> tuple[list[RowSeen], dict[str, int]]:
        """Return a consistent view of a namespace's rows and counters."""
        async with await psycopg.AsyncConnection.connect(self.url, row_factory=dict_row) as connection:
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            rows = await connection.execute("SELECT * FROM executions WHERE namespace = %s ORDER BY slot", [namespace])
            found = [_row(row) for row in await rows.fetchall()]
            counters = await connection.execute("SELECT name, value FROM counters WHERE namespace = %s", [namespace])
            return found, {row["name"]: row["value"] for row in await counters.fetchall()}


def _copy(template: Path, folder: Path) -> None:
    # keep the owners: as root, the server has an account of its own
    subprocess.run(["cp", "-a", str(template), str(folder)], check=True)


def _row(row: dict[str, Any]) -> RowSeen:
    first = row["first_slot"]
    return RowSeen(
        id=str(row["id"]),
        task=row["task"],
        slot=row["slot"].astimezone(UTC),
        first_slot=first and first.astimezone(UTC),
        status=row["status"],
        reason=row["reason"],
        created_at=row["created_at"].astimezone(UTC),
        finished_at=row["finished_at"] and row["finished_at"].astimezone(UTC),
    )
