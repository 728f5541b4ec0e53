"""Better minutes for a task over REST: which offsets are possible, which is best, permissions and bad input."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from carillon_api.views.reports.spread import offsets_of
from carillon_core.adapters.memory.caller import Rule
from carillon_core.resources.scheduled_task import parse_spec
from support.api import Facade, facade, fields_of
from support.callers import later

SUGGEST = "/api/v1/namespaces/team-a/load/suggest"
ALL = "/api/v1/load/suggest"
COUNTER: dict[str, Any] = {"task": {"counter": {}}}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def suggested(rest: Facade, body: Any, path: str = SUGGEST) -> dict[str, Any]:
    """Return a suggestion."""
    response = await rest.client.post(path, json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


HOUR = timedelta(hours=1)
OFFSETS: dict[str, tuple[dict[str, Any], timedelta, dict[int, str | None]]] = {
    "a minute within its hour": (
        {"schedule": "2 3 * * *"},
        timedelta(minutes=3),
        {0: None, -2: "0 3 * * *", -1: "1 3 * * *", 1: "3 3 * * *", 2: "4 3 * * *", 3: "5 3 * * *"},
    ),
    "a macro": ({"schedule": "@daily"}, timedelta(minutes=1), {0: None, 1: "1 0 * * *"}),
    "six fields": ({"schedule": "30 0 3 * * *"}, timedelta(minutes=1), {0: None, 1: "30 1 3 * * *"}),
    "a step": ({"schedule": "*/3 * * * *"}, HOUR, {0: None, 1: "1-59/3 * * * *", 2: "2-59/3 * * * *"}),
    "a step with its own start": (
        {"schedule": "1-59/3 * * * *"},
        HOUR,
        {0: None, -1: "0-59/3 * * * *", 1: "2-59/3 * * * *"},
    ),
    "a step in one hour, which would follow other rules": ({"schedule": "*/3 2 * * *"}, HOUR, {0: None}),
    "every minute": ({"schedule": "* * * * *"}, HOUR, {0: None}),
    "a list": ({"schedule": "1,2 * * * *"}, HOUR, {0: None}),
    "an interval": ({"intervalSeconds": 180}, HOUR, {0: None, 1: None, 2: None}),
    "an interval within a bound": ({"intervalSeconds": 900}, timedelta(minutes=1), {0: None, 1: None}),
    "a short interval": ({"intervalSeconds": 60}, HOUR, {0: None}),
    "one time": ({"runAt": "2026-04-01T00:00:00Z"}, HOUR, {0: None}),
}


@pytest.mark.parametrize(("spec", "within", "want"), OFFSETS.values(), ids=OFFSETS.keys())
def test_the_offsets_of_a_spec(spec: dict[str, Any], within: timedelta, want: dict[int, str | None]) -> None:
    """If there is none, the reason is said."""
    found = offsets_of(parse_spec({**spec, **COUNTER}, strict=True), within)
    assert found.by_minutes == want
    assert (found.why_none is not None) == (len(want) == 1)


async def test_the_emptiest_minute_is_suggested(rest: Facade) -> None:
    """The nearest one of those with the fewest launches."""
    for number, minutes in enumerate(("0", "0-20", "22-59")):
        await rest.create(f"t{number}", {"schedule": f"{minutes} * * * *", **COUNTER})
    body = {"spec": {"schedule": "0 2 * * *", **COUNTER}}
    assert await suggested(rest, body) == {
        "offsetSeconds": 21 * 60,
        "schedule": "21 2 * * *",
        "startAt": None,
        "current": {"most": 2, "mean": 2.0},
        "suggested": {"most": 0, "mean": 0.0},
        "message": None,
    }
    near = await suggested(rest, {**body, "withinSeconds": 300})
    assert (near["schedule"], near["suggested"]["most"]) == ("1 2 * * *", 1)


async def test_a_task_is_not_in_its_own_way(rest: Facade) -> None:
    """It stays where it is if no minute is better."""
    await rest.create(spec={"schedule": "0 * * * *", **COUNTER})
    body = await suggested(rest, {"task": "nightly"})
    assert (body["offsetSeconds"], body["schedule"], body["current"]) == (0, None, {"most": 0, "mean": 0.0})
    assert await suggested(rest, {"task": "nightly"}, f"{ALL}?namespace=team-a") == body


async def test_an_interval_gets_another_start(rest: Facade) -> None:
    """Later than its next slot by the offset."""
    await rest.create("other", {"schedule": "*/10 * * * *", **COUNTER})
    await rest.create("every", {"intervalSeconds": 600, **COUNTER})
    body = await suggested(rest, {"task": "every"})
    assert (body["offsetSeconds"], body["startAt"], body["schedule"]) == (60, "2026-03-01T12:11:00Z", None)


async def test_a_rare_task_is_compared_with_the_day_of_its_next_slot(rest: Facade) -> None:
    """Not with the next 24 hours."""
    await rest.create("yearly", {"schedule": "0 2 24 12 *", **COUNTER})
    body = await suggested(rest, {"spec": {"schedule": "0 2 24 12 *", **COUNTER}})
    assert (body["current"]["most"], body["schedule"]) == (1, "1 2 24 12 *")


async def test_an_hour_of_the_task_is_one_of_its_time_zone(rest: Facade) -> None:
    """There it may begin at half past."""
    await rest.create("other", {"schedule": "0-14,16-59 * * * *", "timeZone": "Asia/Kolkata", **COUNTER})
    await rest.create("full", {"schedule": "15 0-1,3-23 * * *", "timeZone": "Asia/Kolkata", **COUNTER})
    body = await suggested(rest, {"spec": {"schedule": "45 2 * * *", "timeZone": "Asia/Kolkata", **COUNTER}})
    assert (body["schedule"], body["offsetSeconds"]) == ("15 2 * * *", -1800)
    assert (body["current"]["most"], body["suggested"]["most"]) == (1, 0)


async def test_a_task_that_cannot_be_moved_says_why(rest: Facade) -> None:
    """With the load that it meets."""
    await rest.create("each", {"schedule": "* * * * *", **COUNTER})
    body = await suggested(rest, {"spec": {"schedule": "* * * * *", **COUNTER}})
    assert (body["offsetSeconds"], body["current"], body["schedule"]) == (0, {"most": 1, "mean": 1.0}, None)
    assert "the minute field cannot be moved" in body["message"]
    await rest.create("ended", {"schedule": "0 13 * * *", "endAt": "2026-03-01T13:00:00Z", **COUNTER})
    later(rest, 3600)
    assert (await suggested(rest, {"task": "ended"}))["message"] == "the task has no slots left"


@pytest.mark.parametrize(
    ("path", "body", "want_status", "want_fields"),
    {
        "neither": (SUGGEST, {}, 422, ["task"]),
        "both": (SUGGEST, {"task": "nightly", "spec": {}}, 422, ["task"]),
        "a task without its namespace": (ALL, {"task": "nightly"}, 422, ["namespace"]),
        "an invalid spec": (SUGGEST, {"spec": {"schedule": "99 * * * *", **COUNTER}}, 422, ["spec.schedule"]),
        "a spec with an unknown field": (SUGGEST, {"spec": {"shedule": "@daily", **COUNTER}}, 422, None),
        "a task that does not exist": (SUGGEST, {"task": "nobody"}, 404, []),
        "too small a bound": (SUGGEST, {"task": "nobody", "withinSeconds": 1}, 422, ["withinSeconds"]),
        "an unknown field": (SUGGEST, {"tasks": "nobody"}, 422, ["tasks"]),
    }.values(),
)
async def test_bad_input(
    rest: Facade, path: str, body: dict[str, Any], want_status: int, want_fields: list[str] | None
) -> None:
    """The problem names the field."""
    response = await rest.client.post(path, json=body)
    fields = fields_of(response)
    assert response.status_code == want_status, response.text
    assert fields == want_fields if want_fields is not None else fields


async def test_rbac_decides(rest: Facade) -> None:
    """The load is that of the tasks that the caller may list."""
    headers = rest.let("carol", "t0ken-of-carol", Rule(["list"], ["scheduledtasks"], "team-a"))
    body = {"spec": {"schedule": "0 2 * * *", **COUNTER}}
    paths = (SUGGEST, f"{ALL}?namespace=team-a", ALL, "/api/v1/namespaces/team-b/load/suggest")
    statuses = [(await rest.client.post(path, json=body, headers=headers)).status_code for path in paths]
    assert statuses == [200, 200, 403, 403]
    assert (await rest.client.post(SUGGEST, json={"task": "nightly"}, headers=headers)).status_code == 403
