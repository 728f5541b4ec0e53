"""Executions without a runner's record: container tasks, and pods that cannot start."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from support.manifests import ONCE, request, task
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.stack import Stack

SHELL = "test/shell:1"
SAYS = 'printf "%s" "$MESSAGE" > "$CARILLON_TERMINATION_LOG"'
"""The local cluster's node sets a variable with the path of the termination message, since pods have no own /dev."""


def shell(script: str, **env: str) -> dict[str, Any]:
    """Return a container task that runs a script."""
    variables = [{"name": name, "value": value} for name, value in env.items()]
    return {"container": {"image": SHELL, "command": ["/bin/sh", "-c", script], "env": variables}}


def whole(*scripts: str, env: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    """Return a task with a whole Job, whose pods have a container for each script."""
    containers = [
        {"name": f"part-{number}", "image": SHELL, "command": ["/bin/sh", "-c", script], "env": env or []}
        for number, script in enumerate(scripts)
    ]
    pod = {"restartPolicy": "Never", "containers": containers}
    return {"job": {"template": {"spec": {"backoffLimit": 0, "template": {"spec": pod}, **spec}}}}


def keyed() -> dict[str, Any]:
    """Return a container task with variables from a Secret and a ConfigMap."""
    made = shell(f'MESSAGE="$KEY, $A_WORD, $NONE"; {SAYS}')
    made["container"] |= {
        "env": [KEY, {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y", "optional": True}}}],
        "envFrom": [{"prefix": "A_", "configMapRef": {"name": "words"}}],
    }
    return made


IN_PARTS = 'test "$KEY" = hidden && echo "part $JOB_COMPLETION_INDEX of $SLOT"'
EVERY_SECOND = {"limit": 2, "initialDelaySeconds": 1, "factor": 1}
INDEXED = {"completions": 2, "parallelism": 2, "completionMode": "Indexed"}
KEY = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "k"}}}
SLOT = {"name": "SLOT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['carillon.dev/slot']"}}}
OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"k": "hidden"}},
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "words"}, "data": {"WORD": "shown"}},
]


