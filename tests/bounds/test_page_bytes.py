"""A page is bounded in bytes, not only in items: of large objects and rows it has fewer."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from carillon_api.http.paging import ENOUGH_BYTES
from carillon_core.contract import ExecutionStatus
from carillon_core.ports import MOST_PAGE_BYTES
from support.api import TASKS, Facade, facade
from support.executions import row

LARGE = 250_000
MOST_ANSWER = MOST_PAGE_BYTES + ENOUGH_BYTES
COUNT = 60


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def pages(rest: Facade, path: str) -> list[list[dict[str, Any]]]:
    """Return the items of all pages, each of which is small."""
    found = []
    params: dict[str, Any] = {"limit": 500}
    while True:
        response = await rest.client.get(path, params=params)
        assert response.status_code == 200, response.text
        assert len(response.content) < MOST_ANSWER
        found.append(response.json()["items"])
        if response.json()["nextCursor"] is None:
            return found
        params["cursor"] = response.json()["nextCursor"]


def container(size: int) -> dict[str, Any]:
    """Return a container task of about so many bytes."""
    return {"image": "a", "args": ["x" * (size // 4)] * 4}


async def store_runs(rest: Facade, size: int) -> None:
    """Store RunRequests as the cluster may have them."""
    for number in range(COUNT):
        spec = {"task": {"container": container(size)}}
        await rest.server.stores["RunRequest"].create("team-a", {"metadata": {"name": f"r-{number:02}"}, "spec": spec})


async def test_large_objects_are_on_several_pages(rest: Facade) -> None:
    """None is lost, and none is there twice; small ones are on one page."""
    await store_runs(rest, LARGE)
    found = await pages(rest, "/api/v1/namespaces/team-a/runs")
    assert len(found) > COUNT * LARGE // MOST_ANSWER
    assert [item["name"] for page in found for item in page] == [f"r-{number:02}" for number in range(COUNT)]


async def test_small_objects_are_on_one_page(rest: Facade) -> None:
    """As before."""
    await store_runs(rest, 10)
    assert [len(page) for page in await pages(rest, "/api/v1/namespaces/team-a/runs")] == [COUNT]


@pytest.mark.parametrize(("size", "want_pages"), [(10, 1), (90_000, 3)])
async def test_large_results_are_on_several_pages(rest: Facade, size: int, want_pages: int) -> None:
    """Of executions."""
    rows = [row(number, status=ExecutionStatus.SUCCEEDED, result={"body": "x" * size}) for number in range(COUNT)]
    await rest.history.record(rows)
    found = await pages(rest, "/api/v1/namespaces/team-a/executions")
    assert [item["jobName"] for page in found for item in page] == [f"nightly-{n}" for n in reversed(range(COUNT))]
    assert (len(found) == 1) == (want_pages == 1)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_large_changes_are_on_several_pages(rest: Facade, size: int) -> None:
    """Of the audit."""
    for number in range(COUNT):
        spec = {"schedule": "@daily", "task": {"plugin": {"name": "p", "parameters": {"text": "x" * (size // 6)}}}}
        await rest.create(f"task-{number:02}", spec, labels={"a": "b"})
    await rest.audited()
    found = await pages(rest, "/api/v1/audit")
    assert sorted(item["name"] for page in found for item in page) == [f"task-{number:02}" for number in range(COUNT)]
    assert (len(found) == 1) == (size == 10)


async def test_upcoming_reads_page_by_page(rest: Facade) -> None:
    """The tasks of all pages are there, and no list of all is asked for."""
    for number in range(20):
        spec = {"runAt": f"2026-03-02T12:00:{number:02}Z", "task": {"container": container(LARGE)}}
        await rest.tasks.create("team-a", {"metadata": {"name": f"t-{number:02}"}, "spec": spec})
    page = await rest.tasks.page(None, limit=500)
    assert page.continue_token is not None
    response = await rest.client.get("/api/v1/namespaces/team-a/upcoming", params={"count": 100})
    assert [item["task"] for item in response.json()["items"]] == [f"t-{number:02}" for number in range(20)]


PARAMETERS: dict[str, dict[str, Any]] = {
    "too large": {"text": "x" * 65_536},
    "too many": {f"p{number}": 1 for number in range(257)},
    "too large in parts": {f"p{number}": "x" * 300 for number in range(250)},
}


@pytest.mark.parametrize("case", PARAMETERS)
async def test_parameters_have_a_size(rest: Facade, case: str) -> None:
    """Of a run, of a retry, of a plugin; the field is named."""
    await rest.create()
    given = PARAMETERS[case]
    spec = {"schedule": "@daily", "task": {"plugin": {"name": "p", "parameters": given}}}
    for path, body, field in (
        (f"{TASKS}/nightly/run", {"parameters": given}, "parameters"),
        (TASKS, {"name": "other", "spec": spec}, "spec.task.plugin.parameters"),
        ("/api/v1/run-task", {"task_name": "plugin", "name": "p", "parameters": given}, "parameters"),
    ):
        response = await rest.client.post(path, json=body)
        assert response.status_code == 422, response.text
        assert [each["field"] for each in response.json()["errors"]] == [field]


async def test_a_container_has_a_bounded_text(rest: Facade) -> None:
    """Its command, arguments and variables together."""
    for more in (0, 1):
        container = {
            "image": "a",
            "command": ["x" * 65_536],
            "args": ["x" * 65_536] * 2,
            "env": [{"name": "A", "value": "x" * 65_535}, {"name": "B", "value": "x" * (1 + more)}],
        }
        body = {"name": f"other-{more}", "spec": {"schedule": "@daily", "task": {"container": container}}}
        response = await rest.client.post(TASKS, json=body)
        assert response.status_code == (422 if more else 201), response.text
    assert [each["field"] for each in response.json()["errors"]] == ["spec.task.container"]
