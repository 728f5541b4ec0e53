"""The facade's account in charts/carillon/files/rbac/facade.yaml has the necessary permissions and no others."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.caller import KubeAPIServer
from carillon_core.adapters.kube.cluster import jobs_path
from carillon_core.adapters.kube.watch import KubeChangedTasks
from carillon_core.domain.access.subjects import Access, Subject
from carillon_core.errors import AlreadyExistsError, ForbiddenError, NotFoundError, OwnAccountError
from carillon_core.ports import JSONObject
from carillon_local.access import FACADE, FACADE_NAMESPACE, KEYS_SECRET, with_token
from carillon_local.layout import RBAC
from support.cluster import RunningCluster
from support.kube_connections import job
from support.waiting import eventually

RBAC_GROUP = "/apis/rbac.authorization.k8s.io/v1"
ALICE = Subject("alice", ("developers", "system:authenticated"))


def manifests(file: str) -> list[JSONObject]:
    """Return the objects in a file of the chart's files/rbac."""
    return [doc for doc in yaml.safe_load_all((RBAC / file).read_text()) if doc]


PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "ClusterRole": f"{RBAC_GROUP}/clusterroles",
    "ClusterRoleBinding": f"{RBAC_GROUP}/clusterrolebindings",
    "Role": f"{RBAC_GROUP}/namespaces/{{namespace}}/roles",
    "RoleBinding": f"{RBAC_GROUP}/namespaces/{{namespace}}/rolebindings",
}


async def install(connection: KubeConnection, namespace: str, *, without: JSONObject | None = None) -> str:
    """Create the account and its roles with unique names in the test's namespace; return the account's name.

    Args:
        connection: An administrator's.
        namespace: Where the account is.
        without: A rule that its ClusterRole, or its Role, shall not have.

    """
    name = f"{FACADE}-{namespace}"
    for manifest in manifests("facade.yaml"):
        if manifest["kind"] == "Namespace":
            continue
        text = yaml.safe_dump(manifest).replace(FACADE_NAMESPACE, namespace)
        made = yaml.safe_load(text)
        if manifest["kind"].startswith("Cluster"):
            made["metadata"]["name"] = name
        if "roleRef" in made and made["roleRef"]["kind"] == "ClusterRole":
            made["roleRef"]["name"] = name
        made["rules"] = [rule for rule in made["rules"] if rule != without] if "rules" in made else None
        await connection.request("POST", PATHS[made["kind"]].format(namespace=namespace), body=made)
    return name


async def remove(connection: KubeConnection, name: str) -> None:
    """Delete the cluster-wide objects."""
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        await connection.request("DELETE", f"{PATHS[kind]}/{name}")


def kubeconfig_with(cluster: RunningCluster, token: str) -> str:
    """Return the cluster's kubeconfig for the bearer of a token."""
    return yaml.safe_dump(with_token(yaml.safe_load(Path(cluster.kubeconfig).read_text()), token))


@asynccontextmanager
async def facade_of(
    connection: KubeConnection, cluster: RunningCluster, namespace: str, folder: Path, without: JSONObject | None = None
) -> AsyncIterator[KubeConnection]:
    """Give a connection as the facade's account."""
    name = await install(connection, namespace, without=without)
    try:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{FACADE}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = (await connection.request("POST", path, body=asked))["status"]["token"]
        kubeconfig = folder / "facade.kubeconfig"
        kubeconfig.write_text(kubeconfig_with(cluster, token))
        async with KubeConnection(str(kubeconfig)) as made:
            yield made
    finally:
        await remove(connection, name)


