"""A release of the chart on a real cluster."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from carillon_chart.programs import HELM, program
from carillon_local.layout import CHART
from support.cluster import RunningCluster


class Release:
    """A release of the chart with its own namespace and names."""

    def __init__(self, cluster: RunningCluster, namespace: str, folder: Path) -> None:
        self._namespace = namespace
        self._environment = {
            **{k: v for k, v in os.environ.items() if k.startswith(("PATH", "LANG"))},
            "HOME": str(folder),
            "KUBECONFIG": cluster.kubeconfig,
        }

    async def install(self, *values: str) -> subprocess.CompletedProcess[str]:
        """Install or upgrade the release, without CRDs and roles for people, which all releases share."""
        settings = ["crds.install=false", "rbac.peoplesRoles=false", f"fullnameOverride={self._namespace}", *values]
        sets = [word for value in settings for word in ("--set", value)]
        return await self.helm("upgrade", "--install", "carillon", str(CHART), "--timeout", "60s", *sets)

    async def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm in the namespace."""
        command = [str(program(HELM)), *arguments, "--namespace", self._namespace]
        run = partial(subprocess.run, env=self._environment, capture_output=True, text=True, check=False)
        return await asyncio.to_thread(run, command)


@pytest.fixture
async def release(cluster: RunningCluster, namespace: str, tmp_path: Path) -> AsyncIterator[Release]:
    """Provide a release that is not installed yet; it is uninstalled after the test."""
    made = Release(cluster, namespace, tmp_path)
    yield made
    await made.helm("uninstall", "carillon", "--ignore-not-found")
