"""The full matrix of permissions: role x verb x resource x namespace, as the API server itself computes it.

Each role of the chart's files/rbac is bound as its file says, and each account
asks the API server for its own rules (SelfSubjectRulesReview), in the namespace
of its binding, in that of Carillon and in another. ``make permissions`` writes
the result anew.

The cluster's own roles, which have the chart's by aggregation, are bound in the
same way. Of them the file has only the resources that the chart's roles name:
the others are Kubernetes' and differ between its versions.
"""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from carillon_core.adapters.kube import KubeConnection
from carillon_core.domain.access.subjects import Subject
from carillon_core.errors import AlreadyExistsError
from carillon_core.ports import JSONObject
from carillon_local.access import FACADE_NAMESPACE
from carillon_local.layout import RBAC
from support.waiting import eventually

GOLDEN = Path(__file__).parent / "permissions.txt"
GROUP = "/apis/rbac.authorization.k8s.io/v1"
BOUND, OTHER = "team-a", "team-b"
"""The namespace in which people's roles are bound, and another one."""
BUILT_IN = ("view", "edit", "admin")
"""The cluster's own roles that have some of the chart's by aggregation."""
HEADER = "# role | namespace | resource [names] | verbs; written by `make permissions`\n"


def manifests() -> list[JSONObject]:
    """Return the objects of all files."""
    return [item for file in sorted(RBAC.glob("*.yaml")) for item in yaml.safe_load_all(file.read_text()) if item]


def path_of(item: JSONObject) -> str:
    """Return where objects of this kind and namespace are."""
    kind, namespace = item["kind"], item["metadata"].get("namespace")
    if kind in {"Namespace", "ServiceAccount"}:
        return f"/api/v1{f'/namespaces/{namespace}' if namespace else ''}/{kind.lower()}s"
    return f"{GROUP}{f'/namespaces/{namespace}' if namespace else ''}/{kind.lower()}s"


def subjects() -> dict[str, Subject]:
    """Return who asks: a user of each role for people, and each account."""
    everybody = "system:authenticated"
    people = (o["metadata"]["name"] for o in yaml.safe_load_all((RBAC / "users.yaml").read_text()))
    accounts = sorted({o["metadata"]["name"] for o in manifests() if o["kind"] == "ServiceAccount"})
    members = ("system:serviceaccounts", f"system:serviceaccounts:{FACADE_NAMESPACE}", everybody)
    return {
        "nobody": Subject("nobody", (everybody,)),
        **{role: Subject(f"matrix-{role}", (everybody,)) for role in (*people, *BUILT_IN)},
        **{f"account {a}": Subject(f"system:serviceaccount:{FACADE_NAMESPACE}:{a}", members) for a in accounts},
    }


@pytest.fixture
async def bound(connection: KubeConnection) -> AsyncIterator[None]:
    """Apply every file, and bind each role for people to a user in one namespace; remove it all afterwards."""
    made: list[str] = []

    async def create(item: JSONObject) -> None:
        path = path_of(item)
        try:
            await connection.request("POST", path, body=item)
        except AlreadyExistsError:  # of another test, which leaves it
            await connection.request("PUT", f"{path}/{item['metadata']['name']}", body=item)
        else:
            made.append(f"{path}/{item['metadata']['name']}")

    for name in (BOUND, OTHER):
        await create({"kind": "Namespace", "metadata": {"name": name}})
    for item in manifests():
        await create(item)
    for role, subject in subjects().items():
        if subject.name.startswith("matrix-"):
            binding = {
                "kind": "RoleBinding",
                "metadata": {"name": role, "namespace": BOUND},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": subject.name}],
            }
            await create(binding)
    yield
    for path in reversed(made):
        await connection.request("DELETE", path)


async def rules_of(connection: KubeConnection, subject: Subject, namespace: str) -> list[dict[str, Any]]:
    """Return the rules of a subject in a namespace, from the API server."""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = (await connection.request("POST", path, body=body, subject=subject))["status"]
    assert not status.get("incomplete"), status
    rules: list[dict[str, Any]] = status["resourceRules"]
    return rules


def lines_of(who: str, namespace: str, rules: list[dict[str, Any]]) -> set[str]:
    """Return a line for each resource of these rules."""
    verbs: dict[str, set[str]] = {}
    for rule in rules:
        names = f" [{', '.join(sorted(rule['resourceNames']))}]" if rule.get("resourceNames") else ""
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs.setdefault(f"{f'{group}/' if group else ''}{resource}{names}", set()).update(rule["verbs"])
    return {f"{who} | {namespace} | {resource} | {' '.join(sorted(given))}" for resource, given in verbs.items()}


def named_by_chart() -> set[str]:
    """Return the resources that the chart's roles for people name."""
    rules = [rule for role in yaml.safe_load_all((RBAC / "users.yaml").read_text()) for rule in role["rules"]]
    lines = lines_of("", "", [rule | {"verbs": []} for rule in rules])
    return {line.split(" | ")[2] for line in lines}


async def matrix(connection: KubeConnection) -> str:
    """Return the file's text; what every authenticated user may do stands only under ``nobody``."""
    lines: list[str] = []
    for namespace in (BOUND, OTHER, FACADE_NAMESPACE):
        common = lines_of("", namespace, await rules_of(connection, subjects()["nobody"], namespace))
        for who, subject in subjects().items():
            found = lines_of(who, namespace, await rules_of(connection, subject, namespace))
            if who in BUILT_IN:
                found = {line for line in found if line.split(" | ")[2] in named_by_chart()}
            lines += (line for line in found if who == "nobody" or line.removeprefix(who) not in common)
    return HEADER + "".join(f"{line}\n" for line in sorted(lines))


@pytest.mark.usefixtures("bound")
async def test_the_matrix_is_the_one_that_is_checked_in(connection: KubeConnection) -> None:
    """A permission that is new, gone or wider shows as a line that differs."""
    if os.environ.get("CARILLON_WRITE_PERMISSIONS"):
        last = [""]

        async def settled() -> bool:
            before, last[0] = last[0], await matrix(connection)
            return before == last[0] and all(f"\n{who} | " in last[0] for who in subjects())

        await eventually(settled, 60)
        GOLDEN.write_text(last[0], encoding="utf-8")
    wanted = GOLDEN.read_text(encoding="utf-8").splitlines()
    found: list[str] = []

    async def as_checked_in() -> bool:  # the authorizer learns of new roles after a moment
        found[:] = (await matrix(connection)).splitlines()
        return found == wanted

    with suppress(TimeoutError):
        await eventually(as_checked_in, 30)
    assert found == wanted
