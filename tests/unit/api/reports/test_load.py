"""The expected load over REST: counts by minute, durations, the busiest minutes, bounds and bad input."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from carillon_api.views.reports.load import counts_of, launches_of
from carillon_api.views.reports.timeline import planned_window
from carillon_api.views.upcoming import Entry
from carillon_core.adapters.memory.caller import Rule
from carillon_core.domain.timetable.schedule import cron_schedule, jitter_offset
from support.api import EVERY_MINUTE, NOW, Facade, facade, fields_of
from support.executions import NAMESPACED, RUNNING, SUCCEEDED, row

LOAD = "/api/v1/namespaces/team-a/load"
ALL = "/api/v1/load"
SOON = "2026-03-01T12:06:00Z"
EVERY_TWO: dict[str, Any] = {"schedule": "*/2 * * * *", "task": {"counter": {}}}
EVERY_20_SECONDS: dict[str, Any] = {"intervalSeconds": 20, "task": {"counter": {}}}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def get(rest: Facade, path: str = LOAD, headers: Any = None, **params: str) -> dict[str, Any]:
    """Return the load."""
    response = await rest.client.get(path, params=params, headers=headers)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def test_launches_are_counted_by_minute(rest: Facade) -> None:
    """What is due now is not to come any more."""
    await rest.create("each", EVERY_MINUTE)
    await rest.create("second", EVERY_TWO)
    await rest.create("paused", {**EVERY_TWO, "suspend": True})
    body = await get(rest, to=SOON)
    assert (body["from"], body["to"], body["bucketSeconds"]) == ("2026-03-01T12:00:00Z", SOON, 60)
    assert body["counts"] == [0, 1, 2, 1, 2, 1]
    assert (body["total"], body["tasks"], body["countedUntil"]) == (7, 2, None)
    assert len((await get(rest))["counts"]) == 24 * 60


async def test_launches_are_weighted_by_the_mean_duration_of_their_task(rest: Facade) -> None:
    """A task that has not run counts as nothing, and the response says how many have."""
    await rest.create("each", EVERY_MINUTE)
    await rest.create("second", EVERY_TWO)
    await rest.create("new", EVERY_TWO)
    of_second = {"task": "second", "task_uid": str(UUID(int=8))}
    await rest.history.record(
        [
            row(-1, task="each", status=RUNNING),
            row(-2, task="each", status=SUCCEEDED),
            row(-3, task="each", finished_at=NOW - timedelta(minutes=3) + timedelta(seconds=5)),
            row(-4, status=SUCCEEDED, **of_second),
            row(-60 * 24 * 8, status=SUCCEEDED, finished_at=NOW, **of_second),
        ]
    )
    body = await get(rest, to="2026-03-01T12:03:00Z")
    assert body["counts"] == [0, 1, 3]
    assert body["seconds"] == [0.0, 3.5, 5.5]
    assert (body["secondsMissing"], body["tasks"], body["measuredTasks"]) == (None, 3, 2)
    busiest, other = body["busiest"]
    assert busiest == {
        "start": "2026-03-01T12:02:00Z",
        "count": 3,
        "seconds": 5.5,
        "tasks": [
            {"namespace": "team-a", "task": "each", "count": 1, "seconds": 3.5},
            {"namespace": "team-a", "task": "new", "count": 1, "seconds": None},
            {"namespace": "team-a", "task": "second", "count": 1, "seconds": 2.0},
        ],
        "taskCount": 3,
    }
    assert (other["start"], other["count"], other["taskCount"]) == ("2026-03-01T12:01:00Z", 1, 1)


async def test_the_busiest_minutes_name_the_tasks_with_the_most_launches(rest: Facade) -> None:
    """At most ten of each."""
    for number in range(11):
        await rest.create(f"t{number:02}", EVERY_TWO)
    await rest.create("often", EVERY_20_SECONDS)
    body = await get(rest)
    assert len(body["busiest"]) == 10
    assert {minute["count"] for minute in body["busiest"]} == {14}
    first = body["busiest"][0]
    assert (first["start"], first["taskCount"]) == ("2026-03-01T12:02:00Z", 12)
    assert [(share["task"], share["count"]) for share in first["tasks"]] == [
        ("often", 3),
        *((f"t{number:02}", 1) for number in range(9)),
    ]


async def test_jitter_moves_a_launch(rest: Facade) -> None:
    """By the same delay as in the operator."""
    uid = (await rest.create("late", {**EVERY_TWO, "jitterSeconds": 600})).json()["uid"]
    moved = jitter_offset(uid, 600) // timedelta(minutes=1)
    counts = (await get(rest, to="2026-03-01T12:30:00Z"))["counts"]
    assert [minute for minute, count in enumerate(counts) if count] == list(range(2 + moved, 30, 2))


async def test_without_the_history_the_schedules_are_still_known(rest: Facade) -> None:
    """The response says why there are no durations."""
    await rest.create("each", EVERY_MINUTE)
    rest.history.outage = "connection refused"
    body = await get(rest, to=SOON)
    assert (body["total"], body["seconds"], body["secondsMissing"]) == (5, None, "Unavailable")
    assert (body["busiest"][0]["seconds"], body["measuredTasks"]) == (None, 0)


async def test_rbac_decides(rest: Facade) -> None:
    """The tasks must be readable; without the executions there are no durations."""
    await rest.create("each", EVERY_MINUTE)
    listed = Rule(["list"], ["scheduledtasks"], "team-a")
    tasks = rest.let("dave", "t0ken-of-dave", listed)
    both = rest.let("erin", "t0ken-of-erin", listed, *NAMESPACED)
    neither = rest.let("carol", "t0ken-of-carol", *NAMESPACED)
    assert (await get(rest, headers=tasks))["secondsMissing"] == "Forbidden"
    assert (await get(rest, ALL, headers=both, namespace="team-a"))["secondsMissing"] is None
    assert (await rest.client.get(LOAD, headers=neither)).status_code == 403
    assert (await rest.client.get(ALL, headers=both)).status_code == 403


def test_the_work_is_bounded() -> None:
    """The soonest launches of all tasks are counted, and those with the same slots at once."""
    window = replace(planned_window(NOW, NOW + timedelta(hours=1), NOW), count=3)
    entries = [Entry("a", f"t{n}", "UTC", cron_schedule("* * * * *"), None) for n in range(1_000)]
    launches = launches_of(entries, window, NOW, 60)
    assert counts_of(launches, 5) == [0, 1_000, 1_000, 1_000, 0]
    assert launches.until == NOW + timedelta(minutes=4)


@pytest.mark.parametrize(
    ("params", "want_field"),
    {
        "too long a range": ({"to": "2026-03-08T12:00:01Z"}, "to"),
        "too long from a time on": ({"from": "2026-03-02T12:00:00Z", "to": "2026-03-09T12:00:01Z"}, "from"),
        "a past end": ({"to": "2026-03-01T11:00:00Z"}, "to"),
        "an end before its start": ({"from": "2026-03-03T12:00:00Z", "to": "2026-03-02T12:00:00Z"}, "to"),
        "a start in another century": ({"from": "2126-03-01T12:00:00Z"}, "from"),
        "no time": ({"from": "now"}, "from"),
    }.values(),
)
async def test_bad_input_is_refused_with_its_parameter(rest: Facade, params: dict[str, str], want_field: str) -> None:
    """422."""
    response = await rest.client.get(LOAD, params=params)
    assert (response.status_code, fields_of(response)) == (422, [want_field])
