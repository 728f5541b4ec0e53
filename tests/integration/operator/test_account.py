"""The operator's account in the chart's files/rbac/operator*.yaml has the necessary permissions and no others."""

from collections.abc import AsyncIterator

import pytest
import yaml

from carillon_core.adapters.kube import KubeConnection
from carillon_core.ports import JSONObject
from carillon_local.access import FACADE_NAMESPACE, OPERATOR
from carillon_local.layout import RBAC
from support.waiting import eventually

GROUP = "/apis/rbac.authorization.k8s.io/v1"
OURS = "carillon.dev"
Asked = tuple[str, str, str]
"""A verb, a resource (with its group, its subresource and its name: ``batch/jobs``, ``/secrets#a``), a namespace."""

KINDS = ("scheduledtasks", "runrequests", "httptargets")
EVERYWHERE = ""
WEBHOOKS = "admissionregistration.k8s.io/validatingwebhookconfigurations"
NEEDED: dict[str, Asked] = {
    **{f"{verb} {kind}": (verb, f"{OURS}/{kind}", EVERYWHERE) for verb in ("list", "watch") for kind in KINDS},
    **{f"get one of {kind}": ("get", f"{OURS}/{kind}", "team") for kind in KINDS},
    "report on a task": ("patch", f"{OURS}/scheduledtasks/status", "team"),
    "report on a request": ("patch", f"{OURS}/runrequests/status", "team"),
    "remove a request that has ended": ("delete", f"{OURS}/runrequests", "team"),
    "launch": ("create", "batch/jobs", "team"),
    "look for a launch": ("get", "batch/jobs", "team"),
    "list Jobs": ("list", "batch/jobs", EVERYWHERE),
    "watch Jobs": ("watch", "batch/jobs", EVERYWHERE),
    "remove a Job": ("delete", "batch/jobs", "team"),
    "list pods": ("list", "/pods", EVERYWHERE),
    "watch pods": ("watch", "/pods", EVERYWHERE),
    "post an Event": ("create", "/events", "team"),
    "count an Event": ("patch", "/events", "team"),
    "read why pods are refused": ("list", "/events", "team"),
    "make the runners' Secret": ("create", "/secrets", "team"),
    "read the runners' Secret": ("get", "/secrets#carillon-runner", "team"),
    "mend the runners' Secret": ("patch", "/secrets#carillon-runner", "team"),
    "read the labels of a Secret": ("get", "/secrets#other", "team"),
    "read the log of a failed container": ("get", "/pods/log", "team"),
    "read the webhook's certificate": ("get", "/secrets#carillon-webhook", "here"),
    "renew the webhook's certificate": ("patch", "/secrets#carillon-webhook", "here"),
    "read what the webhook's API server trusts": ("get", f"{WEBHOOKS}#carillon", EVERYWHERE),
    "have it trust the webhook's next authority": ("patch", f"{WEBHOOKS}#carillon", EVERYWHERE),
    "ask what an author may do": ("create", "authorization.k8s.io/subjectaccessreviews", EVERYWHERE),
    "make its Lease": ("create", "coordination.k8s.io/leases", "here"),
    "read its Lease": ("get", "coordination.k8s.io/leases#carillon-operator", "here"),
    "renew its Lease": ("update", "coordination.k8s.io/leases#carillon-operator", "here"),
}
SPARE: dict[str, Asked] = {
    "change a task": ("patch", f"{OURS}/scheduledtasks", "team"),
    "create a task": ("create", f"{OURS}/scheduledtasks", "team"),
    "delete a task": ("delete", f"{OURS}/scheduledtasks", "team"),
    "create a request": ("create", f"{OURS}/runrequests", "team"),
    "change a target": ("update", f"{OURS}/httptargets", "team"),
    "change a Job": ("patch", "batch/jobs", "team"),
    "create a pod": ("create", "/pods", "team"),
    "delete an Event": ("delete", "/events", "team"),
    "watch Events": ("watch", "/events", EVERYWHERE),
    "delete a pod": ("delete", "/pods", "team"),
    "enter a pod": ("create", "/pods/exec", "team"),
    "read a pod": ("get", "/pods", "team"),
    "list Secrets": ("list", "/secrets", EVERYWHERE),
    "list the Secrets of a namespace": ("list", "/secrets", "team"),
    "change another Secret": ("patch", "/secrets#other", "team"),
    "delete the runners' Secret": ("delete", "/secrets#carillon-runner", "team"),
    "make tokens": ("create", "/serviceaccounts/token", "here"),
    "renew a Lease elsewhere": ("update", "coordination.k8s.io/leases#carillon-operator", "team"),
    "delete its Lease": ("delete", "coordination.k8s.io/leases#carillon-operator", "here"),
    "change CRDs": ("patch", "apiextensions.k8s.io/customresourcedefinitions", EVERYWHERE),
    "bind roles": ("create", "rbac.authorization.k8s.io/clusterrolebindings", EVERYWHERE),
    "act as somebody else": ("impersonate", "/users", EVERYWHERE),
    "list namespaces": ("list", "/namespaces", EVERYWHERE),
    "apply the webhook's configuration": ("create", WEBHOOKS, EVERYWHERE),
    "change another's webhook configuration": ("patch", f"{WEBHOOKS}#other", EVERYWHERE),
    "list webhook configurations": ("list", WEBHOOKS, EVERYWHERE),
    "change the certificate's Secret elsewhere": ("patch", "/secrets#carillon-webhook", "team"),
}