async def keep_secret(connection: KubeConnection, namespace: str, name: str) -> None:
    """Create a Secret."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "b"}}
    await connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=body)


Call = Callable[[KubeAPIServer, str], Awaitable[Any]]


async def _as_service_account(server: KubeAPIServer, namespace: str) -> Any:
    who = Subject(f"system:serviceaccount:{namespace}:nobody", ("system:serviceaccounts", "system:authenticated"))
    return await server.acting_as(who).objects("ScheduledTask").list(namespace)


async def _as_user_without_groups(server: KubeAPIServer, namespace: str) -> Any:
    return await server.acting_as(Subject("alice")).objects("ScheduledTask").list(namespace)


async def _note_who_cancels(server: KubeAPIServer, namespace: str) -> Any:
    with suppress(NotFoundError):
        await server.mark_cancelled(namespace, "absent", "nobodys", "alice")


async def _follow_tasks(server: KubeAPIServer, namespace: str) -> Any:
    connection = server._connection  # noqa: SLF001  # the facade has both adapters over one
    watch = KubeChangedTasks(connection).watch(namespace)
    await watch.begin()
    async with aclosing(watch.changes()) as changes:
        return await anext(changes)


NEEDED: dict[str, Call] = {
    "review a token": lambda server, _: server.review_token("nobodys"),
    "review an access": lambda server, _: server.acting_as(ALICE).review(Access(verb="list", resource="executions")),
    "call as a user": _as_user_without_groups,
    "call as a user with groups": lambda server, namespace: (
        server.acting_as(ALICE).objects("ScheduledTask").list(namespace)
    ),
    "call as a service account": _as_service_account,
    "read the keys": lambda server, namespace: server.read_secret(namespace, KEYS_SECRET),
    "note who cancels": _note_who_cancels,
    "follow the tasks": _follow_tasks,
    "ping": lambda server, _: server.ping(),
}


async def lacking(server: KubeAPIServer, namespace: str) -> set[str]:
    """Return the permissions that the account lacks, not those that the caller lacks."""
    found = set()
    for what, call in NEEDED.items():
        try:
            await call(server, namespace)
        except OwnAccountError:
            found.add(what)
        except ForbiddenError:
            pass
    return found


async def test_the_account_can_do_all_that_the_facade_does(
    connection: KubeConnection, cluster: RunningCluster, namespace: str, tmp_path: Path
) -> None:
    """This holds for each call of the port, once the authorizer knows the roles."""
    await keep_secret(connection, namespace, KEYS_SECRET)
    async with facade_of(connection, cluster, namespace, tmp_path) as facade:
        server = KubeAPIServer(facade)

        async def complete() -> bool:
            return await lacking(server, namespace) == set()

        await eventually(complete, 30)
        assert dict(await server.read_secret(namespace, KEYS_SECRET)) == {"a": b"b"}


SPARE: dict[str, tuple[str, str]] = {
    "read a task": ("GET", "/apis/carillon.dev/v1alpha1/namespaces/{namespace}/scheduledtasks/x"),
    "change a task": ("PATCH", "/apis/carillon.dev/v1alpha1/namespaces/{namespace}/scheduledtasks/x"),
    "list targets": ("GET", "/apis/carillon.dev/v1alpha1/httptargets"),
    "list the requests of a namespace": ("GET", "/apis/carillon.dev/v1alpha1/namespaces/{namespace}/runrequests"),
    "create a Job": ("POST", "/apis/batch/v1/namespaces/{namespace}/jobs"),
    "list Jobs": ("GET", "/apis/batch/v1/namespaces/{namespace}/jobs"),
    "list pods": ("GET", "/api/v1/namespaces/{namespace}/pods"),
    "list its namespace's Secrets": ("GET", "/api/v1/namespaces/{namespace}/secrets"),
    "read another Secret": ("GET", "/api/v1/namespaces/{namespace}/secrets/other"),
    "change the keys": ("PATCH", f"/api/v1/namespaces/{{namespace}}/secrets/{KEYS_SECRET}"),
    "delete the keys": ("DELETE", f"/api/v1/namespaces/{{namespace}}/secrets/{KEYS_SECRET}"),
    "read the same Secret elsewhere": ("GET", f"/api/v1/namespaces/default/secrets/{KEYS_SECRET}"),
    "make tokens": ("POST", f"/api/v1/namespaces/{{namespace}}/serviceaccounts/{FACADE}/token"),
    "list namespaces": ("GET", "/api/v1/namespaces"),
    "bind roles": ("POST", f"{RBAC_GROUP}/clusterrolebindings"),
}


async def test_the_account_can_do_nothing_else(
    connection: KubeConnection, cluster: RunningCluster, namespace: str, tmp_path: Path
) -> None:
    """Without impersonation, it can list and watch tasks, and neither read nor change anything else."""
    for name in (KEYS_SECRET, "other"):
        await keep_secret(connection, namespace, name)
    async with facade_of(connection, cluster, namespace, tmp_path) as facade:
        allowed = []
        for what, (method, path) in SPARE.items():
            body: JSONObject | None = {} if method in {"POST", "PATCH"} else None
            content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
            try:
                where = path.format(namespace=namespace)
                await facade.request(method, where, body=body, content_type=content_type)
                allowed.append(what)
            except ForbiddenError:
                pass
        assert allowed == []


RULES = {
    f"{'/'.join(rule['verbs'])} {'/'.join(rule['resources'])}": rule
    for manifest in manifests("facade.yaml")
    for rule in manifest.get("rules") or ()
}
WANTED_FOR = {
    "create tokenreviews": {"review a token"},
    "create subjectaccessreviews": {"review an access"},
    "impersonate users": {"call as a user", "call as a user with groups"},
    "impersonate groups": {"call as a user with groups", "call as a service account"},
    "impersonate serviceaccounts": {"call as a service account"},
    "get secrets": {"read the keys"},
    "patch jobs": {"note who cancels"},
    "list/watch scheduledtasks": {"follow the tasks"},
}


@pytest.mark.parametrize("rule", RULES)
async def test_every_rule_is_needed_and_its_lack_is_named(
    connection: KubeConnection, cluster: RunningCluster, namespace: str, tmp_path: Path, rule: str
) -> None:
    """Without a rule, exactly its calls raise ``OwnAccountError``; a caller's missing permission does not."""
    await keep_secret(connection, namespace, KEYS_SECRET)
    async with facade_of(connection, cluster, namespace, tmp_path, RULES[rule]) as facade:
        server = KubeAPIServer(facade)

        async def as_wanted() -> bool:
            return await lacking(server, namespace) == WANTED_FOR[rule]

        await eventually(as_wanted, 30)
        with pytest.raises(OwnAccountError, match=rule.partition(" ")[2]):
            await NEEDED[min(WANTED_FOR[rule])](server, namespace)


