"""Upcoming times, and the history."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from carillon_api.views.timetables import Timetables
from carillon_api.views.upcoming import Window, entries_of, upcoming, upcoming_of_all
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord
from support.api import EVERY_MINUTE, NOW, TASKS, Facade, facade, fields_of

COUNTER: dict[str, Any] = {"task": {"counter": {}}}
UID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def times(rest: Facade, path: str) -> list[tuple[str, str]]:
    """Return the upcoming times, each in UTC and in local time."""
    response = await rest.client.get(path)
    assert response.status_code == 200, response.text
    return [(item["time"], item["localTime"]) for item in response.json()["items"]]


UPCOMING: dict[str, tuple[dict[str, Any], datetime, list[tuple[str, str]]]] = {
    "every ten minutes in UTC": (
        {"schedule": "*/10 * * * *"},
        NOW,
        [("2026-03-01T12:10:00Z", "2026-03-01T12:10:00+00:00"), ("2026-03-01T12:20:00Z", "2026-03-01T12:20:00+00:00")],
    ),
    "a time that falls in the gap of summer time comes at its end": (
        {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"},
        datetime(2026, 3, 28, 12, tzinfo=UTC),
        [("2026-03-29T01:00:00Z", "2026-03-29T03:00:00+02:00"), ("2026-03-30T00:30:00Z", "2026-03-30T02:30:00+02:00")],
    ),
    "a repeated time at the end of summer time comes once, the first time": (
        {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"},
        datetime(2026, 10, 24, 12, tzinfo=UTC),
        [("2026-10-25T00:30:00Z", "2026-10-25T02:30:00+02:00"), ("2026-10-26T01:30:00Z", "2026-10-26T02:30:00+01:00")],
    ),
    "both passes of a repeated hour count for what follows the clock": (
        {"schedule": "*/30 * * * *", "timeZone": "Europe/Berlin"},
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        [("2026-10-25T01:00:00Z", "2026-10-25T02:00:00+01:00"), ("2026-10-25T01:30:00Z", "2026-10-25T02:30:00+01:00")],
    ),
    "an interval counts from the creation": (
        {"intervalSeconds": 7},
        NOW + timedelta(seconds=15),
        [("2026-03-01T12:00:21Z", "2026-03-01T12:00:21+00:00"), ("2026-03-01T12:00:28Z", "2026-03-01T12:00:28+00:00")],
    ),
    "a single run": (
        {"runAt": "2026-12-24T18:00:00Z"},
        NOW,
        [("2026-12-24T18:00:00Z", "2026-12-24T18:00:00+00:00")],
    ),
}


@pytest.mark.parametrize("case", UPCOMING)
async def test_the_next_times_of_a_task_in_utc_and_on_its_clock(rest: Facade, case: str) -> None:
    """The slots are those of the operator, and the local time has the offset of its day."""
    schedule, now, want = UPCOMING[case]
    await rest.create(spec={**schedule, **COUNTER})
    rest.clock.now = now
    assert await times(rest, f"{TASKS}/nightly/upcoming?count=2") == want


async def test_ten_times_unless_asked_otherwise(rest: Facade) -> None:
    """The default is ten, the maximum is a hundred."""
    await rest.create()
    assert len(await times(rest, f"{TASKS}/nightly/upcoming")) == 10
    assert len(await times(rest, f"{TASKS}/nightly/upcoming?count=100")) == 100


async def test_a_suspended_task_says_why_it_has_no_times(rest: Facade) -> None:
    """The list is empty, with the reason."""
    await rest.create(spec={**EVERY_MINUTE, "suspend": True})
    body = (await rest.client.get(f"{TASKS}/nightly/upcoming")).json()
    assert body["items"] == []
    assert body["reason"] == "Suspended"
    assert "spec.suspend" in body["message"]


async def test_a_completed_task_says_why_it_has_no_times(rest: Facade) -> None:
    """A single run that has ended leaves no slot."""
    await rest.create(spec={"runAt": "2026-03-01T13:00:00Z", **COUNTER})
    rest.clock.now = NOW + timedelta(days=1)
    body = (await rest.client.get(f"{TASKS}/nightly/upcoming")).json()
    assert (body["items"], body["reason"]) == ([], "Completed")


def raw(name: str, spec: Any, **meta: Any) -> dict[str, Any]:
    """Return an object as the API server may have stored it."""
    created = {"creationTimestamp": "2026-03-01T12:00:00Z", "uid": UID}
    return {"metadata": {"name": name, "namespace": "team-a", **created, **meta}, "spec": spec}


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a spec of older rules": (raw("a", {"schedule": "* * * * *"}), "InvalidSpec"),
    "no spec at all": (raw("a", None), "InvalidSpec"),
    "a cron that cannot be read": (raw("a", {"schedule": "never", **COUNTER}), "InvalidSchedule"),
    "a zone that is none": (raw("a", {"schedule": "@daily", "timeZone": "Mars", **COUNTER}), "InvalidSchedule"),
    "a task that is being deleted": (raw("a", EVERY_MINUTE, deletionTimestamp="2026-03-01T12:00:00Z"), "BeingDeleted"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_task_that_will_not_run_says_why(case: str) -> None:
    """For any stored spec, the response has a reason, and the times of other tasks are still listed."""
    task, want_reason = BROKEN[case]
    answer = upcoming(task, Window(NOW, NOW, None, 5), Timetables())
    assert (answer.items, answer.reason) == ([], want_reason)
    assert answer.message
    every = upcoming_of_all(entries_of([task, raw("b", EVERY_MINUTE)], Timetables()), Window(NOW, NOW, None, 2))
    assert [item.task for item in every.items] == ["b", "b"]


def test_a_task_that_the_operator_has_found_invalid_says_so() -> None:
    """Its schedule is valid, but nothing of this spec is launched; an edit may have corrected it."""
    message = "spec.task.http.url: has the invalid port 0: use a port from 1 to 65535"
    ready = {"type": "Ready", "status": "False", "reason": "InvalidSpec", "message": message, "observedGeneration": 1}
    task = raw("a", EVERY_MINUTE, generation=1) | {"status": {"conditions": [None, ready]}}
    answer = upcoming(task, Window(NOW, NOW, None, 5), Timetables())
    assert (answer.items, answer.reason, answer.message) == ([], "InvalidSpec", message)
    assert upcoming_of_all(entries_of([task], Timetables()), Window(NOW, NOW, None, 2)).items == []
    task["metadata"]["generation"] = 2
    assert len(upcoming(task, Window(NOW, NOW, None, 5), Timetables()).items) == 5


def test_a_run_that_was_past_from_the_start_says_so() -> None:
    """The operator's reason is returned, not Completed."""
    message = "spec.runAt was already past"
    condition = {"type": "Ready", "status": "False", "reason": "RunAtInThePast", "message": message}
    task = raw("a", {"runAt": "2026-01-01T00:00:00Z", **COUNTER})
    task["status"] = {"conditions": [{**condition, "lastTransitionTime": "2026-03-01T12:00:00Z"}]}
    answer = upcoming(task, Window(NOW, NOW, None, 5), Timetables())
    assert (answer.items, answer.reason, answer.message) == ([], "RunAtInThePast", message)


