"""Restarts and outages of the operator, the database, the API server and the whole cluster."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from support.http_server import CountingServer
from support.manifests import ONCE
from support.view import instant
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack


def one_row_a_slot(stack: Stack, namespace: str, name: str, interval: int) -> None:
    """Assert that no slot has two rows, and that the rows' slots are multiples of the interval."""
    slots = [instant(row["slot"]) for row in stack.executions(namespace, name)]
    assert len(slots) == len(set(slots))
    assert all((slot - slots[0]) % timedelta(seconds=interval) == timedelta() for slot in slots)


def counter_is_exact(stack: Stack, namespace: str, name: str) -> None:
    """Assert that the counter counted each execution once."""
    values = [row["result"]["value"] for row in stack.executions(namespace, name, "Succeeded")]
    assert sorted(values) == list(range(1, len(values) + 1))


def test_a_killed_operator_comes_back_without_a_loss(stack: Stack, namespace: str) -> None:
    """After SIGKILL and a restart, schedules continue, and nothing runs twice."""
    stack.apply(namespace, "steady", intervalSeconds=1, task={"counter": {}})
    stack.await_executions(namespace, "steady", 2, "Succeeded")
    stack.end("operator", signal.SIGKILL)
    before = len(stack.executions(namespace, "steady", "Succeeded"))
    stack.start_operator()
    stack.await_executions(namespace, "steady", before + 2, "Succeeded")
    one_row_a_slot(stack, namespace, "steady", 1)
    counter_is_exact(stack, namespace, "steady")


def test_an_operator_told_to_stop_stops_cleanly(stack: Stack) -> None:
    """After SIGTERM, it exits with code 0."""
    assert stack.end("operator") == 0
    assert '"message": "stopped"' in stack.log("operator")
    stack.start_operator()


def test_schedules_survive_a_restart_of_the_whole_cluster(stack: Stack, namespace: str) -> None:
    """The operator and the API wait for the API server, and continue when it is available."""
    stack.apply(namespace, "patient", intervalSeconds=1, task={"counter": {}})
    stack.await_executions(namespace, "patient", 1, "Succeeded")
    stack.cluster.stop()
    stack.cluster.start()
    before = len(stack.executions(namespace, "patient", "Succeeded"))
    stack.await_executions(namespace, "patient", before + 2, "Succeeded", seconds=120)
    assert stack.runs("operator")
    assert stack.runs("api")
    one_row_a_slot(stack, namespace, "patient", 1)
    counter_is_exact(stack, namespace, "patient")


def test_a_database_that_stops_stops_no_schedule(stack: Stack, namespace: str) -> None:
    """Jobs are launched meanwhile, the API reports the outage, and executions are recorded afterwards."""
    stack.apply(namespace, "on", intervalSeconds=1, task={"counter": {}})
    stack.apply(namespace, "slow", intervalSeconds=1, task={"sleep": {"durationSeconds": 2}})
    stack.await_executions(namespace, "on", 2, "Succeeded")
    before = stack.task(namespace, "on")["status"]["lastScheduleTime"]
    skipped = len(stack.executions(namespace, "slow", "Skipped"))
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
    done = len(stack.executions(namespace, "on", "Succeeded"))
    stack.await_executions(namespace, "on", done + 2, "Succeeded")
    until(lambda: len(stack.executions(namespace, "slow", "Skipped")) > skipped, 60, "skips meanwhile are recorded")
    one_row_a_slot(stack, namespace, "on", 1)
    counter_is_exact(stack, namespace, "on")


