"""Times in bodies and queries: written out in RFC 3339, at both ends of what can be written, and never as numbers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.api import NOW, TASKS, Facade, facade, fields_of, openapi_document
from support.executions import of_a_task

FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade with one task."""
    async with facade() as made:
        await of_a_task(made)
        yield made


def queried_times() -> list[tuple[str, str]]:
    """Return the query parameters of the document that are times, with their paths."""
    return [
        (path, parameter["name"])
        for path, item in openapi_document()["paths"].items()
        for parameter in item.get("get", {}).get("parameters", ())
        if parameter["schema"].get("format") == "date-time"
    ]


@pytest.mark.parametrize(("path", "name"), queried_times())
async def test_a_time_in_a_query_is_written_out(rest: Facade, path: str, name: str) -> None:
    """``?since=2026`` meant half past midnight in 1970."""
    path = path.replace("{namespace}", "team-a").replace("{name}", "nightly")
    for given in ("2026", "1790000000", "2026.5", "-5", "1e9", "tomorrow", "20260301T120000Z"):
        response = await rest.client.get(path, params={name: given})
        assert response.status_code == 422, (given, response.text)
        assert fields_of(response) == [name]
        assert "write it as 2027-01-01T00:00:00Z" in response.json()["errors"][0]["message"]


def test_the_document_has_times_in_queries() -> None:
    """Otherwise the test before would test nothing."""
    assert {name for _, name in queried_times()} >= {"since", "until", "from", "to"}


@pytest.mark.parametrize("field", ["runAt", "startAt", "endAt"])
async def test_a_time_in_a_spec_is_written_out(rest: Facade, field: str) -> None:
    """A number has no unit and no zone."""
    for given in (2026, 1_790_000_000, 2026.5, "2026", "1790000000", "-5", True):
        spec: dict[str, Any] = {"task": {"counter": {}}, field: given} | (
            {} if field == "runAt" else {"intervalSeconds": 60}
        )
        response = await rest.client.post(TASKS, json={"name": "other", "spec": spec})
        assert response.status_code == 422, (given, response.text)
        assert fields_of(response) == [f"spec.{field}"]


async def test_a_time_of_a_run_is_written_out(rest: Facade) -> None:
    """The same rule."""
    for given in (2026, "2026", "1790000000"):
        response = await rest.client.post(f"{TASKS}/nightly/run", json={"runAt": given})
        assert response.status_code == 422, (given, response.text)
        assert fields_of(response) == ["runAt"]


FORMS: dict[str, dict[str, Any]] = {
    "an interval": {"intervalSeconds": 3600},
    "a cron": {"schedule": "59 59 23 31 12 *"},
    "a cron with a zone": {"schedule": "0 0 1 1 *", "timeZone": "Pacific/Kiritimati"},
}
BOUNDS: dict[str, dict[str, Any]] = {
    "from the first year": {"startAt": FIRST},
    "from the first year for a while": {"startAt": FIRST, "durationSeconds": 1},
    "from the first year for long": {"startAt": FIRST, "durationSeconds": 3_162_240_000},
    "from the last year": {"startAt": LAST},
    "from the last year for a while": {"startAt": LAST, "durationSeconds": 1},
    "from the last year for long": {"startAt": LAST, "durationSeconds": 3_162_240_000},
    "until the last year": {"endAt": LAST},
    "until the first year": {"endAt": FIRST},
    "all years": {"startAt": FIRST, "endAt": LAST},
    "for long": {"durationSeconds": 3_162_240_000},
}


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("form", FORMS)
async def test_the_ends_of_time_are_no_error_of_ours(rest: Facade, form: str, bound: str) -> None:
    """Each is stored or refused with its field, previewed, and its next times are listed."""
    spec = {**FORMS[form], **BOUNDS[bound], "task": {"counter": {}}}
    created = await rest.client.post(TASKS, json={"name": "other", "spec": spec})
    assert created.status_code in {201, 422}, created.text
    if created.status_code == 422:
        assert set(fields_of(created)) <= {f"spec.{name}" for name in spec}
    assert (await rest.client.post("/api/v1/preview", json={"spec": spec})).status_code == 200
    if created.status_code == 201:
        for window in ({}, {"from": FIRST}, {"from": LAST}, {"to": LAST}):
            answer = await rest.client.get(f"{TASKS}/other/upcoming", params=window)
            assert answer.status_code in {200, 422}, answer.text
        moved = await rest.client.patch(f"{TASKS}/other", json={"spec": {"startAt": NOW.isoformat(), "endAt": None}})
        assert moved.status_code in {200, 422}, moved.text
