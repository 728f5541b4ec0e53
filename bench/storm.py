"""A thousand runners at once against a Postgres of forty connections (`make storm`).

    .venv/bin/python bench/storm.py [--runners 1000] [--seconds 1] [--max-connections 40] [--starts 20] [--direct]

Starts an embedded Postgres and the recorder (with TLS, two replicas of ten
connections as the chart has them), and lets runners claim and close an execution
each, spread over ``--seconds``. They are the runner's own ``Record`` in threads
of a few processes: a thousand interpreters would measure their start. Meanwhile
one connection after another is opened as the operator and as the API, and
counted if it is refused. Prints how long the claims took, what Postgres saw, and
whether all was recorded.

Then it starts whole runners one at a time, alternately with the recorder and
with a login to Postgres, and prints how long each took from exec to its claim:
compare only figures of the same run. ``--direct`` has the storm without a recorder.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

import psycopg
import trustme

from carillon_core import contract
from carillon_core.adapters.postgres.migrate import upgrade
from carillon_core.adapters.postgres.runner_keys import PostgresRunnerKeys
from carillon_core.contract import ExecutionStatus
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_local import roles
from carillon_local.layout import free_port
from carillon_runner.environment import read_environment
from carillon_runner.outcome import Outcome
from carillon_runner.record import Record
from embedded_postgres import EmbeddedPostgres

KEY = TokenKey(b"the storm's".ljust(32))
SLOT = datetime(2026, 1, 1, tzinfo=UTC)
PROCESSES = 4
REPLICAS, CONNECTIONS = 2, 10
PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Where:
    """Where runners record."""

    urls: Sequence[str]
    """They take one or the other, as a Service hands them out."""
    ca: str | None

    def variables(self, number: int) -> Mapping[str, str]:
        """Return the variables of the runner of this number."""
        url = self.urls[number % len(self.urls)]
        if not url.startswith("http"):
            return {contract.ENV_DATABASE_URL: url}
        return {contract.ENV_RECORDER_URL: url} | ({contract.ENV_RECORDER_CA: self.ca} if self.ca else {})


def environment_of(where: Where, number: int) -> dict[str, str]:
    """Return the environment of a runner with an execution of its own."""
    execution, uid, slot = str(uuid4()), str(uuid4()), (SLOT + timedelta(seconds=number)).isoformat()
    names = {"namespace": f"team-{number % 20}", "task": "storm", "task_type": "sum", "job_name": f"storm-{number}"}
    payload = {"id": execution, "task_uid": uid, "origin": uid, "slot": slot, "cause": "schedule", **names}
    return {
        **where.variables(number),
        contract.ENV_EXECUTION_TOKEN: KEY.token(payload),
        contract.ENV_EXECUTION_ID: execution,
        contract.ENV_TASK_UID: uid,
        contract.ENV_TASK_NAMESPACE: names["namespace"],
        contract.ENV_TASK_NAME: "storm",
        contract.ENV_SLOT: slot,
        contract.ENV_CAUSE: "schedule",
        contract.ENV_TASK: '{"sum": {"a": 1, "b": 2}}',
        contract.ENV_TIMEOUT_SECONDS: "1",
        contract.ENV_CLAIM_SECONDS: str(PATIENCE_SECONDS),
        contract.ENV_JOB_NAME: names["job_name"],
        contract.ENV_POD_NAME: f"storm-{number}-x",
    }


class Tried(logging.Handler):
    """Counts why runners tried again."""

    def __init__(self) -> None:
        """Count nothing yet."""
        super().__init__()
        self.whys: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line that has a reason."""
        if (why := getattr(record, "fields", {}).get("error")) is not None:
            self.whys[re.sub("[0-9]+", "N", str(why))] += 1


