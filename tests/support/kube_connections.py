"""Connections to a real API server: kubeconfigs, a proxy, and a Job to create."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import yaml

from carillon_core.adapters.kube import KubeConnection
from carillon_core.ports import JSONObject
from carillon_core.resources import names
from support.cluster import RunningCluster
from support.proxy import Proxy


def kubeconfig_with(cluster: RunningCluster, folder: Path, server: str = "", **user: Any) -> str:
    """Write a copy of the cluster's kubeconfig with another server or user, and return its path."""
    config: dict[str, Any] = yaml.safe_load(Path(cluster.kubeconfig).read_text(encoding="utf-8"))
    for each in config["clusters"]:
        if server:
            each["cluster"]["tls-server-name"] = urlsplit(each["cluster"]["server"]).hostname
            each["cluster"]["server"] = server
    if user:
        for known in config["users"]:
            known["user"] = user
    path = folder / f"{uuid4().hex}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


def job(namespace: str, name: str, **annotations: str) -> JSONObject:
    """Return a suspended Job with Carillon's label."""
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "none:0"}]}},
        },
    }


@pytest.fixture
async def proxy(connection: KubeConnection) -> AsyncIterator[Proxy]:
    """Provide a proxy in front of the API server."""
    where = urlsplit(connection.server)
    async with Proxy(where.hostname or "", where.port or 443).running() as running:
        yield running
