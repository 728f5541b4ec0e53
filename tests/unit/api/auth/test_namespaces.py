"""A facade limited to some namespaces: lists contain only these, and requests for others are rejected."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, execution_id
from carillon_core.domain.scope import Scope
from support.api import EVERY_MINUTE, NOW, Facade, facade, fields_of

SERVED = ("team-a", "team-b", "team-d")
OTHER = "team-c"
HOOK = {"url": "https://example.com/"}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade for three namespaces, over stores that have tasks, targets, runs and a history in a fourth, too."""
    async with facade(scope=Scope(SERVED)) as made:
        for namespace in ("team-a", "team-b", OTHER):
            for name in ("first", "second"):
                await made.tasks.create(namespace, {"metadata": {"name": name}, "spec": EVERY_MINUTE})
            target = {"metadata": {"name": "hook"}, "spec": HOOK}
            await made.server.stores["HTTPTarget"].create(namespace, target)
            request = {"metadata": {"name": "now"}, "spec": {"taskRef": {"name": "first"}}}
            await made.server.stores["RunRequest"].create(namespace, request)
        await made.history.record([row(number, name) for number, name in enumerate(("team-a", "team-b", OTHER))])
        yield made


def row(number: int, namespace: str) -> ExecutionRecord:
    """Return a failed execution, a minute later than the one with the previous number."""
    uid, slot = str(UUID(int=number + 1)), NOW - timedelta(minutes=10 - number)
    return ExecutionRecord(
        id=execution_id(uid, slot, Cause.SCHEDULE),
        task_uid=uid,
        namespace=namespace,
        task="first",
        task_type="sleep",
        slot=slot,
        cause=Cause.SCHEDULE,
        status=ExecutionStatus.FAILED,
        created_at=slot,
        finished_at=slot,
    )


LISTS: dict[str, str] = {
    "tasks": "/api/v1/tasks",
    "targets": "/api/v1/targets",
    "runs": "/api/v1/runs",
    "executions": "/api/v1/executions",
    "what runs next": "/api/v1/upcoming",
}


@pytest.mark.parametrize("what", LISTS)
async def test_a_list_of_all_is_of_the_namespaces_served(rest: Facade, what: str) -> None:
    """Lists contain served namespaces only."""
    response = await rest.client.get(LISTS[what])
    assert response.status_code == 200, response.text
    assert {item["namespace"] for item in response.json()["items"]} == {"team-a", "team-b"}


