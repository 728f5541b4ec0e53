"""Executions of the task type ``http`` in the test's own process, and httpbin as a server for them."""

import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from httpbin import app
from werkzeug.serving import make_server

from carillon_core.domain.egress.rules import parse_allow_list
from carillon_runner.environment import Environment
from carillon_runner.outcome import Execution, TaskFailedError
from carillon_runner.tasks.http_request import run

UID = UUID("6f9619ff-8b86-4011-b42d-00c04fc964ff")
SECRET = [{"name": "X-Token", "variable": "CARILLON_SECRET_0", "source": "key token of Secret shop"}]


def make_execution(url: str, secrets: Mapping[str, str] | None = None, **spec: Any) -> Execution:
    """Return an execution of one request, in its third attempt."""
    environment = Environment(
        record_url="postgresql://",
        token="",
        execution_id=UID,
        task_uid=UID,
        origin=UID,
        namespace="shop",
        task="report",
        task_type="http",
        spec={"url": url, **spec},
        slot=datetime(2026, 1, 1, tzinfo=UTC),
        cause="schedule",
        timeout_seconds=60,
        job_name="report-1",
        pod_name="report-1-x",
        termination_log=None,
        http_allow=parse_allow_list("127.0.0.0/8,::1"),
        parameters={"who": "Ann"},
        secrets=secrets or {},
    )
    return Execution(environment, time.monotonic() + 60, lambda _name: 0, attempt=3)


def fetch(url: str, **spec: Any) -> dict[str, Any]:
    """Run a request that is expected to succeed."""
    return dict(run(make_execution(url, **spec)))


def failure(url: str, **spec: Any) -> TaskFailedError:
    """Run a request that is expected to fail."""
    return failure_of(make_execution(url, **spec))


def failure_of(execution: Execution) -> TaskFailedError:
    """Run an execution that is expected to fail."""
    with pytest.raises(TaskFailedError) as caught:
        run(execution)
    return caught.value


@pytest.fixture(scope="module")
def httpbin() -> Iterator[str]:
    """Serve httpbin on a free port of loopback."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
