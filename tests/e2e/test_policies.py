"""The fields of a ScheduledTask, each checked by the rows and Jobs of a real cluster."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from carillon_core.domain.timetable.schedule import jitter_offset
from support.http_server import CountingServer
from support.manifests import ONCE, condition, soon, task
from support.recording_server import RecordingServer
from support.view import instant
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from support.stack import Stack

COUNT: dict[str, Any] = {"counter": {}}
LIMIT, WINDOW = 2, 20


@pytest.fixture(scope="module")
def ailing() -> Iterator[RecordingServer]:
    """Serve errors until the test changes that."""
    with RecordingServer() as server:
        server.status = 500
        yield server


@pytest.fixture(scope="module")
def flaky() -> Iterator[CountingServer]:
    """Fail the first request of each execution."""
    with CountingServer() as server:
        yield server


@pytest.fixture(scope="module")
def tasks(stack: Stack, shared_namespace: str, ailing: RecordingServer, flaky: CountingServer) -> str:
    """Apply all tasks at once, so that they run while others are checked."""
    failing = {"http": {"url": f"{ailing.url}/"}}
    stack.apply_objects(
        shared_namespace,
        task("replaced", intervalSeconds=4, concurrencyPolicy="Replace", task={"sleep": {"durationSeconds": 600}}),
        task("kept", intervalSeconds=1, task=COUNT, successfulJobsHistoryLimit=2),
        task("faulty", intervalSeconds=1, task={"http": {"url": "http://127.0.0.1:9/"}}, failedJobsHistoryLimit=1),
        task("aged", **ONCE, task=COUNT, ttlSecondsAfterFinished=1),
        task("circuit", intervalSeconds=1, task=failing, suspendAfterFailures=2, cooldownSeconds=3),
        task("counted", intervalSeconds=1, task=COUNT, maxRuns=LIMIT),
        task("windowed", intervalSeconds=2, task=COUNT, endAt=soon(WINDOW)),
        task(
            "again",
            **ONCE,
            task={"http": {"url": f"{flaky.url}/flaky"}},
            retry={"limit": 2, "initialDelaySeconds": 1},
        ),
        # nothing is skipped or missed, however late everything is
        task(
            "spread", intervalSeconds=5, task=COUNT, jitterSeconds=4, concurrencyPolicy="Allow", missedRunPolicy="All"
        ),
    )
    return shared_namespace


def await_finished(stack: Stack, namespace: str, name: str, kind: str, most: int) -> None:
    """Wait until a task has at most this many finished Jobs."""

    def within() -> bool:
        found = [j for j in stack.jobs(namespace) if j["metadata"]["labels"]["carillon.dev/task"] == name]
        return sum(any(c["type"] == kind for c in job["status"].get("conditions", ())) for job in found) <= most

    until(within, 30, f"{name} has {most} {kind} Jobs at the most", 0.2)


def is_whole(stack: Stack, namespace: str, name: str, last: datetime, step: timedelta) -> bool:
    """Return whether each slot up to the last has its row; skipped slots are recorded a moment later."""
    slots = [(row["first_slot"] or row["slot"], row["slot"]) for row in stack.rows(namespace, name)]
    slots = [(first, slot) for first, slot in slots if slot <= last]
    return all(later[0] - earlier[1] == step for earlier, later in pairwise(slots))


def await_condition(stack: Stack, namespace: str, name: str, kind: str, value: str) -> None:
    """Wait until a condition of a task has a value."""
    until(
        lambda: condition(stack.ours(namespace, "scheduledtasks", name), kind)[0] == value,
        60,
        f"{kind} of {name} is {value}",
        0.1,
    )


def test_failures_open_the_circuit_and_a_trial_closes_it(stack: Stack, tasks: str, ailing: RecordingServer) -> None:
    """After two failures, slots are skipped; a failed trial opens it again, a successful one closes it."""
    await_condition(stack, tasks, "circuit", "CircuitOpen", "True")
    assert condition(stack.task(tasks, "circuit"), "Ready") == ("False", "CircuitOpen")
    rows = stack.await_rows(tasks, "circuit", 3, "failed")
    assert rows[2]["slot"] - rows[1]["slot"] >= timedelta(seconds=3), "a trial was made, and nothing else"
    # where everything is late, a trial may follow a failure at once
    until(
        lambda: "CircuitOpen" in {row["reason"] for row in stack.rows(tasks, "circuit", "skipped")},
        60,
        "a slot is skipped because the circuit is open",
        0.5,
    )
    ailing.status = 200
    stack.await_rows(tasks, "circuit", 2, "succeeded")
    until(
        lambda: condition(stack.task(tasks, "circuit"), "CircuitOpen")[0] == "False", 30, "the circuit is closed", 0.5
    )
    assert condition(stack.task(tasks, "circuit"), "Ready") == ("True", "Scheduled")


def test_replace_ends_the_execution_before_the_next_begins(stack: Stack, tasks: str) -> None:
    """Each is cancelled with the reason; there are never two active executions."""
    cancelled = stack.await_rows(tasks, "replaced", 2, "cancelled")
    assert {row["reason"] for row in cancelled} == {"Replaced"}
    stack.await_rows(tasks, "replaced", 1, "running")
    rows = stack.rows(tasks, "replaced")
    # while an end takes longer than the interval, a slot may be overtaken by the next one
    assert {row["status"] for row in rows} <= {"cancelled", "running", "missed"}
    last = rows[-1]["slot"]
    until(partial(is_whole, stack, tasks, "replaced", last, timedelta(seconds=4)), 30, "no slot is lost", 0.2)
    begun = [row for row in rows if row["started_at"]]  # an execution may be replaced before its runner has started
    for earlier, later in pairwise(begun):
        assert earlier["finished_at"] <= later["started_at"]


def test_finished_jobs_are_kept_up_to_the_limits(stack: Stack, tasks: str) -> None:
    """Other Jobs are deleted, but not their rows; after its time to live, every Job is deleted."""
    stack.await_rows(tasks, "kept", 6, "succeeded")
    stack.await_rows(tasks, "faulty", 4, "failed")
    await_finished(stack, tasks, "kept", "Complete", 2)
    await_finished(stack, tasks, "faulty", "Failed", 1)
    last = stack.rows(tasks, "kept", "succeeded")[5]["slot"]
    until(partial(is_whole, stack, tasks, "kept", last, timedelta(seconds=1)), 30, "each slot has its row", 0.2)
    stack.await_rows(tasks, "aged", 1, "succeeded")
    await_finished(stack, tasks, "aged", "Complete", 0)
    assert stack.rows(tasks, "aged", "succeeded")


def test_a_task_that_has_no_slot_left_is_completed(stack: Stack, tasks: str) -> None:
    """After maxRuns or endAt, it launches nothing more."""
    for name, most in (("counted", LIMIT), ("windowed", WINDOW // 2)):
        await_condition(stack, tasks, name, "Completed", "True")
        assert stack.task(tasks, name)["status"].get("nextScheduleTime") is None
        launched = stack.rows(tasks, name, "succeeded", "running")
        assert len(launched) <= most
    stack.await_rows(tasks, "counted", LIMIT, "succeeded")
    last = stack.rows(tasks, "windowed")[-1]["slot"]
    assert last <= instant(stack.task(tasks, "windowed")["spec"]["endAt"])


def test_attempts_are_recorded(stack: Stack, tasks: str, flaky: CountingServer) -> None:
    """The first fails and is retried within the same execution."""
    (row,) = stack.await_rows(tasks, "again", 1, "succeeded")
    first, second = stack.attempts(row)
    assert (first["number"], first["status"], first["reason"]) == (1, "failed", "HTTP5xx")
    assert (second["number"], second["status"], second["reason"]) == (2, "succeeded", None)
    assert second["started_at"] - first["finished_at"] >= timedelta(seconds=0.8)
    assert {key for _, key in flaky.seen} == {str(row["id"])}


def test_jitter_moves_launches_and_no_slots(stack: Stack, tasks: str) -> None:
    """The delay is the same for each launch of a task."""
    rows = stack.await_rows(tasks, "spread", 2, "succeeded")
    found = stack.task(tasks, "spread")
    offset = jitter_offset(found["metadata"]["uid"], 4)
    created = instant(found["metadata"]["creationTimestamp"])
    for row in rows:
        assert (row["slot"] - created) % timedelta(seconds=5) == timedelta()
        assert row["started_at"] >= row["slot"] + offset
    assert stack.rows(tasks, "spread", "skipped", "missed") == []
