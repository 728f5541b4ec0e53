"""`make deploy` with the real Helm, in the real cluster of the kubeconfig and nowhere else."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import yaml

from carillon_chart.programs import HELM, program
from carillon_core.adapters.kube import KubeConnection
from carillon_local.layout import ROOT
from support.cluster import RunningCluster


def deploy(cluster: RunningCluster, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the program of `make deploy`, without this process's settings."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "HOME", "LANG"))}
    sources = ":".join(str(ROOT / name) for name in ("tools", "core", "devcluster"))
    environment = kept | {"PYTHONPATH": sources, "KUBECONFIG": cluster.kubeconfig} | settings
    command = [sys.executable, "-m", "carillon_deploy", "deploy", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


async def test_a_release_is_deployed_and_upgraded(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, tmp_path: Path
) -> None:
    """It has the given namespace, images and values, and can be upgraded."""
    values = tmp_path / "values.yaml"
    # cluster-wide objects are not this release's: other tests use them, too
    mine = {
        "crds": {"install": False},
        "rbac": {"peoplesRoles": False},
        "fullnameOverride": namespace,
        "postgres": {"enabled": True},
    }
    values.write_text(yaml.safe_dump(mine))
    settings = {"NAMESPACE": namespace, "VALUES": str(values), "REGISTRY": "registry.example:5000/team"}
    helm = (str(program(HELM)), "--kubeconfig", cluster.kubeconfig, "--namespace", namespace)
    try:
        for revision, tag in ((1, "7"), (2, "8")):
            done = deploy(cluster, "--no-wait", **settings, IMAGE_TAG=tag)
            assert done.returncode == 0, done.stdout + done.stderr
            assert f"namespace {namespace}" in done.stdout
            assert f"REVISION: {revision}" in done.stdout
            assert f"service/{namespace}-api" in done.stdout
            path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{namespace}-operator-0"
            (container,) = (await connection.request("GET", path))["spec"]["template"]["spec"]["containers"]
            assert container["image"] == f"registry.example:5000/team/carillon-operator:{tag}"
    finally:
        uninstall = [*helm, "uninstall", "carillon", "--ignore-not-found"]
        await asyncio.to_thread(subprocess.run, uninstall, check=True, capture_output=True)


def test_what_helm_refuses_is_said(cluster: RunningCluster, namespace: str, tmp_path: Path) -> None:
    """The output has Helm's message, and what to check next."""
    values = tmp_path / "values.yaml"
    values.write_text("operator: {shards: 0}\n")
    done = deploy(cluster, NAMESPACE=namespace, VALUES=str(values))
    assert done.returncode == 1
    assert "/operator/shards" in done.stderr
    assert f"--namespace {namespace} get pods" in done.stderr


def test_images_that_nobody_pushed_are_not_deployed(cluster: RunningCluster, namespace: str) -> None:
    """A cluster without the images would wait for them for ever."""
    done = deploy(cluster, NAMESPACE=namespace)
    assert done.returncode == 1
    assert "REGISTRY is not set" in done.stderr
