"""RBAC is asked before a body is read, and nothing is kept for a caller who may not make the call."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from carillon_api.middleware.permission import EVERYWHERE, NEEDED
from carillon_core.adapters.memory.caller import Rule
from support.api import MERGE_PATCH, Facade, facade, fields_of, openapi_document
from support.executions import of_a_task

KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
WITHOUT_PERMISSION = {"/api/v1/preview", "/api/v1/namespaces/{namespace}/preview"}
"""They store nothing and read nothing of the cluster."""
SUGGEST = {"/api/v1/load/suggest", "/api/v1/namespaces/{namespace}/load/suggest"}
"""They store nothing; the cluster decides when they list the tasks as the caller, see ``reports/test_spread``."""


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


def test_every_operation_with_a_body_or_a_key_has_its_permission() -> None:
    """A new one needs an entry in ``NEEDED``."""
    found = {
        (method.upper(), path)
        for path, item in openapi_document()["paths"].items()
        for method, operation in item.items()
        if "requestBody" in operation or any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", ()))
    }
    assert {each for each in found if each[1] not in WITHOUT_PERMISSION | SUGGEST} == set(NEEDED)


def path_of(template: str, execution: object) -> str:
    """Return a path of the template."""
    return template.replace("{namespace}", "team-a").replace("{name}", "nightly").replace("{id}", str(execution))


@pytest.mark.parametrize(("method", "template"), NEEDED)
async def test_without_the_permission_the_body_is_not_judged(rest: Facade, method: str, template: str) -> None:
    """The answer is that of RBAC, whatever the body; with the permission, the body's problems are named."""
    record = await of_a_task(rest)
    path = path_of(template, record.id)
    headers = {"Content-Type": "application/json", **(MERGE_PATCH if method == "PATCH" else {}), **KEY}
    verb, resource = NEEDED[method, template]
    reading = [Rule([each], ["*"]) for each in ("get", "list") if each != verb]
    bob = rest.let("bob", "t0ken-of-bob", *reading)
    refused = await rest.client.request(method, path, content=b'{"unknown": 1}', headers={**headers, **bob})
    assert (refused.status_code, fields_of(refused)) == (403, []), refused.text
    assert f'User "bob" cannot {verb} resource "{resource}"' in refused.json()["detail"]
    assert rest.idempotency.rows == {}
    rest.let("bob", "t0ken-of-bob", *reading, Rule([verb], [resource], None if template in EVERYWHERE else "team-a"))
    judged = await rest.client.request(method, path, content=b'{"unknown": 1}', headers={**headers, **bob})
    assert judged.status_code == 422, judged.text
    assert fields_of(judged)


async def test_nothing_is_kept_for_whoever_may_not_know_of_an_execution(rest: Facade) -> None:
    """The answer is that of an execution that does not exist, and no key is taken."""
    record = await of_a_task(rest)
    bob = rest.let("bob", "t0ken-of-bob", Rule(["create"], ["runrequests"]))
    response = await rest.client.post(f"/api/v1/executions/{record.id}/retry", headers={**KEY, **bob})
    assert response.status_code == 404
    assert rest.idempotency.rows == {}


CREATIONS: dict[str, tuple[str, Any]] = {
    "a task": (
        "/api/v1/namespaces/team-a/tasks",
        {"name": "x", "spec": {"intervalSeconds": 5, "task": {"counter": {}}}},
    ),
    "a run": ("/api/v1/run-task?namespace=team-a", {"task_name": "sum", "a": 1, "b": 2}),
    "a retry": ("/api/v1/executions/{id}/retry", None),
}


@pytest.mark.parametrize("case", CREATIONS)
async def test_a_kept_answer_is_not_for_whoever_has_lost_the_permission(rest: Facade, case: str) -> None:
    """The permission is asked for again, not looked up; with it, the answer is there still."""
    record = await of_a_task(rest)
    path, body = CREATIONS[case]
    path = path.replace("{id}", str(record.id))
    bob = {**KEY, **rest.let("bob", "t0ken-of-bob", Rule("*", "*"))}
    first = await rest.client.post(path, json=body, headers=bob)
    assert first.is_success, first.text
    rest.let("bob", "t0ken-of-bob", Rule(["get", "list"], ["*"]))
    assert (await rest.client.post(path, json=body, headers=bob)).status_code == 403
    rest.let("bob", "t0ken-of-bob", Rule("*", "*"))
    again = await rest.client.post(path, json=body, headers=bob)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


async def test_a_missing_task_is_not_remembered(rest: Facade) -> None:
    """Once it exists, the same request runs it."""
    path = "/api/v1/namespaces/team-a/tasks/nightly/run"
    assert (await rest.client.post(path, headers=KEY)).status_code == 404
    await rest.create("nightly")
    assert (await rest.client.post(path, headers=KEY)).status_code == 202
