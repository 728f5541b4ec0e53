"""A real API server for tests; ``tests/conftest.py`` loads its fixtures.

One cluster for a test session (or an xdist worker), with the CRDs installed;
one fresh namespace for each test. ``CARILLON_TEST_KUBECONFIG`` names a cluster
to use instead of the local one; its user must be an administrator.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from carillon_core.adapters.kube import KubeConnection, wait_until_ready
from carillon_core.errors import AlreadyExistsError
from carillon_core.resources.crd.definitions import all_crds
from carillon_devcluster import LocalCluster
from carillon_devcluster.layout import DEFAULT_ROOT
from carillon_local.target import kind_is_there

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A working cluster with the CRDs."""

    kubeconfig: str
    """The path of the administrator's kubeconfig."""
    local: LocalCluster | None = None
    """The local cluster, if this is one; its node's images can be set."""

    def set_images(self, images: Mapping[str, Mapping[str, object]]) -> None:
        """Set the images of the local cluster's node; other clusters have real images."""
        if self.local is not None:
            self.local.set_images(images)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Give a cluster with the CRDs installed.

    It is the one of ``CARILLON_TEST_KUBECONFIG``, else pytest-kind's where Docker and kind are there, else a local one.
    """
    given = os.environ.get("CARILLON_TEST_KUBECONFIG")
    if not given and kind_is_there():
        given = _kind_kubeconfig(request)
    if given:
        run_apart(install_crds(given))
        yield RunningCluster(given)
        return
    LocalCluster().build()
    local = LocalCluster("tests", tmp_path_factory.mktemp("cluster"), build_root=DEFAULT_ROOT)
    try:
        with local:
            run_apart(install_crds(local.kubeconfig))
            yield RunningCluster(str(local.kubeconfig), local)
    finally:
        local.delete()


def _kind_kubeconfig(request: pytest.FixtureRequest) -> str:
    """Have pytest-kind make a cluster, by its own options as far as they are given; return its kubeconfig.

    pytest-kind would download a kind of its own, an old one, so it is told of the one on the path; and each worker of
    xdist has a cluster of its own, or the first that ends would delete that of the others.
    """
    option = request.config.option
    option.kind_bin = option.kind_bin or shutil.which("kind")
    option.kind_kubectl_bin = option.kind_kubectl_bin or shutil.which("kubectl")
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        option.cluster_name = f"{option.cluster_name}-{worker}"
    return str(request.getfixturevalue("kind_cluster").kubeconfig_path)


@pytest.fixture
async def connection(cluster: RunningCluster) -> AsyncIterator[KubeConnection]:
    """Give a connection with an administrator's credentials."""
    async with KubeConnection(cluster.kubeconfig) as made:
        yield made


@pytest.fixture
async def namespace(connection: KubeConnection) -> AsyncIterator[str]:
    """Give a new namespace, which is deleted afterwards in the background."""
    name = f"test-{uuid4().hex[:8]}"
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await connection.request("POST", "/api/v1/namespaces", body=body)
    yield name
    await connection.request("DELETE", f"/api/v1/namespaces/{name}")


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a new loop and thread, because a fixture may be requested while the test's loop is running."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def install_crds(kubeconfig: str | Path) -> None:
    """Install or update the CRDs, and wait until they are served."""
    async with KubeConnection(str(kubeconfig)) as connection:
        for crd in all_crds():
            try:
                await connection.request("POST", _CRDS, body=crd)
            except AlreadyExistsError:
                path = f"{_CRDS}/{crd['metadata']['name']}"
                patch = {"spec": crd["spec"]}
                await connection.request("PATCH", path, body=patch, content_type="application/merge-patch+json")
        await wait_until_ready(connection, poll_seconds=0.1)
