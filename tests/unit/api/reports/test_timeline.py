"""A timeline of past executions and planned slots: marks, buckets, bounds, permissions and bad input."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from carillon_api.views.reports import timeline as views
from carillon_api.views.reports.timeline import MOST_BUCKETS, bucket_seconds, planned_counts, planned_window
from carillon_api.views.upcoming import Entry
from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import ExecutionStatus
from carillon_core.domain.scope import Scope
from carillon_core.domain.timetable.schedule import cron_schedule
from support.api import EVERY_MINUTE, NOW, Facade, facade, fields_of
from support.executions import NAMESPACED, SUCCEEDED, row

TIMELINE = "/api/v1/namespaces/team-a/timeline"
ALL = "/api/v1/timeline"
HOURLY: dict[str, Any] = {"schedule": "0 * * * *", "task": {"counter": {}}}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def get(rest: Facade, path: str = TIMELINE, **params: str) -> dict[str, Any]:
    """Return a timeline."""
    response = await rest.client.get(path, params=params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def shown(body: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the marks in brief: the time of day, the kind and the task."""
    return [(mark["slot"][11:16], mark["kind"], mark["task"]) for mark in body["marks"]]


async def test_what_was_and_what_will_be_are_on_one_axis(rest: Facade) -> None:
    """From 12 hours ago to 6 hours ahead by default, earliest first."""
    await rest.create(spec=HOURLY)
    await rest.history.record([row(-60, status=SUCCEEDED), row(-120), row(-60 * 13)])
    body = await get(rest)
    assert (body["from"], body["to"]) == ("2026-03-01T00:00:00Z", "2026-03-01T18:00:00Z")
    assert (body["now"], body["bucketSeconds"], body["buckets"]) == ("2026-03-01T12:00:00Z", None, None)
    assert (body["complete"], body["plannedUntil"]) == (True, None)
    past = [("10:00", "past", "nightly"), ("11:00", "past", "nightly")]
    assert shown(body) == [*past, *((f"{hour}:00", "planned", "nightly") for hour in range(13, 18))]
    assert body["marks"][0] == {
        "namespace": "team-a",
        "task": "nightly",
        "slot": "2026-03-01T10:00:00Z",
        "firstSlot": None,
        "kind": "past",
        "status": "Failed",
        "reason": None,
        "executionId": str(row(-120).id),
        "startedAt": "2026-03-01T10:00:00Z",
        "finishedAt": "2026-03-01T10:00:02Z",
    }
    nothing = dict.fromkeys(("firstSlot", "status", "reason", "executionId", "startedAt", "finishedAt"))
    assert body["marks"][-1] == {
        "namespace": "team-a",
        "task": "nightly",
        "slot": "2026-03-01T17:00:00Z",
        "kind": "planned",
        **nothing,
    }


async def test_a_slot_that_a_faster_clock_has_launched_is_shown_once(rest: Facade) -> None:
    """As the execution that it is."""
    await rest.create(spec=EVERY_MINUTE)
    await rest.history.record([row(1, status=ExecutionStatus.RUNNING)])
    body = await get(rest, to="2026-03-01T12:03:00Z")
    assert shown(body) == [("12:01", "past", "nightly"), ("12:02", "planned", "nightly")]


async def test_a_task_that_cannot_run_at_present_says_why(rest: Facade) -> None:
    """A suspended one has no planned slots; of an open circuit it is not known when it closes."""
    await rest.create(spec={**HOURLY, "suspend": True})
    await rest.create("broken", HOURLY)
    stored = await rest.tasks.get("team-a", "broken")
    ready = {"type": "Ready", "status": "False", "reason": "CircuitOpen", "message": "5 failures in a row"}
    status = {"observedGeneration": stored["metadata"]["generation"], "conditions": [ready]}
    rest.tasks.set_status("team-a", "broken", status)
    body = await get(rest, to="2026-03-01T13:30:00Z")
    assert [(mark["task"], mark["kind"], mark["reason"]) for mark in body["marks"]] == [
        ("broken", "planned", "CircuitOpen")
    ]


async def test_a_timeline_is_of_a_task_a_namespace_or_all(rest: Facade) -> None:
    """By path and by query."""
    await rest.create(spec=HOURLY)
    await rest.create("other", HOURLY)
    await rest.client.post("/api/v1/namespaces/team-b/tasks", json={"name": "far", "spec": HOURLY})
    await rest.history.record([row(-1), row(-2, namespace="team-b", task="far", task_uid=str(UUID(int=8)))])
    to = "2026-03-01T13:30:00Z"

    async def tasks(path: str, **params: str) -> list[str]:
        return [mark["task"] for mark in (await get(rest, path, to=to, **params))["marks"]]

    assert await tasks(TIMELINE) == ["nightly", "nightly", "other"]
    assert await tasks(TIMELINE, task="nightly") == ["nightly", "nightly"]
    assert await tasks(ALL) == ["far", "nightly", "nightly", "other", "far"]
    assert await tasks(ALL, namespace="team-b") == ["far", "far"]