def claims_of(
    where: Where, numbers: Sequence[int], starts_at: float, seconds: float
) -> tuple[list[float], Counter[str]]:
    """Record one execution for each number, in a thread each; return how long the claims took, and what was told."""
    took: list[float] = []
    tried = Tried()
    logging.getLogger("carillon.runner").handlers = [tried]
    logging.getLogger("carillon.runner").propagate = False
    rng = random.Random(numbers[0])  # noqa: S311  # moments of a storm

    def run(environment: Mapping[str, str], at: float) -> None:
        record = Record(read_environment(environment))
        time.sleep(max(at - time.time(), 0))
        began = time.monotonic()
        taken = record.claim(began + PATIENCE_SECONDS, time.sleep)
        took.append(time.monotonic() - began)
        if taken is None:
            record.close(Outcome(ExecutionStatus.SUCCEEDED, result='{"sum": 3}'))
        record.disconnect()

    threads = [
        threading.Thread(target=run, args=(environment_of(where, number), starts_at + rng.uniform(0, seconds)))
        for number in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, tried.whys


class Witness:
    """Looks at Postgres while it is entered, and opens connections as operator and API do."""

    def __init__(self, owner_url: str, api_url: str) -> None:
        """Look at nothing yet."""
        self._urls = (owner_url, api_url)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most: dict[str, int] = {}
        self.asked = 0
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        # of others, a role that is no superuser sees who they are, and no more
        seen = "SELECT usename::text, count(*) FROM pg_stat_activity WHERE usename IS NOT NULL GROUP BY 1"
        while not self._ended.wait(0.02):
            for url in self._urls:
                self.asked += 1
                try:
                    with psycopg.connect(url, application_name="witness", connect_timeout=10) as connection:
                        found = connection.execute(seen).fetchall() if url == self._urls[0] else []
                except psycopg.OperationalError as error:
                    self.refused.append(" ".join(str(error).split()))
                    continue
                for name, count in found:
                    self.most[name] = max(self.most.get(name, 0), count)


@contextmanager
def recorders(database_url: str, folder: Path) -> Iterator[Where]:
    """Run the recorder's replicas."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key = folder / "cert.pem", folder / "key.pem"
    issued.private_key_pem.write_to_path(key)
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(cert, append=number > 0)
    urls = []
    with ExitStack() as stack:
        for replica in range(REPLICAS):
            port = free_port(0)
            given = {
                "DATABASE_URL": database_url,
                "CARILLON_RECORDER_PORT": str(port),
                "CARILLON_RECORDER_CERT_FILE": str(cert),
                "CARILLON_RECORDER_KEY_FILE": str(key),
                "CARILLON_RECORDER_CONNECTIONS": str(CONNECTIONS),
                "CARILLON_LOG_LEVEL": "WARNING",
            }
            log = stack.enter_context((folder / f"recorder-{replica}.log").open("wb"))
            command = [sys.executable, "-m", "carillon_recorder"]
            process = stack.enter_context(subprocess.Popen(command, env=given, stdout=log, stderr=log))
            stack.callback(process.terminate)
            urls.append(f"https://127.0.0.1:{port}")
        where = Where(urls, authority.cert_pem.bytes().decode())
        for number in range(REPLICAS):
            wait_for(where, number)
        yield where


def wait_for(where: Where, number: int) -> None:
    """Return when a recorder, or the database, answers a runner."""
    record = Record(read_environment(environment_of(where, 100_000 + number)))
    record.claim(time.monotonic() + PATIENCE_SECONDS, time.sleep)
    record.close(Outcome(ExecutionStatus.SUCCEEDED))
    record.disconnect()


def storm(where: Where, owner_url: str, api_url: str, runners: int, seconds: float) -> bool:
    """Start the runners and print the result; return whether every execution was recorded and no request refused."""
    numbers = [list(range(first, runners, PROCESSES)) for first in range(PROCESSES)]
    before = recorded(owner_url)
    with ProcessPoolExecutor(PROCESSES) as processes, Witness(owner_url, api_url) as witness:
        list(processes.map(abs, range(PROCESSES)))  # they are there
        starts_at = time.time() + 3
        claim = partial(claims_of, where, starts_at=starts_at, seconds=seconds)
        parts = list(processes.map(claim, numbers))
        took = sorted(second for part, _ in parts for second in part)
        told = sum((whys for _, whys in parts), Counter[str]())
        all_took = time.time() - starts_at
    rows = recorded(owner_url) - before
    share = statistics.quantiles(took, n=100)
    print(
        f"claims: p50 {share[49]:.2f} s, p99 {share[98]:.2f} s, last {took[-1]:.2f} s; all ended after {all_took:.1f} s"
    )
    for why, count in sorted(told.items()):
        print(f"tried again: {count} runners at first because: {why}")
    each = ", ".join(f"{count} of {name}" for name, count in sorted(witness.most.items()))
    print(f"connections that Postgres saw at once: {each}")
    print(f"operator and API: {witness.asked} connections opened, {len(witness.refused)} refused")
    print(f"recorded: {rows} of {runners} executions succeeded")
    return rows == runners and not witness.refused


def recorded(url: str) -> int:
    """Return how many executions have succeeded."""
    for _ in range(PATIENCE_SECONDS):
        try:
            with psycopg.connect(url) as connection:
                row = connection.execute("SELECT count(*) FROM executions WHERE status = 'succeeded'").fetchone()
                return int(row[0]) if row else 0
        except psycopg.OperationalError:  # in a direct storm there may be no room for us either
            time.sleep(1)
    raise TimeoutError


def starts(ways: Mapping[str, Where], owner_url: str, count: int) -> None:
    """Start whole runners, one at a time, each way in turn; print the time from exec to claim."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count):
        for name, where in ways.items():
            environment = environment_of(where, 200_000 + 2 * number + list(ways).index(name))
            execution = UUID(environment[contract.ENV_EXECUTION_ID])
            began = datetime.now(UTC)
            subprocess.run([sys.executable, "-m", "carillon_runner"], env=environment, check=True, capture_output=True)
            with psycopg.connect(owner_url) as connection:
                found = connection.execute("SELECT started_at FROM executions WHERE id = %s", [execution]).fetchone()
            took[name].append((found[0] - began).total_seconds() * 1000 if found else float("nan"))
    for name, milliseconds in took.items():
        print(f"exec to claim, {name}: median {statistics.median(milliseconds):.0f} ms of {count}")


def main() -> int:
    """Return 0 if every execution was recorded and no request refused."""
    parser = argparse.ArgumentParser(description="A storm of runners against few connections.")
    parser.add_argument("--runners", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long they take to come")
    parser.add_argument("--max-connections", type=int, default=40)
    parser.add_argument("--starts", type=int, default=20, help="whole runners to start each way")
    parser.add_argument("--direct", action="store_true", help="without a recorder, as with a login in each namespace")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carillon-storm-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = EmbeddedPostgres(folder / "postgres", fast=True, max_connections=given.max_connections)
        try:
            return measured(postgres.start(), folder, given)
        finally:
            postgres.stop()


def measured(owner_url: str, folder: Path, given: argparse.Namespace) -> int:
    """Prepare the database and measure."""
    upgrade(owner_url)
    runner_url, api_url = roles.prepare_runner(owner_url), roles.prepare_api(owner_url)
    asyncio.run(registered(owner_url))
    direct = Where([runner_url], None)
    print(f"{given.runners} runners in {given.seconds:g} s, max_connections = {given.max_connections},"
          f" {'directly' if given.direct else f'{REPLICAS} recorders of {CONNECTIONS} connections'}")  # fmt: skip
    with recorders(runner_url, folder) as by_recorder:
        where = direct if given.direct else by_recorder
        is_good = storm(where, owner_url, api_url, given.runners, given.seconds)
        if given.starts:
            starts({"by a login to Postgres": direct, "by the recorder": by_recorder}, owner_url, given.starts)
    return 0 if is_good else 1


async def registered(owner_url: str) -> None:
    """Have the key of the tokens known."""
    keys = PostgresRunnerKeys.from_url(owner_url)
    try:
        await keys.register(KEY)
    finally:
        await keys.aclose()


if __name__ == "__main__":
    os.environ.pop("COVERAGE_PROCESS_START", None)
    print(json.dumps({"python": sys.version.split()[0], "processors": os.cpu_count()}))
    sys.exit(main())
