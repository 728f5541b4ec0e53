"""Upcoming times: windows, filters and work limits; and previews of specs."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carillon_api.views.listings import MAX_LISTINGS, ListingKey, Listings
from carillon_api.views.timetables import Timetables
from carillon_api.views.upcoming import MAX_STEPS, Entry, Window, slots_of, upcoming, upcoming_of_all
from carillon_core.adapters.memory.caller import Rule
from carillon_core.domain.access.subjects import Subject
from carillon_core.domain.timetable.schedule import Schedule
from carillon_core.errors import UnavailableError
from support.api import EVERY_MINUTE, NOW, TASKS, Facade, facade, fields_of
from support.waiting import eventually

HOURLY: dict[str, Any] = {"schedule": "0 * * * *", "task": {"counter": {}}}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


WINDOWS: dict[str, tuple[dict[str, Any], dict[str, str], list[int]]] = {
    "from a time on": ({}, {"from": "2026-03-01T15:30:00Z", "count": "2"}, [16, 17]),
    "a time that is a slot is in": ({}, {"from": "2026-03-01T15:00:00Z", "count": "1"}, [15]),
    "the end is out": ({}, {"from": "2026-03-01T15:00:00Z", "to": "2026-03-01T17:00:00Z"}, [15, 16]),
    "up to a time": ({}, {"to": "2026-03-01T14:30:00Z"}, [13, 14]),
    "the beginning in another zone": ({}, {"from": "2026-03-01T18:00:00+02:00", "count": "1"}, [16]),
    "a beginning that is past is now": ({}, {"from": "2026-02-01T00:00:00Z", "count": "2"}, [13, 14]),
    "nothing in it": ({}, {"from": "2026-03-01T13:01:00Z", "to": "2026-03-01T13:59:00Z"}, []),
    "runs before it count": ({"maxRuns": 3}, {"from": "2026-03-01T14:30:00Z"}, [15]),
    "runs before it use all up": ({"maxRuns": 3}, {"from": "2026-03-01T16:00:00Z"}, []),
    "bounds of the task itself": (
        {"startAt": "2026-03-01T14:00:00Z", "endAt": "2026-03-01T16:00:00Z"},
        {"from": "2026-03-01T13:00:00Z"},
        [14, 15, 16],
    ),
}


@pytest.mark.parametrize("case", WINDOWS)
async def test_a_window_has_the_times_from_its_beginning_to_before_its_end(rest: Facade, case: str) -> None:
    """The result is the same for one task, its namespace, and all namespaces."""
    more, params, want_hours = WINDOWS[case]
    await rest.create(spec={**HOURLY, **more})
    for path in (f"{TASKS}/nightly/upcoming", "/api/v1/namespaces/team-a/upcoming", "/api/v1/upcoming"):
        response = await rest.client.get(path, params=params)
        assert response.status_code == 200, response.text
        assert [datetime.fromisoformat(i["time"]).hour for i in response.json()["items"]] == want_hours, path


async def test_a_window_without_times_says_when_the_next_is(rest: Facade) -> None:
    """A task with slots outside the window is not completed."""
    await rest.create(spec=HOURLY)
    body = (await rest.client.get(f"{TASKS}/nightly/upcoming?to=2026-03-01T12:30:00Z")).json()
    assert (body["items"], body["reason"]) == ([], "OutsideWindow")
    assert "2026-03-01T13:00:00Z" in body["message"]
    await rest.create("once", {"runAt": "2026-03-01T12:10:00Z", "task": {"counter": {}}})
    body = (await rest.client.get(f"{TASKS}/once/upcoming?from=2026-03-01T12:30:00Z")).json()
    assert (body["items"], body["reason"]) == ([], "Completed")


BAD_WINDOWS: dict[str, tuple[dict[str, str], list[str]]] = {
    "an end before its beginning": ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T13:00:00Z"}, ["to"]),
    "an end at its beginning": ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-02T00:00:00Z"}, ["to"]),
    "an end that is past": ({"to": "2026-03-01T12:00:00Z"}, ["to"]),
    "an end in another century": ({"to": "2126-03-01T12:00:00Z"}, ["to"]),
    "a beginning in another century": ({"from": "9999-12-31T23:59:59Z"}, ["from"]),
    "a beginning out of the calendar": ({"from": "9999-12-31T23:59:59-14:00"}, ["from"]),
    "no zone": ({"from": "2026-03-02T00:00:00"}, ["from"]),
    "a date": ({"from": "2026-03-02"}, ["from"]),
    "a number": ({"from": "1800000000"}, ["from"]),
    "a plus that became a blank": ({"from": "2026-03-02T00:00:00 01:00"}, ["from"]),
    "a day that is none": ({"to": "2026-02-30T00:00:00Z"}, ["to"]),
    "a parameter of another name": ({"from_": "2026-03-02T00:00:00Z"}, ["from_"]),
    "a selector that is none": ({"labelSelector": "a b"}, ["labelSelector"]),
}


@pytest.mark.parametrize("case", BAD_WINDOWS)
async def test_a_bad_window_is_refused_with_its_parameter(rest: Facade, case: str) -> None:
    """422."""
    params, want_fields = BAD_WINDOWS[case]
    response = await rest.client.get("/api/v1/upcoming", params=params)
    assert response.status_code == 422, response.text
    assert fields_of(response) == want_fields


async def test_what_is_to_come_is_selected_by_namespace_and_label(rest: Facade) -> None:
    """The namespace is given by path or query."""
    await rest.create("gold", HOURLY, labels={"tier": "gold"})
    await rest.create("plain", HOURLY)
    other = {"name": "other", "labels": {"tier": "gold"}, "spec": HOURLY}
    await rest.client.post("/api/v1/namespaces/team-b/tasks", json=other)

    async def tasks(path: str) -> set[str]:
        return {item["task"] for item in (await rest.client.get(path)).json()["items"]}

    assert await tasks("/api/v1/upcoming") == {"gold", "plain", "other"}
    assert await tasks("/api/v1/upcoming?labelSelector=tier%3Dgold") == {"gold", "other"}
    assert await tasks("/api/v1/upcoming?namespace=team-a&labelSelector=tier%3Dgold") == {"gold"}
    assert await tasks("/api/v1/namespaces/team-b/upcoming") == {"other"}


async def test_who_may_list_one_namespace_names_it(rest: Facade) -> None:
    """RBAC decides."""
    headers = rest.let("carol", "t0ken-of-carol", Rule(["list"], ["scheduledtasks"], "team-a"))
    assert (await rest.client.get("/api/v1/upcoming", headers=headers)).status_code == 403
    assert (await rest.client.get("/api/v1/namespaces/team-b/upcoming", headers=headers)).status_code == 403
    assert (await rest.client.get("/api/v1/upcoming?namespace=team-a", headers=headers)).status_code == 200


async def test_an_edit_is_seen_at_once(rest: Facade) -> None:
    """A cached timetable is not used for a changed spec, or for another task with the same name."""
    await rest.create(spec=HOURLY)
    path = f"{TASKS}/nightly/upcoming?count=1"

    async def first() -> str:
        return str((await rest.client.get(path)).json()["items"][0]["time"])

    assert await first() == "2026-03-01T13:00:00Z"
    await rest.client.patch(f"{TASKS}/nightly", json={"spec": {"schedule": "15 * * * *"}})
    assert await first() == "2026-03-01T12:15:00Z"
    await rest.client.delete(f"{TASKS}/nightly")
    await rest.create(spec=EVERY_MINUTE)
    assert await first() == "2026-03-01T12:01:00Z"


async def test_a_list_is_made_once_for_who_asks_often_and_again_in_time(rest: Facade) -> None:
    """The author sees a change at once, others after two seconds at most."""
    await rest.create("first", HOURLY)
    calls = 0
    listed = rest.tasks.list

    async def counting(namespace: str | None, label_selector: str = "") -> Any:
        nonlocal calls
        calls += 1
        return await listed(namespace, label_selector)

    rest.tasks.list = counting  # type: ignore[method-assign]  # how often it is asked is the point
    bob = rest.let("bob", "t0ken-of-bob", Rule("*", "*"))

    async def tasks(headers: Any = None) -> set[str]:
        items = (await rest.client.get("/api/v1/upcoming?count=100", headers=headers)).json()["items"]
        return {item["task"] for item in items}

    assert [await tasks() for _ in range(5)] == [{"first"}] * 5
    assert await tasks(bob) == {"first"}
    assert calls == 2, "once for each caller"
    await rest.create("second", HOURLY)
    assert await tasks() == {"first", "second"}, "its author sees it at once"
    assert await tasks(bob) == {"first"}
    rest.clock.now += timedelta(seconds=1.5)
    assert await tasks(bob) == {"first"}, "used once more, while the next one is fetched"

    async def is_fetched() -> bool:
        return await tasks(bob) == {"first", "second"}

    await eventually(is_fetched)
    assert calls == 4
    rest.clock.now += timedelta(seconds=2)
    await rest.tasks.delete("team-a", "first")
    assert await tasks(bob) == {"second"}, "too old to be used"


async def test_who_may_not_list_any_more_is_refused_two_seconds_later(rest: Facade) -> None:
    """The permission is checked again, and a 403 is not cached."""
    bob = rest.let("bob", "t0ken-of-bob", Rule("*", "*"))
    assert (await rest.client.get("/api/v1/upcoming", headers=bob)).status_code == 200
    rest.server.rules["bob"] = []
    rest.clock.now += timedelta(seconds=2)
    assert (await rest.client.get("/api/v1/upcoming", headers=bob)).status_code == 403
    rest.server.rules["bob"] = [Rule("*", "*")]
    assert (await rest.client.get("/api/v1/upcoming", headers=bob)).status_code == 200


async def test_lists_are_bounded_and_a_failure_in_the_background_is_told_to_the_next_one() -> None:
    """The least recently used list is dropped first."""
    fetched: list[str] = []
    counted = Counted()

    async def two(listings: Listings, name: str, now: datetime, error: Exception | None = None) -> int:
        async def fetch() -> list[Entry]:
            fetched.append(name)
            if error is not None:
                raise error
            return [Entry("a", "t", "UTC", counted, None)] * 2

        return len(await listings.of(ListingKey(Subject(name), None, ""), now, fetch))

    listings = Listings(most=4)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert await two(listings, name, NOW) == 2
    assert fetched == ["a", "b", "c", "b"]
    later = NOW + timedelta(seconds=1.5)
    gone = UnavailableError("API server", "gone")
    assert await two(listings, "b", later, gone) == 2, "the old one is used, the failure is nobody's yet"
    await eventually(lambda: fetched[-2:] == ["b", "b"])
    with pytest.raises(UnavailableError):
        await two(listings, "b", later, gone)
    assert await two(listings, "b", later) == 2


async def test_lists_without_tasks_are_bounded_too(rest: Facade) -> None:
    """Many selectors, or lists that fail, cannot fill the memory."""
    nobody = rest.let("nobody", "t0ken-of-nobody")
    listings = rest.app.state.backends.listings
    for n in range(MAX_LISTINGS):
        listings_of = ListingKey(Subject("x"), None, f"n={n}")
        assert await listings.of(listings_of, NOW, no_entries) == []
    for n in range(3):
        await rest.client.get(f"/api/v1/upcoming?labelSelector=x={n}", headers=nobody)
        await rest.client.get(f"/api/v1/upcoming?labelSelector=x={n}")
    assert len(listings) == MAX_LISTINGS


async def no_entries() -> list[Entry]:
    """Return no entries."""
    return []


def task(number: int, **spec: Any) -> dict[str, Any]:
    """Return a stored task that runs every second, unless ``spec`` says otherwise."""
    meta = {"name": f"t{number}", "namespace": "a", "uid": f"uid-{number}", "generation": 1}
    created = {"creationTimestamp": "2026-03-01T12:00:00Z"}
    return {"metadata": {**meta, **created}, "spec": {"intervalSeconds": 1, "task": {"counter": {}}, **spec}}


class Counted:
    """A schedule of every second that counts its calls."""

    def __init__(self) -> None:
        self.asked = 0

    def next_fire_time(self, after: datetime) -> datetime | None:
        self.asked += 1
        return after.replace(microsecond=0) + timedelta(seconds=1)

    def previous_fire_time(self, until: datetime) -> datetime | None:
        return until


def test_slots_before_a_window_are_counted_up_to_a_bound() -> None:
    """A task with a maxRuns of a billion is not computed second by second over ten years."""
    counted = Counted()
    schedule: Schedule = counted
    later = NOW + timedelta(days=3000)
    window = Window(NOW, later, None, 5)
    assert next(slots_of(schedule, 10**9, window)) == later + timedelta(seconds=1)
    assert counted.asked <= MAX_STEPS + 10
    counted.asked = 0
    assert next(slots_of(schedule, None, window)) == later + timedelta(seconds=1)
    assert counted.asked == 1


def test_of_many_tasks_the_counting_is_bounded_for_all_together() -> None:
    """There is one limit per response, not one per task."""
    counted = Counted()
    entries = [Entry("a", f"t{number}", "UTC", counted, 10**9) for number in range(200)]
    window = Window(NOW, NOW + timedelta(days=3000), None, 100)
    assert len(upcoming_of_all(entries, window).items) == 100
    assert counted.asked <= MAX_STEPS + 2 * len(entries) + 100


def test_timetables_are_bounded_and_read_once() -> None:
    """The least recently used are dropped; a changed status is not a changed spec."""
    timetables = Timetables(most=2)
    first = timetables.of(task(1))
    assert timetables.of({**task(1), "status": {"runs": 3}}) is first
    timetables.of(task(2))
    timetables.of(task(1))
    timetables.of(task(3))
    assert timetables.of(task(1)) is first, "what was used last is kept"
    second = timetables.of(task(2))
    timetables.of(task(3))
    timetables.of(task(1))
    assert timetables.of(task(2)) is not second
    nameless = task(1)
    del nameless["metadata"]["generation"]
    assert timetables.of(nameless) is not timetables.of(nameless), "what has no generation is not remembered"


def test_launches_so_far_use_up_the_runs() -> None:
    """They are counted in the status."""
    raw = {**task(1, maxRuns=5), "status": {"runs": 3}}
    assert len(upcoming(raw, Window(NOW, NOW, None, 10), Timetables()).items) == 2


PREVIEW = "/api/v1/preview"


async def test_a_preview_tells_the_next_times_and_stores_nothing(rest: Facade) -> None:
    """Times are in UTC and local time, with the warnings of kubectl; no permission is required."""
    headers = rest.let("nobody", "t0ken-of-nobody")
    spec = {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin", "task": {"counter": {}}}
    body = {"spec": spec}
    params = {"from": "2026-03-28T12:00:00Z", "count": "2"}
    response = await rest.client.post(PREVIEW, json=body, params=params, headers=headers)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["valid"], answer["problems"], answer["timeZone"]) == (True, [], "Europe/Berlin")
    assert [i["time"] for i in answer["items"]] == ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    assert answer["items"][0]["localTime"] == "2026-03-29T03:00:00+02:00"
    assert answer["warnings"][0].startswith("runs next at 2026-03-02T01:30:00Z")
    assert any("2026-03-29" in warning for warning in answer["warnings"][1:]), "the clock's change"
    named = await rest.client.post("/api/v1/namespaces/team-z/preview", json=body, params=params, headers=headers)
    assert named.json() == answer
    assert await rest.tasks.list(None) == []


BAD_TEMPLATE = {"http": {"url": "http://a/{{"}}
PREVIEWS: dict[str, tuple[Any, list[str], int]] = {
    "no schedule": ({"task": {"counter": {}}}, ["spec"], 0),
    "a cron that cannot be read": ({**HOURLY, "schedule": "61 * * * *"}, ["spec.schedule"], 0),
    "a field that the kind does not have": ({**HOURLY, "cron": "x"}, ["spec.cron"], 0),
    "a number as text": ({"intervalSeconds": "5", "task": {"counter": {}}}, ["spec.intervalSeconds"], 0),
    "a run that is past": ({"runAt": "2026-01-01T00:00:00Z", "task": {"counter": {}}}, ["spec.runAt"], 0),
    "a template that cannot be read": (
        {**HOURLY, "task": {"http": {"url": "http://a/{{"}}},
        ["spec.task.http.url"],
        10,
    ),
    "a suspended task": ({**HOURLY, "suspend": True}, [], 10),
    "a task of two runs": ({**HOURLY, "maxRuns": 2}, [], 2),
}


@pytest.mark.parametrize("case", PREVIEWS)
async def test_a_preview_says_what_a_post_would_be_refused_for(rest: Facade, case: str) -> None:
    """The response has the same fields, without being an error, and times if they can be computed."""
    spec, want_fields, want_times = PREVIEWS[case]
    response = await rest.client.post(PREVIEW, json={"spec": spec})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [p["field"] for p in answer["problems"]] == want_fields
    assert (answer["valid"], len(answer["items"])) == (not want_fields, want_times)
    posted = await rest.client.post(TASKS, json={"name": "a", "spec": spec})
    assert (posted.status_code == 201) is answer["valid"]
    if want_fields:
        assert fields_of(posted) == want_fields
        assert answer["warnings"] == []


BAD_PREVIEWS: dict[str, tuple[Any, dict[str, str], int, list[str]]] = {
    "no spec": ({}, {}, 422, ["spec"]),
    "a spec that is a list": ({"spec": []}, {}, 422, ["spec"]),
    "an unknown field": ({"spec": HOURLY, "name": "a"}, {}, 422, ["name"]),
    "a bad window": ({"spec": HOURLY}, {"count": "0"}, 422, ["count"]),
}


@pytest.mark.parametrize("case", BAD_PREVIEWS)
async def test_a_preview_without_a_spec_is_an_error(rest: Facade, case: str) -> None:
    """A body without a spec is rejected."""
    body, params, want_status, want_fields = BAD_PREVIEWS[case]
    response = await rest.client.post(PREVIEW, json=body, params=params)
    assert (response.status_code, fields_of(response)) == (want_status, want_fields)


async def test_a_preview_needs_a_caller_that_is_known(rest: Facade) -> None:
    """A preview requires authentication, but no permission."""
    response = await rest.client.post(PREVIEW, json={"spec": HOURLY}, headers={"Authorization": ""})
    assert response.status_code == 401


def test_a_window_over_the_end_of_summer_time_has_both_passes() -> None:
    """Windows are instants, so that both passes of the repeated hour are in them."""
    raw = task(1)
    raw["spec"] = {"schedule": "*/30 * * * *", "timeZone": "Europe/Berlin", "task": {"counter": {}}}
    start = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    window = Window(NOW, start - timedelta(microseconds=1), start + timedelta(hours=2), 100)
    local = [item.local_time[11:] for item in upcoming(raw, window, Timetables()).items]
    assert local == ["02:00:00+02:00", "02:30:00+02:00", "02:00:00+01:00", "02:30:00+01:00"]
