"""The background processes of ``make run`` are found again, even if their records are lost."""

from __future__ import annotations

import contextlib
import ssl
import stat
from typing import TYPE_CHECKING

import pytest

from carillon_local import services, webhook
from carillon_local.layout import LocalError
from carillon_local.services import Service
from support.ports import own_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def httpbin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    """Give a service with its records in the test's folder."""
    monkeypatch.setattr(services, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(services, "PROCESSES", tmp_path / "processes")
    made = Service(f"test-{tmp_path.name}", "carillon_local.httpbin_server")
    yield made
    made.stop()


def test_a_service_runs_until_it_is_stopped(httpbin: Service) -> None:
    """Starting it twice with the same environment gives one process; another environment gives a new process."""
    environment = {"HTTPBIN_PORT": str(own_port())}
    httpbin.start(environment)
    first = httpbin.process()
    assert first is not None
    httpbin.start(environment)
    assert httpbin.process() == first
    httpbin.start({"HTTPBIN_PORT": str(own_port())})
    assert not first.alive()
    httpbin.stop()
    assert httpbin.process() is None


@pytest.mark.parametrize("record", ["", "[]", "no json", "{}"])
def test_a_lost_record_leaves_no_process_behind(httpbin: Service, tmp_path: Path, record: str) -> None:
    """It can still be stopped."""
    httpbin.start({"HTTPBIN_PORT": str(own_port())})
    process = httpbin.process()
    assert process is not None
    (path,) = (tmp_path / "processes").glob("*.json")
    path.write_text(record)
    assert httpbin.process() is None
    httpbin.stop()
    assert not process.alive()


def test_a_service_that_ends_is_reported_with_the_end_of_its_log(httpbin: Service) -> None:
    """There is one error message, at once."""
    httpbin.start({"HTTPBIN_PORT": "no port"})
    with pytest.raises(LocalError, match=r"(?s)ended; the end of .*no port"):
        httpbin.await_ready(lambda: False, 30)


def test_the_webhooks_certificate_is_made_once_and_its_key_is_private(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is for loopback, and its own authority's."""
    folder = tmp_path / "webhook"
    monkeypatch.setattr(webhook, "FOLDER", folder)
    monkeypatch.setattr(webhook, "_FILES", {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")})
    given = webhook.webhook_settings(9443)
    assert (given["CARILLON_WEBHOOK_PORT"], given["CARILLON_WEBHOOK_HOST"]) == ("9443", "127.0.0.1")
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert webhook.webhook_settings(9443) == given
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == made
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    trust = ssl.create_default_context(cafile=given["CARILLON_WEBHOOK_CA_FILE"])
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(given["CARILLON_WEBHOOK_CERT_FILE"], given["CARILLON_WEBHOOK_KEY_FILE"])
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    server = served.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):  # a handshake: each raises until the other has answered
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() is not None
