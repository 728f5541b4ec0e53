"""Both adapters of ``ObjectStore``, each with an empty namespace."""

from dataclasses import dataclass
from typing import Any

import pytest

from carillon_core.adapters.kube import KubeCluster, KubeObjectStore
from carillon_core.adapters.memory.cluster import MemoryCluster
from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.ports import Cluster, JSONObject

SUM = {"sum": {"a": 1, "b": 2.5}}


@dataclass(frozen=True, slots=True)
class Given:
    """A store, the operator's access to it, and a namespace of its own."""

    store: KubeObjectStore | MemoryObjectStore
    cluster: Cluster
    namespace: str

    async def create(self, name: str = "backup", labels: dict[str, str] | None = None, **spec: Any) -> JSONObject:
        """Create a task that sums every minute, unless the spec says otherwise."""
        body = task(name, **({"intervalSeconds": 60, "task": SUM} | spec))
        if labels:
            body["metadata"]["labels"] = labels
        return await self.store.create(self.namespace, body)


@pytest.fixture(params=["memory", "kube"])
def given(request: pytest.FixtureRequest) -> Given:
    """Provide each adapter in turn, with an empty namespace."""
    if request.param == "memory":
        memory = MemoryObjectStore(namespaces={"test-memory"})
        return Given(memory, MemoryCluster(memory), "test-memory")
    connection = request.getfixturevalue("connection")
    return Given(KubeObjectStore(connection), KubeCluster(connection), request.getfixturevalue("namespace"))


def task(name: str, **spec: Any) -> JSONObject:
    """Return the body of a task."""
    return {
        "apiVersion": "carillon.dev/v1alpha1",
        "kind": "ScheduledTask",
        "metadata": {"name": name},
        "spec": spec,
    }
