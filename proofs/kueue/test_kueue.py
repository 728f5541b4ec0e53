"""Tasks whose Jobs the real Kueue, with its webhooks, queues, admits and preempts."""

from typing import TYPE_CHECKING, Any

import pytest

from carillon_local.layout import SHELL_IMAGE
from support.http_server import CountingServer
from support.waiting import until

if TYPE_CHECKING:
    from support.kueue import Kueue
    from support.stack import Stack

RESOURCES = {"requests": {"cpu": "10m", "memory": "10Mi"}}


def shown(stack: "Stack", namespace: str, name: str) -> tuple[int, int, str]:
    """Return the numbers of active and waiting executions in a task's status, and the message about the last."""
    status: dict[str, Any] = stack.task(namespace, name).get("status") or {}
    last = status.get("lastExecution") or {}
    return status.get("active", 0), status.get("waiting", 0), last.get("message", "")


def waiting(stack: "Stack", namespace: str, job_name: str) -> bool:
    """Return whether a Job exists and has neither completed nor failed."""
    jobs = [job for job in stack.jobs(namespace) if job["metadata"]["name"] == job_name]
    conditions = {c["type"] for job in jobs for c in job["status"].get("conditions") or () if c["status"] == "True"}
    return bool(jobs) and not conditions & {"Complete", "Failed"}


@pytest.mark.timeout(240)
def test_an_execution_waits_for_quota_and_runs_once_there_is_some(
    stack: "Stack", kueue: "Kueue", namespace: str
) -> None:
    """Kueue manages the Job, keeps it suspended and starts it; the next slots wait and run in order."""
    queue = kueue.queue(namespace, "nightly", cpu="0")
    stack.apply(namespace, "queued", intervalSeconds=2, queueName="nightly", task={"counter": {}})
    until(lambda: len(kueue.workloads(namespace)) == 1, 60, "Kueue has a workload for the Job")
    until(
        lambda: shown(stack, namespace, "queued") == (0, 1, "it is waiting in its queue for admission"),
        30,
        "it is shown as waiting",
    )
    stack.await_rows(namespace, "queued", 1, "skipped")
    assert stack.pods(namespace) == []
    (job,) = stack.jobs(namespace)
    assert job["spec"]["suspend"] is True
    kueue.change(queue, cpu="1")
    stack.await_rows(namespace, "queued", 3, "succeeded")
    slots = [row["slot"] for row in stack.rows(namespace, "queued")]
    assert len(slots) == len(set(slots))


@pytest.mark.timeout(240)
def test_an_execution_that_is_taken_back_ends_and_is_not_run_again(
    stack: "Stack", kueue: "Kueue", namespace: str
) -> None:
    """Kueue preempts a started Job, so its execution ends; later slots run in order."""
    queue = kueue.queue(namespace, "nightly", cpu="1")
    with CountingServer() as server:
        server.hold_at = 1
        stack.apply(
            namespace, "taken", intervalSeconds=2, queueName="nightly", task={"http": {"url": f"{server.url}/held"}}
        )
        server.await_requests(1)
        kueue.change(queue, stopPolicy="HoldAndDrain")
        (row,) = stack.await_rows(namespace, "taken", 1, "cancelled")
        assert (row["reason"], row["message"]) == ("Terminated", "terminated by SIGTERM")
        stack.await_rows(namespace, "taken", 1, "skipped")  # because the next one waits
        until(lambda: shown(stack, namespace, "taken")[:2] == (0, 1), 30, "only that one is shown as waiting")
        kueue.change(queue, stopPolicy="None")
        stack.await_rows(namespace, "taken", 2, "succeeded")
        until(lambda: not waiting(stack, namespace, row["job_name"]), 60, "the Job that was taken back is over")
        keys = [key for _, key in server.seen]
        assert len(keys) == len(set(keys))


@pytest.mark.timeout(240)
def test_containers_that_are_taken_back_are_not_begun_again(stack: "Stack", kueue: "Kueue", namespace: str) -> None:
    """Container tasks contain no code of ours, so their Jobs are deleted, both for slots and for requests."""
    queue = kueue.queue(namespace, "nightly", cpu="1")
    task = {"container": {"image": SHELL_IMAGE, "command": ["sleep", "600"], "resources": RESOURCES}}
    once = {"kind": "RunRequest", "metadata": {"name": "once"}, "spec": {"task": task, "queueName": "nightly"}}
    stack.apply(namespace, "taken", intervalSeconds=3600, queueName="nightly", task=task)
    stack.apply_objects(namespace, once, {**once, "metadata": {"name": "other"}})
    stack.http.post(f"/api/v1/namespaces/{namespace}/tasks/taken/run").raise_for_status()

    def running() -> set[str]:
        return {pod["metadata"]["name"] for pod in stack.pods(namespace) if pod["status"].get("phase") == "Running"}

    until(lambda: len(running()) == 3, 60, "the containers run")
    begun = {job["metadata"]["name"] for job in stack.jobs(namespace)}
    kueue.change(queue, stopPolicy="HoldAndDrain")
    stack.await_rows(namespace, None, 3, "failed")
    until(lambda: not begun & {job["metadata"]["name"] for job in stack.jobs(namespace)}, 60, "their Jobs are gone")
    kueue.change(queue, stopPolicy="None")
    stack.apply(namespace, "after", intervalSeconds=2, queueName="nightly", task={"counter": {}})
    stack.await_rows(namespace, "after", 1, "succeeded")
    assert not [pod for pod in stack.pods(namespace) if pod["metadata"]["labels"]["job-name"] in begun]
    for name in ("once", "other"):
        assert stack.ours(namespace, "runrequests", name)["status"]["result"] == "Failed"
