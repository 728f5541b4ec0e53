"""RunRequests: runs outside the schedule, now or at a given time, refusals, deletion and permissions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from carillon_devcluster import ClusterError
from support.manifests import condition, request, soon, task
from support.view import instant
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack

SUM = task("sum", intervalSeconds=3600, task={"sum": {"a": 1, "b": 2}})
LONG = task("long", intervalSeconds=3600, task={"sleep": {"durationSeconds": 600}})
PERMITTED = [
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "may-run"},
        "rules": [{"apiGroups": ["carillon.dev"], "resources": ["runrequests"], "verbs": ["create", "get"]}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "may-run"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "may-run"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "caller"}],
    },
]


def await_row(stack: Stack, namespace: str, name: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
    """Return the row of a request once it has one of these statuses."""
    uid = stack.ours(namespace, "runrequests", name)["metadata"]["uid"]
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [row for row in stack.rows(namespace) if str(row["origin"]) == uid and row["status"] in statuses]
        return bool(found)

    until(there, seconds, f"the execution of RunRequest {name} is {' or '.join(statuses)}")
    (row,) = found
    return row


def await_condition(stack: Stack, namespace: str, name: str, kind: str, value: str) -> dict[str, Any]:
    """Return a request once a condition has a value."""
    found: dict[str, Any] = {}

    def there() -> bool:
        found.update(stack.ours(namespace, "runrequests", name))
        return condition(found, kind)[0] == value

    until(there, 60, f"{kind} of RunRequest {name} is {value}")
    return found


def test_a_request_runs_a_task_now_or_at_a_time(stack: Stack, namespace: str) -> None:
    """It has its own parameters or the task's, or its own task; kubectl shows it; its time to live deletes it."""
    at = soon(8)
    ref = {"taskRef": {"name": "sum"}, "concurrencyPolicy": "Allow"}
    stack.apply_objects(
        namespace,
        SUM,
        request("now", **ref),
        request("other", **ref, parameters={"a": 40}),
        request("later", **ref, runAt=at),
        request("own", task={"sleep": {"durationSeconds": 1}}),
        request("brief", task={"counter": {}}, ttlSecondsAfterFinished=2),
        request("nowhere", taskRef={"name": "nobody"}),
    )
    row = await_row(stack, namespace, "now", "succeeded")
    assert (row["task"], row["cause"], row["result"]) == ("sum", "manual", {"sum": 3})
    assert await_row(stack, namespace, "other", "succeeded")["result"] == {"sum": 42}
    assert await_row(stack, namespace, "own", "succeeded")["result"]["sleptSeconds"] >= 1
    row = await_row(stack, namespace, "later", "succeeded")
    assert row["slot"] == instant(at)
    assert row["started_at"] >= instant(at)
    found = await_condition(stack, namespace, "later", "Finished", "True")
    assert found["status"]["result"] == "Succeeded"
    assert found["status"]["executionId"] == str(row["id"])
    assert found["status"]["message"] == '{"sum":3}'
    assert condition(found, "Accepted") == ("True", "Accepted")
    assert stack.rows(namespace, "brief", "succeeded"), "the row outlives the request"
    until(lambda: not stack.ours(namespace, "runrequests", "brief"), 30, "the request goes after its time to live")
    until(
        # a cluster's garbage collector learns about new kinds every half minute
        lambda: not [j for j in stack.jobs(namespace) if j["metadata"]["name"].startswith("brief-")],
        90,
        "and its Job",
    )
    assert condition(await_condition(stack, namespace, "nowhere", "Accepted", "False"), "Accepted")[1] == "TaskNotFound"
    row = await_row(stack, namespace, "nowhere", "failed")
    assert (row["task"], row["reason"]) == ("nobody", "TaskNotFound")
    assert len(stack.rows(namespace)) == 6
    head, *lines = stack.kubectl("get", "runrequest", "--namespace", namespace).splitlines()
    assert head.split() == ["NAME", "TASK", "AT", "ACCEPTED", "RESULT", "REASON", "FINISHED", "AGE"]
    cells = {line.split()[0]: line.split()[1:-2] for line in lines}
    assert cells["later"] == ["sum", at, "True", "Succeeded", "ExecutionSucceeded"]
    assert cells["nowhere"][-2:] == ["False", "TaskNotFound"]
    assert stack.task(namespace, "sum")["status"].get("lastScheduleTime") is None, "a request is no slot"


