"""Executions over REST on the whole system: retries, cancellation and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.manifests import ONCE, request, task
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack

EXECUTIONS = "/api/v1/executions"
SHELL = "test/shell:1"
LONG = {"sleep": {"durationSeconds": 600}}


def shell(script: str) -> dict[str, Any]:
    """Return a container task that runs a script."""
    return {"container": {"image": SHELL, "command": ["/bin/sh", "-c", script]}}


@pytest.fixture(scope="module")
def executions(stack: Stack, shared_namespace: str) -> str:
    """Apply all tasks at once, so that their waits overlap."""
    stack.add_images({SHELL: {"entrypoint": []}})
    stack.apply_objects(
        shared_namespace,
        task("failing", **ONCE, task=shell('echo "it says: $CODE"; exit ${CODE:-3}')),
        task("long", **ONCE, task=LONG),
        task("endless", **ONCE, task=shell("echo begun; exec sleep 600")),
        task("adding", **ONCE, task={"sum": {"a": 1, "b": 2}}),
        request("own", task=shell("exit 4")),
    )
    return shared_namespace


def told(stack: Stack, uid: object) -> dict[str, Any]:
    """Return an execution from REST; empty if it does not exist yet."""
    answer = stack.http.get(f"{EXECUTIONS}/{uid}")
    found: dict[str, Any] = answer.json() if answer.is_success else {}
    return found


def dead_letters(stack: Stack, namespace: str) -> list[str]:
    """Return the ids of a namespace's dead letters."""
    answer = stack.http.get(f"/api/v1/namespaces/{namespace}/executions", params={"deadLetters": "true"})
    return [item["id"] for item in answer.raise_for_status().json()["items"]]


def test_a_failed_execution_is_repeated_and_no_dead_letter_any_more(stack: Stack, executions: str) -> None:
    """The retry has the returned id and other parameters; both executions refer to each other."""
    (failed,) = stack.await_rows(executions, "failing", 1, "failed")
    assert str(failed["id"]) in dead_letters(stack, executions)
    answer = stack.http.post(f"{EXECUTIONS}/{failed['id']}/retry", json={"parameters": {"CODE": "0"}})
    assert answer.status_code == 202, answer.text
    uid = answer.json()["id"]
    assert stack.http.get(answer.headers["location"]).json()["name"] == answer.json()["run"]
    until(lambda: told(stack, uid).get("status") == "Succeeded", 60, "the repetition has succeeded")
    assert told(stack, uid)["retryOf"] == str(failed["id"])
    assert told(stack, failed["id"])["retriedBy"] == [uid]
    assert str(failed["id"]) not in dead_letters(stack, executions)
    listed = stack.http.get(EXECUTIONS, params={"retryOf": str(failed["id"])}).json()["items"]
    assert [item["id"] for item in listed] == [uid]
    refused = stack.http.post(f"{EXECUTIONS}/{uid}/retry")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:carillon:problem:wrong-state")


def test_the_logs_of_a_pod_that_has_ended(stack: Stack, executions: str) -> None:
    """They are available while the Job exists; afterwards, the response says that they are gone."""
    (failed,) = stack.await_rows(executions, "failing", 1, "failed")
    path = f"{EXECUTIONS}/{failed['id']}/logs"
    answer = stack.http.get(path)
    assert (answer.status_code, answer.text) == (200, "it says: \n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    (attempt,) = told(stack, failed["id"])["attempts"]
    assert stack.http.get(path, params={"pod": attempt["podName"], "limitBytes": 2}).text == "it"
    stack.kubectl("delete", "job", failed["job_name"], "--namespace", executions)
    until(lambda: stack.http.get(path).status_code == 404, 30, "the logs are gone")
    assert stack.http.get(path).json()["type"] == "urn:carillon:problem:logs-gone"


def test_a_sleep_is_cancelled(stack: Stack, executions: str) -> None:
    """Its runner is terminated, and records that in its row."""
    (running,) = stack.await_rows(executions, "long", 1, "running")
    assert stack.http.post(f"{EXECUTIONS}/{running['id']}/retry").status_code == 409
    answer = stack.http.post(f"{EXECUTIONS}/{running['id']}/cancel")
    assert (answer.status_code, answer.json()["jobName"]) == (202, running["job_name"])
    (ended,) = stack.await_rows(executions, "long", 1, "cancelled")
    assert ended["finished_at"] is not None
    until(lambda: str(stack.rows(executions, "long", "cancelled")[0]["message"]).startswith("cancelled by "), 30, "who")
    again = stack.http.post(f"{EXECUTIONS}/{running['id']}/cancel")
    assert again.status_code == 409
    assert "Cancelled" in again.json()["detail"]


def test_a_container_is_listened_to_and_cancelled(stack: Stack, executions: str) -> None:
    """It has no runner, so the operator records its end."""
    (running,) = stack.await_rows(executions, "endless", 1, "running")
    path = f"{EXECUTIONS}/{running['id']}/logs"
    until(lambda: stack.http.get(path).text == "begun\n", 30, "the container's words are there")
    assert stack.http.get(path, params={"tailLines": 1}).text == "begun\n"
    assert stack.http.post(f"{EXECUTIONS}/{running['id']}/cancel").status_code == 202
    (ended,) = stack.await_rows(executions, "endless", 1, "cancelled")
    assert ended["message"].startswith("cancelled by ")


def test_what_succeeded_is_not_repeated(stack: Stack, executions: str) -> None:
    """Nor is a run with its own task."""
    (row,) = stack.await_rows(executions, "adding", 1, "succeeded")
    assert stack.http.post(f"{EXECUTIONS}/{row['id']}/retry").status_code == 409
    until(lambda: bool([r for r in stack.rows(executions, None, "failed") if r["cause"] == "manual"]), 60, "own ended")
    own = next(r for r in stack.rows(executions, None, "failed") if r["cause"] == "manual" and r["retry_of"] is None)
    refused = stack.http.post(f"{EXECUTIONS}/{own['id']}/retry")
    assert refused.status_code == 409
    assert "its own task" in refused.json()["detail"]


def test_the_numbers_are_there(stack: Stack, executions: str) -> None:
    """JSON has those of the namespace, Prometheus those of all namespaces."""
    stack.await_rows(executions, "adding", 1, "succeeded")
    summary = stack.http.get("/api/v1/metrics", params={"namespace": executions}).raise_for_status().json()
    assert summary["hour"]["executions"]["Succeeded"] >= 1
    assert summary["namespace"] == executions
    text = stack.http.get("/metrics").raise_for_status().text
    assert "carillon_history_up 1.0" in text
    assert 'carillon_executions{status="Succeeded",window="hour"}' in text
    assert 'carillon_api_server_call_duration_seconds_count{method="GET",status="200"}' in text
