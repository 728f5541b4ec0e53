"""Every task type runs in a pod of a real cluster, and records its result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from support.view import instant
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack


def test_sleep_records_the_time_it_slept(stack: Stack, namespace: str) -> None:
    """The result is the measured time, and the times of the row agree with it."""
    stack.apply(namespace, "nap", intervalSeconds=2, task={"sleep": {"durationSeconds": 1}})
    row = stack.await_executions(namespace, "nap", 1, "Succeeded")[0]
    assert row["result"]["sleptSeconds"] >= 1
    assert row["durationSeconds"] >= row["result"]["sleptSeconds"]
    assert instant(row["startedAt"]) >= instant(row["slot"])


def test_counter_grows_by_one_with_each_execution(stack: Stack, namespace: str) -> None:
    """It survives pods; each value occurs once."""
    stack.apply(namespace, "tally", intervalSeconds=1, task={"counter": {}})
    rows = stack.await_executions(namespace, "tally", 4, "Succeeded")
    assert [row["result"]["value"] for row in rows] == list(range(1, len(rows) + 1))


def test_http_records_status_code_and_response_time(stack: Stack, namespace: str, httpbin_url: str) -> None:
    """A 200 succeeds; the time is that of a delayed response."""
    http = {"url": f"{httpbin_url}/delay/1", "method": "GET"}
    stack.apply(namespace, "call", intervalSeconds=2, task={"http": http})
    row = stack.await_executions(namespace, "call", 1, "Succeeded")[0]
    assert row["result"]["statusCode"] == 200
    assert row["result"]["responseTimeMs"] >= 1000


def test_http_that_answers_otherwise_fails_with_its_class(stack: Stack, namespace: str, httpbin_url: str) -> None:
    """The status code is recorded, and kubectl shows the failure."""
    stack.apply(namespace, "broken", intervalSeconds=2, task={"http": {"url": f"{httpbin_url}/status/503"}})
    row = stack.await_executions(namespace, "broken", 1, "Failed")[0]
    assert row["reason"] == "HTTP5xx"
    assert row["result"]["statusCode"] == 503
    until(lambda: stack.task(namespace, "broken")["status"].get("lastResult") == "Failed", 30, "the status says Failed")


def test_sum_records_the_sum(stack: Stack, namespace: str) -> None:
    """Whole numbers stay whole."""
    stack.apply(namespace, "add", schedule="* * * * * *", task={"sum": {"a": 40, "b": 2}})
    assert stack.await_executions(namespace, "add", 1, "Succeeded")[0]["result"] == {"sum": 42}


def test_an_execution_past_its_time_out_is_ended(stack: Stack, namespace: str) -> None:
    """It is recorded as timed out; the next slot runs."""
    stack.apply(namespace, "long", intervalSeconds=4, timeoutSeconds=1, task={"sleep": {"durationSeconds": 60}})
    rows = stack.await_executions(namespace, "long", 2, "TimedOut")
    assert all(row["durationSeconds"] < 10 for row in rows)


def test_a_task_never_overlaps_itself(stack: Stack, namespace: str) -> None:
    """If a run is longer than the interval, the slots in between are skipped and recorded with the reason."""
    stack.apply(namespace, "slow", intervalSeconds=1, task={"sleep": {"durationSeconds": 2}})
    ran = stack.await_executions(namespace, "slow", 3, "Succeeded")
    for earlier, later in pairwise(ran):
        assert instant(later["startedAt"]) >= instant(earlier["finishedAt"])

    def whole() -> bool:
        """Return whether each slot up to the last has one row; skipped slots are recorded a moment later."""
        rows = stack.executions(namespace, "slow")
        slots = [instant(row["slot"]) for row in rows if instant(row["slot"]) <= instant(ran[-1]["slot"])]
        return slots == [slots[0] + timedelta(seconds=k) for k in range(len(slots))]

    until(whole, 30, "each slot has one row")
    skipped = stack.executions(namespace, "slow", "Skipped")
    assert {row["reason"] for row in skipped} == {"StillActive"}


def test_allow_lets_executions_overlap(stack: Stack, namespace: str) -> None:
    """The concurrencyPolicy is Allow."""
    stack.apply(namespace, "many", intervalSeconds=1, concurrencyPolicy="Allow", task={"sleep": {"durationSeconds": 4}})
    ran = stack.await_executions(namespace, "many", 2, "Succeeded")
    assert instant(ran[1]["startedAt"]) < instant(ran[0]["finishedAt"])


def test_different_tasks_run_at_the_same_time(stack: Stack, namespace: str) -> None:
    """Forbid applies to one task, not to all."""
    at = (datetime.now(UTC) + timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name in ("left", "right"):
        stack.apply(namespace, name, runAt=at, task={"sleep": {"durationSeconds": 3}})
    left, right = (stack.await_executions(namespace, name, 1, "Succeeded")[0] for name in ("left", "right"))
    assert instant(left["startedAt"]) < instant(right["finishedAt"])
    assert instant(right["startedAt"]) < instant(left["finishedAt"])


def test_a_one_shot_runs_once_at_its_time(stack: Stack, namespace: str) -> None:
    """It runs neither earlier nor twice; then the task is Completed."""
    at = (datetime.now(UTC) + timedelta(seconds=8)).replace(microsecond=0)
    stack.apply(namespace, "once", runAt=at.strftime("%Y-%m-%dT%H:%M:%SZ"), task={"sum": {"a": 1, "b": 1}})
    (row,) = stack.await_executions(namespace, "once", 1, "Succeeded")
    assert instant(row["slot"]) == at
    assert instant(row["startedAt"]) >= at
    until(lambda: stack.ready_reason(namespace, "once") == "True Completed", 10, "the task is completed")
    assert len(stack.executions(namespace, "once")) == 1
