"""A task's statistics over REST: ranges, rates, permissions and bad input."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import ExecutionStatus
from support.api import NOW, TASKS, Facade, facade, fields_of
from support.executions import NAMESPACED, RUNNING, SUCCEEDED, row

STATS = f"{TASKS}/nightly/stats"
SKIPPED = {"status": ExecutionStatus.SKIPPED, "started_at": None, "reason": "StillActive"}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def stats(rest: Facade, **params: str) -> dict[str, Any]:
    """Return the figures."""
    response = await rest.client.get(STATS, params=params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_the_figures_of_a_task(rest: Facade) -> None:
    """Skipped, cancelled and running executions count, but not in the rate."""
    await rest.history.record(
        [
            row(-1, status=RUNNING),
            row(-2, **SKIPPED),
            row(-3, status=SUCCEEDED, started_at=NOW + timedelta(minutes=-3, seconds=1)),
            row(-4, status=SUCCEEDED),
            row(-5, reason="HTTP5xx"),
            row(-6, status=SUCCEEDED, task="other"),
            row(-7, status=ExecutionStatus.CANCELLED, started_at=None),
            row(-8, status=SUCCEEDED, namespace="team-b", task_uid=str(UUID(int=8))),
        ]
    )
    body = await stats(rest, results="3")
    assert body.pop("results") == [
        {"id": str(row(-1).id), "slot": "2026-03-01T11:59:00Z", "status": "Running", "reason": None},
        {"id": str(row(-2).id), "slot": "2026-03-01T11:58:00Z", "status": "Skipped", "reason": "StillActive"},
        {"id": str(row(-3).id), "slot": "2026-03-01T11:57:00Z", "status": "Succeeded", "reason": None},
    ]
    assert body == {
        "namespace": "team-a",
        "task": "nightly",
        "from": "2026-02-22T12:00:00Z",
        "to": "2026-03-01T12:00:00Z",
        "executions": {
            "Running": 1,
            "Succeeded": 2,
            "Failed": 1,
            "TimedOut": 0,
            "Cancelled": 1,
            "Skipped": 1,
            "Missed": 0,
        },
        "successRate": 0.666667,
        "durationSeconds": {"p50": 2.0, "p95": 2.0, "p99": 2.0},
        "latencySeconds": {"p50": 0.0, "p95": 0.85, "p99": 0.97},
        "complete": True,
    }


async def test_a_task_without_executions_has_no_rate(rest: Facade) -> None:
    """Null, not zero: nothing has failed."""
    body = await stats(rest)
    assert (body["successRate"], body["durationSeconds"], body["latencySeconds"]) == (None, None, None)
    assert (set(body["executions"].values()), body["results"]) == ({0}, [])


@pytest.mark.parametrize(
    ("params", "want"),
    {
        "by default the last week": ({}, 2),
        "a start": ({"from": "2026-02-20T12:00:00Z"}, 3),
        "an end": ({"to": "2026-03-01T11:59:00Z"}, 1),
        "both, in another zone": ({"from": "2026-02-21T13:59:00+02:00", "to": "2026-02-22T12:00:00Z"}, 1),
    }.values(),
)
async def test_a_range_has_its_start_and_not_its_end(rest: Facade, params: dict[str, str], want: int) -> None:
    """The end is now by default, the start a week earlier."""
    await rest.history.record([row(-1), row(-60 * 24 * 7), row(-60 * 24 * 8)])
    assert (await stats(rest, **params))["executions"]["Failed"] == want


@pytest.mark.parametrize(
    ("params", "want_field"),
    {
        "an end before its start": ({"from": "2026-02-22T12:00:00Z", "to": "2026-02-21T12:00:00Z"}, "to"),
        "a start in the future": ({"from": "2026-03-22T12:00:00Z"}, "from"),
        "a start too long ago": ({"from": "2026-01-22T12:00:00Z"}, "from"),
        "too long a range": ({"from": "2025-01-22T12:00:00Z", "to": "2025-03-22T12:00:00Z"}, "from"),
        "an end in another century": ({"from": "2126-01-22T12:00:00Z", "to": "2126-01-23T12:00:00Z"}, "to"),
        "before the first year": ({"from": "0001-01-01T00:00:00Z"}, "from"),
        "no time": ({"from": "yesterday"}, "from"),
        "too many results": ({"results": "101"}, "results"),
        "an unknown parameter": ({"since": "2026-02-22T12:00:00Z"}, "since"),
    }.values(),
)
async def test_bad_input_is_refused_with_its_parameter(rest: Facade, params: dict[str, str], want_field: str) -> None:
    """422."""
    response = await rest.client.get(STATS, params=params)
    assert (response.status_code, fields_of(response)) == (422, [want_field])


async def test_rbac_decides(rest: Facade) -> None:
    """Permission to list the executions of the namespace is enough."""
    allowed = rest.let("carol", "t0ken-of-carol", *NAMESPACED)
    refused = rest.let("dave", "t0ken-of-dave", Rule("*", ["scheduledtasks"], "team-a"))
    assert (await rest.client.get(STATS, headers=allowed)).status_code == 200
    assert (await rest.client.get(STATS, headers=refused)).status_code == 403
    other = STATS.replace("team-a", "team-b")
    assert (await rest.client.get(other, headers=allowed)).status_code == 403


async def test_only_served_namespaces_are_reported() -> None:
    """Other releases may share the database."""
    async with facade(scope="team-b", default_namespace="team-b") as rest:
        response = await rest.client.get(STATS)
        assert (response.status_code, response.json()["type"]) == (403, "urn:carillon:problem:namespace-not-served")


async def test_an_outage_is_said(rest: Facade) -> None:
    """503."""
    rest.history.outage = "connection refused"
    assert (await rest.client.get(STATS)).status_code == 503
