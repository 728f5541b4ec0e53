"""The metrics: correct, limited in number, documented, and available without the history."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from carillon_api.observability import metrics as told
from carillon_api.observability.metrics import HISTORY_SECONDS, Metrics
from carillon_core.adapters.memory.caller import Rule
from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, execution_id
from carillon_core.ports import HistorySummary
from metrics_reference import reference_text
from support.api import NOW, TASKS, Facade, facade, fields_of

PAGE = Path(__file__).parents[4] / "docs" / "metrics.md"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def scrape(rest: Facade) -> Samples:
    """Return every sample by name and labels, parsed as Prometheus does."""
    response = await rest.client.get("/metrics", headers={"Authorization": ""})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def of(samples: Samples, name: str, **labels: str) -> float | None:
    """Return a sample."""
    return samples.get((name, frozenset(labels.items())))


def row(minutes_ago: int, status: ExecutionStatus, namespace: str = "team-a") -> ExecutionRecord:
    """Return an execution whose slot was ``ago`` before now."""
    slot, uid = NOW - timedelta(minutes=minutes_ago), str(UUID(int=7))
    running = status is ExecutionStatus.RUNNING
    return ExecutionRecord(
        id=execution_id(uid, slot, Cause.SCHEDULE),
        task_uid=uid,
        namespace=namespace,
        task="nightly",
        task_type="sum",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=status,
        started_at=slot,
        finished_at=None if running else slot,
    )


ROWS = [
    row(1, ExecutionStatus.SUCCEEDED),
    row(2, ExecutionStatus.FAILED),
    row(3, ExecutionStatus.FAILED, "team-b"),
    row(90, ExecutionStatus.FAILED),
    row(3000, ExecutionStatus.FAILED),
    row(4000, ExecutionStatus.RUNNING),
]


async def test_requests_are_counted_by_their_route(rest: Facade) -> None:
    """The label is the route template, so that names in paths do not create series."""
    before = await scrape(rest)
    for name in ("a", "b", "c"):
        await rest.client.get(f"{TASKS}/{name}")
    for path in ("/nothing", "/else"):
        await rest.client.get(path)
    await rest.client.request("BREW", TASKS)
    after = await scrape(rest)

    def more(**labels: str) -> float:
        name = "carillon_api_requests_total"
        return (of(after, name, **labels) or 0) - (of(before, name, **labels) or 0)

    assert more(method="GET", route="/api/v1/namespaces/{namespace}/tasks/{name}", status="404") == 3
    assert more(method="GET", route="none", status="404") == 2
    assert more(method="other", route="/api/v1/namespaces/{namespace}/tasks", status="405") == 1
    assert of(after, "carillon_api_requests_in_flight") == 1


async def test_the_history_is_told_by_window_and_status(rest: Facade) -> None:
    """Counts are per window and status; running executions are counted regardless of age; missing statuses are zero."""
    await rest.history.record(ROWS)
    samples = await scrape(rest)
    assert of(samples, "carillon_history_up") == 1
    assert of(samples, "carillon_executions", window="hour", status="Failed") == 2
    assert of(samples, "carillon_executions", window="day", status="Failed") == 3
    assert of(samples, "carillon_executions", window="day", status="Missed") == 0
    assert of(samples, "carillon_executions_running") == 1
    assert of(samples, "carillon_dead_letters", window="hour") == 2
    assert of(samples, "carillon_dead_letters", window="day") == 3


async def test_without_the_history_the_rest_is_told(rest: Facade) -> None:
    """Only ``carillon_history_up`` remains, and is 0."""
    await rest.history.record(ROWS)
    rest.history.outage = "connection refused"
    samples = await scrape(rest)
    assert of(samples, "carillon_history_up") == 0
    assert of(samples, "carillon_executions_running") is None
    assert of(samples, "carillon_executions", window="hour", status="Failed") is None
    assert of(samples, "carillon_api_requests_in_flight") == 1


class HangingHistory(MemoryHistory):
    """A history that never answers."""

    async def summary(self, since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        await asyncio.Event().wait()
        return await super().summary(since, namespaces)


async def test_a_history_that_hangs_does_not_hang_a_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """The query times out, once for concurrent scrapes."""
    monkeypatch.setattr(told, "HISTORY_SECONDS", 0.05)
    metrics = Metrics()
    async with asyncio.timeout(HISTORY_SECONDS):
        await asyncio.gather(*(metrics.history.refresh(HangingHistory(), NOW) for _ in range(20)))
    assert b"carillon_history_up 0.0" in metrics.text()


async def test_many_scrapes_are_one_question(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are cached for some seconds."""
    asked: list[datetime] = []
    summary = rest.history.summary

    async def counting(since: datetime, namespaces: tuple[str, ...] = ()) -> HistorySummary:
        asked.append(since)
        return await summary(since, namespaces)

    monkeypatch.setattr(rest.history, "summary", counting)
    await asyncio.gather(*(rest.client.get("/metrics") for _ in range(10)))
    assert sorted(asked) == [NOW - timedelta(days=1), NOW - timedelta(hours=1)]