def manifests() -> list[JSONObject]:
    """Return the objects of the operator's files."""
    return [item for file in sorted(RBAC.glob("operator*.yaml")) for item in yaml.safe_load_all(file.read_text())]


@pytest.fixture
async def account(connection: KubeConnection, namespace: str) -> AsyncIterator[str]:
    """Create the account with its roles, with unique names in the test's namespace; give its user's name."""
    local = f"/namespaces/{namespace}"
    paths = {
        "ServiceAccount": f"/api/v1{local}/serviceaccounts",
        "ClusterRole": f"{GROUP}/clusterroles",
        "ClusterRoleBinding": f"{GROUP}/clusterrolebindings",
        "Role": f"{GROUP}{local}/roles",
        "RoleBinding": f"{GROUP}{local}/rolebindings",
    }
    clusters = set()
    for item in manifests():
        for place in [item["metadata"], *item.get("subjects", [])]:
            if place.get("namespace") == FACADE_NAMESPACE:
                place["namespace"] = namespace
        for named in [item["metadata"]] if item["kind"].startswith("Cluster") else []:
            named["name"] = f"{named['name']}-{namespace}"
            clusters.add((item["kind"], named["name"]))
        if item.get("roleRef", {}).get("kind") == "ClusterRole":
            item["roleRef"]["name"] += f"-{namespace}"
        if item["kind"] in paths:
            await connection.request("POST", paths[item["kind"]], body=item)
    yield f"system:serviceaccount:{namespace}:{OPERATOR}"
    for kind, name in sorted(clusters):
        await connection.request("DELETE", f"{paths[kind]}/{name}")


async def allowed(connection: KubeConnection, account: str, asked: Asked) -> bool:
    """Ask the API server whether the account may do something; ``here`` is its own namespace."""
    verb, what, where = asked
    what, _, name = what.partition("#")
    group, resource, *more = what.split("/")
    own = account.split(":")[2]
    attributes = {"verb": verb, "group": group, "resource": resource, "subresource": "/".join(more), "name": name}
    attributes["namespace"] = own if where == "here" else where
    spec = {"user": account, "groups": ["system:authenticated"], "resourceAttributes": attributes}
    body: JSONObject = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool((await connection.request("POST", path, body=body))["status"]["allowed"])


async def test_the_account_can_do_all_that_the_operator_does(connection: KubeConnection, account: str) -> None:
    """This holds for each call, once the authorizer knows the roles."""

    async def missing() -> list[str]:
        return [what for what, asked in NEEDED.items() if not await allowed(connection, account, asked)]

    async def complete() -> bool:
        return await missing() == []

    await eventually(complete, 30)


async def test_the_account_can_do_nothing_else(connection: KubeConnection, account: str) -> None:
    """Other permissions are refused."""

    async def known() -> bool:
        return await allowed(connection, account, NEEDED["launch"])

    await eventually(known, 30)
    assert [what for what, asked in SPARE.items() if await allowed(connection, account, asked)] == []


def test_every_rule_is_needed() -> None:
    """Each verb on a resource is used by a call above."""
    used = {(verb, what.partition("#")[0]) for verb, what, _ in NEEDED.values()}
    given = {
        (verb, f"{group}/{resource}")
        for item in manifests()
        for rule in item.get("rules") or ()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == used
