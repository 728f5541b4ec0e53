"""The admission webhook has a real API server judge the Jobs of tasks, and names the task's own fields."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from carillon_core.adapters.kube import KubeConnection
from support.waiting import eventually
from support.webhook import Webhook, webhook

__all__ = ["webhook"]
POD = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "busybox"}]}
PATH = "spec.task.job.template.spec.template.spec"


@pytest.fixture
async def serving(webhook: Webhook) -> AsyncIterator[Webhook]:
    """Give the webhook, running."""
    async with webhook.running():
        await eventually(webhook.serves, 60)
        yield webhook


def job(pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """Return the spec of a task with a whole Job."""
    return {"intervalSeconds": 60, "task": {"job": {"template": {"spec": {"template": {"spec": pod or POD}, **spec}}}}}


def container(**fields: Any) -> dict[str, Any]:
    """Return the spec of a task that runs a container."""
    return {"intervalSeconds": 60, "task": {"container": {"image": "busybox", **fields}}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": (
        job({**POD, "containers": [{"name": "a", "imagee": "busybox"}]}),
        f"{PATH}.containers[0].imagee: is an unknown field: remove it or correct its spelling",
    ),
    "no containers": (job({"restartPolicy": "Never"}), f"{PATH}.containers: "),
    "a policy that no Job can have": (job({**POD, "restartPolicy": "Always"}), f"{PATH}.restartPolicy: "),
    "a bad quantity": (
        job({**POD, "containers": [{"name": "a", "image": "b", "resources": {"limits": {"memory": "much"}}}]}),
        "spec.task.job.template: ",
    ),
    "a wrong type": (job(parallelism="three"), "spec.task.job.template: "),
    "a label that is none": (
        {
            "intervalSeconds": 60,
            "task": {"job": {"template": {"metadata": {"labels": {"a b": "c"}}, "spec": {"template": {"spec": POD}}}}},
        },
        "spec.task.job.template.metadata.labels: ",
    ),
    "a path that leaves the volume": (
        container(
            volumes=[{"name": "v", "emptyDir": {}}], volumeMounts=[{"name": "v", "mountPath": "/a", "subPath": "../b"}]
        ),
        "spec.task.container.volumeMounts.subPath: must not contain ",
    ),
    "a volume of two sources": (
        container(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]),
        "spec.task.container.volumes[0].hostPath: ",
    ),
    "an unknown field of a volume": (
        container(volumes=[{"name": "v", "empty": {}}]),
        "spec.task.container.volumes[0].empty: is an unknown field",
    ),
    "a field of the pod that there is not": (
        container(env=[{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]),
        "spec.task.container.env[1].valueFrom.fieldRef.fieldPath: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_the_api_server_would_refuse_is_refused_at_once(serving: Webhook, case: str) -> None:
    """Not when the first slot is due."""
    spec, want = REFUSED[case]
    code, said = await serving.apply("ScheduledTask", "bad", spec)
    assert code != 0
    assert want in said
    code, said = await serving.apply("RunRequest", "bad", {"task": spec["task"]})
    assert code != 0
    assert want in said


async def test_a_job_that_the_api_server_takes_is_stored_and_not_created(
    serving: Webhook, connection: KubeConnection, namespace: str
) -> None:
    """It is a trial."""
    for name, spec in (("whole", job(completions=2)), ("short", container(env=[{"name": "A", "value": "$(B)"}]))):
        code, said = await serving.apply("ScheduledTask", name, spec)
        assert (code, "could not be checked" in said) == (0, False), said
    listed = await connection.request("GET", f"/apis/batch/v1/namespaces/{namespace}/jobs")
    assert listed["items"] == []


async def test_a_quota_is_no_reason_to_refuse_a_task(
    serving: Webhook, connection: KubeConnection, namespace: str
) -> None:
    """Another time there is room; the author is told."""
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    await connection.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", body=quota)

    async def refuses() -> bool:
        code, said = await serving.apply("ScheduledTask", "full", job())
        assert code == 0, said
        await connection.request("DELETE", f"/apis/carillon.dev/v1alpha1/namespaces/{namespace}/scheduledtasks/full")
        return "the API server would currently reject the Job: " in said and "exceeded quota" in said

    await eventually(refuses, 30)
