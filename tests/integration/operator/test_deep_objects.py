"""An object in a real API server that is too deep for any decoder does not affect other tasks."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeObjectStore
from carillon_core.domain.decision.decide import decide
from carillon_core.domain.observed.jobs import ObservedTask
from carillon_core.resources.base import rfc3339
from carillon_core.resources.names import API_VERSION
from carillon_core.resources.nesting import MOST_LEVELS
from carillon_operator.gather.handlers import run_kopf
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue
from support.cluster import RunningCluster
from support.waiting import eventually

LEVELS = 9_900
"""The API server's own limit is ten thousand."""


async def create(cluster: RunningCluster, namespace: str, name: str, levels: int) -> None:
    """Create a task whose plugin parameters have this depth, bypassing our checks."""
    spec = {"intervalSeconds": 3600, "task": {"plugin": {"name": "x", "parameters": "DEEP"}}}
    body = {"apiVersion": API_VERSION, "kind": "ScheduledTask", "metadata": {"name": name}, "spec": spec}
    text = json.dumps(body).replace('"DEEP"', '{"a":' * levels + "1" + "}" * levels)
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/scheduledtasks"
    assert cluster.local is not None
    command = cluster.local.kubectl_command(["create", "--raw", path, "--filename", "-"])
    pipe = asyncio.subprocess.PIPE
    kubectl = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    _, said = await kubectl.communicate(text.encode())
    assert kubectl.returncode == 0, said.decode()


async def test_everything_else_is_listed_and_watched_beside_it(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One exists before the operator starts, another is created while it watches; both become invalid."""
    if cluster.local is None:
        pytest.skip("kubectl is that of the local cluster")
    # kopf's login uses the client library, which reads KUBECONFIG only when it is imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", cluster.kubeconfig)
    tasks = KubeObjectStore(connection)
    fine = {"intervalSeconds": 60, "task": {"counter": {}}}
    await create(cluster, namespace, "deep", LEVELS)
    await tasks.create(namespace, {"metadata": {"name": "fine"}, "spec": fine})

    listed = {raw["metadata"]["name"]: raw for raw in await tasks.list(namespace)}
    assert listed.keys() == {"deep", "fine"}
    now = datetime.now(UTC)
    plan = decide(ObservedTask.from_object(listed["deep"]), [], now)
    (ready,) = plan.status.conditions
    assert (ready.status, ready.reason) == ("False", "InvalidSpec")
    assert f"spec.task.plugin.parameters: nests more than {MOST_LEVELS} levels deep" in ready.message
    stored = await KubeCluster(connection).patch_status(
        ObservedTask.from_object(listed["deep"]).meta, plan.status.model_dump(mode="json", by_alias=True)
    )
    assert stored["status"]["conditions"][0]["lastTransitionTime"] <= rfc3339(now)

    store, stop = ObservedStore(), asyncio.Event()
    observing = asyncio.ensure_future(run_kopf(store, WorkQueue(lambda: datetime.now(UTC)), stop))
    await eventually(lambda: (namespace, "fine") in store.tasks.uids(), 60)
    await create(cluster, namespace, "deep-too", LEVELS)
    await eventually(lambda: (namespace, "deep-too") in store.tasks.uids(), 60)
    await tasks.create(namespace, {"metadata": {"name": "fine-too"}, "spec": fine})
    await eventually(lambda: (namespace, "fine-too") in store.tasks.uids(), 60)
    assert not observing.done(), "kopf did not survive"
    broken = {name for name in ("deep", "deep-too") if (task := store.tasks.get((namespace, name))) and task.problems}
    assert broken == {"deep", "deep-too"}
    stop.set()
    await asyncio.wait_for(observing, 30)
