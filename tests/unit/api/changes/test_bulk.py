"""Bulk calls: first the count, then the change of exactly that many objects, each with its own outcome."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from carillon_api.services.changes import bulk
from carillon_core.adapters.memory.caller import GuardedStore, Rule
from support.api import EVERY_MINUTE, NOW, TASKS, Facade, facade, fields_of
from support.executions import ADD, EXECUTIONS, RUNNING, row

BULK = f"{TASKS}/bulk"
EVERYWHERE = "/api/v1/tasks/bulk"
RETRY = "/api/v1/namespaces/team-a/executions/bulk"
DRY = {"dryRun": "All"}
WEB: dict[str, Any] = {"labelSelector": "app=web"}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def web_tasks(rest: Facade, *names: str) -> None:
    """Create tasks with the label app=web."""
    for name in names:
        await rest.create(name, labels={"app": "web"})


async def change(rest: Facade, action: str, filters: Any = WEB, path: str = BULK, **more: Any) -> httpx.Response:
    """Send a bulk call."""
    headers = more.pop("headers", {})
    query = more.pop("params", {})
    return await rest.client.post(
        path, json={"action": action, "filter": filters, **more}, params=query, headers=headers
    )


def outcomes(response: httpx.Response) -> list[tuple[str, str]]:
    """Return each task with its outcome, having checked that the counts are those of the items."""
    assert response.status_code == 200, response.text
    told = response.json()
    items = [(item["task"], item["outcome"]) for item in told["items"]]
    for outcome in ("done", "unchanged", "failed"):
        assert told[outcome] == sum(each[1] == outcome for each in items)
    return items


async def test_a_dry_run_counts_and_the_call_changes_that_many(rest: Facade) -> None:
    """The count is needed; each change has its own audit event."""
    await web_tasks(rest, "b", "a")
    await rest.create("other")
    counted = await change(rest, "pause", params=DRY)
    assert outcomes(counted) == [("a", "matched"), ("b", "matched")]
    assert (counted.json()["matched"], counted.json()["dryRun"]["changed"]) == (2, True)
    assert not (await rest.tasks.get("team-a", "a"))["spec"]["suspend"]
    assert fields_of(await change(rest, "pause")) == ["expectedCount"]
    assert outcomes(await change(rest, "pause", expectedCount=2)) == [("a", "done"), ("b", "done")]
    assert not (await rest.tasks.get("team-a", "other"))["spec"]["suspend"]
    suspended = [event.name for event in await rest.audited() if event.action == "suspend"]
    assert sorted(suspended) == ["a", "b"]
    assert outcomes(await change(rest, "pause", expectedCount=2)) == [("a", "unchanged"), ("b", "unchanged")]
    assert outcomes(await change(rest, "resume", {"suspended": True}, expectedCount=2)) == [
        ("a", "done"),
        ("b", "done"),
    ]


async def test_if_another_number_matches_nothing_is_changed(rest: Facade) -> None:
    """409 names both numbers."""
    await web_tasks(rest, "a", "b", "c")
    response = await change(rest, "delete", expectedCount=2)
    assert (response.status_code, response.json()["matched"]) == (409, 3)
    assert response.json()["type"] == "urn:carillon:problem:count-changed"
    assert "3 objects match, but expectedCount is 2" in response.json()["detail"]
    assert len(await rest.tasks.list("team-a")) == 3
    assert outcomes(await change(rest, "delete", expectedCount=3)) == [("a", "done"), ("b", "done"), ("c", "done")]
    assert await rest.tasks.list("team-a") == []


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an empty filter": ({"action": "delete", "filter": {}, "expectedCount": 1}, ["all"]),
    "no filter": ({"action": "delete", "all": True, "expectedCount": 1}, ["filter"]),
    "an unknown filter": ({"action": "delete", "filter": {"label": "a"}, "expectedCount": 1}, ["filter.label"]),
    "a filter of a page": ({"action": "delete", "filter": {"limit": 1}, "expectedCount": 1}, ["filter.limit"]),
    "no selector": (
        {"action": "delete", "filter": {"labelSelector": "a in (b"}, "expectedCount": 1},
        ["filter.labelSelector"],
    ),
    "a long selector": (
        {"action": "delete", "filter": {"labelSelector": "a," * 4096}, "expectedCount": 1},
        ["filter.labelSelector"],
    ),
    "an unknown action": ({"action": "drop", "filter": WEB, "expectedCount": 1}, ["action"]),
    "a negative count": ({"action": "delete", "filter": WEB, "expectedCount": -1}, ["expectedCount"]),
    "a count in words": ({"action": "delete", "filter": WEB, "expectedCount": "1"}, ["expectedCount"]),
    "a made-up cursor": ({"action": "delete", "filter": WEB, "expectedCount": 1, "cursor": "abc"}, ["cursor"]),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_call_that_may_mean_something_else_is_refused(rest: Facade, case: str) -> None:
    """The problem names the field, and nothing is changed."""
    await web_tasks(rest, "a")
    body, want_fields = REFUSED[case]
    response = await rest.client.post(BULK, json=body)
    assert (response.status_code, fields_of(response)) == (422, want_fields), response.text
    assert len(await rest.tasks.list("team-a")) == 1


async def test_an_empty_filter_is_confirmed(rest: Facade) -> None:
    """All tasks of the namespace, and of no other."""
    await web_tasks(rest, "a")
    await rest.client.post("/api/v1/namespaces/team-b/tasks", json={"name": "b", "spec": EVERY_MINUTE})
    assert outcomes(await change(rest, "delete", {}, all=True, expectedCount=1)) == [("a", "done")]
    assert [raw["metadata"]["name"] for raw in await rest.tasks.list(None)] == ["b"]


async def test_the_filters_are_those_of_the_list(rest: Facade) -> None:
    """Both select the same tasks, by each filter."""
    await web_tasks(rest, "web-report", "web-sync")
    await rest.create("report", ADD, labels={"app": "batch"})
    await rest.client.post(f"{TASKS}/web-sync/pause")
    rest.tasks.set_status("team-a", "report", {"lastResult": "Failed"})
    selections: list[dict[str, Any]] = [
        WEB,
        {"namePrefix": "web"},
        {"nameContains": "report"},
        {"type": "sum"},
        {"suspended": True},
        {"lastResult": "Failed"},
        {"nameContains": "report", "suspended": False, "labelSelector": "app=web"},
    ]
    for filters in selections:
        listed = (await rest.client.get(TASKS, params=filters)).json()["items"]
        counted = (await change(rest, "run", filters, params=DRY)).json()["items"]
        assert [item["task"] for item in counted] == [item["name"] for item in listed], filters
        assert 0 < len(listed) < 3, filters


async def test_single_failures_are_told_and_the_others_done(rest: Facade) -> None:
    """In all namespaces, RBAC decides for each task."""
    await web_tasks(rest, "a", "c")
    other = {"name": "b", "spec": EVERY_MINUTE, "labels": {"app": "web"}}
    await rest.client.post("/api/v1/namespaces/team-b/tasks", json=other)
    everywhere, here = Rule(["get", "list"], ["scheduledtasks"]), Rule(["patch"], ["scheduledtasks"], "team-a")
    bob = rest.let("bob", "t0ken-of-bob", everywhere, here)
    response = await change(rest, "pause", path=EVERYWHERE, expectedCount=3, headers=bob)
    assert outcomes(response) == [("a", "done"), ("c", "done"), ("b", "failed")]
    problem = response.json()["items"][2]["problem"]
    assert (problem["status"], problem["type"]) == (403, "urn:carillon:problem:forbidden")
    assert 'User "bob" cannot patch' in problem["detail"]
    assert [event.subject for event in await rest.audited() if event.action == "suspend"] == ["bob", "bob"]


async def test_without_the_permission_nothing_is_looked_for(rest: Facade) -> None:
    """403 in a namespace where the caller may not do it, and in all namespaces without the list of all."""
    await web_tasks(rest, "a")
    bob = rest.let("bob", "t0ken-of-bob", Rule(["get", "list"], ["scheduledtasks", "executions"], "team-a"))
    for path, action, filters in (
        (BULK, "delete", WEB),
        (BULK, "run", WEB),
        (EVERYWHERE, "pause", WEB),
        (RETRY, "retry", {"deadLetters": True}),
        (RETRY, "cancel", {"task": "a"}),
        (f"{EXECUTIONS}/bulk", "retry", {"deadLetters": True}),
    ):
        for query in ({}, DRY):
            refused = await change(rest, action, filters, path, expectedCount=1, headers=bob, params=query)
            assert refused.status_code == 403, (path, action, refused.text)


async def test_a_call_without_time_is_continued(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call does at least one; no task is run twice, although all of them still match."""
    monkeypatch.setattr(bulk, "SECONDS", 0.0)
    await web_tasks(rest, "a", "b", "c")
    ran: list[str] = []
    left, cursor = 3, dict[str, str]()
    while left:
        told = (await change(rest, "run", expectedCount=left, **cursor)).json()
        ran += [item["task"] for item in told["items"]]
        left, cursor = told["remaining"], {"cursor": told["nextCursor"]}
        assert (told["nextCursor"] is None) is (left == 0)
    assert ran == ["a", "b", "c"]
    assert len(await rest.server.stores["RunRequest"].list("team-a")) == 3