def test_an_operator_started_before_its_database_waits_for_it(stack: Stack, namespace: str) -> None:
    """Launches do not need the history; the log reports the outage without a password."""
    stack.end("operator")
    stack.start_operator(
        DATABASE_URL="postgresql://carillon:hunter2@127.0.0.1:9/carillon",
        # with another password, the database would not know the key, and runners would wait for it
        CARILLON_TOKEN_KEY=stack.password,
    )
    stack.apply(namespace, "bold", intervalSeconds=1, task={"sleep": {"durationSeconds": 2}})
    stack.await_executions(namespace, "bold", 1, "Succeeded")
    until(lambda: "history unavailable" in stack.log("operator"), 30, "the log says what is missing")
    assert "hunter2" not in stack.log("operator")
    stack.end("operator")
    stack.start_operator()


def test_a_job_deleted_while_it_runs_is_recorded_as_cancelled(stack: Stack, namespace: str) -> None:
    """Its execution reaches a terminal status with the reason."""
    stack.apply(namespace, "gone", intervalSeconds=3, task={"sleep": {"durationSeconds": 600}}, timeoutSeconds=900)
    running = stack.await_executions(namespace, "gone", 1, "Running")[0]
    stack.kubectl("delete", "job", running["jobName"], "--namespace", namespace, "--wait=false")
    ended = stack.await_executions(namespace, "gone", 1, "Cancelled")[0]
    assert ended["id"] == running["id"]


def test_deleting_a_task_deletes_its_jobs(stack: Stack, namespace: str) -> None:
    """Owner references cause it; none of our objects remain."""
    stack.apply(namespace, "brief", intervalSeconds=1, task={"counter": {}})
    stack.await_executions(namespace, "brief", 1, "Succeeded")
    stack.kubectl("delete", "scheduledtask", "brief", "--namespace", namespace)
    until(
        lambda: not stack.kubectl("get", "jobs", "--namespace", namespace, "--output", "name").strip(),
        60,
        "its Jobs are gone",
    )


def covered(rows: list[dict[str, Any]], step: timedelta) -> list[datetime]:
    """Return every slot of the rows, including those in a series."""
    slots: list[datetime] = []
    for row in rows:
        slot = row["first_slot"] or row["slot"]
        while slot <= row["slot"]:
            slots.append(slot)
            slot += step
    return sorted(slots)


def test_what_was_skipped_is_neither_lost_nor_run_when_database_and_operator_go(stack: Stack, namespace: str) -> None:
    """Postgres is away, slots are skipped, the operator is killed: later each slot has its row, none skipped ran."""
    step = timedelta(seconds=1)
    stack.apply(namespace, "busy", intervalSeconds=1, task={"sleep": {"durationSeconds": 6}})
    stack.await_rows(namespace, "busy", 1, "running")
    stack.postgres.stop()
    until(lambda: len(status_of(stack, namespace, "busy").get("unrecorded", [])) >= 2, 30, "skips wait in the status")
    stack.end("operator", signal.SIGKILL)
    waiting = [instant(entry["slot"]) for entry in status_of(stack, namespace, "busy")["unrecorded"]]
    assert stack.postgres.start() == stack.database_url
    stack.start_operator()
    stack.await_rows(namespace, "busy", 2, "succeeded")
    until(lambda: not status_of(stack, namespace, "busy").get("unrecorded"), 30, "the status lets go of them", 0.1)
    # the row of a launched slot comes from its runner, perhaps after those of later slots that were skipped
    until(partial(_is_complete, stack, namespace, "busy", step), 30, "every slot has its row, and one alone")
    rows = stack.rows(namespace, "busy")
    assert {row["status"] for row in rows if row["slot"] in waiting} == {"skipped"}
    ran = {instant(job["metadata"]["annotations"]["carillon.dev/slot"]) for job in stack.jobs(namespace)}
    assert not ran & {row["slot"] for row in rows if row["status"] in {"skipped", "missed"}}


def status_of(stack: Stack, namespace: str, name: str) -> dict[str, Any]:
    """Return a task's status; empty if it has none."""
    found: dict[str, Any] = stack.ours(namespace, "scheduledtasks", name).get("status") or {}
    return found


