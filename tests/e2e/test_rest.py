"""REST on a real cluster: runs and their results, pages with real tokens, a target in use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.manifests import target, task
from support.waiting import until

if TYPE_CHECKING:
    import httpx

    from support.stack import Stack

ADD = {"intervalSeconds": 3600, "task": {"sum": {"a": 1, "b": 2}}}
SHELL = "test/rest-shell:1"
SAYS = 'printf done > "$CARILLON_TERMINATION_LOG"'
FINAL = {"completed", "failed"}


def output_at(stack: Stack, path: str) -> dict[str, Any]:
    """Return the output of a run once it has ended."""
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(stack.http.get(path).raise_for_status().json())
        return found["status"] in FINAL

    until(ended, 90, f"the run at {path} has ended: {found}", every=0.2)
    return found


def accepted(answer: httpx.Response) -> dict[str, Any]:
    """Return the body of a response 202."""
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_task_is_run_with_other_parameters_to_its_result(stack: Stack, namespace: str) -> None:
    """The response, the operator, the history and the output have the same id; the run shows its result."""
    stack.apply(namespace, "add", **ADD)
    answer = stack.http.post(f"/api/v1/namespaces/{namespace}/tasks/add/run", json={"parameters": {"a": 40}})
    view = accepted(answer)
    uid = view["executionId"]
    output = output_at(stack, f"/api/v1/get-task-output?id={uid}")
    assert (output["status"], output["output"], output["executionStatus"]) == ("completed", {"sum": 42}, "Succeeded")
    (row,) = stack.rows(namespace, "add")
    assert str(row["id"]) == uid

    def finished() -> bool:
        view.update(stack.http.get(answer.headers["location"]).raise_for_status().json())
        return view["finishedAt"] is not None

    until(finished, 60, "the run has finished")
    assert (view["accepted"], view["result"], view["executionId"]) == (True, "Succeeded", uid)
    stored = stack.ours(namespace, "runrequests", view["name"])
    assert stored["status"]["executionId"] == uid == stored["metadata"]["labels"]["carillon.dev/execution-id"]
    assert stack.http.delete(answer.headers["location"]).status_code == 204
    assert stack.http.get(f"/api/v1/executions/{uid}").json()["result"] == {"sum": 42}


def test_a_run_at_a_time_is_pending_until_then(stack: Stack, namespace: str) -> None:
    """It is found by its id alone before there is a row; a run of a missing task fails with the reason."""
    stack.apply(namespace, "add", **ADD)
    runs = f"/api/v1/namespaces/{namespace}/tasks/add/run"
    waiting = accepted(stack.http.post(runs, json={"runAt": "2099-01-01T00:00:00Z"}))
    found = stack.http.get("/api/v1/get-task-output", params={"id": waiting["executionId"]})
    assert found.json()["status"] == "pending", found.text
    assert found.headers["retry-after"] == "1"
    stored = stack.ours(namespace, "runrequests", waiting["name"])
    assert stored["metadata"]["labels"] == {"carillon.dev/execution-id": waiting["executionId"]}
    unknown = stack.http.get("/api/v1/get-task-output?id=00000000-0000-0000-0000-000000000000")
    assert unknown.status_code == 404
    assert unknown.headers["content-type"] == "application/problem+json"


def test_each_type_is_run_by_itself_to_its_output(stack: Stack, namespace: str, httpbin_url: str) -> None:
    """All are started at once, and each is followed to its end."""
    stack.add_images({SHELL: {"entrypoint": []}})
    bodies: dict[str, dict[str, Any]] = {
        "sum": {"a": 1, "b": 2},
        "sleep": {"durationSeconds": 1},
        "counter": {"name": "visits"},
        "http": {"url": f"{httpbin_url}/status/418", "expectedStatuses": [418]},
        "container": {"image": SHELL, "command": ["/bin/sh", "-c", SAYS]},
        "plugin": {"name": "nobody-brought-this"},
    }
    where = f"/api/v1/run-task?namespace={namespace}"
    answers = {name: stack.http.post(where, json={"task_name": name, **body}) for name, body in bodies.items()}
    assert {name: accepted(answer)["status"] for name, answer in answers.items()} == dict.fromkeys(bodies, "pending")
    outputs = {name: output_at(stack, answer.headers["location"]) for name, answer in answers.items()}
    assert {name: output["task_name"] for name, output in outputs.items()} == {name: name for name in bodies}
    assert {name: output["status"] for name, output in outputs.items()} == {
        **dict.fromkeys(bodies, "completed"),
        "plugin": "failed",
    }
    assert outputs["sum"]["output"] == {"sum": 3}
    assert outputs["sleep"]["output"]["sleptSeconds"] >= 1
    assert outputs["counter"]["output"]["value"] == 1
    assert outputs["http"]["output"]["statusCode"] == 418
    assert outputs["container"]["output"] == {"exitCode": 0, "message": "done"}
    assert "nobody-brought-this" in outputs["plugin"]["error"]
    rows = {str(row["id"]): row["status"] for row in stack.rows(namespace)}
    assert rows.keys() == {answer.json()["id"] for answer in answers.values()}


def test_the_same_key_runs_once(stack: Stack, namespace: str) -> None:
    """The name of the run is derived from the key: even a second facade without the key's row would find it taken."""
    body = {"task_name": "counter", "name": "once"}
    where = f"/api/v1/run-task?namespace={namespace}"
    headers = {"Idempotency-Key": "4b1d"}
    first = accepted(stack.http.post(where, json=body, headers=headers))
    again = accepted(stack.http.post(where, json=body, headers=headers))
    assert again == first
    output_at(stack, f"/api/v1/get-task-output?id={first['id']}")
    assert len(stack.rows(namespace)) == 1