async def test_a_cursor_belongs_to_its_call(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another action, filter or namespace it is refused."""
    monkeypatch.setattr(bulk, "SECONDS", 0.0)
    await web_tasks(rest, "a", "b")
    cursor = (await change(rest, "pause", expectedCount=2)).json()["nextCursor"]
    for action, filters, path in (
        ("delete", WEB, BULK),
        ("pause", {"type": "sleep"}, BULK),
        ("pause", WEB, EVERYWHERE),
    ):
        refused = await change(rest, action, filters, path, expectedCount=1, cursor=cursor)
        assert fields_of(refused) == ["cursor"]


async def test_more_than_a_call_may_change_is_refused(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told to narrow the filter, by the dry run already."""
    monkeypatch.setattr(bulk, "MOST", 1)
    await web_tasks(rest, "a", "b")
    response = await change(rest, "pause", params=DRY)
    assert (response.status_code, fields_of(response)) == (422, ["filter"])


async def test_a_search_that_takes_too_long_is_ended(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the caller's next call is served."""

    async def endless(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    await web_tasks(rest, "a")
    with monkeypatch.context() as patched:
        patched.setattr(bulk, "FIND_SECONDS", 0.0)
        patched.setattr(GuardedStore, "page", endless)
        ended = await change(rest, "pause", params=DRY)
    assert (ended.status_code, fields_of(ended)) == (503, [])
    assert "narrow the filter" in ended.json()["detail"]
    assert (await change(rest, "pause", params=DRY)).status_code == 200


async def test_a_caller_has_one_call_at_a_time(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is 429; at most eight objects are changed at once."""
    await web_tasks(rest, *(f"t{number:02}" for number in range(12)))
    patch, go, all_busy, busy = GuardedStore.patch, asyncio.Event(), asyncio.Event(), 0

    async def slow(self: GuardedStore, *given: Any) -> Any:
        nonlocal busy
        busy += 1
        if busy == 8:
            all_busy.set()
        await go.wait()
        return await patch(self, *given)

    monkeypatch.setattr(GuardedStore, "patch", slow)
    first = asyncio.create_task(change(rest, "pause", expectedCount=12))
    await all_busy.wait()
    refused = await change(rest, "pause", params=DRY)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert busy == 8
    go.set()
    assert (await first).json()["done"] == 12
    assert (await change(rest, "pause", params=DRY)).status_code == 200


async def test_the_objects_count_in_the_rate_limit() -> None:
    """Ten objects are a request, and the search is one."""
    async with facade(rate_limit=1, rate_burst=100) as rest:
        await web_tasks(rest, *(f"t{number}" for number in range(10)))
        before = await rest.client.get(TASKS)
        response = await change(rest, "pause", expectedCount=10)
        after = await rest.client.get(TASKS)
    assert outcomes(response)[0] == ("t0", "done")
    left = [int(each.headers["ratelimit"].split("r=")[1].split(";")[0]) for each in (before, after)]
    assert left[0] - left[1] == 4  # the bulk call, its search, its ten objects, and the second list


async def test_a_key_makes_runs_safe_to_repeat(rest: Facade) -> None:
    """The same answer again, and one run for each task, even if their names begin alike."""
    await web_tasks(rest, f"{'x' * 45}-one", f"{'x' * 45}-two")
    key = {"Idempotency-Key": "k"}
    first = await change(rest, "run", expectedCount=2, headers=key)
    assert [outcome for _, outcome in outcomes(first)] == ["done", "done"]
    again = await change(rest, "run", expectedCount=2, headers=key)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    runs = {raw["metadata"]["name"] for raw in await rest.server.stores["RunRequest"].list("team-a")}
    assert runs == {item["created"] for item in first.json()["items"]}
    assert len(runs) == 2


async def failed_and_running(rest: Facade) -> None:
    """Record two failed executions and a running one of a task."""
    uid = (await rest.create(spec=ADD)).json()["uid"]
    failed = [row(minute, task_uid=uid) for minute in (2, 1)]
    await rest.history.record([*failed, row(3, task_uid=uid, status=RUNNING)])


async def test_dead_letters_are_retried_oldest_first(rest: Facade) -> None:
    """Each gets a RunRequest; those whose retry is under way are told as failures of their own."""
    await failed_and_running(rest)
    letters = {"deadLetters": True, "since": NOW.isoformat()}
    assert (await change(rest, "retry", letters, RETRY, params=DRY)).json()["matched"] == 2
    response = await change(rest, "retry", letters, RETRY, expectedCount=2)
    assert [outcome for _, outcome in outcomes(response)] == ["done", "done"]
    ids = [item["executionId"] for item in response.json()["items"]]
    by_slot = sorted((r for r in rest.history.rows.values() if str(r.id) in ids), key=lambda r: r.slot)
    assert ids == [str(r.id) for r in by_slot]
    assert {item["created"] for item in response.json()["items"]} == {f"retry-{r.id.hex}-1" for r in by_slot}
    assert [event.action for event in await rest.audited()].count("retry") == 2


async def test_running_executions_are_cancelled(rest: Facade) -> None:
    """Only they match; one whose Job is gone is unchanged."""
    await failed_and_running(rest)
    response = await change(rest, "cancel", {"task": "nightly"}, RETRY, expectedCount=1)
    assert outcomes(response) == [("nightly", "unchanged")]
    later = (NOW + timedelta(minutes=5)).isoformat()
    assert (await change(rest, "cancel", {"since": later}, RETRY, params=DRY)).json()["matched"] == 0


@pytest.mark.parametrize(
    ("action", "filters", "want_field"),
    [
        ("retry", {"task": "nightly"}, "filter.status"),
        ("retry", {"status": "Succeeded"}, "filter.status"),
        ("cancel", {"status": "Failed", "task": "nightly"}, "filter.status"),
        ("cancel", {"status": "Running"}, "all"),
        ("cancel", {}, "all"),
    ],
)
async def test_a_state_that_cannot_be_changed_is_refused(
    rest: Facade, action: str, filters: dict[str, Any], want_field: str
) -> None:
    """Nothing can be retried that runs or has succeeded, and nothing cancelled that has ended."""
    response = await change(rest, action, filters, RETRY, expectedCount=1)
    assert (response.status_code, fields_of(response)) == (422, [want_field])
