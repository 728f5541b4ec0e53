"""The facade as a process: it survives outages, stops on a signal, and reports invalid settings."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.ports import own_port
from support.waiting import eventually

SECRET = "s3cr3t-pa55"  # noqa: S105  # a marker that tests search for in messages, not a password
TOKEN = "t0ken-of-alice"  # noqa: S105  # of a cluster that does not exist
BEARER = {"Authorization": f"Bearer {TOKEN}"}
SECONDS = 60


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Valid settings for a database and an API server that are unavailable."""
    kubeconfig = tmp_path / "kubeconfig"
    named: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{own_port()}"}}],
        "users": [{"name": "u", "user": {"token": SECRET}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "x", **named})
    kubeconfig.write_text(text, encoding="utf-8")
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("CARILLON_", "KUBERNETES_"))},
        "DATABASE_URL": f"postgresql://carillon:{SECRET}@127.0.0.1:{own_port()}/carillon",
        "KUBECONFIG": str(kubeconfig),
        "CARILLON_API_PORT": str(own_port()),
    }


def api_server_port(environment: dict[str, str]) -> int:
    """Return the port of the kubeconfig's API server, on which nothing listens."""
    config = yaml.safe_load(Path(environment["KUBECONFIG"]).read_text(encoding="utf-8"))
    return int(config["clusters"][0]["cluster"]["server"].rpartition(":")[2])


@asynccontextmanager
async def started(environment: dict[str, str]) -> AsyncIterator[Process]:
    """Yield the process; kill it if it is still running afterwards."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "carillon_api", env=environment, stderr=PIPE)
    try:
        async with asyncio.timeout(SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_with(process: Process, message: str) -> dict[str, Any]:
    """Return the next line of the log with this message."""
    assert process.stderr is not None
    async for line in process.stderr:
        record: dict[str, Any] = json.loads(line)
        if record["message"] == message:
            return record
    raise AssertionError(f"the process ended without saying {message!r}")


async def test_it_serves_while_everything_else_is_away_and_ends_when_told_to(environment: dict[str, str]) -> None:
    """Liveness succeeds, readiness names both, no response contains a secret, and SIGTERM is a clean shutdown.

    Nobody is let in while the API server cannot say who it is; who shows nothing needs no API server to be refused.
    """
    async with started(environment) as process:
        await line_with(process, "listening")
        base = f"http://127.0.0.1:{environment['CARILLON_API_PORT']}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=SECONDS) as client:
            health = await client.get("/healthz")
            ready = await client.get("/readyz", headers={"X-Request-ID": "probe-1"})
            tasks = await client.get("/api/v1/tasks", headers=BEARER)
            executions = await client.get("/api/v1/executions", headers=BEARER)
            unknown = await client.get("/nothing")
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        assert ready.status_code == 503
        assert [(c["name"], c["ok"]) for c in ready.json()["checks"]] == [("database", False), ("API server", False)]
        assert all(c["why"] for c in ready.json()["checks"])
        assert ready.headers["x-request-id"] == "probe-1"
        assert (tasks.status_code, executions.status_code) == (503, 503)
        assert "API server" in tasks.json()["detail"]
        assert "API server" in executions.json()["detail"]
        assert unknown.status_code == 401
        for response in (ready, tasks, executions, unknown):
            assert response.headers["content-type"] == "application/problem+json"
            assert SECRET not in response.text
            assert TOKEN not in response.text
        logged = await line_with(process, "request")
        assert logged["path"] == "/api/v1/tasks"
        assert logged["status"] == 503
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_request_under_way_is_answered_before_the_end(
    environment: dict[str, str], stop: signal.Signals
) -> None:
    """The signal arrives during the token review; the request is answered, and the process exits with 0."""
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await hung_up.wait()
        writer.close()
        await writer.wait_closed()

    port = api_server_port(environment)
    async with await asyncio.start_server(ask, "127.0.0.1", port), started(environment) as process:
        await line_with(process, "listening")
        base = f"http://127.0.0.1:{environment['CARILLON_API_PORT']}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=SECONDS) as client:
            request = asyncio.create_task(client.get("/api/v1/tasks", headers=BEARER))
            await asked.wait()
            process.send_signal(stop)
            await line_with(process, "Shutting down")
            await eventually(lambda: is_refused(int(environment["CARILLON_API_PORT"])))
            hung_up.set()
            assert (await request).status_code == 503
        assert await process.wait() == 0


async def is_refused(port: int) -> bool:
    """Return whether nothing listens on a port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was about to be accepted when the listener was closed
        return False
    return False


