"""The output of a run over REST: who sees it, and how a run is found before it has a row."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest

from carillon_core.adapters.memory.caller import Rule
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord
from support.api import NOW, Facade, facade


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


def requests(rest: Facade) -> MemoryObjectStore:
    """Return the RunRequests."""
    return rest.server.stores["RunRequest"]


def row(uid: str, **fields: Any) -> ExecutionRecord:
    """Return the row of a run."""
    given: dict[str, Any] = {
        "id": UUID(uid),
        "task_uid": str(uuid4()),
        "namespace": "team-a",
        "task": "sum-1",
        "task_type": "sum",
        "slot": NOW,
        "cause": Cause.MANUAL,
        "status": ExecutionStatus.RUNNING,
        "started_at": NOW,
    }
    return ExecutionRecord(**{**given, **fields})


END = {"finished_at": NOW + timedelta(seconds=1)}
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "running": ({}, {"status": "running", "executionStatus": "Running", "output": None, "error": None}),
    "succeeded": (
        {"status": ExecutionStatus.SUCCEEDED, "result": {"sum": 3}, **END},
        {"status": "completed", "executionStatus": "Succeeded", "output": {"sum": 3}, "error": None},
    ),
    "failed": (
        {"status": ExecutionStatus.FAILED, "reason": "HTTP5xx", "error": "503", "result": {"statusCode": 503}, **END},
        {"status": "failed", "output": {"statusCode": 503}, "error": "503", "reason": "HTTP5xx"},
    ),
    "timed out": (
        {"status": ExecutionStatus.TIMED_OUT, "message": "ran too long", **END},
        {"status": "failed", "executionStatus": "TimedOut", "error": "ran too long"},
    ),
    "cancelled without a word": ({"status": ExecutionStatus.CANCELLED, **END}, {"error": "it is Cancelled"}),
}


@pytest.mark.parametrize("case", ROWS)
async def test_the_output_is_what_the_history_says(rest: Facade, case: str) -> None:
    """Once there is a row, the output comes from it, even if the request is deleted."""
    fields, want = ROWS[case]
    uid = (await rest.client.post("/api/v1/run-task", json={"task_name": "sum", "a": 1, "b": 2})).json()["id"]
    await rest.history.record([row(uid, **fields)])
    response = await rest.client.get("/api/v1/get-task-output", params={"id": uid})
    assert response.status_code == 200, response.text
    assert {key: response.json()[key] for key in want} == want
    assert ("retry-after" in response.headers) is (case == "running")


async def test_a_label_that_pretends_to_be_a_runs_is_not_believed(rest: Facade) -> None:
    """Callers may patch labels, so the id is computed, not read."""
    uid = (await rest.client.post("/api/v1/run-task", json={"task_name": "counter"})).json()["id"]
    forged = {"name": "a-forged-one", "labels": {"carillon.dev/execution-id": uid}}
    await requests(rest).create("team-a", {"metadata": forged, "spec": {"task": {"sum": {"a": 1, "b": 2}}}})
    output = (await rest.client.get("/api/v1/get-task-output", params={"id": uid})).json()
    assert output["task_name"] == "counter"


MINE = ["runrequests", "executions"]
SEEN: dict[str, tuple[list[Rule], dict[str, int]]] = {
    "everything": ([Rule("*", "*")], {"bare": 200, "named": 200, "located": 200}),
    "their own namespace": ([Rule("*", MINE, "team-b")], {"bare": 200, "named": 200, "located": 200}),
    "runs by name": ([Rule(["get"], MINE, "team-b")], {"bare": 200, "named": 403, "located": 200}),
    "executions alone": ([Rule(["get"], ["executions"], "team-b")], {"bare": 200, "named": 403, "located": 403}),
    "another namespace": ([Rule("*", MINE, "team-c")], {"bare": 404, "named": 403, "located": 403}),
    "nothing": ([], {"bare": 404, "named": 403, "located": 403}),
}


@pytest.mark.parametrize("case", SEEN)
async def test_a_run_that_has_not_begun_is_told_to_who_may_see_it(rest: Facade, case: str) -> None:
    """RBAC decides, for a query by id alone, with the namespace, or with the run's name."""
    rules, want = SEEN[case]
    posted = await rest.client.post("/api/v1/run-task?namespace=team-b", json={"task_name": "counter"})
    located = {key: value for key, (value,) in parse_qs(urlsplit(posted.headers["location"]).query).items()}
    headers = rest.let("carol", "t0ken-of-carol", *rules)
    asked = {
        "bare": {"id": located["id"]},
        "named": {"id": located["id"], "namespace": "team-b"},
        "located": located,
    }
    for how, params in asked.items():
        response = await rest.client.get("/api/v1/get-task-output", params=params, headers=headers)
        assert response.status_code == want[how], f"{how}: {response.text}"


