"""A list of large objects is read in small parts, one of small objects in few."""

import asyncio
from typing import Any
from uuid import uuid4

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeObjectStore
from carillon_core.adapters.kube.objects import object_path
from carillon_core.adapters.kube.pages import FIRST_PAGE, PAGE_BYTES, listed
from carillon_core.ports import MOST_PAGE_BYTES
from support.cluster import RunningCluster

LARGE = 100_000
"""A name of parameters may have so many bytes in the API server; the operator refuses such a request later."""


async def pages_of(cluster: RunningCluster, namespace: str, sizes: list[int]) -> list[list[dict[str, Any]]]:
    """Create requests with parameters of these sizes, and return their pages."""
    async with KubeConnection(cluster.kubeconfig) as connection:
        store = KubeObjectStore(connection, "RunRequest")
        specs = [{"taskRef": {"name": "absent"}, "parameters": {"text": "x" * size}} for size in sizes]
        bodies: list[dict[str, Any]] = [
            {"metadata": {"name": f"r{number:03}-{uuid4().hex[:6]}"}, "spec": spec} for number, spec in enumerate(specs)
        ]
        await asyncio.gather(*(store.create(namespace, body) for body in bodies))
        pages = [page.items async for page in listed(connection, object_path("RunRequest", namespace))]
        assert [item["metadata"]["name"] for page in pages for item in page] == [b["metadata"]["name"] for b in bodies]
        uids = await KubeCluster(connection).uids("RunRequest", namespace)
        assert sorted(name for _, name in uids) == [body["metadata"]["name"] for body in bodies]
    return pages


async def test_a_page_of_large_objects_is_bounded(cluster: RunningCluster, namespace: str) -> None:
    """The first page asks for many objects and learns that they are too large; the next ones aim at less."""
    pages = await pages_of(cluster, namespace, [LARGE] * 60)
    assert max(map(len, pages)) <= MOST_PAGE_BYTES // LARGE
    assert max(map(len, pages[1:])) <= PAGE_BYTES // LARGE


async def test_small_objects_come_in_few_pages(cluster: RunningCluster, namespace: str) -> None:
    """After the first, they are as many as a page has room for."""
    pages = await pages_of(cluster, namespace, [1] * (FIRST_PAGE * 3))
    assert [len(page) for page in pages] == [FIRST_PAGE, 2 * FIRST_PAGE]