async def test_a_login_that_may_write_the_history_is_warned_of(environment: dict[str, str], database_url: str) -> None:
    """The process logs a warning with the fix; it still serves, and stops on a signal."""
    async with started({**environment, "DATABASE_URL": database_url}) as process:
        warned = await line_with(process, "the API's database user may change the whole history")
        assert warned["level"] == "WARNING"
        assert "carillon-migrate api-role" in warned["hint"]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


HEADS: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "an address that is too long": (b"GET /%s HTTP/1.1\r\nHost: facade\r\n\r\n" % (b"a" * 30_000), (b"414",)),
    "a head that is too long": (
        b"GET / HTTP/1.1\r\nHost: facade\r\nX: %s\r\n\r\n" % (b"a" * 100_000),
        (b"400", b"431"),
    ),
    "too many headers": (b"GET / HTTP/1.1\r\nHost: facade\r\n%s\r\n" % (b"X: a\r\n" * 20_000), (b"400", b"431")),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (b"400",)),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", (b"400",)),
}


async def test_a_head_that_no_server_would_take_is_refused(environment: dict[str, str]) -> None:
    """Each with its status and no stack, neither in the answer nor in the log; the process goes on.

    Which of two it is depends on whether the head comes in pieces.
    """
    async with started(environment) as process:
        await line_with(process, "listening")
        for case, (head, want) in HEADS.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", int(environment["CARILLON_API_PORT"]))
            writer.write(head)
            said = await reader.readuntil(b"\r\n")
            assert said.split()[1] in want, case
            writer.close()
            with suppress(ConnectionError):  # it has closed the connection without reading everything
                await writer.wait_closed()
        base = f"http://127.0.0.1:{environment['CARILLON_API_PORT']}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=SECONDS) as client:
            assert (await client.get("/healthz")).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()
        assert process.returncode == 0
        assert b"Traceback" not in log


async def test_a_busy_port_is_said_in_one_sentence(environment: dict[str, str]) -> None:
    """It has the address and the fix; the exit code is 1, so that a supervisor tries again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment["CARILLON_API_PORT"] = str(taken.getsockname()[1])
        code, said = await outcome(environment)
    assert code == 1
    where = f"127.0.0.1:{environment['CARILLON_API_PORT']}"
    hint = "stop the program that listens there, or set CARILLON_API_PORT to a free port"
    assert said == [f"carillon-api: {where} is in use: {hint}"]


async def test_an_address_of_another_machine_is_said_in_one_sentence(environment: dict[str, str]) -> None:
    """192.0.2.1 belongs to no machine (RFC 5737)."""
    code, said = await outcome({**environment, "CARILLON_API_HOST": "192.0.2.1"})
    assert code == 1
    assert len(said) == 1
    assert "CARILLON_API_HOST" in said[0]


BAD: dict[str, dict[str, str]] = {
    "no database": {"DATABASE_URL": ""},
    "another database": {"DATABASE_URL": f"mysql://carillon:{SECRET}@db/carillon"},
    "no URL at all": {"DATABASE_URL": SECRET},
    "no such kubeconfig": {"KUBECONFIG": "/nonexistent/kubeconfig"},
    "a port that is a word": {"CARILLON_API_PORT": "http"},
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_setting_is_said_in_one_sentence(environment: dict[str, str], case: str) -> None:
    """It has the variable and the fix, never the secret; the exit code is 2, because a retry would not help."""
    code, said = await outcome({**environment, **BAD[case]})
    assert code == 2, said
    # The Kubernetes client warns about a missing file before we do.
    ours = [line for line in said if not line.startswith("{")]
    assert len(ours) == 1, said
    (variable,) = BAD[case]
    assert ours[0].startswith("carillon-api: ")
    assert variable in ours[0]
    assert SECRET not in "".join(said)


async def outcome(environment: dict[str, str]) -> tuple[int, list[str]]:
    """Return the exit code and the lines on standard error of a process that exits by itself."""
    async with started(environment) as process:
        _, said = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode().splitlines()