async def test_a_bulk_call_for_all_is_for_the_namespaces_served(rest: Facade) -> None:
    """The caller needs permission to list in each of them, and no more; the others are neither counted nor changed."""
    rules = [Rule(["get", "list", "patch"], ["scheduledtasks"], namespace) for namespace in SERVED]
    body = {"action": "pause", "filter": {"nameContains": "first"}, "expectedCount": 2}
    for missing, want_status in ((1, 403), (0, 200)):
        bob = rest.let("bob", "t0ken-of-bob", *rules[missing:])
        response = await rest.client.post("/api/v1/tasks/bulk", json=body, headers=bob)
        assert response.status_code == want_status, response.text
        rest.clock.now += timedelta(minutes=1)
    assert [item["namespace"] for item in response.json()["items"]] == ["team-a", "team-b"]
    suspended = [raw["metadata"]["namespace"] for raw in await rest.tasks.list(None) if raw["spec"]["suspend"]]
    assert suspended == ["team-a", "team-b"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_pages_go_on_from_one_namespace_to_the_next(rest: Facade, limit: int) -> None:
    """Each task appears once, ordered by namespace and name, regardless of the page size."""
    found: list[tuple[str, str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await rest.client.get("/api/v1/tasks", params={"limit": str(limit)} | cursor)).json()
        assert len(page["items"]) <= limit
        found += [(item["namespace"], item["name"]) for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert found == [(namespace, name) for namespace in ("team-a", "team-b") for name in ("first", "second")]


async def test_a_cursor_of_a_longer_list_is_refused(rest: Facade) -> None:
    """A namespace may be removed from the setting between two pages."""
    page = (await rest.client.get("/api/v1/tasks", params={"limit": "3"})).json()
    given = rest.app.state.backends
    async with facade(scope=Scope(("team-a", "team-d"))) as shorter:
        assert shorter.app.state.backends is not given
        response = await shorter.client.get("/api/v1/tasks", params={"limit": "3", "cursor": page["nextCursor"]})
    assert response.status_code == 422
    assert fields_of(response) == ["cursor"]


TASK = {"name": "third", "spec": EVERY_MINUTE}
WITHIN = f"/api/v1/namespaces/{OTHER}"
REFUSED: dict[str, tuple[str, str, Any]] = {
    "to list tasks": ("GET", f"{WITHIN}/tasks", None),
    "to list tasks by the query": ("GET", f"/api/v1/tasks?namespace={OTHER}", None),
    "to create a task": ("POST", f"{WITHIN}/tasks", TASK),
    "to read a task": ("GET", f"{WITHIN}/tasks/first", None),
    "to change a task": ("PUT", f"{WITHIN}/tasks/first", {"spec": EVERY_MINUTE}),
    "to patch a task": ("PATCH", f"{WITHIN}/tasks/first", {"spec": {"suspend": True}}),
    "to pause a task": ("POST", f"{WITHIN}/tasks/first/pause", None),
    "to delete a task": ("DELETE", f"{WITHIN}/tasks/first", None),
    "to run a task": ("POST", f"{WITHIN}/tasks/first/run", None),
    "when a task runs next": ("GET", f"{WITHIN}/tasks/first/upcoming", None),
    "what runs next": ("GET", f"{WITHIN}/upcoming", None),
    "to list targets": ("GET", f"{WITHIN}/targets", None),
    "to create a target": ("POST", f"{WITHIN}/targets", {"name": "new", "spec": HOOK}),
    "to delete a target": ("DELETE", f"{WITHIN}/targets/hook", None),
    "to list runs": ("GET", f"{WITHIN}/runs", None),
    "to read a run": ("GET", f"{WITHIN}/runs/now", None),
    "to delete a run": ("DELETE", f"{WITHIN}/runs/now", None),
    "to run a task of one's own": (
        "POST",
        f"/api/v1/run-task?namespace={OTHER}",
        {"task_name": "sum", "a": 1, "b": 2},
    ),
    "a run's output": ("GET", f"/api/v1/get-task-output?id={uuid4()}&namespace={OTHER}", None),
    "to list executions": ("GET", f"{WITHIN}/executions", None),
    "to list a task's executions": ("GET", f"{WITHIN}/tasks/first/executions", None),
    "to list executions by the query": ("GET", f"/api/v1/executions?namespace={OTHER}", None),
    "to list changes": ("GET", f"/api/v1/audit?namespace={OTHER}", None),
    "to count executions": ("GET", f"/api/v1/metrics?namespace={OTHER}", None),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_another_namespace_is_refused_by_the_settings_name(rest: Facade, what: str) -> None:
    """This does not depend on the caller's permissions or on existing objects, and changes nothing."""
    method, path, body = REFUSED[what]
    before = await rest.tasks.list(OTHER)
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
    response = await rest.client.request(method, path, json=body, headers=headers)
    assert response.status_code == 403, response.text
    assert fields_of(response) == []
    problem = response.json()
    assert problem["type"] == "urn:carillon:problem:namespace-not-served"
    assert "does not serve the namespace team-c, only team-a, team-b, team-d" in problem["detail"]
    assert "CARILLON_NAMESPACES" in problem["detail"]
    assert await rest.tasks.list(OTHER) == before


async def test_an_execution_of_another_namespace_is_not_found(rest: Facade) -> None:
    """It is not found, and cannot be retried or cancelled; its logs cannot be read."""
    uid = row(2, OTHER).id
    assert (await rest.client.get(f"/api/v1/executions/{row(1, 'team-b').id}")).status_code == 200
    for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel"), ("GET", "/logs")):
        response = await rest.client.request(method, f"/api/v1/executions/{uid}{path}")
        assert response.status_code == 404, path
        assert OTHER not in response.text
    assert (await rest.client.get(f"/api/v1/get-task-output?id={uid}")).status_code == 404


async def test_the_counts_are_of_the_namespaces_served(rest: Facade) -> None:
    """This holds for JSON and Prometheus: two facades over one database do not count an execution twice."""
    assert (await rest.client.get("/api/v1/metrics")).json()["hour"]["executions"]["Failed"] == 2
    scraped = (await rest.client.get("/metrics")).text
    assert 'carillon_executions{status="Failed",window="hour"} 2.0' in scraped


async def test_changes_are_listed_of_the_namespaces_served(rest: Facade) -> None:
    """Other facades may write to the same audit."""
    await rest.client.post("/api/v1/namespaces/team-b/tasks", json=TASK)
    (event,) = await rest.audited()
    await rest.audit_log.write([replace(event, id=uuid4(), namespace=OTHER)])
    listed = (await rest.client.get("/api/v1/audit")).json()["items"]
    assert [item["namespace"] for item in listed] == ["team-b"]


async def test_who_may_list_in_each_of_them_may_list_all(rest: Facade) -> None:
    """No permission for the whole cluster is required; the error names the namespace without permission."""
    verbs, resources = ["get", "list"], ["scheduledtasks", "executions", "auditevents"]
    bob = rest.let("bob", "t0ken-of-bob", *(Rule(verbs, resources, namespace) for namespace in SERVED))
    carol = rest.let("carol", "t0ken-of-carol", *(Rule(verbs, resources, namespace) for namespace in SERVED[:2]))
    for path in ("/api/v1/tasks", "/api/v1/upcoming", "/api/v1/executions", "/api/v1/audit", "/api/v1/metrics"):
        assert (await rest.client.get(path, headers=bob)).status_code == 200, path
        assert (await rest.client.get(path, headers=carol)).status_code == 403, path
    refused = await rest.client.get("/api/v1/executions", headers=carol)
    assert "in the namespace team-d" in refused.json()["detail"]


async def test_a_run_is_found_in_whichever_namespace_it_is(rest: Facade) -> None:
    """It is found by its id alone, before it is in the history."""
    made = await rest.client.post("/api/v1/namespaces/team-b/tasks/first/run")
    assert made.status_code == 202, made.text
    path = f"/api/v1/get-task-output?id={made.json()['executionId']}"
    assert (await rest.client.get(path)).json()["status"] == "pending"


async def test_what_is_created_without_a_namespace_is_in_the_default_one(rest: Facade) -> None:
    """The default namespace is a served one."""
    assert (await rest.client.post("/api/v1/tasks", json=TASK)).json()["namespace"] == "team-a"


async def test_probes_do_not_depend_on_the_list(rest: Facade) -> None:
    """They have no namespace."""
    assert (await rest.client.get("/readyz")).status_code == 200


async def test_a_key_is_of_one_release(rest: Facade) -> None:
    """Another facade with other namespaces may share the database: the same request to it is a different request."""
    body, headers = {"name": "mine", "spec": EVERY_MINUTE}, {"Idempotency-Key": "once"}
    backends = rest.app.state.backends
    for where in ("team-a", "team-b"):
        rest.app.state.backends = replace(
            backends, settings=backends.settings.model_copy(update={"default_namespace": where})
        )
        answer = await rest.client.post("/api/v1/tasks", json=body, headers=headers)
        assert (answer.status_code, answer.json()["namespace"]) == (201, where)