def test_a_request_is_refused_while_its_task_is_active(stack: Stack, namespace: str) -> None:
    """With Replace, it replaces the execution; everything is recorded; a deleted active request is cancelled."""
    stack.apply_objects(namespace, LONG, request("first", taskRef={"name": "long"}))
    await_row(stack, namespace, "first", "running")
    stack.apply_objects(namespace, request("second", taskRef={"name": "long"}))
    refused = await_condition(stack, namespace, "second", "Accepted", "False")
    assert condition(refused, "Accepted")[1] == "StillActive"
    row = await_row(stack, namespace, "second", "skipped")
    assert (row["task"], row["cause"], row["reason"]) == ("long", "manual", "StillActive")
    stack.apply_objects(namespace, request("third", taskRef={"name": "long"}, concurrencyPolicy="Replace"))
    row = await_row(stack, namespace, "first", "cancelled")
    assert row["reason"] == "Replaced"
    replacing = await_row(stack, namespace, "third", "running")
    assert row["finished_at"] <= replacing["started_at"]
    await_condition(stack, namespace, "third", "Accepted", "True")
    stack.kubectl("delete", "runrequest", "third", "--namespace", namespace)
    await_row_by_id(stack, namespace, replacing["id"], "cancelled")
    until(lambda: not stack.pods(namespace), 60, "its pod is gone")


def await_row_by_id(stack: Stack, namespace: str, uid: Any, *statuses: str) -> dict[str, Any]:
    """Return a row once it is no longer ``running``; it must have one of these statuses."""
    until(
        lambda: any(r["id"] == uid and r["status"] != "running" for r in stack.rows(namespace)), 60, "the row is closed"
    )
    (row,) = [r for r in stack.rows(namespace) if r["id"] == uid]
    assert row["status"] in statuses, row
    return row


def test_who_may_only_request_runs_cannot_change_tasks(stack: Stack, namespace: str) -> None:
    """With real RBAC, create and get on runrequests suffice to run a task and to see the result."""
    stack.apply_objects(namespace, SUM, *PERMITTED)
    as_caller = ("--namespace", namespace, "--as", "caller")
    wanted = {"apiVersion": "carillon.dev/v1alpha1", **request("mine", taskRef={"name": "sum"})}
    until(
        lambda: stack.kubectl("auth", "can-i", "create", "runrequests", *as_caller, check=False).strip() == "yes",
        30,
        "the role is in force",
        every=0.5,
    )
    stack.kubectl("create", "--filename", "-", *as_caller, stdin=json.dumps(wanted))
    assert await_row(stack, namespace, "mine", "succeeded")["result"] == {"sum": 3}
    assert "mine" in stack.kubectl("get", "runrequest", "mine", *as_caller)
    patch = ("--type=merge", "--patch", '{"spec":{"suspend":true}}')
    for refused in (
        ("patch", "scheduledtask", "sum", *patch),
        ("delete", "scheduledtask", "sum"),
        ("get", "scheduledtasks"),
        ("delete", "runrequest", "mine"),
    ):
        with pytest.raises(ClusterError, match="orbidden"):
            stack.kubectl(*refused, *as_caller)


def test_a_request_cannot_be_changed(stack: Stack, namespace: str) -> None:
    """The spec is that of the run."""
    wanted = request("fixed", task={"sum": {"a": 1, "b": 1}}, runAt=soon(3600))
    stack.apply_objects(namespace, wanted)
    wanted["spec"]["task"]["sum"]["a"] = 2
    with pytest.raises(ClusterError, match="is immutable"):
        stack.apply_objects(namespace, wanted)
