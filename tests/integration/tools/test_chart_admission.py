"""The chart against a real API server: it accepts each object, and Pod Security accepts each pod."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from carillon_chart.programs import CASES, pod_spec, rendered, values_of
from carillon_core.adapters.kube import KubeConnection
from carillon_core.contract import Cause
from carillon_core.domain.decision.plan import Launch
from carillon_core.domain.execution import execution_id
from carillon_core.domain.launch.execution_token import TokenKey
from carillon_core.domain.launch.manifest import RunnerTemplate, job_manifest
from carillon_core.domain.launch.order import slot_order
from carillon_core.errors import AlreadyExistsError, CarillonError, NotFoundError
from support.builders import TASK_UID, at, make_task
from support.waiting import eventually

NOT_SERVED = {"monitoring.coreos.com"}
"""API groups that the test cluster lacks."""


async def path_of(connection: KubeConnection, item: Mapping[str, Any]) -> str:
    """Return the path of an object, from the API server's discovery."""
    version = item["apiVersion"]
    base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    served = (await connection.request("GET", base))["resources"]
    kind = next(r for r in served if r["kind"] == item["kind"] and "/" not in r["name"])
    where = f"/namespaces/{item['metadata']['namespace']}" if kind["namespaced"] else ""
    return f"{base}{where}/{kind['name']}/{item['metadata']['name']}"


@pytest.mark.parametrize("case", CASES)
async def test_the_api_server_takes_every_object(connection: KubeConnection, restricted: str, case: str) -> None:
    """Every object passes a strict server-side dry run."""
    refused = {}
    items = rendered("--values", str(values_of(case)), namespace=restricted)
    for name in {o["metadata"].get("namespace", restricted) for o in items} - {restricted}:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        with suppress(AlreadyExistsError):  # made by another test
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
    """The dry run finds an unknown field."""
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
    """Provide a namespace that enforces *restricted* and has the chart's accounts."""
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
    """Return why a pod is refused, or None; its account and volumes may be missing."""
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
    """Pod Security admits every pod of the chart at the level *restricted*."""
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
    """Pod Security admits the pods of tasks at the level *restricted*."""
    task = make_task().every(60).with_spec(task=TASKS[what])
    order = slot_order(task.observed(), LAUNCH)
    job = job_manifest(order, RunnerTemplate("runner:1", TokenKey(b"k" * 32)))
    assert await refusal(connection, restricted, job["spec"]["template"]["spec"]) is None


async def test_a_pod_that_is_loose_is_not_let_in(connection: KubeConnection, restricted: str) -> None:
    """Pod Security refuses a pod without security settings."""
    spec = {"containers": [{"name": "a", "image": "a"}], "restartPolicy": "Never"}
    assert "violates PodSecurity" in str(await refusal(connection, restricted, spec))
