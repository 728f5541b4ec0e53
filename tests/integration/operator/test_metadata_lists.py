"""The comparison of the store with the cluster reads names and uids, not whole objects."""

from uuid import uuid4

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeObjectStore
from carillon_core.adapters.kube.pages import listed
from carillon_core.resources import names
from support.cluster import RunningCluster

PATH = f"/apis/{names.GROUP}/{names.VERSION}/{names.PLURAL}"


async def test_uids_are_read_from_metadata_alone(cluster: RunningCluster, namespace: str) -> None:
    """The specs, which a tenant can make large, stay at the API server."""
    task = {"sum": {"a": 1, "b": 2}}
    async with KubeConnection(cluster.kubeconfig) as connection:
        store = KubeObjectStore(connection, "ScheduledTask")
        name = f"large-{uuid4().hex[:8]}"
        raw = await store.create(namespace, {"metadata": {"name": name}, "spec": {"intervalSeconds": 60, "task": task}})
        pages = [page async for page in listed(connection, PATH, metadata_only=True)]
        assert [item for page in pages for item in page.items if "spec" in item or "status" in item] == []
        assert (await KubeCluster(connection).uids("ScheduledTask"))[namespace, name] == raw["metadata"]["uid"]