async def test_all_namespaces_are_those_that_are_served() -> None:
    """Other releases may share the database and the cluster."""
    async with facade(scope=Scope(("team-b", "team-c")), default_namespace="team-b") as rest:
        served = row(-1, namespace="team-b", task="far", task_uid=str(UUID(int=8)))
        await rest.history.record([row(-2), served])
        body = await get(rest, ALL)
        assert [mark["executionId"] for mark in body["marks"]] == [str(served.id)]
        response = await rest.client.get(TIMELINE)
        assert (response.status_code, response.json()["type"]) == (403, "urn:carillon:problem:namespace-not-served")


async def test_more_slots_than_can_be_drawn_are_counted_in_buckets(
    rest: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By status; the planned ones apart."""
    await rest.create(spec=EVERY_MINUTE)
    await rest.history.record([row(-n, status=SUCCEEDED if n % 2 else ExecutionStatus.FAILED) for n in range(1, 60)])
    # 59 executions, and 2,000 planned slots
    body = await get(rest, **{"from": "2026-03-01T11:00:00Z", "to": "2026-03-02T21:20:01Z"})
    assert (body["marks"], body["bucketSeconds"]) == (None, 900)
    first, *_, last = body["buckets"]
    assert first == {"start": "2026-03-01T11:00:00Z", "executions": {"Failed": 7, "Succeeded": 7}, "planned": 0}
    assert last == {"start": "2026-03-02T21:15:00Z", "executions": {}, "planned": 6}
    assert sum(bucket["planned"] for bucket in body["buckets"]) == 2_000
    assert sum(sum(bucket["executions"].values()) for bucket in body["buckets"]) == 59
    assert (body["complete"], body["plannedUntil"]) == (True, None)
    # one slot less, and all are marks
    body = await get(rest, **{"from": "2026-03-01T12:00:00Z", "to": "2026-03-02T21:20:01Z"})
    assert len(body["marks"]) == 2_000
    monkeypatch.setattr(views, "MOST_SLOTS", 100)
    body = await get(rest, **{"from": "2026-03-01T11:00:00Z", "to": "2026-03-02T21:20:01Z"})
    assert sum(bucket["planned"] for bucket in body["buckets"]) == 100
    assert body["plannedUntil"] == "2026-03-01T13:41:00Z"


@pytest.mark.parametrize(
    ("length", "want"),
    [
        (timedelta(seconds=1), 1),
        (timedelta(seconds=200), 1),
        (timedelta(seconds=201), 5),
        (timedelta(hours=1), 60),
        (timedelta(days=31), 21600),
    ],
)
def test_a_range_has_a_limited_number_of_buckets(length: timedelta, want: int) -> None:
    """Of a length that people use."""
    assert bucket_seconds(length) == want
    assert length / timedelta(seconds=want) <= MOST_BUCKETS


def test_all_tasks_together_have_one_budget() -> None:
    """The slots that are counted are the soonest ones of all, so that the counts up to an instant are whole."""
    window = replace(planned_window(NOW, NOW + timedelta(days=31), NOW), count=5)
    minutely, every_two = cron_schedule("* * * * *"), cron_schedule("*/2 * * * *")
    entries = [Entry("a", f"t{n}", "UTC", minutely, None) for n in range(1_000)]
    counts = planned_counts([*entries, Entry("a", "t", "UTC", every_two, None)], window, NOW, 60)
    assert counts.by_bucket == {1: 1_000, 2: 1_001, 3: 1_000, 4: 1_000}
    assert counts.until == NOW + timedelta(minutes=4)


async def test_rbac_decides(rest: Facade) -> None:
    """Executions must be readable, and tasks if the range reaches into the future."""
    history = rest.let("carol", "t0ken-of-carol", *NAMESPACED)
    tasks = rest.let("dave", "t0ken-of-dave", Rule(["list"], ["scheduledtasks"], "team-a"))
    both = rest.let("erin", "t0ken-of-erin", *NAMESPACED, Rule(["list"], ["scheduledtasks"], "team-a"))
    past = f"{TIMELINE}?to=2026-03-01T12:00:00Z"

    async def statuses(*paths: str, headers: Any) -> list[int]:
        return [(await rest.client.get(path, headers=headers)).status_code for path in paths]

    paths = (past, TIMELINE, ALL, f"{ALL}?namespace=team-a", "/api/v1/namespaces/team-b/timeline")
    assert await statuses(*paths, headers=history) == [200, 403, 403, 403, 403]
    assert await statuses(*paths, headers=tasks) == [403, 403, 403, 403, 403]
    assert await statuses(*paths, headers=both) == [200, 200, 403, 200, 403]


@pytest.mark.parametrize(
    ("params", "want_field"),
    {
        "too long a range": ({"from": "2026-03-01T12:00:00Z", "to": "2026-04-01T12:00:01Z"}, "from"),
        "too long up to the default end": ({"from": "2026-01-01T12:00:00Z"}, "from"),
        "an empty range": ({"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:00Z"}, "to"),
        "a range in another century": ({"from": "2126-03-01T12:00:00Z"}, "from"),
        "a date": ({"to": "2026-03-02"}, "to"),
        "a name that no task has": ({"task": "Nightly"}, "task"),
        "a namespace twice": ({"namespace": "team-a"}, "namespace"),
    }.values(),
)
async def test_bad_input_is_refused_with_its_parameter(rest: Facade, params: dict[str, str], want_field: str) -> None:
    """422."""
    response = await rest.client.get(TIMELINE, params=params)
    assert (response.status_code, fields_of(response)) == (422, [want_field])