def test_what_passed_while_no_operator_was_there_is_run_as_the_policy_says(stack: Stack, namespace: str) -> None:
    """All runs each slot once and in order; Latest and Skip run only the last; the others are recorded as missed."""
    step = timedelta(seconds=2)
    for name in ("All", "Latest", "Skip"):
        stack.apply(namespace, name.lower(), intervalSeconds=2, missedRunPolicy=name, task={"counter": {}})
    stack.apply(namespace, "brisk", intervalSeconds=2, startingDeadlineSeconds=1, task={"counter": {}})
    for name in ("all", "latest", "skip", "brisk"):
        stack.await_rows(namespace, name, 1, "succeeded")
    stack.end("operator", signal.SIGKILL)
    away = datetime.now(UTC)
    until(lambda: datetime.now(UTC) > away + 4 * step, 30, "four slots have passed")
    back = datetime.now(UTC)
    stack.start_operator()
    for name in ("all", "latest", "skip", "brisk"):
        stack.await_slot_after(namespace, name, datetime.now(UTC))
        # slots that did not run are recorded a moment later
        until(partial(_is_complete, stack, namespace, name, step), 30, f"every slot of {name} has one row")
        rows = stack.rows(namespace, name)
        between = [row for row in rows if away < row["slot"] < back]
        statuses = {row["status"] for row in between}
        if name == "all":
            assert statuses == {"succeeded"}
            assert len(between) >= 3
            values = [row["result"]["value"] for row in rows if row["status"] == "succeeded"]
            assert values == sorted(values), "in order"
        else:
            assert "missed" in statuses
            assert sum(row["status"] == "succeeded" for row in between) <= 1
            reasons = {row["reason"] for row in between if row["status"] == "missed"}
            assert reasons <= {"MissedRunPolicy", "SupersededByLaterSlot", "StartingDeadlineExceeded"}


def _is_complete(stack: Stack, namespace: str, task: str, step: timedelta) -> bool:
    slots = covered(stack.rows(namespace, task), step)
    return slots == [slots[0] + k * step for k in range(len(slots))]


def test_a_node_that_is_killed_leaves_nothing_running(stack: Stack, namespace: str) -> None:
    """Its pods are lost: another runs what had no effect, what had one is closed; the next slots go on.

    Also what no node ever tells the end of has one.
    """
    with CountingServer() as server:
        server.hold_at = 1
        stack.apply(namespace, "lost", **ONCE, task={"sleep": {"durationSeconds": 600}})
        stack.apply(namespace, "call", **ONCE, task={"http": {"url": f"{server.url}/"}})
        stack.apply(namespace, "steady", intervalSeconds=1, task={"counter": {}})
        server.await_requests(1)
        (lost,) = stack.await_rows(namespace, "lost", 1, "running")
        # longer than the pods of a lost node are waited for
        stack.apply(namespace, "nap", **ONCE, task={"sleep": {"durationSeconds": 60}})
        stack.await_rows(namespace, "nap", 1, "running")
        stack.cluster.kill_part("node")
        # no node reports its end, only the Job's deadline, which is short in this test
        near = '{"spec":{"activeDeadlineSeconds":1}}'
        stack.kubectl("patch", "job", lost["job_name"], "--namespace", namespace, "--type=merge", "--patch", near)
        stack.await_rows(namespace, "lost", 1, "timed_out", seconds=90)
        stack.cluster.start()
        (row,) = stack.await_rows(namespace, "nap", 1, "succeeded", seconds=150)
        assert [attempt["reason"] for attempt in stack.attempts(row)] == ["PodLost", None]
        (row,) = stack.await_rows(namespace, "call", 1, "failed", seconds=60)
        assert row["reason"] == "PodLost"
        assert len(server.seen) == 1
    before = len(stack.rows(namespace, "steady", "succeeded"))
    stack.await_rows(namespace, "steady", before + 2, "succeeded", seconds=90)
    counter_is_exact(stack, namespace, "steady")