async def test_calls_to_the_api_server_are_counted() -> None:
    """They are counted by method and status, including calls without a response."""
    metrics = Metrics()
    metrics.call_ended("GET", 200, 0.01)
    metrics.call_ended("GET", None, 30.0)
    text = metrics.text().decode()
    assert 'carillon_api_server_call_duration_seconds_count{method="GET",status="200"} 1.0' in text
    assert 'carillon_api_server_call_duration_seconds_count{method="GET",status="none"} 1.0' in text


def test_the_checked_in_page_is_the_generated_one() -> None:
    """``make manifests`` updates it."""
    assert PAGE.read_text(encoding="utf-8") == reference_text()


def test_every_metric_is_documented() -> None:
    """The page has the name and type of every metric except those of every Prometheus client."""
    families = [f for f in Metrics().registry.collect() if not f.name.startswith("process_")]
    page = PAGE.read_text(encoding="utf-8")
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"| `{name}` | {family.type} |" in page
    assert len(families) == page.partition("\n## ")[0].count("| `carillon_")


async def test_every_label_is_documented(rest: Facade) -> None:
    """The page's labels are those of a scrape."""
    await rest.history.record(ROWS)
    rest.app.state.metrics.call_ended("GET", 200, 0.01)
    await rest.client.get(TASKS)
    described = {d.name: set(d.labels) for d in (*told.OWN_METRICS, *told.HISTORY_METRICS)}
    response = await rest.client.get("/metrics")
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            if family.name in described:
                assert set(sample.labels) - {"le"} == described[family.name], sample.name


async def test_people_read_the_same_numbers(rest: Facade) -> None:
    """JSON has the same counts, of one namespace or of all."""
    await rest.history.record(ROWS)
    everything = (await rest.client.get("/api/v1/metrics")).json()
    assert (everything["namespace"], everything["running"]) == (None, 1)
    assert everything["hour"]["executions"]["Failed"] == 2
    assert everything["hour"]["since"] == "2026-03-01T11:00:00Z"
    assert everything["day"]["executions"] == {
        "Running": 0,
        "Succeeded": 1,
        "Failed": 3,
        "TimedOut": 0,
        "Cancelled": 0,
        "Skipped": 0,
        "Missed": 0,
    }
    assert everything["day"]["deadLetters"] == 3
    one = (await rest.client.get("/api/v1/metrics?namespace=team-b")).json()
    assert (one["namespace"], one["day"]["executions"]["Failed"], one["day"]["deadLetters"]) == ("team-b", 1, 1)


async def test_numbers_are_for_who_may_list_executions(rest: Facade) -> None:
    """They require permission to list executions in the namespace."""
    bob = rest.let("bob", "t0ken-of-bob", Rule(["list"], ["executions"], "team-a"))
    assert (await rest.client.get("/api/v1/metrics?namespace=team-a", headers=bob)).status_code == 200
    for path in ("/api/v1/metrics", "/api/v1/metrics?namespace=team-b"):
        response = await rest.client.get(path, headers=bob)
        assert response.status_code == 403
        assert fields_of(response) == []


async def test_numbers_need_the_history(rest: Facade) -> None:
    """The response is 503, as for every other read of the history."""
    rest.history.outage = "connection refused"
    assert (await rest.client.get("/api/v1/metrics")).status_code == 503
