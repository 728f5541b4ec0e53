"""Executions without a runner's record: container tasks, and pods that cannot start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.manifests import ONCE, request, task
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.stack import Stack

SHELL = "test/shell:1"
SAYS = 'printf "%s" "$MESSAGE" > "$CARILLON_TERMINATION_LOG"'
"""The local cluster's node sets a variable with the path of the termination message, since pods have no own /dev."""


def shell(script: str, **env: str) -> dict[str, Any]:
    """Return a container task that runs a script."""
    variables = [{"name": name, "value": value} for name, value in env.items()]
    return {"container": {"image": SHELL, "command": ["/bin/sh", "-c", script], "env": variables}}


@pytest.fixture(scope="module")
def containers(stack: Stack, shared_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Apply all tasks at once, so that their waits overlap."""
    mark: Path = tmp_path_factory.mktemp("marks") / "mark"
    stack.add_images({SHELL: {"entrypoint": []}})
    retry = {"limit": 1}
    stack.apply_objects(
        shared_namespace,
        task("good", **ONCE, task=shell(f"env; {SAYS}", MESSAGE="all $(done) $$")),
        task("bad", **ONCE, task=shell(f"{SAYS}; exit 3", MESSAGE="out of paper")),
        task("mute", **ONCE, task=shell("echo the last line; exit 4")),
        task("never", **ONCE, task=shell("exit 1"), retry=retry),
        task("second", **ONCE, task=shell(f"test -e {mark} || {{ touch {mark}; exit 1; }}"), retry=retry),
        task("slow", **ONCE, task=shell("exec sleep 600"), timeoutSeconds=1),
        task("imageless", intervalSeconds=3, task={"container": {"image": "test/missing:1"}}),
        request("imageless-once", task={"container": {"image": "test/missing:1"}}),
        request("asked", task=shell('echo "$WHO"; exit 5', WHO="nobody"), parameters={"WHO": "me", "N": 7}),
    )
    return shared_namespace


def test_exit_code_0_is_success_and_the_termination_message_is_kept(stack: Stack, containers: str) -> None:
    """The container knows its execution, but no database URL."""
    (row,) = stack.await_rows(containers, "good", 1, "succeeded")
    assert row["result"] == {"exitCode": 0, "message": "all $(done) $$"}
    assert row["started_at"] <= row["finished_at"]
    assert [attempt["status"] for attempt in stack.attempts(row)] == ["succeeded"]
    said = stack.kubectl("logs", f"job/{row['job_name']}", "--namespace", containers)
    assert f"CARILLON_EXECUTION_ID={row['id']}" in said
    assert "DATABASE_URL" not in said
    assert "postgresql://" not in said


def test_another_exit_code_is_failure(stack: Stack, containers: str) -> None:
    """The row has the message, or the end of the log; a request's parameters are environment variables."""
    (row,) = stack.await_rows(containers, "bad", 1, "failed")
    assert row["result"] == {"exitCode": 3, "message": "out of paper"}
    assert row["error"] == "out of paper"
    (row,) = stack.await_rows(containers, "mute", 1, "failed")
    assert row["result"] == {"exitCode": 4, "message": "the last line\n"}
    (row,) = stack.await_rows(containers, "asked", 1, "failed")
    assert row["result"] == {"exitCode": 5, "message": "me\n"}


def test_a_container_past_its_time_out_is_ended(stack: Stack, containers: str) -> None:
    """It is recorded as timed out."""
    (row,) = stack.await_rows(containers, "slow", 1, "timed_out")
    assert (row["finished_at"] - row["started_at"]).total_seconds() < 40


def test_retries_are_pods_and_recorded_as_attempts(stack: Stack, containers: str) -> None:
    """A limit of one allows two pods."""
    (row,) = stack.await_rows(containers, "never", 1, "failed")
    assert [attempt["status"] for attempt in stack.attempts(row)] == ["failed", "failed"]
    (row,) = stack.await_rows(containers, "second", 1, "succeeded")
    assert [attempt["status"] for attempt in stack.attempts(row)] == ["failed", "succeeded"]
    assert len({attempt["pod_name"] for attempt in stack.attempts(row)}) == 2


def test_an_image_that_is_missing_ends_the_execution(stack: Stack, containers: str) -> None:
    """It ends within about a minute, with the reason; the next slot is launched."""
    row = stack.await_rows(containers, "imageless", 1, "failed", seconds=90)[0]
    assert row["reason"] in {"ErrImagePull", "ImagePullBackOff"}
    assert "test/missing:1" in row["message"]
    assert (row["finished_at"] - row["slot"]).total_seconds() < 75
    (row,) = stack.await_rows(containers, "imageless-once", 1, "failed", seconds=60)
    assert row["reason"] in {"ErrImagePull", "ImagePullBackOff"}
    until(lambda: len(stack.rows(containers, "imageless", "running")) == 1, 30, "the next slot has its turn")
    assert {r["status"] for r in stack.rows(containers, "imageless")} == {"failed", "running", "skipped"}
    until(
        lambda: "PodCannotStart" in stack.kubectl("get", "events", "--namespace", containers), 30, "an Event says so", 1
    )
