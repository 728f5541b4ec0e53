"""A queued task: its Job is suspended until its admission, as with Kueue; and pod settings."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack


def jobs(stack: "Stack", namespace: str) -> list[dict[str, Any]]:
    """Return the Jobs of a namespace."""
    found: list[dict[str, Any]] = json.loads(stack.kubectl("get", "jobs", "-n", namespace, "-o", "json"))["items"]
    return found


@pytest.mark.timeout(120)
def test_an_execution_waits_in_its_queue_and_runs_once_it_is_admitted(stack: "Stack", namespace: str) -> None:
    """While it waits, it has no pod, is not shown as active, and the next slot is skipped; when admitted, it runs."""
    stack.apply(
        namespace,
        "queued",
        intervalSeconds=2,
        queueName="nightly",
        pod={"tolerations": [{"key": "pool", "operator": "Exists"}], "imagePullSecrets": [{"name": "registry"}]},
        task={"counter": {}},
    )
    until(lambda: len(jobs(stack, namespace)) == 1, 30, "the Job is there")

    def shown() -> tuple[int, int, str]:
        status = stack.task(namespace, "queued").get("status") or {}
        message = (status.get("lastExecution") or {}).get("message", "")
        return status.get("active", 0), status.get("waiting", 0), message

    until(lambda: shown() == (0, 1, "it is waiting in its queue for admission"), 30, "it is shown as waiting")
    stack.await_rows(namespace, "queued", 1, "skipped")
    assert "is still waiting in its queue" in stack.rows(namespace, "queued", "skipped")[0]["message"]
    (job,) = jobs(stack, namespace)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nightly"
    pod = job["spec"]["template"]["spec"]
    assert pod["tolerations"] == [{"key": "pool", "operator": "Exists"}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert not stack.kubectl("get", "pods", "-n", namespace, "-o", "name").strip()
    stack.kubectl(
        "patch",
        "job",
        job["metadata"]["name"],
        "-n",
        namespace,
        "--type=merge",
        "-p",
        '{"spec": {"suspend": false}}',
    )
    stack.await_rows(namespace, "queued", 1, "succeeded")
    until(lambda: len(jobs(stack, namespace)) >= 2, 30, "the next slot waits in its turn")
