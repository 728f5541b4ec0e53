"""Lost pods and Jobs: every execution reaches a terminal status, and no effect occurs twice."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.http_server import CountingServer
from support.manifests import ONCE, request, task
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import Stack

LONG = {"sleep": {"durationSeconds": 600}}


@pytest.fixture
def held() -> Iterator[CountingServer]:
    """Hold the first request of each execution, so that its runner can be killed meanwhile."""
    with CountingServer() as server:
        server.hold_at = 1
        yield server


@pytest.fixture
def held_once() -> Iterator[CountingServer]:
    """Do the same for another task."""
    with CountingServer() as server:
        server.hold_at = 1
        yield server


def pid_of(stack: Stack, pod: dict[str, Any]) -> int:
    """Return the process of a pod's container."""
    uid = pod["metadata"]["uid"]
    container = pod["spec"]["containers"][0]["name"]
    record = stack.cluster.files.pods / uid / container / "process.json"
    return int(json.loads(record.read_text())["pid"])


def kill(stack: Stack, namespace: str, name: str) -> None:
    """Kill the process of a task's pod, as the kernel does when memory runs out."""
    (pod,) = stack.pods(namespace, name)
    os.kill(pid_of(stack, pod), signal.SIGKILL)


def test_a_runner_that_is_killed_is_followed_by_another(
    stack: Stack, namespace: str, held: CountingServer, held_once: CountingServer
) -> None:
    """After exit code 137, a task without effects runs again; an HTTP request only if the retry policy allows it."""
    stack.apply_objects(
        namespace,
        task("nap", **ONCE, task={"sleep": {"durationSeconds": 20}}),
        task("tally", **ONCE, task={"counter": {"name": "exact"}}),
        task("once", **ONCE, task={"http": {"url": f"{held_once.url}/"}}),
        task("twice", **ONCE, task={"http": {"url": f"{held.url}/"}}, retry={"limit": 1}),
    )
    with psycopg.connect(stack.database_url) as other:
        other.execute("INSERT INTO counters VALUES (%s, 'exact', 10, now())", (namespace,))
        # the runner has sent its increment, and waits for this transaction
        for name in ("nap", "tally"):
            stack.await_rows(namespace, name, 1, "running")
        held.await_requests(1)
        held_once.await_requests(1)
        for name in ("nap", "tally", "once", "twice"):
            kill(stack, namespace, name)
        other.commit()
    (row,) = stack.await_rows(namespace, "once", 1, "failed")
    assert row["reason"] == "PodLost"
    assert len(held_once.seen) == 1, "the request was not sent again"
    for name in ("nap", "twice"):
        (row,) = stack.await_rows(namespace, name, 1, "succeeded")
        first, second = stack.attempts(row)
        assert (first["status"], first["reason"]) == ("failed", "PodLost")
        assert second["status"] == "succeeded"
    assert len({key for _, key in held.seen}) == 1
    assert len(held.seen) == 2
    (row,) = stack.await_rows(namespace, "tally", 1, "succeeded")
    assert row["result"]["value"] == 11
    with psycopg.connect(stack.database_url) as other:
        assert other.execute("SELECT value FROM counters WHERE namespace = %s", (namespace,)).fetchall() == [(11,)]
    assert stack.rows(namespace, None, "running") == []


def test_what_is_deleted_while_it_runs_is_cancelled(stack: Stack, namespace: str) -> None:
    """This holds for a pod, a Job and a request. A pod deleted by force cannot record its end: another follows."""
    names = ("pod", "forced", "job", "request")
    stack.apply_objects(
        namespace,
        *(task(name, **ONCE, task=LONG) for name in ("pod", "forced", "job")),
        request("request", task=LONG),
    )
    running = {name: stack.await_rows(namespace, name, 1, "running")[0] for name in names}
    there = ("--namespace", namespace, "--wait=false")
    stack.kubectl("delete", "pod", running["pod"]["pod_name"], *there)
    stack.kubectl("delete", "pod", running["forced"]["pod_name"], "--force", "--grace-period=0", *there)
    stack.kubectl("delete", "job", running["job"]["job_name"], *there)
    stack.kubectl("delete", "runrequest", "request", *there)
    (row,) = stack.await_rows(namespace, "pod", 1, "cancelled")
    assert row["reason"] == "Terminated"
    for name in ("job", "request"):
        (row,) = stack.await_rows(namespace, name, 1, "cancelled")
    lost = running["forced"]["pod_name"]
    until(lambda: stack.rows(namespace, "forced")[0]["pod_name"] != lost, 60, "another pod runs what had no effect yet")
    (row,) = stack.rows(namespace, "forced", "running")
    assert [(a["status"], a["reason"]) for a in stack.attempts(row)] == [("failed", "PodLost"), ("running", None)]
    until(
        lambda: {p["metadata"]["labels"]["carillon.dev/task"] for p in stack.pods(namespace)} <= {"pod", "forced"},
        60,
        "the pods of Jobs that are gone are gone",
    )


def test_a_jobs_deadline_ends_what_cannot_end_itself(stack: Stack, namespace: str) -> None:
    """The Job controller ends it, and the row has the reason."""
    stack.apply_objects(namespace, task("late", **ONCE, task=LONG))
    (row,) = stack.await_rows(namespace, "late", 1, "running")
    patch = '{"spec":{"activeDeadlineSeconds":1}}'
    stack.kubectl("patch", "job", row["job_name"], "--namespace", namespace, "--type=merge", "--patch", patch)
    (row,) = stack.await_rows(namespace, "late", 1, "timed_out", "cancelled")
    until(
        lambda: stack.task(namespace, "late")["status"].get("lastResult") in {"TimedOut", "Cancelled"},
        30,
        "the status says so",
        0.5,
    )