def test_every_rule_has_a_call_that_needs_it() -> None:
    """A new rule in the file must be added here."""
    assert RULES.keys() == WANTED_FOR.keys()


USERS: dict[str, list[tuple[str, str, str]]] = {
    # role: what it may do (verb, group, resource)
    "carillon-view": [
        ("list", "carillon.dev", "scheduledtasks"),
        ("get", "carillon.dev", "httptargets"),
        ("watch", "carillon.dev", "runrequests"),
        ("get", "carillon.dev", "executions"),
        ("list", "carillon.dev", "executions"),
        ("get", "", "pods/log"),
        ("get", "batch", "jobs"),
    ],
    "carillon-run": [("create", "carillon.dev", "runrequests"), ("delete", "batch", "jobs")],
    "carillon-edit": [("create", "carillon.dev", "scheduledtasks"), ("delete", "carillon.dev", "httptargets")],
    "carillon-audit": [("list", "carillon.dev", "auditevents")],
}


@pytest.mark.parametrize("role", USERS)
async def test_a_users_role_permits_what_it_says_and_not_what_the_next_one_does(
    connection: KubeConnection, namespace: str, role: str
) -> None:
    """The cluster decides, in the namespace of the binding only."""
    for manifest in manifests("users.yaml"):
        try:
            await connection.request("POST", PATHS["ClusterRole"], body=manifest)
        except AlreadyExistsError:
            path = f"{PATHS['ClusterRole']}/{manifest['metadata']['name']}"
            await connection.request("PUT", path, body=manifest)
    bound = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }
    await connection.request("POST", PATHS["RoleBinding"].format(namespace=namespace), body=bound)
    cluster = KubeAPIServer(connection).acting_as(Subject("alice"))

    async def may(verb: str, group: str, resource: str, where: str = namespace) -> bool:
        plural, _, subresource = resource.partition("/")
        access = Access(verb=verb, group=group, resource=plural, subresource=subresource or None, namespace=where)
        return (await cluster.review(access)).allowed

    async def permitted() -> bool:
        return all([await may(*what) for what in USERS[role]])

    await eventually(permitted, 30)
    others = [what for other, all_of_it in USERS.items() if other != role for what in all_of_it]
    assert [what for what in others if await may(*what)] == []
    assert [what for what in USERS[role] if await may(*what, where="default")] == []


