"""The next time of each task over REST, and why a task has none."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from carillon_api.views import each_next
from carillon_api.views.timetables import Timetables, timetable_of
from carillon_api.views.upcoming import entries_of
from support.api import EVERY_MINUTE, Facade, facade, fields_of

EACH = "/api/v1/upcoming?each=1"
KIND = {"apiVersion": "carillon.dev/v1alpha1", "kind": "ScheduledTask"}
HOURLY: dict[str, Any] = {"schedule": "0 * * * *", "timeZone": "Europe/Berlin", "task": {"counter": {}}}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def get(rest: Facade, path: str = EACH) -> dict[str, Any]:
    """Return the next times."""
    response = await rest.client.get(path)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def not_ready(rest: Facade, name: str, reason: str, generation: int = 1) -> None:
    """Let the operator say that a task cannot run."""
    ready = {"type": "Ready", "status": "False", "reason": reason, "message": f"said of {name}"}
    rest.tasks.set_status("team-a", name, {"observedGeneration": generation, "conditions": [ready]})


async def test_each_task_has_its_next_time(rest: Facade) -> None:
    """However often others run; count does not apply."""
    await rest.create("b-minutely", EVERY_MINUTE)
    await rest.create("a-hourly", HOURLY)
    body = await get(rest, f"{EACH}&count=1")
    assert body == {
        "items": [
            {
                "time": "2026-03-01T12:01:00Z",
                "localTime": "2026-03-01T12:01:00+00:00",
                "namespace": "team-a",
                "task": "b-minutely",
                "timeZone": "UTC",
            },
            {
                "time": "2026-03-01T13:00:00Z",
                "localTime": "2026-03-01T14:00:00+01:00",
                "namespace": "team-a",
                "task": "a-hourly",
                "timeZone": "Europe/Berlin",
            },
        ],
        "blocked": [],
        "tasks": 2,
    }


async def test_a_task_that_cannot_run_says_why(rest: Facade) -> None:
    """From its spec if that says so, otherwise from the operator's condition, unless the spec has changed since."""
    await rest.create("ended", {**HOURLY, "maxRuns": 1})
    rest.tasks.set_status("team-a", "ended", {"runs": 1})
    stored = (await rest.tasks.get("team-a", "ended"))["spec"]  # only the API refuses what its schema allows
    invalid = {"metadata": {"name": "invalid"}, "spec": {**stored, "schedule": "99 * * * *"}}
    await rest.tasks.create("team-a", {**KIND, **invalid})
    for name, reason in (("lost", "TargetNotFound"), ("open", "CircuitOpen")):
        await rest.create(name, HOURLY)
        not_ready(rest, name, reason)
    await rest.create("mended", HOURLY)
    not_ready(rest, "mended", "InvalidSpec", generation=0)
    await rest.create("suspended", {**HOURLY, "suspend": True})
    body = await get(rest)
    assert [item["task"] for item in body["items"]] == ["mended"]
    assert [(item["task"], item["reason"], item["time"]) for item in body["blocked"]] == [
        ("ended", "Completed", None),
        ("invalid", "InvalidSchedule", None),
        ("lost", "TargetNotFound", "2026-03-01T13:00:00Z"),
        ("open", "CircuitOpen", "2026-03-01T13:00:00Z"),
        ("suspended", "Suspended", None),
    ]
    assert body["blocked"][2]["message"] == "said of lost"
    assert "spec.schedule" in body["blocked"][1]["message"]


async def test_a_window_without_a_time_says_when_the_next_is(rest: Facade) -> None:
    """As in the list of one task."""
    await rest.create("a-hourly", HOURLY)
    body = await get(rest, f"{EACH}&to=2026-03-01T12:30:00Z")
    assert body["items"] == []
    assert [(item["reason"], item["message"], item["time"]) for item in body["blocked"]] == [
        ("OutsideWindow", "the next time is 2026-03-01T13:00:00Z", None)
    ]


async def test_the_number_of_tasks_is_bounded_and_told(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones by namespace and name are in the response."""
    monkeypatch.setattr(each_next, "MOST_TASKS", 2)
    for name in "cab":
        await rest.create(name, HOURLY)
    body = await get(rest, "/api/v1/namespaces/team-a/upcoming?each=true")
    assert ([item["task"] for item in body["items"]], body["tasks"]) == (["a", "b"], 3)


async def test_without_each_nothing_is_said_of_other_tasks(rest: Facade) -> None:
    """As before."""
    await rest.create("suspended", {**HOURLY, "suspend": True})
    assert await get(rest, "/api/v1/upcoming") == {"items": [], "blocked": [], "tasks": None}


async def test_a_value_that_is_neither_yes_nor_no_is_refused(rest: Facade) -> None:
    """422."""
    response = await rest.client.get("/api/v1/upcoming?each=often")
    assert (response.status_code, fields_of(response)) == (422, ["each"])


LONG = "x" * 32_000


@pytest.mark.parametrize(
    ("condition", "want_reason"),
    {
        "it cannot run at present": ({"status": "False", "reason": "CircuitOpen"}, "CircuitOpen"),
        "its spec is invalid": ({"status": "False", "reason": "InvalidSpec", "observedGeneration": 1}, "InvalidSpec"),
    }.values(),
)
def test_a_blocked_tasks_message_is_cut(condition: dict[str, Any], want_reason: str) -> None:
    """Listings bound the number of their entries, not their size."""
    ready = {"type": "Ready", "message": LONG, **condition}
    status = {"observedGeneration": 1, "conditions": [ready]}
    meta = {"name": "a", "namespace": "b", "uid": "c", "generation": 1, "creationTimestamp": "2026-03-01T12:00:00Z"}
    (entry,) = entries_of([{"metadata": meta, "spec": HOURLY, "status": status}], Timetables())
    assert entry.why == (want_reason, "x" * 1_023 + "…")


def test_a_blocked_tasks_reason_is_cut() -> None:
    """A status can have a longer one."""
    ready = {"type": "Ready", "status": "False", "reason": LONG, "message": "m"}
    meta = {"name": "a", "namespace": "b", "uid": "c", "generation": 1, "creationTimestamp": "2026-03-01T12:00:00Z"}
    status = {"observedGeneration": 1, "conditions": [ready]}
    (entry,) = entries_of([{"metadata": meta, "spec": HOURLY, "status": status}], Timetables())
    assert entry.why == ("x" * 1_023 + "…", "m")


def test_the_problems_of_an_invalid_spec_are_cut() -> None:
    """They may repeat what the spec says, field by field."""
    bad = {**HOURLY, **{f"unknown{number}{'y' * 100}": 1 for number in range(200)}, "schedule": 7, "task": {LONG: 1}}
    meta = {"name": "a", "namespace": "b", "uid": "c", "generation": 1, "creationTimestamp": "2026-03-01T12:00:00Z"}
    (entry,) = entries_of([{"metadata": meta, "spec": bad}], Timetables())
    assert entry.why is not None
    assert len(entry.why[1]) <= 1_024
    quarantined = timetable_of({"metadata": meta, "spec": {**HOURLY, "schedule": "0 * * * " + "*," * 9_000 + "*"}})
    assert quarantined.why_never is not None
    assert len(quarantined.why_never[1]) <= 1_024