async def test_what_runs_next_of_all_tasks_is_merged_in_time_order(rest: Facade) -> None:
    """Each item names its task; a suspended one has none."""
    await rest.create("slow", {"schedule": "0 14 * * *", "timeZone": "Europe/Berlin", **COUNTER})
    await rest.create("quick", {"schedule": "*/30 * * * *", **COUNTER})
    await rest.create("idle", {**EVERY_MINUTE, "suspend": True})
    items = (await rest.client.get("/api/v1/upcoming?count=4")).json()["items"]
    assert [(i["task"], i["time"]) for i in items] == [
        ("quick", "2026-03-01T12:30:00Z"),
        ("quick", "2026-03-01T13:00:00Z"),
        ("slow", "2026-03-01T13:00:00Z"),
        ("quick", "2026-03-01T13:30:00Z"),
    ]
    assert items[2]["localTime"] == "2026-03-01T14:00:00+01:00"
    assert items[2]["timeZone"] == "Europe/Berlin"
    assert items[2]["namespace"] == "team-a"


def execution(minute: int, **fields: Any) -> ExecutionRecord:
    """Return an execution of ``nightly`` that took a second and a half."""
    slot = NOW + timedelta(minutes=minute)
    given: dict[str, Any] = {
        "id": uuid4(),
        "task_uid": UID,
        "namespace": "team-a",
        "task": "nightly",
        "task_type": "sum",
        "slot": slot,
        "cause": Cause.SCHEDULE,
        "status": ExecutionStatus.SUCCEEDED,
        "created_at": slot,
        "started_at": slot + timedelta(milliseconds=250),
        "finished_at": slot + timedelta(milliseconds=1750),
        "result": {"sum": 3},
    }
    return ExecutionRecord(**{**given, **fields})


