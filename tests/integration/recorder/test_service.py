"""The recorder as a program: what it refuses, what it bounds, and what it does while the database is away."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from carillon_core.adapters.recorder_client import RecorderClient
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.recording.port import RecorderUnavailableError
from support.certificates import make_certificates
from support.postgres import execute
from support.recorder import Recorders, RunningRecorder
from support.runner import SLOT, TOKEN_KEY, Forwarder, register
from support.waiting import until

UID = UUID("0b0b8a0e-1d0c-5c55-8a5e-4f0e3a1b2c3d")
PATIENCE = 30.0


def token(execution: UUID = UID, minute: int = 5) -> str:
    """Return the token of an execution."""
    return TOKEN_KEY.token(
        {
            "id": str(execution),
            "task_uid": str(UID),
            "origin": str(UID),
            "namespace": "shop",
            "task": "report",
            "task_type": "counter",
            "slot": SLOT.replace(minute=minute).isoformat(),
            "cause": "schedule",
            "job_name": "report-1",
            "counter": "report",
        }
    )


@pytest.fixture(autouse=True)
def _known_key(database_url: str) -> None:
    register(database_url, TOKEN_KEY)


@pytest.fixture
def client(recorder: RunningRecorder) -> Iterator[httpx.Client]:
    """Give a client of the recorder, with the execution's token."""
    with recorder.client() as made:
        made.headers["Authorization"] = f"Bearer {token()}"
        yield made


def path(operation: str, execution: object = UID) -> str:
    """Return the path of an operation."""
    return f"/v1/executions/{execution}/{operation}"


def rows(database_url: str) -> int:
    """Return how many executions have a row."""
    with psycopg.connect(database_url) as connection:
        return len(connection.execute("SELECT 1 FROM executions").fetchall())


