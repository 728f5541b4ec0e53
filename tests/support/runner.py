"""Runs the runner as a program, with a connection to the database that tests can cut, and reads its rows."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from carillon_core import contract
from carillon_core.adapters.postgres.runner_keys import PostgresRunnerKeys
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.recording.wire import Operation
from support.programs import measured_without_threads
from support.recorder import Recorders

TOKEN_KEY = TokenKey(b"runners of tests".ljust(32))
SLOT = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
PATIENCE_SECONDS = 60.0


def register(database_url: str, key: TokenKey) -> None:
    """Register a key, as the operator does."""

    async def registered() -> None:
        keys = PostgresRunnerKeys.from_url(database_url)
        try:
            await keys.register(key)
        finally:
            await keys.aclose()

    asyncio.run(registered())


class Forwarder:
    """A way to the database, or to a recorder, that can be closed, opened again, and lose an answer."""

    def __init__(self, url: str, host: str = "127.0.0.1") -> None:
        parts = urlsplit(url)
        self._host = host
        self._target = (parts.hostname, parts.port)
        self._listener: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._lose: bytes | None = None
        self.lost = threading.Event()
        # bound all the time, or another process could get the port while it is closed
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((host, 0))
        self._port = self._reserved.getsockname()[1]
        where = f"{host}:{self._port}"
        self.url = urlunsplit(
            parts._replace(netloc=where)
            if parts.scheme == "http"
            # in the clear, or a statement could not be recognised
            else parts._replace(netloc=f"{parts.username}:{parts.password}@{where}", query="sslmode=disable")
        )

    def open(self) -> None:
        """Accept connections from now on."""
        self._listener = socket.create_server((self._host, self._port))
        self._start(self._accept, self._listener)

    def lose_answer_to(self, statement: bytes) -> None:
        """Execute the next statement that contains this text, and cut the connection instead of answering."""
        self._lose = statement

    def close(self) -> None:
        """Cut all connections and refuse new ones."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for pair in self._pairs:
            _cut(*pair)
        for thread in self._threads:
            thread.join()
        self._pairs.clear()
        self._threads.clear()

    def give_back(self) -> None:
        """Release the port."""
        self._reserved.close()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed
            server = socket.create_connection(self._target)
            self._pairs.append((client, server))
            drop = threading.Event()
            self._start(self._forward, client, server, drop, False)
            self._start(self._forward, server, client, drop, True)

    def _forward(self, source: socket.socket, sink: socket.socket, drop: threading.Event, answers: bool) -> None:  # noqa: FBT001  # the two directions of one connection
        try:
            while chunk := source.recv(65_536):
                if answers and drop.is_set():
                    self.lost.set()
                    break
                if not answers and self._lose is not None and self._lose in chunk:
                    self._lose = None
                    drop.set()
                sink.sendall(chunk)
        except OSError:
            pass  # closed by the other side, or by the test
        _cut(source, sink)


def _cut(*sockets: socket.socket) -> None:
    for sock in sockets:
        with suppress(OSError):  # it was already closed
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


@pytest.fixture
def forwarder(runner_database_url: str) -> Iterator[Forwarder]:
    """Give a runner's connection to the test's database, initially closed."""
    made = Forwarder(runner_database_url)
    yield made
    made.close()
    made.give_back()


STATEMENTS = {
    Operation.CLAIM: b"runner.claim",
    Operation.TAKE_OVER: b"COMMIT",
    Operation.SAVE_ATTEMPTS: b"runner.save_attempts",
    Operation.INCREMENT: b"runner.increment",
    Operation.CLOSE: b"runner.close_row",
}
"""By what an operation is recognised on the way to the database."""
TRANSPORTS = ("postgres", "recorder")
WAYS = (*TRANSPORTS, "behind the recorder")


def over_both(metafunc: pytest.Metafunc) -> None:
    """Run a module's tests over both transports: ``pytest_generate_tests = over_both``.

    A test of the way there is run with each place in which it may be cut.
    """
    if "way" in metafunc.fixturenames:
        metafunc.parametrize("transport", WAYS, indirect=True)
    elif "runners" in metafunc.fixturenames:
        metafunc.parametrize("transport", TRANSPORTS, indirect=True)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """Give what a runner records through: the database, unless the module says ``over_both``."""
    return str(getattr(request, "param", "postgres"))


@dataclass
class Way:
    """The way from a runner to the database, which can be cut in one place; closed at first."""

    forwarder: Forwarder
    url: str
    what: str
    """What the runner finds unreachable."""
    by_path: bool
    """Whether it is cut where requests are sent, not statements."""

    @property
    def lost(self) -> threading.Event:
        """Set when an answer was lost."""
        return self.forwarder.lost

    def open(self) -> None:
        """Let connections through from now on."""
        self.forwarder.open()

    def close(self) -> None:
        """Cut every connection and refuse new ones."""
        self.forwarder.close()

    def lose_answer_to(self, operation: Operation) -> None:
        """Carry out the next operation of this kind, and cut the connection instead of answering."""
        self.forwarder.lose_answer_to(f"/{operation} ".encode() if self.by_path else STATEMENTS[operation])


@pytest.fixture
def way(transport: str, runner_database_url: str, recorders: Recorders) -> Iterator[Way]:
    """Give a runner's way to the test's database, closed at first."""
    by_path = transport == "recorder"
    forwarder = Forwarder(recorders.start(runner_database_url).url if by_path else runner_database_url)
    behind = recorders.start(forwarder.url).url if transport == WAYS[-1] else None
    yield Way(forwarder, behind or forwarder.url, "database" if transport == "postgres" else "recorder", by_path)
    forwarder.close()
    forwarder.give_back()


