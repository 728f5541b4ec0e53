"""Runners that record in the database themselves, and the upgrade from there to the recorder and back."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support.manifests import ONCE, task
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack

SLEEP = {"sleep": {"durationSeconds": 8}}


@pytest.fixture
def direct(stack: Stack) -> Iterator[Stack]:
    """Give a stack whose operator knows no recorder."""
    stack.end("operator")
    start_direct(stack)
    yield stack
    if stack.known("operator"):
        stack.end("operator")
    stack.start_operator()


def start_direct(stack: Stack) -> None:
    """Start the operator with the runners' login."""
    stack.start_operator(
        CARILLON_RECORDER_URL="",
        CARILLON_RUNNER_DATABASE_URL=stack.runner_database_url,
        CARILLON_SWEEP_SECONDS="2",
    )


def secrets(stack: Stack, namespace: str) -> list[str]:
    """Return the names of a namespace's Secrets."""
    shown = stack.kubectl("get", "secrets", "--namespace", namespace, "--output", "json")
    return [item["metadata"]["name"] for item in json.loads(shown)["items"]]


def uids(stack: Stack, namespace: str) -> set[str]:
    """Return the uids of a namespace's Jobs."""
    return {job["metadata"]["uid"] for job in stack.jobs(namespace)}


def test_with_a_recorder_nothing_is_written_into_a_namespace(stack: Stack, namespace: str) -> None:
    """No Secret, and no database's URL in the pod."""
    stack.apply(namespace, "plain", intervalSeconds=2, task={"counter": {}})
    stack.await_rows(namespace, "plain", 2, "succeeded")
    assert secrets(stack, namespace) == []
    pods = stack.kubectl("get", "pods,jobs", "--namespace", namespace, "--output", "yaml")
    assert "CARILLON_RECORDER_URL" in pods
    assert "postgresql://" not in pods
    assert "DATABASE_URL" not in pods


def test_a_secret_that_is_gone_leaves_no_ghost(direct: Stack, namespace: str) -> None:
    """Without its database a runner cannot start: the Secret is mended, or the execution given up with its reason."""
    direct.apply(namespace, "blind", intervalSeconds=2, task={"counter": {}})
    direct.await_rows(namespace, "blind", 1, "succeeded")
    assert secrets(direct, namespace) == ["carillon-runner"]
    direct.kubectl("delete", "secret", "carillon-runner", "--namespace", namespace)
    until(lambda: secrets(direct, namespace) == ["carillon-runner"], 60, "the Secret is back")
    done = len(direct.rows(namespace, "blind", "succeeded"))
    until(lambda: len(direct.rows(namespace, "blind", "succeeded")) > done, 120, "executions succeed again")
    assert {row["status"] for row in direct.rows(namespace, "blind")} <= {"succeeded", "skipped", "failed", "running"}
    for row in direct.rows(namespace, "blind", "failed"):
        assert row["reason"] == "CreateContainerConfigError"


def test_an_upgrade_with_jobs_that_run_loses_nothing(direct: Stack, namespace: str) -> None:
    """Those of before end in the database, those of after by the recorder; and the same on the way back."""
    direct.apply_objects(namespace, task("before", **ONCE, task=SLEEP))
    direct.await_rows(namespace, "before", 1, "running")
    direct.end("operator")
    direct.start_operator()
    direct.apply_objects(namespace, task("after", **ONCE, task=SLEEP))
    direct.await_rows(namespace, "after", 1, "running")
    direct.await_rows(namespace, "before", 1, "succeeded")
    direct.end("operator")
    start_direct(direct)
    direct.await_rows(namespace, "after", 1, "succeeded")
    direct.apply(namespace, "again", intervalSeconds=2, task={"counter": {}})
    direct.await_rows(namespace, "again", 2, "succeeded")
    for name in ("before", "after"):
        (row,) = direct.rows(namespace, name)
        assert row["result"]["sleptSeconds"] >= SLEEP["sleep"]["durationSeconds"]


def test_a_recorder_that_is_killed_is_waited_for(stack: Stack, namespace: str) -> None:
    """Executions go on when it is back; each counts once."""
    stack.apply(namespace, "steady", intervalSeconds=2, concurrencyPolicy="Allow", task={"counter": {}})
    stack.await_rows(namespace, "steady", 1, "succeeded")
    stack.end("recorder", signal.SIGKILL)
    before = uids(stack, namespace)
    until(lambda: bool(uids(stack, namespace) - before), 30, "something is launched meanwhile")
    done = len(stack.rows(namespace, "steady", "succeeded"))
    stack.start_recorder()
    stack.await_rows(namespace, "steady", done + 3, "succeeded", seconds=90)
    rows = stack.rows(namespace, "steady", "succeeded")
    values = sorted(row["result"]["value"] for row in rows)
    assert len(set(values)) == len(values)
