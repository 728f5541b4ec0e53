"""Jobs whose pods the API server rejects: the reason is reported, and the execution does not last for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from support.manifests import ONCE, request, task
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import Stack

BOUND = timedelta(seconds=90)
"""The patience of 45 seconds, a check every 15 seconds, and a busy machine."""
ABSENT = {"serviceAccountName": "absent"}
MISSING = 'serviceaccount "absent" not found'


def quota(pods: int) -> dict[str, Any]:
    """Return a quota for this many pods."""
    hard = {"pods": str(pods)}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "narrow"}, "spec": {"hard": hard}}


def pod_cannot_start(stack: Stack, namespace: str, name: str) -> list[str]:
    """Return the messages of Events with the reason PodCannotStart about an object."""
    events = stack.get(f"/api/v1/namespaces/{namespace}/events", fieldSelector="reason=PodCannotStart")["items"]
    return [event["message"] for event in events if event["involvedObject"]["name"] == name]


def last_message(stack: Stack, namespace: str, name: str) -> str:
    """Return the message of the last execution in a task's status."""
    status = stack.ours(namespace, "scheduledtasks", name).get("status") or {}
    return str((status.get("lastExecution") or {}).get("message", ""))


@pytest.fixture(scope="module")
def narrow(stack: Stack) -> Iterator[str]:
    """Give a namespace whose quota allows no pods, and a task in it."""
    with stack.new_namespace("e2e-narrow") as name:
        stack.apply_objects(name, quota(0))
        path = f"/api/v1/namespaces/{name}/resourcequotas/narrow"
        until(lambda: "status" in stack.get(path), 30, "the quota is counted")
        stack.apply_objects(name, task("squeezed", **ONCE, task={"counter": {}}))
        yield name


@pytest.fixture(scope="module")
def accountless(stack: Stack, narrow: str, shared_namespace: str) -> str:  # noqa: ARG001  # so that their waits overlap
    """Apply tasks and a request whose pods have a missing service account."""
    stack.apply_objects(
        shared_namespace,
        task("orphan", intervalSeconds=3, pod=ABSENT, task={"counter": {}}),
        task("orphan-once", **ONCE, pod=ABSENT, task={"container": {"image": "busybox", "command": ["true"]}}),
        task("tripping", intervalSeconds=5, pod=ABSENT, suspendAfterFailures=1, task={"counter": {}}),
        request("orphan-asked", pod=ABSENT, task={"sum": {"a": 1, "b": 2}}),
    )
    return shared_namespace


@pytest.mark.timeout(240)
def test_a_pod_whose_account_is_missing_ends_its_execution(stack: Stack, accountless: str) -> None:
    """It fails in time, with the reason and the account's name, which the status has before."""
    until(lambda: MISSING in last_message(stack, accountless, "orphan"), 60, "the status says why nothing runs")
    first = stack.await_rows(accountless, "orphan", 1, "failed", seconds=BOUND.total_seconds())[0]
    assert first["reason"] == "FailedCreate"
    assert MISSING in first["message"]
    assert first["finished_at"] - first["slot"] < BOUND
    (row,) = stack.await_rows(accountless, "orphan-once", 1, "failed")
    assert (row["reason"], MISSING in row["error"]) == ("FailedCreate", True)
    until(lambda: pod_cannot_start(stack, accountless, "orphan") != [], 30, "an Event says so")

    def result() -> str:
        return str(stack.ours(accountless, "scheduledtasks", "orphan-once")["status"].get("lastResult"))

    until(lambda: result() == "Failed", 30, "the status says so when the Job is gone")
    assert MISSING in last_message(stack, accountless, "orphan-once")


@pytest.mark.timeout(240)
def test_a_request_whose_pod_is_refused_ends_too(stack: Stack, accountless: str) -> None:
    """Its status has the reason."""
    (row,) = stack.await_rows(accountless, "orphan-asked", 1, "failed", seconds=BOUND.total_seconds())
    assert row["reason"] == "FailedCreate"
    until(
        lambda: stack.ours(accountless, "runrequests", "orphan-asked").get("status", {}).get("result") == "Failed",
        30,
        "the request says that it failed",
    )
    assert MISSING in stack.ours(accountless, "runrequests", "orphan-asked")["status"]["message"]


@pytest.mark.timeout(240)
def test_the_next_slot_has_its_turn_and_runs_once_the_account_is_there(stack: Stack, accountless: str) -> None:
    """Slots in between are skipped with the reason; a circuit counts such failures."""
    skipped = stack.await_rows(accountless, "orphan", 1, "skipped")
    stack.await_rows(accountless, "orphan", 1, "failed", seconds=BOUND.total_seconds())
    assert any(MISSING in row["message"] for row in stack.rows(accountless, "orphan", "skipped")), skipped
    until(lambda: stack.ready_reason(accountless, "tripping") == "False CircuitOpen", BOUND.total_seconds(), "it opens")
    stack.kubectl("create", "serviceaccount", "absent", "--namespace", accountless)
    # the waiting Job is retried within a minute, or the next one starts at once
    stack.await_rows(accountless, "orphan", 2, "succeeded", seconds=120)


@pytest.mark.timeout(300)
def test_a_full_quota_is_shown_and_waited_for(stack: Stack, narrow: str) -> None:
    """It waits longer than for a missing account; one Event reports it. When the quota has room, it runs."""
    until(lambda: "exceeded quota: narrow" in last_message(stack, narrow, "squeezed"), 60, "the status says so")
    until(lambda: pod_cannot_start(stack, narrow, "squeezed") != [], 30, "an Event says so")
    (job,) = stack.jobs(narrow)

    def tries() -> int:
        events: list[dict[str, Any]] = stack.get(
            f"/api/v1/namespaces/{narrow}/events", fieldSelector="reason=FailedCreate"
        )["items"]
        return sum(int(event["count"]) for event in events)

    # the seventh try is a minute after the first, and thus later than the patience with other causes
    until(lambda: tries() >= 7, 120, "the Job controller has tried for a minute")
    assert [each["metadata"]["uid"] for each in stack.jobs(narrow)] == [job["metadata"]["uid"]]
    assert stack.rows(narrow, "squeezed") == []
    assert last_message(stack, narrow, "squeezed").startswith(
        "its pod is waiting for quota: FailedCreate: exceeded quota"
    )
    assert len(pod_cannot_start(stack, narrow, "squeezed")) == 1
    stack.apply_objects(narrow, quota(5))
    stack.await_rows(narrow, "squeezed", 1, "succeeded", seconds=120)
    until(lambda: last_message(stack, narrow, "squeezed") == "", 30, "the status says nothing of it any more")