def where(url: str) -> Mapping[str, str]:
    """Return the variable by which a runner is told where to record."""
    return {contract.ENV_RECORDER_URL if url.startswith("http") else contract.ENV_DATABASE_URL: url}


def described(payload: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the variables that tell a runner which execution it is, with the execution's token."""
    return {
        contract.ENV_EXECUTION_TOKEN: TOKEN_KEY.token(payload),
        contract.ENV_EXECUTION_ID: payload["id"],
        contract.ENV_TASK_UID: payload["task_uid"],
        contract.ENV_TASK_NAMESPACE: payload["namespace"],
        contract.ENV_TASK_NAME: payload["task"],
        contract.ENV_SLOT: payload["slot"],
        contract.ENV_CAUSE: payload["cause"],
        contract.ENV_JOB_NAME: payload["job_name"],
    }


class Running:
    """A started runner."""

    def __init__(self, process: subprocess.Popen[str], termination_log: Path) -> None:
        self.process = process
        self._termination_log = termination_log
        self.log = ""

    def await_line(self, text: str) -> None:
        """Return when the log contains this text."""
        assert self.process.stderr is not None
        while text not in self.log:
            line = self.process.stderr.readline()
            assert line, f"the runner ended without saying {text!r}:\n{self.log}"
            self.log += line

    def wait(self) -> int:
        """Return the exit code when it has ended."""
        _, rest = self.process.communicate(timeout=PATIENCE_SECONDS)
        self.log += rest
        assert "Traceback" not in self.log
        return self.process.returncode

    def termination_message(self) -> str:
        """Return the termination message, which the kubelet would put into the pod's status."""
        return self._termination_log.read_text() if self._termination_log.exists() else ""


@dataclass
class Runners:
    """Starts runners, and looks at what they left: they as the runners' role or by a recorder, it as the owner."""

    database_url: str
    runner_url: str
    directory: Path
    task_uid: UUID = field(default_factory=uuid4)
    prefix: Sequence[str] = ()
    """A command that runs them elsewhere, such as in another network."""
    stack: ExitStack = field(default_factory=ExitStack)

    def start(  # noqa: PLR0913  # a builder: each test sets the relevant values
        self,
        task: dict[str, Any],
        *,
        execution: UUID | None = None,
        pod: str = "report-1-x",
        job: str = "report-1",
        slot: datetime = SLOT,
        timeout_seconds: float = 60,
        url: str | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a runner for an execution of a task."""
        execution = execution or uuid4()
        task_type, spec = next(iter(task.items()))
        more = more or {}
        payload = {
            "id": str(execution),
            "task_uid": str(self.task_uid),
            "origin": more.get(contract.ENV_ORIGIN, str(self.task_uid)),
            "namespace": "shop",
            "task": "report",
            "task_type": task_type,
            "slot": slot.isoformat(),
            "cause": more.get(contract.ENV_CAUSE, "schedule"),
            "job_name": job,
            "counter": spec.get("name", "report").replace("\0", "") if task_type == "counter" else None,
        }
        termination_log = self.directory / f"{uuid4()}"
        env = {
            **where(url or self.runner_url),
            **described(payload),
            contract.ENV_TASK: json.dumps(task),
            contract.ENV_TIMEOUT_SECONDS: str(timeout_seconds),
            contract.ENV_POD_NAME: pod,
            contract.ENV_TERMINATION_LOG: str(termination_log),
            contract.ENV_HTTP_ALLOW: "127.0.0.0/8,::1",  # the tests' servers are there
        }
        process = subprocess.Popen(
            [*self.prefix, sys.executable, "-m", "carillon_runner"],
            env=env | measured_without_threads() | dict(more),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stack.enter_context(process)
        self.stack.callback(process.kill)
        return Running(process, termination_log)

    def query(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query; none for a command."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def row(self, execution: UUID | None = None) -> dict[str, Any]:
        """Return the only row, or that of an execution."""
        rows = self.query("SELECT * FROM executions WHERE id = coalesce(%s, id)", execution)
        assert len(rows) == 1
        return rows[0]

    def attempts(self, execution: UUID | None = None) -> list[dict[str, Any]]:
        """Return the attempts of the only execution, or of the given one, in order."""
        return self.query(
            "SELECT * FROM attempts WHERE execution_id = coalesce(%s, execution_id) ORDER BY number", execution
        )

    def counter(self) -> int:
        """Return the value of the counter ``report``; 0 if it does not exist."""
        rows = self.query("SELECT value FROM counters WHERE namespace = 'shop' AND name = 'report'")
        return int(rows[0]["value"]) if rows else 0

    def insert(self, execution: UUID, status: str, pod: str | None = None, job: str | None = None) -> None:
        """Insert a row, as another process would have."""
        started = None if pod is None else SLOT
        finished = None if status == "running" else SLOT
        self.query(
            "INSERT INTO executions (id, task_uid, origin, namespace, task, task_type, slot, cause, status, pod_name,"
            " job_name, started_at, finished_at)"
            " VALUES (%s, %s, %s, 'shop', 'report', 'counter', %s, 'schedule', %s, %s, %s, %s, %s)",
            *(execution, self.task_uid, self.task_uid, SLOT, status, pod, job, started, finished),
        )


@pytest.fixture
def runners(
    transport: str, database_url: str, runner_database_url: str, recorders: Recorders, tmp_path: Path
) -> Iterator[Runners]:
    """Give a starter of runners, which end with the test; the key of their tokens is registered."""
    register(database_url, TOKEN_KEY)
    url = runner_database_url if transport == "postgres" else recorders.start(runner_database_url).url
    made = Runners(database_url, url, tmp_path)
    with made.stack:
        yield made
