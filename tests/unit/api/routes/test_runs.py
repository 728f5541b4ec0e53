"""Runs over REST: of a ScheduledTask or with their own task."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from carillon_core.adapters.memory.caller import Rule
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.domain.decision.decide_request import decide_request
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.observed.jobs import ObservedRequest, ObservedTask
from carillon_core.ports import JSONObject
from support.api import TASKS, Facade, facade, fields_of

RUNS = "/api/v1/namespaces/team-a/runs"
ADD: dict[str, Any] = {"intervalSeconds": 60, "task": {"sum": {"a": 1, "b": 2}}}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade with one ``sum`` task."""
    async with facade() as made:
        await made.create("add", ADD)
        yield made


def requests(rest: Facade) -> MemoryObjectStore:
    """Return the RunRequests."""
    return rest.server.stores["RunRequest"]


async def run(rest: Facade, body: Any = None, **more: Any) -> httpx.Response:
    """Request a run of the task, which must be accepted."""
    response = await rest.client.post(f"{TASKS}/add/run", json=body, **more)
    assert response.status_code == 202, response.text
    return response


async def launched_as(rest: Facade, name: str) -> UUID:
    """Return the execution id with which the operator would launch a RunRequest now."""
    request = ObservedRequest.from_object(await requests(rest).get("team-a", name))
    task = ObservedTask.from_object(await rest.tasks.get("team-a", "add")) if request.task_name else None
    (launch,) = decide_request(request, task, [], rest.clock.now).actions
    assert isinstance(launch, Launch)
    return UUID(str(launch.execution_id))


AT = "2026-03-01T15:00:00Z"
BODIES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "nothing at all": (None, {}, "2026-03-01T12:00:00Z"),
    "an empty object": ({}, {}, "2026-03-01T12:00:00Z"),
    "parameters and a policy": (
        {"parameters": {"a": 40}, "concurrencyPolicy": "Allow", "timeoutSeconds": 5},
        {"parameters": {"a": 40}, "concurrencyPolicy": "Allow", "timeoutSeconds": 5},
        "2026-03-01T12:00:00Z",
    ),
    "a time to come": ({"runAt": "2026-03-01T16:00:00+01:00"}, {"runAt": AT}, AT),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_run_is_accepted_with_the_id_that_the_operator_will_launch_it_under(rest: Facade, case: str) -> None:
    """The response is 202 with the location and the computed execution id."""
    body, want_spec, want_slot = BODIES[case]
    response = await run(rest, body) if body is not None else await rest.client.post(f"{TASKS}/add/run")
    assert response.status_code == 202, response.text
    view = response.json()
    assert response.headers["location"] == f"{RUNS}/{view['name']}"
    assert view["spec"] == {"taskRef": {"name": "add"}, "ttlSecondsAfterFinished": 3600, **want_spec}
    assert (view["task"], view["slot"], view["accepted"], view["result"]) == ("add", want_slot, None, None)
    rest.clock.now += timedelta(days=1)
    assert view["executionId"] == str(await launched_as(rest, view["name"]))
    shown = (await rest.client.get(response.headers["location"])).json()
    assert shown["executionId"] == view["executionId"]
    (event,) = [e for e in await rest.audited() if e.action == "run"]
    assert (event.resource, event.name, event.before) == ("runrequests", view["name"], None)


BAD_RUNS: dict[str, tuple[str, Any, int, list[str]]] = {
    "of a task that is not there": ("absent", {}, 404, []),
    "a parameter that a sum has not": ("add", {"parameters": {"c": 1}}, 422, ["parameters.c"]),
    "a parameter of another type": ("add", {"parameters": {"a": "x"}}, 422, ["parameters.a"]),
    "a time past": ("add", {"runAt": "2026-03-01T12:00:00Z"}, 422, ["runAt"]),
    "a time without a zone": ("add", {"runAt": "2026-03-01T15:00:00"}, 422, ["runAt"]),
    "an unknown field": ("add", {"params": {}}, 422, ["params"]),
    "an unknown policy": ("add", {"concurrencyPolicy": "Sometimes"}, 422, ["concurrencyPolicy"]),
    "parameters that are a list": ("add", {"parameters": []}, 422, ["parameters"]),
}


@pytest.mark.parametrize("case", BAD_RUNS)
async def test_a_bad_run_is_refused_before_it_is_asked_for(rest: Facade, case: str) -> None:
    """A run that the operator would reject is rejected at once, with the field."""
    task, body, want_status, want_fields = BAD_RUNS[case]
    response = await rest.client.post(f"{TASKS}/{task}/run", json=body)
    assert response.status_code == want_status, response.text
    assert fields_of(response) == want_fields
    assert await requests(rest).list(None) == []


