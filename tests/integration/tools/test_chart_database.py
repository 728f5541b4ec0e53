"""Releases of the chart and their database: the Secret, the migration and the logins."""

import json
import os
import sys
from pathlib import Path

import psycopg
import pytest

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.connection import MERGE_PATCH
from carillon_local.layout import ROOT
from support.chart_release import Release, release
from support.cluster import RunningCluster
from support.postgres import drop_role, with_user

__all__ = ["release"]


OPERATOR_IMAGE = "carillon-operator:0.1.0"


async def test_a_changed_password_starts_the_pods_anew(
    connection: KubeConnection, namespace: str, release: Release
) -> None:
    """A digest of the Secret in the pods' annotations changes with the password only."""

    async def marks() -> list[str]:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        items = (await connection.request("GET", path))["items"]
        return [item["spec"]["template"]["metadata"]["annotations"]["checksum/database"] for item in items]

    values = ("database.existingSecret=db", "migrations.enabled=false")
    await store_urls(connection, namespace, "postgresql://o:old@h/d", runner="postgresql://r:old@h/d")
    assert (await release.install(*values)).returncode == 0
    first = await marks()
    assert (await release.install(*values)).returncode == 0
    assert await marks() == first
    patch = {"stringData": {"database-url": "postgresql://o:new@h/d"}}
    path = f"/api/v1/namespaces/{namespace}/secrets/db"
    await connection.request("PATCH", path, body=patch, content_type=MERGE_PATCH)
    assert (await release.install(*values)).returncode == 0
    assert not set(await marks()) & set(first)


async def store_urls(connection: KubeConnection, namespace: str, owner: str, **others: str) -> None:
    """Create the Secret with the owner's database URL and those of other logins."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "stringData": {"database-url": owner, **{f"{whose}-database-url": url for whose, url in others.items()}},
    }
    await connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=body)


def know_the_operators_image(cluster: RunningCluster, folder: Path) -> None:
    """Configure the node to run the image's programs from this checkout."""
    if cluster.local is None:
        pytest.fail("this test needs the local cluster: unset CARILLON_TEST_KUBECONFIG")
    modules = {"operator": "carillon_operator", "api": "carillon_api", "migrate": "carillon_core.adapters.postgres"}
    for name, module in modules.items():
        script = folder / f"carillon-{name}"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        script.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    image = {"entrypoint": [], "env": {"PATH": path}, "workingDir": str(ROOT), "readsAll": True}
    cluster.set_images({OPERATOR_IMAGE: image})


async def test_the_database_is_migrated_before_anything_is_installed(
    connection: KubeConnection,
    cluster: RunningCluster,
    namespace: str,
    release: Release,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    """The hook creates schema and roles in a real Postgres before helm returns.

    An upgrade that enables the API's role creates it.
    """
    know_the_operators_image(cluster, tmp_path)
    suffix = namespace.replace("-", "_")
    roles = {whose: f"{whose}_{suffix}" for whose in ("runner", "api")}
    urls = {whose: with_user(empty_database_url, role, "a-password-of-its-own") for whose, role in roles.items()}
    await store_urls(connection, namespace, empty_database_url, **urls)
    done = await release.install("database.existingSecret=db")
    assert done.returncode == 0, done.stderr
    with psycopg.connect(urls["runner"]) as runner:
        assert runner.execute("SELECT to_regnamespace('carillon_runner') IS NOT NULL").fetchone() == (True,)
    assert "WARNING: the API logs in to the database as the owner" in done.stdout
    again = await release.install("database.existingSecret=db", "database.apiRole=true")
    assert again.returncode == 0, again.stderr
    assert "as the owner" not in again.stdout
    with psycopg.connect(urls["api"]) as api:
        assert api.execute("SELECT count(*) FROM executions").fetchone() == (0,)
    for role in roles.values():
        drop_role(empty_database_url, role)


async def test_a_missing_login_of_the_api_is_said_and_nothing_has_changed(
    connection: KubeConnection,
    cluster: RunningCluster,
    namespace: str,
    release: Release,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    """Helm fails with a message that names key and value, and the API stays as it was."""
    know_the_operators_image(cluster, tmp_path)
    role = f"runner_{namespace.replace('-', '_')}"
    await store_urls(connection, namespace, empty_database_url, runner=with_user(empty_database_url, role, "x"))
    assert (await release.install("database.existingSecret=db")).returncode == 0
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{namespace}-api"
    before = (await connection.request("GET", path))["spec"]["template"]
    done = await release.install("database.existingSecret=db", "database.apiRole=true")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "CARILLON_API_DATABASE_URL: must be set to" in said
    assert "the key api-database-url of the database's Secret while database.apiRole is true" in said
    assert (await connection.request("GET", path))["spec"]["template"] == before
    drop_role(empty_database_url, role)


async def test_a_secret_that_is_missing_is_said_by_helm_and_in_the_log(
    connection: KubeConnection, cluster: RunningCluster, namespace: str, release: Release, tmp_path: Path
) -> None:
    """The migration's pod starts without the Secret and says what to set; the release fails."""
    know_the_operators_image(cluster, tmp_path)
    done = await release.install("database.existingSecret=db")
    assert done.returncode != 0
    pods = (await connection.request("GET", f"/api/v1/namespaces/{namespace}/pods"))["items"]
    (pod,) = pods
    assert pod["status"]["phase"] == "Failed", json.dumps(pod["status"])
    (container,) = pod["status"]["initContainerStatuses"]
    ended = container["state"]["terminated"]
    assert ended["exitCode"] == 2
    assert "DATABASE_URL: must be set to" in ended["message"]
    assert "database-url" in ended["message"]
