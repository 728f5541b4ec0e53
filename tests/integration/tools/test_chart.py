"""The chart against a real API server: each object is taken as it is, each pod by Pod Security; it is installed."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from carillon_chart.programs import CASES, HELM, pod_spec, program, rendered, values_of
from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.connection import MERGE_PATCH
from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import slot_order
from carillon_core.errors import AlreadyExistsError, CarillonError, NotFoundError
from carillon_local.layout import CHART, ROOT
from support.builders import TASK_UID, at, make_task
from support.cluster import RunningCluster
from support.postgres import drop_role, with_user
from support.waiting import eventually

NOT_SERVED = {"monitoring.coreos.com"}
"""Groups whose CRDs are no part of a cluster."""
OPERATOR_IMAGE = "carillon-operator:0.1.0"


async def path_of(connection: KubeConnection, item: Mapping[str, Any]) -> str:
    """Return the path of an object, by what the API server says of its kind."""
    version = item["apiVersion"]
    base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    served = (await connection.request("GET", base))["resources"]
    kind = next(r for r in served if r["kind"] == item["kind"] and "/" not in r["name"])
    where = f"/namespaces/{item['metadata']['namespace']}" if kind["namespaced"] else ""
    return f"{base}{where}/{kind['name']}/{item['metadata']['name']}"


@pytest.mark.parametrize("case", CASES)
async def test_the_api_server_takes_every_object(connection: KubeConnection, restricted: str, case: str) -> None:
    """Applied strictly and for no effect: no field that it does not know, none twice, all defaults and rules kept."""
    refused = {}
    items = rendered("--values", str(values_of(case)), namespace=restricted)
    for name in {o["metadata"].get("namespace", restricted) for o in items} - {restricted}:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        with suppress(AlreadyExistsError):  # of another test, or of one at the same time
            await connection.request("POST", "/api/v1/namespaces", body=body)
    for item in items:
        if item["apiVersion"].partition("/")[0] in NOT_SERVED:
            continue
        params = {"fieldManager": "test", "force": "true", "dryRun": "All", "fieldValidation": "Strict"}
        path = await path_of(connection, item)
        apply = partial(connection.request, params=params, body=item, content_type="application/apply-patch+yaml")
        try:
            await apply("PATCH", path)
        except CarillonError as error:
            refused[path] = str(error)
    assert refused == {}


async def test_a_field_that_is_misspelt_is_refused(connection: KubeConnection, namespace: str) -> None:
    """So that the test above means something."""
    items = rendered("--values", str(values_of("trial")), namespace=namespace)
    (service,) = (o for o in items if o["kind"] == "Service" and o["metadata"]["name"] == "carillon-api")
    service["spec"]["selektor"] = {}
    params = {"fieldManager": "test", "force": "true", "dryRun": "All", "fieldValidation": "Strict"}
    path = await path_of(connection, service)
    with pytest.raises(CarillonError, match="selektor"):
        await connection.request(
            "PATCH", path, params=params, body=service, content_type="application/apply-patch+yaml"
        )


@pytest.fixture
async def restricted(connection: KubeConnection, namespace: str) -> str:
    """Give a namespace that takes *restricted* pods alone, and has the accounts that they name."""
    path = f"/api/v1/namespaces/{namespace}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await connection.request(
        "PATCH", path, body={"metadata": {"labels": labels}}, content_type="application/merge-patch+json"
    )
    for name in ("carillon-operator", "carillon-api", "carillon-test", "teams-test"):
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        await connection.request("POST", f"{path}/serviceaccounts", body=body)
    await eventually(partial(_has_default_account, connection, namespace))
    return namespace


async def _has_default_account(connection: KubeConnection, namespace: str) -> bool:
    try:
        await connection.request("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    except NotFoundError:
        return False
    return True


async def refusal(connection: KubeConnection, namespace: str, spec: Mapping[str, Any]) -> str | None:
    """Return why a pod is refused, or None if it would be taken; its account and its volumes may be missing."""
    spec = {name: part for name, part in spec.items() if name != "serviceAccountName"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": spec}
    path = f"/api/v1/namespaces/{namespace}/pods"
    try:
        await connection.request("POST", path, params={"dryRun": "All", "fieldValidation": "Strict"}, body=pod)
    except CarillonError as error:
        return str(error)
    return None


@pytest.mark.parametrize("case", CASES)
async def test_every_pod_of_the_chart_is_let_in(connection: KubeConnection, restricted: str, case: str) -> None:
    """By Kubernetes' own Pod Security admission at the level *restricted*."""
    refused = {}
    for item in rendered("--values", str(values_of(case)), namespace=restricted):
        spec = pod_spec(item)
        if spec is not None:
            for claim in item["spec"].get("volumeClaimTemplates") or ():
                name = claim["metadata"]["name"]
                spec["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
            refused[f"{item['kind']} {item['metadata']['name']}"] = await refusal(connection, restricted, spec)
    assert refused
    assert {name: why for name, why in refused.items() if why is not None} == {}


LAUNCH = Launch(at("00:01"), execution_id(TASK_UID, at("00:01"), Cause.SCHEDULE))
TASKS: dict[str, dict[str, Any]] = {
    "a runner": {"sum": {"a": 1, "b": 2}},
    "a user's container": {"container": {"image": "busybox:1.37", "runAsUser": 1000}},
    "a user's container as its image's user": {"container": {"image": "busybox:1.37"}},
}


@pytest.mark.parametrize("what", TASKS)
async def test_every_pod_of_an_execution_is_let_in(connection: KubeConnection, restricted: str, what: str) -> None:
    """Whatever a task runs, it runs where *restricted* is enforced."""
    task = make_task().every(60).with_spec(task=TASKS[what])
    order = slot_order(task.observed(), LAUNCH)
    job = job_manifest(order, RunnerTemplate("runner:1", TokenKey(b"k" * 32)))
    assert await refusal(connection, restricted, job["spec"]["template"]["spec"]) is None


async def test_a_pod_that_is_loose_is_not_let_in(connection: KubeConnection, restricted: str) -> None:
    """So that the tests above mean something."""
    spec = {"containers": [{"name": "a", "image": "a"}], "restartPolicy": "Never"}
    assert "violates PodSecurity" in str(await refusal(connection, restricted, spec))


class Release:
    """A release of the chart in a namespace of the test's own, under names that no other test has."""

    def __init__(self, cluster: RunningCluster, namespace: str, folder: Path) -> None:
        self._namespace = namespace
        self._environment = {
            **{k: v for k, v in os.environ.items() if k.startswith(("PATH", "LANG"))},
            "HOME": str(folder),
            "KUBECONFIG": cluster.kubeconfig,
        }

    async def install(self, *values: str) -> subprocess.CompletedProcess[str]:
        """Install or upgrade; CRDs and people's roles are the cluster's, and not this release's."""
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
    """Give a release that is not installed yet; it is uninstalled afterwards."""
    made = Release(cluster, namespace, tmp_path)
    yield made
    await made.helm("uninstall", "carillon", "--ignore-not-found")


async def secret(connection: KubeConnection, namespace: str, name: str) -> dict[str, str]:
    """Return a Secret's data, encoded."""
    found = await connection.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
    data: dict[str, str] = found["data"]
    return data


async def test_what_is_made_at_random_is_made_once(
    connection: KubeConnection, namespace: str, release: Release
) -> None:
    """The database's passwords and the webhook's certificate outlive an upgrade, the passwords the release itself."""
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
    """Operators that count differently would both decide about a task: Helm refuses, and says the way."""
    assert (await release.install("postgres.enabled=true")).returncode == 0
    refused = await release.install("postgres.enabled=true", "operator.shards=2")
    assert refused.returncode != 0
    assert "operator.replicas=0 first" in refused.stderr
    stopped = await release.install("postgres.enabled=true", "operator.replicas=0")
    assert stopped.returncode == 0, stopped.stderr
    done = await release.install("postgres.enabled=true", "operator.shards=2")
    assert done.returncode == 0, done.stderr


async def test_a_second_release_is_refused_while_the_first_one_decides(release: Release, namespace: str) -> None:
    """Two operators would both decide about each task; one that is stopped decides nothing, so a release can move."""

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
    """Helm applies no number of replicas, so that there is nothing to contend for."""
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
    """By what the operators that run are told to watch; where both watch one, the second release is refused."""
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
    """Helm's notes say what follows from it, and the mend."""
    host = ("api.ingress.enabled=true", "api.ingress.host=carillon.example.com")
    done = await release.install("postgres.enabled=true", *host, *trusted)
    assert done.returncode == 0, done.stderr
    assert ("WARNING: api.trustedProxies is not set" in done.stdout) is (trusted == ())


async def test_a_changed_password_starts_the_pods_anew(
    connection: KubeConnection, namespace: str, release: Release
) -> None:
    """By what stands on them of the Secret: a digest, which an upgrade without a change leaves as it is."""

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
    """Create the Secret with the database's URLs, the owner's and those of others."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db"},
        "stringData": {"database-url": owner, **{f"{whose}-database-url": url for whose, url in others.items()}},
    }
    await connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=body)


def know_the_operators_image(cluster: RunningCluster, folder: Path) -> None:
    """Have the node run the image's programs from this checkout."""
    if cluster.local is None:
        pytest.fail("this test needs the local cluster: unset CARILLON_TEST_KUBECONFIG")
    modules = {"operator": "carillon_operator", "api": "carillon_api", "migrate": "carillon_core.adapters.postgres"}
    for name, module in modules.items():
        script = folder / f"carillon-{name}"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        script.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    cluster.set_images({OPERATOR_IMAGE: {"entrypoint": [], "env": {"PATH": path}, "workingDir": str(ROOT)}})


async def test_the_database_is_migrated_before_anything_is_installed(
    connection: KubeConnection,
    cluster: RunningCluster,
    namespace: str,
    release: Release,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    """The hook's Job is run by the node, with a real Postgres: schema and roles are there when helm returns.

    A release that is there gets the API's role at the upgrade that asks for it.
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
    """Helm fails and shows the line that names key and value; the API goes on as it was."""
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
    """The migration's pod starts all the same, and says what to do; the release is not installed."""
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