async def test_who_may_only_create_runs_may_run_a_task(rest: Facade) -> None:
    """The operator then checks the task and the parameters; the run has no label, but a name."""
    headers = rest.let("ci", "t0ken-of-ci", Rule(["create", "get"], ["runrequests"]))
    response = await rest.client.post(f"{TASKS}/absent/run", headers=headers)
    assert response.status_code == 202, response.text
    assert response.json()["labels"] == {}
    assert (await rest.client.get(response.headers["location"], headers=headers)).status_code == 200


async def test_a_key_makes_one_run_whatever_was_lost(rest: Facade) -> None:
    """If the facade crashed after the creation, a repetition finds the same run and labels it."""
    key = {"Idempotency-Key": "k-1"}
    first = (await run(rest, {"parameters": {"a": 2}}, headers=key)).json()
    patch = {"metadata": {"labels": {"carillon.dev/execution-id": None}}}
    await requests(rest).patch("team-a", first["name"], patch)  # as if it had died before the label
    rest.idempotency.forget()  # and before it kept the answer
    again = (await run(rest, {"parameters": {"a": 2}}, headers=key)).json()
    assert (again["name"], again["executionId"]) == (first["name"], first["executionId"])
    (stored,) = await requests(rest).list(None)
    assert stored["metadata"]["labels"] == {"carillon.dev/execution-id": first["executionId"]}
    other = await run(rest, {"parameters": {"a": 2}}, headers={"Idempotency-Key": "k-2"})
    assert other.json()["name"] != first["name"]
    rest.let("bob", "t0ken-of-bob", Rule("*", "*"))
    bobs = await run(rest, headers={**key, "Authorization": "Bearer t0ken-of-bob"})
    assert bobs.json()["name"] != first["name"], "keys are each caller's own"


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_key_of_another_run_is_refused(rest: Facade, *, forgotten: bool) -> None:
    """The response is 422, and nothing is created; even if only the run, and not the store, still has the key."""
    key = {"Idempotency-Key": "k-1"}
    await run(rest, {"parameters": {"a": 2}}, headers=key)
    if forgotten:
        rest.idempotency.forget()
    response = await rest.client.post(f"{TASKS}/add/run", json={"parameters": {"a": 3}}, headers=key)
    assert (response.status_code, fields_of(response)) == (422, [])
    assert response.json()["type"] == "urn:carillon:problem:idempotency-key-reused"
    assert len(await requests(rest).list(None)) == 1


async def refuse(rest: Facade, name: str) -> None:
    """Reject a run as the operator does."""
    condition = {"type": "Accepted", "status": "False", "reason": "StillActive", "message": "add-1 is still active"}
    status = {
        "conditions": [{**condition, "lastTransitionTime": "2026-03-01T12:00:00Z"}],
        "finishedAt": "2026-03-01T12:00:01Z",
        "message": "add-1 is still active",
    }
    requests(rest).set_status("team-a", name, status)


async def test_a_run_says_why_it_was_refused(rest: Facade) -> None:
    """The response has the operator's reason and message."""
    name = (await run(rest)).json()["name"]
    await refuse(rest, name)
    view = (await rest.client.get(f"{RUNS}/{name}")).json()
    assert (view["accepted"], view["reason"], view["message"]) == (False, "StillActive", "add-1 is still active")
    assert (view["result"], view["finishedAt"]) == (None, "2026-03-01T12:00:01Z")


async def test_runs_are_listed_by_task_and_state_in_pages(rest: Facade) -> None:
    """They are listed like tasks."""
    await rest.create("other", ADD)
    first, second = [(await run(rest)).json()["name"] for _ in range(2)]
    third = (await rest.client.post(f"{TASKS}/other/run")).json()["name"]
    await refuse(rest, first)

    async def names(path: str) -> set[str]:
        return {item["name"] for item in (await rest.client.get(path)).json()["items"]}

    assert await names("/api/v1/runs") == {first, second, third}
    assert await names(f"{RUNS}?task=add") == {first, second}
    assert await names(f"{RUNS}?finished=false") == {second, third}
    assert await names(f"{RUNS}?finished=true&task=other") == set()
    page = (await rest.client.get(f"{RUNS}?limit=2")).json()
    more = (await rest.client.get(RUNS, params={"limit": 2, "cursor": page["nextCursor"]})).json()
    assert {i["name"] for i in page["items"] + more["items"]} == {first, second, third}


async def test_a_run_is_deleted(rest: Facade) -> None:
    """The response is 204; If-Match applies, and the audit has the deletion."""
    name = (await run(rest)).json()["name"]
    stale = await rest.client.delete(f"{RUNS}/{name}", headers={"If-Match": '"0"'})
    assert (stale.status_code, fields_of(stale)) == (412, [])
    assert (await rest.client.delete(f"{RUNS}/{name}")).status_code == 204
    assert (await rest.client.get(f"{RUNS}/{name}")).status_code == 404
    assert [e.action for e in await rest.audited()][-1] == "delete"


OWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sum": ({"a": 1, "b": 2.5}, {"task": {"sum": {"a": 1, "b": 2.5}}}),
    "sleep": ({"durationSeconds": 3}, {"task": {"sleep": {"durationSeconds": 3}}}),
    "counter": ({}, {"task": {"counter": {"name": "run-task"}}}),
    "http": (
        {"url": "https://a/", "timeoutSeconds": 9, "retry": {"limit": 2}},
        {"task": {"http": {"url": "https://a/"}}, "timeoutSeconds": 9, "retry": {"limit": 2}},
    ),
    "container": (
        {"image": "busybox", "command": ["true"]},
        {"task": {"container": {"image": "busybox", "command": ["true"]}}},
    ),
    "plugin": (
        {"name": "greet", "parameters": {"who": "you"}},
        {"task": {"plugin": {"name": "greet", "parameters": {"who": "you"}}}},
    ),
}


def asked(spec: JSONObject, want: JSONObject) -> JSONObject:
    """Return the part of a stored spec that the caller sent, without defaults."""
    return {
        key: asked(spec[key], value) if isinstance(value, dict) and isinstance(spec.get(key), dict) else spec.get(key)
        for key, value in want.items()
    }


@pytest.mark.parametrize("task_name", OWN)
async def test_each_type_is_run_at_once_and_its_id_is_the_operators(rest: Facade, task_name: str) -> None:
    """The response is 202 with the id; Location leads to the output, which is pending."""
    fields, want = OWN[task_name]
    response = await rest.client.post("/api/v1/run-task", json={"task_name": task_name, **fields})
    assert response.status_code == 202, response.text
    answer = response.json()
    assert (answer["namespace"], answer["status"]) == ("team-a", "pending")
    (stored,) = await requests(rest).list(None)
    assert stored["metadata"]["name"] == answer["run"]
    assert asked(stored["spec"], want) == want
    assert answer["id"] == str(await launched_as(rest, answer["run"]))
    output = await rest.client.get(response.headers["location"])
    assert output.status_code == 200, output.text
    assert output.json() == {**NOTHING, "id": answer["id"], "status": "pending", "task_name": task_name}
    assert output.headers["retry-after"] == "1"


NOTHING: dict[str, Any] = {
    "namespace": "team-a",
    "output": None,
    "error": None,
    "reason": None,
    "executionStatus": None,
    "startedAt": None,
    "finishedAt": None,
}

BAD_OWN: dict[str, tuple[str, Any, list[str]]] = {
    "no type": ("", {"a": 1, "b": 2}, ["task_name"]),
    "an unknown type": ("", {"task_name": "email"}, ["task_name"]),
    "a type that is a number": ("", {"task_name": 5}, ["task_name"]),
    "a type in the words of the rest": ("", {"taskName": "sum", "a": 1, "b": 2}, ["task_name"]),
    "no object": ("", [], ["(body)"]),
    "a summand too few": ("", {"task_name": "sum", "a": 1}, ["b"]),
    "a summand as text": ("", {"task_name": "sum", "a": "1", "b": 2}, ["a"]),
    "a field of another type": ("", {"task_name": "counter", "a": 1}, ["a"]),
    "a field in snake case": (
        "",
        {"task_name": "sleep", "duration_seconds": 1},
        ["duration_seconds", "durationSeconds"],
    ),
    "no destination": ("", {"task_name": "http"}, ["(body)"]),
    "a template that cannot be read": ("", {"task_name": "http", "url": "https://a/{{ x"}, ["url"]),
    "a namespace in capitals": ("?namespace=TEAM", {"task_name": "counter"}, ["namespace"]),
    "an unknown parameter": ("?ns=a", {"task_name": "counter"}, ["ns"]),
}


@pytest.mark.parametrize("case", BAD_OWN)
async def test_a_bad_task_of_ones_own_is_refused_with_its_field(rest: Facade, case: str) -> None:
    """The fields have the names that the caller sent."""
    query, body, want_fields = BAD_OWN[case]
    response = await rest.client.post(f"/api/v1/run-task{query}", json=body)
    assert response.status_code == 422, response.text
    assert sorted(fields_of(response)) == sorted(want_fields)
    assert await requests(rest).list(None) == []


async def test_a_run_goes_to_the_namespace_that_is_named(rest: Facade) -> None:
    """It is found there by its id alone."""
    posted = await rest.client.post("/api/v1/run-task?namespace=team-b", json={"task_name": "counter"})
    assert posted.json()["namespace"] == "team-b"
    output = await rest.client.get("/api/v1/get-task-output", params={"id": posted.json()["id"]})
    assert (output.json()["status"], output.json()["namespace"]) == ("pending", "team-b")


async def test_a_run_that_was_refused_has_failed_before_its_row_is_there(rest: Facade) -> None:
    """The output has the operator's reason."""
    view = (await run(rest)).json()
    await refuse(rest, view["name"])
    output = (await rest.client.get("/api/v1/get-task-output", params={"id": view["executionId"]})).json()
    assert (output["status"], output["reason"], output["error"]) == ("failed", "StillActive", "add-1 is still active")
