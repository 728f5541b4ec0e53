"""Things end and come back: the operator, the database, the API server, the whole cluster."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import TYPE_CHECKING

from support.stack import instant
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack


def one_row_a_slot(stack: Stack, namespace: str, name: str, interval: int) -> None:
    """Assert that no slot has two rows and that rows lie on the interval's grid."""
    slots = [instant(row["slot"]) for row in stack.executions(namespace, name)]
    assert len(slots) == len(set(slots))
    assert all((slot - slots[0]) % timedelta(seconds=interval) == timedelta() for slot in slots)


def counter_is_exact(stack: Stack, namespace: str, name: str) -> None:
    """Assert that the counter counted each execution once."""
    values = [row["result"]["value"] for row in stack.executions(namespace, name, "succeeded")]
    assert sorted(values) == list(range(1, len(values) + 1))


def test_a_killed_operator_comes_back_without_a_loss(stack: Stack, namespace: str) -> None:
    """SIGKILL, start again: schedules go on, nothing runs twice."""
    stack.apply(namespace, "steady", intervalSeconds=1, task={"counter": {}})
    stack.await_executions(namespace, "steady", 2, "succeeded")
    stack.end("operator", signal.SIGKILL)
    before = len(stack.executions(namespace, "steady", "succeeded"))
    stack.start_operator()
    stack.await_executions(namespace, "steady", before + 2, "succeeded")
    one_row_a_slot(stack, namespace, "steady", 1)
    counter_is_exact(stack, namespace, "steady")


def test_an_operator_told_to_stop_stops_cleanly(stack: Stack) -> None:
    """SIGTERM is a request that it fulfils with exit code 0."""
    assert stack.end("operator") == 0
    assert '"message": "stopped"' in stack.log("operator")
    stack.start_operator()


def test_schedules_survive_a_restart_of_the_whole_cluster(stack: Stack, namespace: str) -> None:
    """The operator and the API wait for the API server, and go on when it is back."""
    stack.apply(namespace, "patient", intervalSeconds=1, task={"counter": {}})
    stack.await_executions(namespace, "patient", 1, "succeeded")
    stack.cluster.stop()
    stack.cluster.start()
    before = len(stack.executions(namespace, "patient", "succeeded"))
    stack.await_executions(namespace, "patient", before + 2, "succeeded", seconds=120)
    assert stack.runs("operator")
    assert stack.runs("api")
    one_row_a_slot(stack, namespace, "patient", 1)
    counter_is_exact(stack, namespace, "patient")


def test_a_database_that_stops_stops_no_schedule(stack: Stack, namespace: str) -> None:
    """Jobs are launched meanwhile, the API says what is missing, and what happened is recorded afterwards."""
    stack.apply(namespace, "on", intervalSeconds=1, task={"counter": {}})
    stack.apply(namespace, "slow", intervalSeconds=1, task={"sleep": {"durationSeconds": 2}})
    stack.await_executions(namespace, "on", 2, "succeeded")
    before = stack.task(namespace, "on")["status"]["lastScheduleTime"]
    skipped = len(stack.executions(namespace, "slow", "skipped"))
    stack.postgres.stop()
    answer = stack.http.get("/readyz")
    assert answer.status_code == 503
    assert "database" in answer.text
    assert stack.http.get(f"/api/v1/namespaces/{namespace}/tasks/on").status_code == 200
    assert stack.http.get("/api/v1/executions").status_code == 503
    until(
        lambda: stack.task(namespace, "on")["status"]["lastScheduleTime"] > before, 30, "a slot is launched meanwhile"
    )
    assert stack.postgres.start() == stack.database_url
    done = len(stack.executions(namespace, "on", "succeeded"))
    stack.await_executions(namespace, "on", done + 2, "succeeded")
    until(lambda: len(stack.executions(namespace, "slow", "skipped")) > skipped, 60, "skips meanwhile are recorded")
    one_row_a_slot(stack, namespace, "on", 1)
    counter_is_exact(stack, namespace, "on")


def test_an_operator_started_before_its_database_waits_for_it(stack: Stack, namespace: str) -> None:
    """Launching goes on without the history; the log says what is missing, and no password."""
    stack.end("operator")
    stack.start_operator(
        DATABASE_URL="postgresql://carillon:hunter2@127.0.0.1:9/carillon",
        CARILLON_RUNNER_DATABASE_URL=stack.database_url,
    )
    stack.apply(namespace, "bold", intervalSeconds=1, task={"sleep": {"durationSeconds": 2}})
    stack.await_executions(namespace, "bold", 1, "succeeded")
    until(lambda: "history is unavailable" in stack.log("operator"), 30, "the log says what is missing")
    assert "hunter2" not in stack.log("operator")
    stack.end("operator")
    stack.start_operator()


def test_a_job_deleted_while_it_runs_is_recorded_as_failed(stack: Stack, namespace: str) -> None:
    """No ghost: its execution reaches a terminal state, and says why."""
    stack.apply(namespace, "gone", intervalSeconds=3, task={"sleep": {"durationSeconds": 600}}, timeoutSeconds=900)
    running = stack.await_executions(namespace, "gone", 1, "running")[0]
    stack.kubectl("delete", "job", running["jobName"], "--namespace", namespace, "--wait=false")
    ended = stack.await_executions(namespace, "gone", 1, "failed", "cancelled")[0]
    assert ended["id"] == running["id"]


def test_deleting_a_task_deletes_its_jobs(stack: Stack, namespace: str) -> None:
    """By owner references; nothing of ours stays."""
    stack.apply(namespace, "brief", intervalSeconds=1, task={"counter": {}})
    stack.await_executions(namespace, "brief", 1, "succeeded")
    stack.kubectl("delete", "scheduledtask", "brief", "--namespace", namespace)
    until(
        lambda: not stack.kubectl("get", "jobs", "--namespace", namespace, "--output", "name").strip(),
        60,
        "its Jobs are gone",
    )
