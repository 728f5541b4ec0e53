"""Attempts of a runner on a real Postgres: retry policies, a server that counts, a lost pod."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest

from carillon_core import contract
from support.http_server import CountingServer
from support.runner import Runners

COUNT: dict[str, Any] = {"counter": {}}
QUICK = {"limit": 2, "initialDelaySeconds": 0}
SLOW = {"limit": 2, "initialDelaySeconds": 600, "jitter": 0}


def retrying(**policy: Any) -> Mapping[str, str]:
    """Return the environment variable of a retry policy."""
    return {contract.ENV_RETRY: json.dumps(policy)}


@pytest.fixture
def server() -> Iterator[CountingServer]:
    """Provide a server that counts its requests."""
    with CountingServer() as made:
        yield made


def tried(runners: Runners, execution: UUID | None = None) -> list[tuple[Any, ...]]:
    """Return number, status, reason and pod of each attempt."""
    rows = runners.attempts(execution)
    for row in rows:
        assert (row["finished_at"] is None) == (row["status"] == "running")
        assert row["finished_at"] is None or row["started_at"] <= row["finished_at"]
    return [(row["number"], row["status"], row["reason"], row["pod_name"]) for row in rows]


def lose(
    runners: Runners, task: dict[str, Any], execution: UUID, more: Mapping[str, str], reached: Callable[[], Any]
) -> None:
    """Start a runner and kill it when it has reached a point."""
    runner = runners.start(task, execution=execution, pod="report-1-lost", more=more, timeout_seconds=3600)
    runner.await_line("execution started")
    reached()
    runner.process.kill()
    runner.process.wait()
