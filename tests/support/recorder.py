"""The recorder as a program, in front of a test's database."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from support.certificates import LOOPBACK, Certificates, make_certificates
from support.forked import ForkedProgram
from support.ports import own_port
from support.waiting import until

START_SECONDS = 60


@dataclass
class RunningRecorder:
    """A recorder that has been started."""

    process: ForkedProgram
    url: str
    certificates: Certificates | None
    log_file: Path

    @property
    def ca(self) -> str | None:
        """The certificates to trust, as PEM."""
        return None if self.certificates is None else self.certificates.ca.read_text()

    def log(self) -> str:
        """Return what it has said."""
        return self.log_file.read_text(errors="replace")

    def get(self, path: str) -> httpx.Response:
        """Return the answer to a request without a token."""
        with self.client() as client:
            return client.get(path)

    def client(self) -> httpx.Client:
        """Return a client of it; whoever asks for it closes it."""
        verify = ssl.create_default_context(cadata=self.ca) if self.ca else True
        return httpx.Client(base_url=self.url, verify=verify, timeout=30, trust_env=False)


@dataclass
class Recorders:
    """Starts recorders; they end with the test."""

    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, database_url: str, *, tls: bool = False, port: int | None = None, **more: str) -> RunningRecorder:
        """Start one, and wait until it listens."""
        port = port or own_port()
        certificates = make_certificates(self.folder) if tls else None
        files = (
            {}
            if certificates is None
            else {
                "CARILLON_RECORDER_CERT_FILE": str(certificates.cert),
                "CARILLON_RECORDER_KEY_FILE": str(certificates.key),
            }
        )
        environment = {
            "DATABASE_URL": database_url,
            "CARILLON_RECORDER_PORT": str(port),
            **files,
            **more,
        }
        log_file = self.folder / f"recorder-{port}.log"
        process = ForkedProgram("carillon_recorder", environment, log_file)
        self.stack.enter_context(process)
        self.stack.callback(process.kill)
        url = f"{'https' if tls else 'http'}://{LOOPBACK}:{port}"
        running = RunningRecorder(process, url, certificates, log_file)
        until(lambda: _listens(running), START_SECONDS, f"the recorder listens: {running.log()}")
        return running


def _listens(running: RunningRecorder) -> bool:
    if running.process.poll() is not None:
        raise AssertionError(f"the recorder has ended:\n{running.log()}")
    try:
        return running.get("/healthz").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def recorders(tmp_path: Path) -> Iterator[Recorders]:
    """Give a starter of recorders."""
    made = Recorders(tmp_path)
    with made.stack:
        yield made


@pytest.fixture
def recorder(recorders: Recorders, runner_database_url: str) -> RunningRecorder:
    """Give a recorder of the test's own database."""
    return recorders.start(runner_database_url)
