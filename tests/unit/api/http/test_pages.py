"""Lists of tasks in pages: filters, cursors, and the work limit of one request."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from carillon_api.http.paging import MAX_CALLS
from carillon_core.errors import ExpiredError
from support.api import EVERY_MINUTE, TASKS, Facade, facade, fields_of


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def add(rest: Facade, name: str, namespace: str = "team-a", result: str | None = None, **spec: Any) -> None:
    """Store a task with a status."""
    body = {"metadata": {"name": name}, "spec": {**EVERY_MINUTE, **spec}}
    await rest.tasks.create(namespace, body)
    if result is not None:
        rest.tasks.set_status(namespace, name, {"lastResult": result})


async def names(rest: Facade, path: str, **params: Any) -> tuple[list[str], list[int]]:
    """Return the names of all pages, and the size of each page."""
    found: list[str] = []
    sizes: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        response = await rest.client.get(path, params=params | cursor)
        assert response.status_code == 200, response.text
        page = response.json()
        found += [item["name"] for item in page["items"]]
        sizes.append(len(page["items"]))
        if page["nextCursor"] is None:
            return found, sizes
        cursor = {"cursor": page["nextCursor"]}


async def test_pages_join_without_gap_or_repeat(rest: Facade) -> None:
    """Objects created between two pages do not shift them; the limit may change between pages."""
    for number in range(7):
        await add(rest, f"task-{number}")
    first = (await rest.client.get(TASKS, params={"limit": 3})).json()
    await add(rest, "task-00")
    second = (await rest.client.get(TASKS, params={"limit": 5, "cursor": first["nextCursor"]})).json()
    assert [i["name"] for i in first["items"] + second["items"]] == [f"task-{n}" for n in range(7)]
    assert second["nextCursor"] is None


async def test_a_list_without_a_limit_is_its_first_hundred(rest: Facade) -> None:
    """The number of items is limited by default."""
    for number in range(101):
        await add(rest, f"task-{number:03}")
    page = (await rest.client.get(TASKS)).json()
    assert len(page["items"]) == 100
    assert page["nextCursor"]


FILTERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "of a type": ({"type": "sum"}, ["add", "other-add"]),
    "suspended ones": ({"suspended": "true"}, ["idle"]),
    "those that are not suspended": ({"suspended": "false"}, ["add", "failing", "other-add"]),
    "by the beginning of the name": ({"namePrefix": "ad"}, ["add"]),
    "by the last result": ({"lastResult": "Failed"}, ["failing"]),
    "by all of it": ({"type": "sleep", "suspended": "false", "namePrefix": "f", "lastResult": "Failed"}, ["failing"]),
    "by a namespace": ({"namespace": "team-b", "type": "sum"}, ["other-add"]),
    "none": ({"namePrefix": "z"}, []),
}


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("case", FILTERS)
async def test_filters_hold_whatever_the_size_of_a_page(rest: Facade, case: str, limit: int) -> None:
    """The facade applies the filters that the API server does not have."""
    params, want = FILTERS[case]
    adding: dict[str, Any] = {"schedule": None, "intervalSeconds": 5, "task": {"sum": {"a": 1, "b": 2}}}
    await add(rest, "add", **adding)
    await add(rest, "failing", result="Failed")
    await add(rest, "idle", suspend=True, result="Succeeded")
    await add(rest, "other-add", namespace="team-b", **adding)
    found, sizes = await names(rest, "/api/v1/tasks", limit=limit, **params)
    assert found == want
    assert max(sizes) <= limit


async def test_a_page_never_has_more_than_its_limit_and_none_is_lost(rest: Facade) -> None:
    """If a filter removes items, further calls request only the missing number."""
    for name, idle in (("a", False), ("b", True), ("c", True), ("d", True), ("e", False), ("f", True)):
        await add(rest, name, suspend=idle)
    found, sizes = await names(rest, TASKS, limit=2, suspended="true")
    assert (found, sizes) == (["b", "c", "d", "f"], [2, 2])


async def test_a_request_makes_few_calls_however_rare_the_filter(rest: Facade) -> None:
    """A page may be empty and have a cursor; following it finds the last item."""
    for number in range(MAX_CALLS + 3):
        await add(rest, f"task-{number:02}")
    await add(rest, "wanted", suspend=True)
    found, sizes = await names(rest, TASKS, limit=1, suspended="true")
    assert (found, sizes) == (["wanted"], [0, 1])


BAD_CURSORS: dict[str, dict[str, Any]] = {
    "with another filter": {"suspended": "true"},
    "with another prefix": {"namePrefix": "b"},
    "with another selector": {"labelSelector": "a=b"},
    "of nobody": {"cursor": "abc"},
    "of surprising letters": {"cursor": "é%"},
    "cut short": {"cursor": "{cut}"},
    "with another token": {"cursor": "{changed}"},
}


@pytest.mark.parametrize("case", BAD_CURSORS)
async def test_a_cursor_leads_on_in_its_own_list_only(rest: Facade, case: str) -> None:
    """The response is 422 and names the cursor."""
    await add(rest, "a")
    await add(rest, "b")
    params: dict[str, Any] = {"limit": 1, "type": "sleep"}
    cursor = (await rest.client.get(TASKS, params=params)).json()["nextCursor"]
    places = {"cut": cursor[:12], "changed": cursor[:14] + "AAAA"}
    given = {k: v.format(**places) if isinstance(v, str) else v for k, v in BAD_CURSORS[case].items()}
    response = await rest.client.get(TASKS, params={**params, "cursor": cursor, **given})
    assert response.status_code == 422, response.text
    assert fields_of(response) == ["cursor"]
    other = await rest.client.get("/api/v1/tasks", params={**params, "cursor": cursor})
    assert fields_of(other) == ["cursor"], "all namespaces are another list than one"
    same = await rest.client.get("/api/v1/tasks", params={**params, "cursor": cursor, "namespace": "team-a"})
    assert same.status_code == 200, "the same list by another path"


async def test_a_cursor_that_is_too_old_is_gone(rest: Facade) -> None:
    """The response is 410: the API server keeps old versions for some minutes only."""
    await add(rest, "a")
    await add(rest, "b")
    cursor = (await rest.client.get(TASKS, params={"limit": 1})).json()["nextCursor"]

    async def page(*_: Any, **__: Any) -> Any:
        raise ExpiredError("API server", "The provided continue parameter is too old")

    rest.tasks.page = page  # type: ignore[method-assign]  # the memory adapter never expires a token
    response = await rest.client.get(TASKS, params={"limit": 1, "cursor": cursor})
    assert (response.status_code, fields_of(response)) == (410, [])
    assert response.json()["type"] == "urn:carillon:problem:expired"
    assert "retry-after" not in response.headers