async def test_a_run_is_found_when_its_request_is_deleted_before_it_has_a_row(rest: Facade) -> None:
    """It is pending as long as a row may come, and has failed then; the row counts whenever it comes."""
    made = (await rest.client.post("/api/v1/run-task", json={"task_name": "sum", "a": 1, "b": 2})).json()
    await requests(rest).delete("team-a", made["run"])
    for passed, want in ((0, ("pending", None)), (599, ("pending", None)), (1, ("failed", "its RunRequest was"))):
        rest.clock.now += timedelta(seconds=passed)
        for more in ({}, {"namespace": "team-a"}, {"namespace": "team-a", "run": made["run"]}):
            response = await rest.client.get("/api/v1/get-task-output", params={"id": made["id"], **more})
            output = response.json()
            assert (output["status"], output["error"] and output["error"][:18]) == want
            assert (output["task_name"], output["reason"]) == ("sum", "RunRequestDeleted")
    await rest.history.record([row(made["id"])])
    output = await rest.client.get("/api/v1/get-task-output", params={"id": made["id"]})
    assert output.json()["status"] == "running"


async def test_a_run_whose_row_comes_while_its_request_is_looked_for_is_not_missed(rest: Facade) -> None:
    """The request was deleted because it had ended."""
    made = (await rest.client.post("/api/v1/run-task", json={"task_name": "counter"})).json()
    name, store = made["run"], requests(rest)
    await store.delete("team-a", name)
    get, calls = rest.history.get, []

    async def late(uid: UUID) -> ExecutionRecord:
        calls.append(uid)
        if len(calls) == 2:
            await rest.history.record([row(made["id"])])
        return await get(uid)

    rest.history.get = late  # type: ignore[method-assign]
    output = await rest.client.get("/api/v1/get-task-output", params={"id": made["id"]})
    assert output.json()["status"] == "running"


async def test_a_run_is_accepted_although_the_database_is_unavailable(rest: Facade) -> None:
    """It is not remembered then, but has its label."""
    rest.idempotency.outage = "connection refused"
    made = await rest.client.post("/api/v1/run-task", json={"task_name": "counter"})
    assert made.status_code == 202
    output = await rest.client.get("/api/v1/get-task-output", params={"id": made.json()["id"]})
    assert output.json()["status"] == "pending"


async def test_an_id_that_may_not_be_seen_is_answered_as_one_that_nobody_knows(rest: Facade) -> None:
    """The 404 is the same whether there is a row or not."""
    known, unknown = str(uuid4()), str(uuid4())
    await rest.history.record([row(known, namespace="team-b")])
    headers = rest.let("carol", "t0ken-of-carol", Rule("*", "*", "team-a"))
    answers = [
        await rest.client.get("/api/v1/get-task-output", params={"id": uid, **more}, headers=headers)
        for uid in (known, unknown)
        for more in ({}, {"namespace": "team-a"})
    ]
    assert {(r.status_code, r.json()["detail"].replace(known, "X").replace(unknown, "X")) for r in answers} == {
        (404, answers[0].json()["detail"].replace(known, "X"))
    }