@pytest.fixture(scope="module")
def containers(stack: Stack, shared_namespace: str, passable_dir: Callable[[], Path]) -> str:
    """Apply all tasks at once, so that their waits overlap."""
    folder = passable_dir()
    folder.chmod(0o777)  # a container is not root, even if the node is
    mark = folder / "mark"
    stack.add_images({SHELL: {"entrypoint": []}})
    retry = {"limit": 1, "initialDelaySeconds": 0}
    stack.apply_objects(
        shared_namespace,
        task("good", **ONCE, task=shell(f"env; {SAYS}", MESSAGE="all $(done) $$")),
        task("bad", **ONCE, task=shell(f"{SAYS}; exit 3", MESSAGE="out of paper")),
        task("talker", **ONCE, task=shell("seq 1000000 1000999; exit 6")),
        task("mute", **ONCE, task=shell("echo the last line; exit 4")),
        task("never", **ONCE, task=shell("exit 1"), retry=retry),
        task("second", **ONCE, task=shell(f"test -e {mark} || {{ touch {mark}; exit 1; }}"), retry=retry),
        task("thrice", **ONCE, task=shell("exit 6"), retry=EVERY_SECOND),
        task("ended", **ONCE, task=shell("exit 1"), retry={"limit": 20, "initialDelaySeconds": 600}),
        task("slow", **ONCE, task=shell("exec sleep 600"), timeoutSeconds=1),
        task("imageless", intervalSeconds=3, task={"container": {"image": "test/missing:1"}}),
        request("imageless-once", task={"container": {"image": "test/missing:1"}}),
        *OBJECTS,
        task("keyed", **ONCE, task=keyed()),
        task("whole", **ONCE, task=whole(IN_PARTS, env=[KEY, SLOT], **INDEXED)),
        task("torn", **ONCE, task=whole("exit 0", f"{SAYS}; exit 7", env=[{"name": "MESSAGE", "value": "torn"}])),
        task("silent", **ONCE, task=whole("echo the end of the log; exit 8")),
        task("late", **ONCE, task=whole("exec sleep 600"), timeoutSeconds=1),
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
    """The row has the message and the end of the log; a request's parameters are environment variables."""
    (row,) = stack.await_rows(containers, "bad", 1, "failed")
    assert row["result"] == {"exitCode": 3, "message": "out of paper"}, "it wrote no log"
    assert row["error"] == "out of paper"
    (row,) = stack.await_rows(containers, "mute", 1, "failed")
    assert row["result"] == {"exitCode": 4, "message": "the last line\n", "log": "the last line\n"}
    (row,) = stack.await_rows(containers, "asked", 1, "failed")
    assert row["result"] == {"exitCode": 5, "message": "me\n", "log": "me\n"}


def test_a_failed_container_leaves_the_last_4_kib_of_its_log(stack: Stack, containers: str) -> None:
    """Twice what Kubernetes keeps of it as a message, in whole lines."""
    (row,) = stack.await_rows(containers, "talker", 1, "failed")
    assert row["result"]["log"].splitlines() == [str(number) for number in range(1000488, 1001000)]
    assert len(row["result"]["message"]) < len(row["result"]["log"]) == 4096


def test_a_container_past_its_time_out_is_ended(stack: Stack, containers: str) -> None:
    """It is recorded as timed out."""
    (row,) = stack.await_rows(containers, "slow", 1, "timed_out")
    assert (row["finished_at"] - row["started_at"]).total_seconds() < 40


def test_retries_are_jobs_and_recorded_as_attempts(stack: Stack, containers: str) -> None:
    """A limit of one allows two."""
    (row,) = stack.await_rows(containers, "never", 1, "failed")
    assert [attempt["status"] for attempt in stack.attempts(row)] == ["failed", "failed"]
    (row,) = stack.await_rows(containers, "second", 1, "succeeded")
    assert [attempt["status"] for attempt in stack.attempts(row)] == ["failed", "succeeded"]
    assert len({attempt["pod_name"] for attempt in stack.attempts(row)}) == 2


def test_attempts_are_as_far_apart_as_the_policy_says(stack: Stack, containers: str) -> None:
    """Three within seconds, where the Job controller would wait ten and twenty; all are in one row."""
    (row,) = stack.await_rows(containers, "thrice", 1, "failed")
    assert row["result"]["exitCode"] == 6
    attempts = stack.attempts(row)
    assert [attempt["status"] for attempt in attempts] == ["failed"] * 3
    waits = [(after["started_at"] - before["finished_at"]).total_seconds() for before, after in pairwise(attempts)]
    assert all(1 <= wait < 8 for wait in waits), waits
    assert (row["finished_at"] - row["started_at"]).total_seconds() < 20


def test_an_execution_is_cancelled_in_a_wait(stack: Stack, containers: str) -> None:
    """Nothing runs, and yet it is active: the next attempt would start in ten minutes."""
    until(lambda: "the next one is due" in _said(stack, containers, "ended"), 60, "the first attempt has failed")
    (row,) = stack.rows(containers, "ended", "running")
    answer = stack.http.post(f"/api/v1/executions/{row['id']}/cancel")
    assert answer.status_code == 202, answer.text
    (row,) = stack.await_rows(containers, "ended", 1, "cancelled")
    assert "cancelled by" in row["message"]
    assert [attempt["status"] for attempt in stack.attempts(row)] == ["failed"]


def _said(stack: Stack, namespace: str, name: str) -> str:
    found = stack.ours(namespace, "scheduledtasks", name).get("status", {}).get("lastExecution", {})
    return str(found.get("message", ""))


def test_a_container_has_variables_from_secrets_and_config_maps(stack: Stack, containers: str) -> None:
    """As in a pod; an optional one that does not exist is left out."""
    (row,) = stack.await_rows(containers, "keyed", 1, "succeeded")
    assert row["result"] == {"exitCode": 0, "message": "hidden, shown, "}


def test_a_whole_job_succeeds_when_all_its_pods_have(stack: Stack, containers: str) -> None:
    """Its two pods are the attempts, and its Job is what a CronJob's would be."""
    (row,) = stack.await_rows(containers, "whole", 1, "succeeded")
    assert row["task_type"] == "job"
    assert [attempt["status"] for attempt in stack.attempts(row)] == ["succeeded", "succeeded"]
    said = stack.kubectl(
        "logs", "--selector", f"batch.kubernetes.io/job-name={row['job_name']}", "--namespace", containers
    )
    slot = row["slot"].strftime("%Y-%m-%dT%H:%M:%SZ")
    assert sorted(said.splitlines()) == [f"part 0 of {slot}", f"part 1 of {slot}"]


def test_a_whole_job_fails_with_what_its_failed_container_says(stack: Stack, containers: str) -> None:
    """Not with the exit code of another container; its deadline is the task's time-out."""
    (row,) = stack.await_rows(containers, "torn", 1, "failed")
    assert row["result"] == {"exitCode": 7, "message": "torn", "exitCodes": {"part-0": 0, "part-1": 7}}
    (row,) = stack.await_rows(containers, "silent", 1, "failed")
    assert row["result"] == {"exitCode": 8, "message": "the end of the log\n", "log": "the end of the log\n"}
    (row,) = stack.await_rows(containers, "late", 1, "timed_out")
    assert (row["finished_at"] - row["started_at"]).total_seconds() < 40


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
