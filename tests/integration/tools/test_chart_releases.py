"""Releases of the chart on a real cluster: upgrades, shards, several releases in one cluster."""

import base64
import subprocess

import pytest

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.connection import MERGE_PATCH
from carillon_local.layout import CHART
from support.chart_release import Release, release

__all__ = ["release"]


async def secret(connection: KubeConnection, namespace: str, name: str) -> dict[str, str]:
    """Return a Secret's data, still encoded."""
    found = await connection.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
    data: dict[str, str] = found["data"]
    return data


async def test_what_is_made_at_random_is_made_once(
    connection: KubeConnection, namespace: str, release: Release
) -> None:
    """An upgrade keeps passwords and certificate; a new installation keeps the passwords."""
    names = (f"{namespace}-database", f"{namespace}-webhook")
    kept = []
    for workers in (32, 33):
        done = await release.install("postgres.enabled=true", "webhook.enabled=true", f"operator.workers={workers}")
        assert done.returncode == 0, done.stderr
        kept.append([await secret(connection, namespace, name) for name in names])
    assert kept[0] == kept[1]
    assert (await release.helm("uninstall", "carillon")).returncode == 0
    done = await release.install("postgres.enabled=true")
    assert done.returncode == 0, done.stderr
    assert await secret(connection, namespace, names[0]) == kept[0][0]
    passwords = {name: base64.b64decode(value).decode() for name, value in kept[0][0].items()}
    assert passwords["owner-password"] in passwords["database-url"]
    assert passwords["runner-password"] in passwords["runner-database-url"]
    assert passwords["api-password"] in passwords["api-database-url"]
    assert passwords["owner-password"] not in {passwords["runner-password"], passwords["api-password"]}
    assert passwords["runner-password"] != passwords["api-password"]


async def test_shards_change_only_while_no_operator_runs(release: Release) -> None:
    """Helm refuses to change the number of shards while an operator runs, and says how to do it."""
    assert (await release.install("postgres.enabled=true")).returncode == 0
    refused = await release.install("postgres.enabled=true", "operator.shards=2")
    assert refused.returncode != 0
    assert "operator.replicas=0 first" in refused.stderr
    stopped = await release.install("postgres.enabled=true", "operator.replicas=0")
    assert stopped.returncode == 0, stopped.stderr
    done = await release.install("postgres.enabled=true", "operator.shards=2")
    assert done.returncode == 0, done.stderr


async def test_a_second_release_is_refused_while_the_first_one_decides(release: Release, namespace: str) -> None:
    """Helm refuses a second operator for the same namespaces, unless one of them is stopped."""

    async def second(*values: str) -> subprocess.CompletedProcess[str]:
        settings = ("postgres.enabled=true", "crds.install=false", "rbac.peoplesRoles=false", "fullnameOverride=second")
        sets = [word for value in (*settings, *values) for word in ("--set", value)]
        return await release.helm("install", "second", str(CHART), "--dry-run=server", *sets)

    assert (await release.install("postgres.enabled=true")).returncode == 0
    refused = await second()
    assert refused.returncode != 0
    told = f"the release carillon in the namespace {namespace} watches all namespaces"
    assert told in refused.stderr
    assert "uninstall it, or stop it with operator.replicas=0" in refused.stderr
    one_of_all = await second(f"watch.namespaces={{{namespace}}}", f"api.defaultNamespace={namespace}")
    assert told in one_of_all.stderr
    idle = await second("operator.replicas=0")
    assert idle.returncode == 0, idle.stderr
    again = await release.install("postgres.enabled=true", "operator.replicas=0")
    assert again.returncode == 0, again.stderr
    done = await second()
    assert done.returncode == 0, done.stderr
    watched = (f"watch.namespaces={{{namespace}}}", f"api.defaultNamespace={namespace}")
    listed = await release.install("postgres.enabled=true", *watched)
    assert listed.returncode == 0, listed.stderr
    both = await second(*watched)
    assert f"watches {namespace}, and two operators would decide about one task" in both.stderr
    beside = await second("watch.namespaces={default}")
    assert beside.returncode == 0, beside.stderr


async def test_an_upgrade_leaves_the_autoscalers_number_alone(
    connection: KubeConnection, namespace: str, release: Release
) -> None:
    """Helm sets no number of replicas if there is an autoscaler."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{namespace}-api"
    assert (await release.install("postgres.enabled=true")).returncode == 0
    patch = {"spec": {"replicas": 5}}
    params = {"fieldManager": "kube-controller-manager"}
    await connection.request("PATCH", f"{path}/scale", params=params, body=patch, content_type=MERGE_PATCH)
    done = await release.install("postgres.enabled=true", "api.rateBurst=7")
    assert done.returncode == 0, done.stderr
    assert (await connection.request("GET", path))["spec"]["replicas"] == 5


WATCHED: dict[str, tuple[str, str, str | None]] = {
    "lists that share nothing": ("a,b", "{c,d}", None),
    "lists that share a namespace": ("a,b", "{b,c}", "watches b, "),
    "a list, and all namespaces": ("a,b", "", "watches a, b, "),
    "all namespaces, and a list": ("", "{a}", "watches all namespaces, "),
}


async def test_releases_of_different_namespaces_live_side_by_side(
    connection: KubeConnection, namespace: str, release: Release
) -> None:
    """A release is refused only if a running operator watches one of its namespaces."""
    assert (await release.install("postgres.enabled=true")).returncode == 0
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{namespace}-operator-0"
    settings = ("postgres.enabled=true", "crds.install=false", "rbac.peoplesRoles=false", "fullnameOverride=second")
    for case, (theirs, ours, want) in WATCHED.items():
        told = {"name": "operator", "env": [{"name": "CARILLON_NAMESPACES", "value": theirs}]}
        patch = {"spec": {"template": {"spec": {"containers": [told]}}}}
        await connection.request("PATCH", path, body=patch, content_type="application/strategic-merge-patch+json")
        first = ours.strip("{}").partition(",")[0]
        mine = (f"watch.namespaces={ours}", f"api.defaultNamespace={first}") if ours else ()
        sets = [word for value in (*settings, *mine) for word in ("--set", value)]
        done = await release.helm("install", "second", str(CHART), "--dry-run=server", *sets)
        assert (done.returncode == 0) is (want is None), f"{case}: {done.stderr}"
        assert want is None or want in done.stderr, case


@pytest.mark.parametrize("trusted", [(), ("api.trustedProxies={10.244.0.0/16}",)], ids=["nobody", "the proxy"])
async def test_an_ingress_whose_proxy_is_not_trusted_is_warned_of(release: Release, trusted: tuple[str, ...]) -> None:
    """Helm's notes warn if api.trustedProxies is not set."""
    host = ("api.ingress.enabled=true", "api.ingress.host=carillon.example.com")
    done = await release.install("postgres.enabled=true", *host, *trusted)
    assert done.returncode == 0, done.stderr
    assert ("WARNING: api.trustedProxies is not set" in done.stdout) is (trusted == ())