@pytest.mark.parametrize(
    ("headers", "want", "code"),
    [
        ({"Authorization": ""}, 401, "MalformedToken"),
        ({"Authorization": "Basic YTpi"}, 401, "MalformedToken"),
        ({"Authorization": f"Bearer {'x' * 9000}"}, 401, "MalformedToken"),
        ({"Authorization": f"Bearer {token()[:-4]}0000"}, 401, "RefusedToken"),
        ({"Authorization": f"Bearer {token(uuid4())}"}, 403, "AnotherExecution"),
    ],
)
def test_a_token_that_is_not_the_executions_is_refused(
    client: httpx.Client, database_url: str, headers: dict[str, str], want: int, code: str
) -> None:
    """Clearly, at once, and without another's row."""
    answer = client.post(path("claim"), json={"pod": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["code"], answer.headers.get("Retry-After")) == (want, code, None)
    assert rows(database_url) == 0


def test_forged_tokens_open_no_connections(client: httpx.Client, database_url: str) -> None:
    """Neither one with a wrong signature nor one of an unknown key: the sessions of the others stay as they are."""
    unknown = TokenKey(b"another key of the same length..").token({"id": str(UID)})
    assert client.post(path("claim"), json={"pod": "x"}).status_code == 200
    before = sessions(database_url)
    for forged, want in ((f"{token()[:-4]}0000", 401), (unknown, 503)) * 3:
        answer = client.post(path("claim"), json={"pod": "x"}, headers={"Authorization": f"Bearer {forged}"})
        assert answer.status_code == want
    assert sessions(database_url) == before


def sessions(database_url: str) -> set[int]:
    """Return the processes of the recorder's sessions."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'carillon-recorder' AND datname = current_database()"
        )
        return {pid for (pid,) in found.fetchall()}


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("claim", b"{"),
        ("claim", b"[]"),
        ("claim", b"{}"),
        ("claim", b'{"pod": 3}'),
        ("claim", b'{"pod": ""}'),
        ("claim", b'{"pod": "x", "more": 1}'),
        ("claim", b'{"pod": "\\ud800"}'),
        ("claim", b'{"pod": "a\\u0000b"}'),
        ("save-attempts", b"[" * 100_000),
        ("save-attempts", json.dumps({"pod": "x", **{f"k{n}": n for n in range(5000)}}).encode()),
        ("save-attempts", json.dumps({"pod": "x", "attempts": [{}] * 2000}).encode()),
        ("save-attempts", b'{"pod": "x", "attempts": [{"number": 1, "status": "running", "started_at": "now"}]}'),
        ("take-over", b'{"pod": "x", "job": "y", "again": true, "mostAttempts": 0}'),
        ("close", b'{"pod": "x"}'),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(client: httpx.Client, operation: str, body: bytes) -> None:
    """In a sentence of bounded length, however many things are wrong with it."""
    began = time.monotonic()
    answer = client.post(path(operation), content=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "InvalidBody")
    assert len(answer.content) < 1000
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("operation", ["claim", "look", "take-over"])
def test_a_body_of_names_is_small(recorder: RunningRecorder, operation: str) -> None:
    """What needs no more than a few names is refused by its announced length; the memory for more is not taken."""
    answer = raw(recorder, head("Content-Length: 5000", operation=operation))
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("method", "where", "want"),
    [
        ("GET", path("claim"), 405),
        ("POST", path("delete"), 404),
        ("POST", "/v1/executions/seventeen/claim", 404),
        ("POST", "/", 404),
        ("GET", "/docs", 404),
    ],
)
def test_what_is_not_there_is_not_found(client: httpx.Client, method: str, where: str, want: int) -> None:
    """With a body as every refusal has."""
    answer = client.request(method, where, json={"pod": "x"} if method == "POST" else None)
    assert (answer.status_code, set(answer.json())) == (want, {"code", "detail", "inDoubt"})


def raw(recorder: RunningRecorder, sent: bytes, then: bytes = b"") -> bytes:
    """Send bytes, and others after the first answer; return what comes back until the connection ends."""
    parts = urlsplit(recorder.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        got = connection.recv(65_536)
        connection.sendall(then)
        while chunk := connection.recv(65_536):
            got += chunk
        return got


def head(*lines: str, operation: str = "claim") -> bytes:
    """Return the head of a request."""
    first = (f"POST {path(operation)} HTTP/1.1", "Host: recorder", f"Authorization: Bearer {token()}")
    return "\r\n".join((*first, *lines, "", "")).encode()


@pytest.mark.parametrize(
    ("lines", "want"),
    [
        (("Content-Length: 1073741824",), b"413"),
        ((f"Content-Length: {'9' * 19}",), b"413"),
        ((f"Content-Length: {'9' * 4000}",), b"400"),
        (("Transfer-Encoding: chunked",), b"411"),
        ((), b"411"),
    ],
)
def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent(
    recorder: RunningRecorder, lines: tuple[str, ...], want: bytes
) -> None:
    """As one whose length nobody knows; the connection ends."""
    answer = raw(recorder, head(*lines))
    assert answer.startswith(b"HTTP/1.1 " + want)
    assert b"connection: close" in answer.lower()


def test_a_request_that_never_arrives_ends(recorder: RunningRecorder) -> None:
    """Its head, its body, or a body that nobody reads any more: a connection is not held for ever."""
    refused = b"POST /x HTTP/1.1\r\nHost: recorder\r\nContent-Length: 1000000\r\n\r\n"
    with ThreadPoolExecutor() as threads:
        silent = threads.submit(raw, recorder, b"POST /v1/exec")
        nothing = threads.submit(raw, recorder, b"")
        half = threads.submit(raw, recorder, head("Content-Length: 20") + b'{"pod"')
        more = threads.submit(raw, recorder, refused, b"a")
        for waiting in (silent, nothing, half):
            assert waiting.result(PATIENCE).startswith(b"HTTP/1.1 408")
        assert more.result(PATIENCE).startswith(b"HTTP/1.1 404")


def memory_of(recorder: RunningRecorder) -> float:
    """Return the memory of the process in MiB."""
    status = Path(f"/proc/{recorder.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_a_thousand_silent_connections_take_little_memory_and_end(
    recorders: Recorders, runner_database_url: str
) -> None:
    """They do not even begin TLS; a claim waits in the queue behind them, and is answered when they have ended."""
    recorder = recorders.start(runner_database_url, tls=True)
    parts = urlsplit(recorder.url)
    before = memory_of(recorder)
    with ExitStack() as silent:
        for _ in range(1000):
            silent.enter_context(socket.create_connection((parts.hostname or "", parts.port or 0)))
        time.sleep(1)
        assert memory_of(recorder) - before < 200
        with closing_client(recorder.url, recorder.ca) as client:
            assert client.claim("x") is not None


def test_the_connections_are_bounded_and_whoever_finds_no_room_is_told_when_to_come_again(
    recorders: Recorders, runner_database_url: str, database_url: str
) -> None:
    """Two connections and three places: of nine at once that wait for a lock, four are refused at once."""
    recorder = recorders.start(runner_database_url, CARILLON_RECORDER_CONNECTIONS="2", CARILLON_RECORDER_WAITING="3")

    def claim(minute: int) -> httpx.Response:
        execution = uuid4()
        with recorder.client() as client:
            authorization = {"Authorization": f"Bearer {token(execution, minute)}"}
            return client.post(path("claim", execution), json={"pod": "x"}, headers=authorization)

    with psycopg.connect(database_url) as holder, ThreadPoolExecutor(9) as threads:
        holder.execute("LOCK TABLE executions IN SHARE MODE")
        answers = [threads.submit(claim, minute) for minute in range(9)]
        until(lambda: sum(answer.done() for answer in answers) == 4, PATIENCE, "four are refused")
        refused = [answer.result() for answer in answers if answer.done()]
        assert {(r.status_code, r.json()["code"], r.headers["Retry-After"]) for r in refused} == {(503, "Busy", "1")}
        assert all(r.json()["inDoubt"] is False for r in refused)
        # who is refused is told at once, who is connected is not yet
        seen = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'carillon-recorder'"
        until(lambda: len(execute(database_url, seen)) == 2, PATIENCE, "two are connected")
        waiting = recorder.get("/metrics").text
        assert "carillon_recorder_waiting 3.0" in waiting
        assert "carillon_recorder_connections 2.0" in waiting
        holder.rollback()
        assert sorted(answer.result().status_code for answer in answers) == [200] * 5 + [503] * 4
    assert rows(database_url) == 5


def test_a_caller_that_goes_takes_its_statement_with_it(recorder: RunningRecorder, database_url: str) -> None:
    """What waits for a lock is cancelled, and what it would have written is not written later."""
    body = json.dumps({"pod": "x"}).encode()
    parts = urlsplit(recorder.url)
    with psycopg.connect(database_url, autocommit=True) as watcher, psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE executions IN SHARE MODE")
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
            connection.sendall(head(f"Content-Length: {len(body)}") + body)
            blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            until(lambda: bool(watcher.execute(blocked).fetchall()), PATIENCE, "the claim waits")
        until(lambda: not watcher.execute(blocked).fetchall(), 5, "the claim is cancelled")
    assert rows(database_url) == 0


def test_a_database_that_is_away_is_told_at_once(recorders: Recorders, forwarder: Forwarder, database_url: str) -> None:
    """503 with the reason and without the password; then, when it is back, everything goes its way."""
    recorder = recorders.start(forwarder.url)
    password = urlsplit(forwarder.url).password or "?"
    with recorder.client() as client:
        client.headers["Authorization"] = f"Bearer {token()}"
        answer = client.post(path("claim"), json={"pod": "x"})
        assert (answer.status_code, answer.json()["code"], answer.json()["inDoubt"]) == (503, "Unavailable", False)
        assert int(answer.headers["Retry-After"]) >= 1
        assert password not in answer.text + recorder.log()
        assert recorder.get("/healthz").status_code == 200
        assert recorder.get("/readyz").status_code == 503
        forwarder.open()
        until(lambda: recorder.get("/readyz").is_success, PATIENCE, "it is ready")
        assert client.post(path("claim"), json={"pod": "x"}).status_code == 200
        # a failover: all connections die at once
        forwarder.close()
        forwarder.open()
        until(lambda: client.post(path("look"), json={}).is_success, PATIENCE, "it has found the database again")
    assert rows(database_url) == 1


def test_the_runner_refuses_a_certificate_that_is_not_the_recorders(
    recorders: Recorders, runner_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of another authority, or for another name; and a CA that is no certificate is a wrong setting."""
    recorder = recorders.start(runner_database_url, tls=True)
    other = make_certificates(tmp_path_factory.mktemp("other")).ca.read_text()
    by_name = recorder.url.replace("127.0.0.1", "localhost")
    for url, ca in ((recorder.url, other), (recorder.url, None), (by_name, recorder.ca)):
        with closing_client(url, ca) as client, pytest.raises(RecorderUnavailableError, match="certificate is refused"):
            client.claim("x")


def closing_client(url: str, ca: str | None) -> Any:
    """Return a client that is disconnected at the end of a block."""
    client = RecorderClient(url, ca, token(), UID)
    return _Closing(client)


class _Closing(closing[Any]):
    def __init__(self, client: RecorderClient) -> None:
        super().__init__(client)
        self._client = client

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()


def test_a_certificate_that_is_replaced_is_served_without_a_restart(
    recorders: Recorders, runner_database_url: str
) -> None:
    """As cert-manager replaces it; connections that are open go on."""
    recorder = recorders.start(runner_database_url, tls=True)
    with closing_client(recorder.url, recorder.ca) as client:
        assert client.claim("x") is not None
        make_certificates(recorders.folder)  # into the same files, by another authority

        def served() -> bool:
            with closing_client(recorder.url, recorder.ca) as another:
                try:
                    return another.look() is not None
                except RecorderUnavailableError:
                    return False

        until(served, PATIENCE, "the new certificate is served")
    assert "certificate read again" in recorder.log()


def test_a_signal_lets_requests_end(recorder: RunningRecorder, database_url: str) -> None:
    """An upgrade loses nothing: what has begun is answered, and the exit code is 0."""
    with psycopg.connect(database_url) as holder, ThreadPoolExecutor(1) as threads, recorder.client() as client:
        holder.execute("LOCK TABLE executions IN SHARE MODE")
        client.headers["Authorization"] = f"Bearer {token()}"
        answer = threads.submit(client.post, path("claim"), json={"pod": "x"})
        blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with psycopg.connect(database_url, autocommit=True) as watcher:
            until(lambda: bool(watcher.execute(blocked).fetchall()), PATIENCE, "the claim waits")
        recorder.process.send_signal(signal.SIGTERM)
        until(lambda: not _accepts(recorder), PATIENCE, "it listens no more")
        holder.rollback()
        assert answer.result(PATIENCE).status_code == 200
    assert recorder.process.wait(PATIENCE) == 0
    assert rows(database_url) == 1


def _accepts(recorder: RunningRecorder) -> bool:
    parts = urlsplit(recorder.url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0)).close()
    except OSError:
        return False
    return True
