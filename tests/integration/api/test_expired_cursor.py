"""A cursor that a real API server no longer knows."""

import base64
import json

import pytest

from carillon_api.http.cursors import DIGEST_BYTES
from carillon_api.http.paging import page_of
from carillon_api.http.problems import Kind, RequestRefusedError
from carillon_api.schemas import TaskQuery
from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.objects import KubeObjectStore
from carillon_core.resources.names import KIND
from carillon_devcluster.etcd import compact
from support.cluster import RunningCluster


def of_long_ago(cursor: str) -> str:
    """Return the cursor as if it were from the start of the cluster."""
    held = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    token = held[DIGEST_BYTES:]
    inner = json.loads(base64.urlsafe_b64decode(token + b"=" * (-len(token) % 4)))
    aged = base64.urlsafe_b64encode(json.dumps({**inner, "rv": 1}).encode()).rstrip(b"=")
    return base64.urlsafe_b64encode(held[:DIGEST_BYTES] + aged).rstrip(b"=").decode()


async def test_a_cursor_of_a_version_that_is_no_longer_kept_is_gone(
    connection: KubeConnection, cluster: RunningCluster, namespace: str
) -> None:
    """The response is 410, for any message of the API server; a young cursor works."""
    store = KubeObjectStore(connection)
    for name in ("a", "b"):
        await store.create(
            namespace, {"metadata": {"name": name}, "spec": {"intervalSeconds": 60, "task": {"counter": {}}}}
        )
    query = TaskQuery(limit=1)
    cursor = (await page_of(store, KIND, namespace, query)).next_cursor
    assert cursor is not None
    if cluster.local is not None:  # other clusters have been compacted since their start
        compact(cluster.local.files)
    on = await page_of(store, KIND, namespace, TaskQuery(limit=1, cursor=cursor))
    assert [raw["metadata"]["name"] for raw in on.items] == ["b"]
    with pytest.raises(RequestRefusedError) as refused:
        await page_of(store, KIND, namespace, TaskQuery(limit=1, cursor=of_long_ago(cursor)))
    assert refused.value.kind is Kind.EXPIRED