async def test_an_execution_is_shown_with_its_duration(rest: Facade) -> None:
    """camelCase, times in UTC, seconds as a number."""
    record = execution(0, job_name="nightly-1", pod_name="nightly-1-x")
    await rest.history.record([record])
    response = await rest.client.get(f"/api/v1/executions/{record.id}")
    assert response.json() == {
        "id": str(record.id),
        "namespace": "team-a",
        "task": "nightly",
        "taskUid": UID,
        "taskType": "sum",
        "slot": "2026-03-01T12:00:00Z",
        "firstSlot": None,
        "cause": "schedule",
        "status": "Succeeded",
        "reason": None,
        "message": None,
        "jobName": "nightly-1",
        "podName": "nightly-1-x",
        "createdAt": "2026-03-01T12:00:00Z",
        "startedAt": "2026-03-01T12:00:00.250000Z",
        "finishedAt": "2026-03-01T12:00:01.750000Z",
        "durationSeconds": 1.5,
        "result": {"sum": 3},
        "error": None,
        "retryOf": None,
        "attempts": [],
        "retriedBy": [],
    }


async def test_an_execution_that_runs_has_no_duration_yet(rest: Facade) -> None:
    """Null, not zero."""
    record = execution(0, status=ExecutionStatus.RUNNING, finished_at=None, result=None)
    await rest.history.record([record])
    assert (await rest.client.get(f"/api/v1/executions/{record.id}")).json()["durationSeconds"] is None


async def test_an_execution_that_does_not_exist_is_not_found(rest: Facade) -> None:
    """404, as a problem."""
    response = await rest.client.get(f"/api/v1/executions/{UUID(int=0)}")
    assert response.status_code == 404
    assert fields_of(response) == []


FILTERS: dict[str, tuple[str, list[int]]] = {
    "everything, newest first": ("/api/v1/executions", [3, 2, 1, 0]),
    "of a namespace": ("/api/v1/executions?namespace=team-b", [2]),
    "of a name": ("/api/v1/executions?task=nightly", [3, 2, 0]),
    "of a status": ("/api/v1/executions?status=Failed", [3]),
    "of a task": (f"{TASKS}/nightly/executions", [3, 0]),
    "of a task and a status": (f"{TASKS}/nightly/executions?status=Succeeded", [0]),
    "of a task that never was": (f"{TASKS}/absent/executions", []),
}


@pytest.mark.parametrize("case", FILTERS)
async def test_executions_are_listed_by_filters(rest: Facade, case: str) -> None:
    """Filters may be combined; the history outlives its tasks."""
    path, want_minutes = FILTERS[case]
    await rest.history.record(
        [
            execution(0),
            execution(1, task="hourly"),
            execution(2, namespace="team-b"),
            execution(3, status=ExecutionStatus.FAILED),
        ]
    )
    items = (await rest.client.get(path)).json()["items"]
    assert [datetime.fromisoformat(i["slot"]).minute for i in items] == want_minutes


async def test_pages_of_executions_join_without_gap_or_repeat(rest: Facade) -> None:
    """What is recorded between two pages does not move them."""
    await rest.history.record([execution(minute) for minute in range(7)])
    seen: list[int] = []
    cursor = None
    sizes = []
    while True:
        params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await rest.client.get(f"{TASKS}/nightly/executions", params=params)).json()
        seen += [datetime.fromisoformat(i["slot"]).minute for i in page["items"]]
        sizes.append(len(page["items"]))
        await rest.history.record([execution(30 + len(sizes))])
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == [6, 5, 4, 3, 2, 1, 0]
    assert sizes == [3, 3, 1]