MANY = 300


@pytest.fixture(scope="module")
def many(stack: Stack, shared_namespace: str) -> str:
    """Apply three hundred tasks that never run, every third suspended, every tenth of another type."""
    spec = {"runAt": "2099-01-01T00:00:00Z"}
    kinds = {True: {"sum": {"a": 1, "b": 2}}, False: {"counter": {}}}
    tasks = [
        task(f"t{k:03}", **spec, suspend=k % 3 == 0, task=kinds[k % 10 == 0]) | {"apiVersion": "carillon.dev/v1alpha1"}
        for k in range(MANY)
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": tasks}
    stack.kubectl("create", "--namespace", shared_namespace, "--filename", "-", stdin=json.dumps(listed))
    return shared_namespace


PAGES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "everything": ({}, list(range(MANY))),
    "suspended ones": ({"suspended": True}, list(range(0, MANY, 3))),
    "of a type, not suspended": ({"type": "sum", "suspended": False}, [k for k in range(0, MANY, 10) if k % 3]),
    "by the beginning of the name": ({"namePrefix": "t29"}, list(range(290, 300))),
}


@pytest.mark.parametrize("case", PAGES)
def test_pages_by_the_api_servers_tokens_join(stack: Stack, many: str, case: str) -> None:
    """Each task is listed once, fifty per page, filtered or not, even if others are created meanwhile."""
    filters, want = PAGES[case]
    params: dict[str, Any] = {"limit": 50, **filters}
    found: list[str] = []
    calls = 0
    while True:
        page = stack.http.get(f"/api/v1/namespaces/{many}/tasks", params=params).raise_for_status().json()
        assert len(page["items"]) <= 50
        found += [item["name"] for item in page["items"]]
        calls += 1
        if page["nextCursor"] is None:
            break
        params["cursor"] = page["nextCursor"]
    assert found == [f"t{k:03}" for k in want]
    assert calls <= MANY // 50 + 1
    if calls > 1:
        refused = stack.http.get(f"/api/v1/namespaces/{many}/tasks", params=params | {"type": "sleep"})
        assert [e["field"] for e in refused.json()["errors"]] == ["cursor"]


def test_what_is_to_come_of_three_hundred(stack: Stack, many: str) -> None:
    """The list has the first times of all tasks in the namespace, without suspended ones."""
    params = {"from": "2098-12-31T23:00:00Z", "count": "3"}
    refused = stack.http.get(f"/api/v1/namespaces/{many}/upcoming", params=params)
    assert [e["field"] for e in refused.json()["errors"]] == ["from"]
    items = stack.http.get(f"/api/v1/namespaces/{many}/upcoming?count=3").raise_for_status().json()["items"]
    assert [item["task"] for item in items] == ["t001", "t002", "t004"]


def test_a_target_in_use_is_not_deleted_unawares(stack: Stack, namespace: str) -> None:
    """The 409 names its users; a cascade deletes them in the cluster."""
    calling = {"http": {"targetRef": {"name": "shop"}}}
    stack.apply_objects(
        namespace,
        target("shop", url="http://127.0.0.1:9/"),
        task("caller", runAt="2099-01-01T00:00:00Z", task=calling),
    )
    path = f"/api/v1/namespaces/{namespace}/targets/shop"
    refused = stack.http.delete(path)
    assert refused.status_code == 409, refused.text
    assert refused.json()["users"] == [{"kind": "ScheduledTask", "name": "caller"}]
    etag = stack.http.get(path).headers["etag"]
    deleted = stack.http.delete(path, params={"cascade": True}, headers={"If-Match": etag})
    assert (deleted.status_code, deleted.json()["deleted"]) == (200, refused.json()["users"])
    assert stack.http.get(path).status_code == 404
    assert stack.ours(namespace, "scheduledtasks", "caller") == {}


def test_pause_and_resume_are_seen_by_kubectl(stack: Stack, namespace: str) -> None:
    """A task from kubectl without the field suspend can be paused, too."""
    stack.apply(namespace, "idle", **ADD)
    path = f"/api/v1/namespaces/{namespace}/tasks/idle"
    paused = stack.http.post(f"{path}/pause")
    assert paused.status_code == 200, paused.text
    assert stack.task(namespace, "idle")["spec"]["suspend"] is True
    assert stack.http.post(f"{path}/pause").headers["etag"]
    assert stack.http.post(f"{path}/resume", headers={"If-Match": paused.headers["etag"] + "0"}).status_code == 400
    assert stack.http.post(f"{path}/resume").json()["spec"]["suspend"] is False
    assert stack.task(namespace, "idle")["spec"]["suspend"] is False