async def test_a_path_is_reviewed_as_rbac_has_it(connection: KubeConnection) -> None:
    """It uses nonResourceURLs: the group that may read the cluster's version is allowed, others are not."""
    server = KubeAPIServer(connection)
    version = Access(verb="get", resource="", path="/version")
    assert (await server.acting_as(Subject("alice", ("system:authenticated",))).review(version)).allowed
    assert not (await server.acting_as(Subject("alice")).review(replace(version, path="/metrics"))).allowed


AUDIENCES: dict[str, tuple[str | None, tuple[str, ...], bool]] = {
    # the token's audience, the required audience, whether the token is accepted
    "the API server's own, and nothing is asked": (None, (), True),
    "another, and nothing is asked": ("carillon", (), False),
    "the one that is asked": ("carillon", ("carillon",), True),
    "one of those that are asked": ("carillon", ("other", "carillon"), True),
    "another than is asked": ("other", ("carillon",), False),
    "the API server's own, and another is asked": (None, ("carillon",), False),
}


@pytest.mark.parametrize("case", AUDIENCES)
async def test_a_token_is_for_its_audience(connection: KubeConnection, namespace: str, case: str) -> None:
    """A token for another audience, which may have been stored there, is not accepted."""
    audience, asked, want = AUDIENCES[case]
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await connection.request("POST", accounts, body={"metadata": {"name": "ci"}})
    spec = {"audiences": [audience]} if audience else {}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    token = (await connection.request("POST", f"{accounts}/ci/token", body=body))["status"]["token"]
    found = await KubeAPIServer(connection, asked).review_token(token)
    assert (found is not None) is want
    if found is not None:
        assert found.name == f"system:serviceaccount:{namespace}:ci"
        assert {"system:authenticated", f"system:serviceaccounts:{namespace}"} <= set(found.groups)


async def test_who_cancels_is_noted_on_that_job_alone(connection: KubeConnection, namespace: str) -> None:
    """A Job of the same name that took its place is left alone."""
    server, annotated = KubeAPIServer(connection), job(namespace, "old")
    annotated["metadata"]["annotations"] = {"carillon.dev/execution-id": "x"}
    made = await connection.request("POST", jobs_path(namespace), body=annotated)
    with pytest.raises(NotFoundError):
        await server.mark_cancelled(namespace, "old", str(uuid4()), "alice")
    await server.mark_cancelled(namespace, "old", made["metadata"]["uid"], "alice")
    found = await connection.request("GET", f"{jobs_path(namespace)}/old")
    assert found["metadata"]["annotations"]["carillon.dev/cancelled-by"] == "alice"


async def test_a_secret_is_read_as_it_is(connection: KubeConnection, namespace: str) -> None:
    """Its data is decoded; a missing Secret is reported as missing."""
    raw = bytes(range(256))
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"k": base64.b64encode(raw).decode()},
    }
    await connection.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body=body)
    server = KubeAPIServer(connection)
    assert dict(await server.read_secret(namespace, "s")) == {"k": raw}
    with pytest.raises(NotFoundError):
        await server.read_secret(namespace, "none")
