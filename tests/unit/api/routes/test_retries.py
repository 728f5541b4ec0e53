"""Retries of executions over REST."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from carillon_api.views.runs import run_execution_id
from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, request_job_name
from support.api import Facade, facade, fields_of
from support.executions import (
    ADD,
    EXECUTIONS,
    NAMESPACED,
    RUNNING,
    SUCCEEDED,
    of_a_task,
    row,
    the_requests,
)


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def retry(rest: Facade, record: ExecutionRecord, **more: Any) -> httpx.Response:
    """Request a retry."""
    return await rest.client.post(f"{EXECUTIONS}/{record.id}/retry", **more)


ENDS = [s for s in ExecutionStatus if s not in {RUNNING, SUCCEEDED}]


@pytest.mark.parametrize("status", ENDS)
async def test_what_did_not_succeed_is_repeated(rest: Facade, status: ExecutionStatus) -> None:
    """The response is 202 with the execution's id and the location of the run; the audit has the retry."""
    record = await of_a_task(rest, status=status)
    response = await retry(rest, record)
    assert response.status_code == 202, response.text
    (request,) = await the_requests(rest)
    assert request["spec"].items() >= {"taskRef": {"name": "nightly"}, "retryOf": str(record.id)}.items()
    assert response.json() == {
        "id": str(run_execution_id(request)),
        "retryOf": str(record.id),
        "namespace": "team-a",
        "task": "nightly",
        "run": request["metadata"]["name"],
        "parameters": {},
    }
    assert (await rest.client.get(response.headers["location"])).status_code == 200
    event = (await rest.audited())[-1]
    assert (event.action, event.resource, event.name) == ("retry", "runrequests", request["metadata"]["name"])


async def test_whoever_asks_twice_gets_the_same_run(rest: Facade) -> None:
    """A double click, or a client that got no response, creates one request."""
    record = await of_a_task(rest)
    first, second = await retry(rest, record), await retry(rest, record)
    assert first.json() == second.json()
    assert len(await the_requests(rest)) == 1
    other = await retry(rest, record, json={"parameters": {"a": 5}})
    assert other.status_code == 409


async def test_a_repetition_is_found_before_it_has_run(rest: Facade) -> None:
    """It is found by its execution's id alone, as any run."""
    uid = (await retry(rest, await of_a_task(rest))).json()["id"]
    output = await rest.client.get("/api/v1/get-task-output", params={"id": uid})
    assert output.status_code == 200, output.text
    assert output.json()["status"] == "pending"


async def test_a_repetition_that_failed_can_be_followed_by_another(rest: Facade) -> None:
    """When the retry has ended, there is a new request; while it runs, there is none."""
    record = await of_a_task(rest)
    first = (await retry(rest, record)).json()
    again = row(5, id=UUID(first["id"]), task_uid=record.task_uid, retry_of=record.id, status=RUNNING)
    rest.history.rows[again.id] = again
    assert (await retry(rest, record)).status_code == 409
    rest.history.rows[again.id] = row(5, id=again.id, task_uid=record.task_uid, retry_of=record.id)
    second = (await retry(rest, record)).json()
    assert second["id"] != first["id"]
    assert len(await the_requests(rest)) == 2


async def test_a_request_is_repeated_with_its_parameters(rest: Facade) -> None:
    """This works while the request exists; the body may contain others."""
    task = (await rest.create(spec=ADD)).json()
    spec = {"taskRef": {"name": "nightly"}, "parameters": {"a": 40}}
    body = {"metadata": {"name": "now", "namespace": "team-a"}, "spec": spec}
    request = await rest.server.stores["RunRequest"].create("team-a", body)
    origin = request["metadata"]["uid"]
    job = request_job_name("now", origin)
    record = row(task_uid=task["uid"], origin=origin, cause=Cause.MANUAL, job_name=job)
    await rest.history.record([record])
    response = await retry(rest, record)
    assert response.json()["parameters"] == {"a": 40}
    await rest.server.stores["RunRequest"].delete("team-a", "now")
    gone = await retry(rest, record)
    assert gone.status_code == 409
    assert "parameters" in gone.json()["detail"]
    same = await retry(rest, record, json={"parameters": {"a": 40}})
    assert same.json() == response.json()


async def test_parameters_that_the_task_does_not_have_are_refused(rest: Facade) -> None:
    """The response is 422, and nothing is created."""
    record = await of_a_task(rest)
    response = await retry(rest, record, json={"parameters": {"c": 1}})
    assert response.status_code == 422
    assert fields_of(response) == ["parameters.c"]
    assert await the_requests(rest) == []


NOT_REPEATED: dict[str, tuple[dict[str, Any], str]] = {
    "it runs": ({"status": RUNNING}, "still running"),
    "it succeeded": ({"status": SUCCEEDED}, "succeeded"),
    "its task is another one by now": ({"task_uid": str(uuid4())}, "created again since"),
    "its task is gone": ({"task": "absent"}, "has been deleted"),
    "it had a task of its own": (
        {"cause": Cause.MANUAL, "task_uid": str(UUID(int=5)), "origin": str(UUID(int=5))},
        "own",
    ),
}


@pytest.mark.parametrize("case", NOT_REPEATED)
async def test_what_cannot_be_repeated_says_why(rest: Facade, case: str) -> None:
    """The response is 409, and nothing is created."""
    fields, want = NOT_REPEATED[case]
    uid = (await rest.create(spec=ADD)).json()["uid"]
    record = row(**{"task_uid": uid, **fields})
    await rest.history.record([record])
    response = await retry(rest, record)
    assert response.status_code == 409
    assert fields_of(response) == []
    assert response.json()["type"] == "urn:carillon:problem:wrong-state"
    assert want in response.json()["detail"]
    assert await the_requests(rest) == []


async def test_a_repetition_needs_the_right_to_create_requests(rest: Facade) -> None:
    """The response is the cluster's error."""
    record = await of_a_task(rest)
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED, Rule(["get"], ["scheduledtasks"], "team-a"))
    response = await retry(rest, record, headers=bob)
    assert response.status_code == 403
    assert fields_of(response) == []
    assert await the_requests(rest) == []
