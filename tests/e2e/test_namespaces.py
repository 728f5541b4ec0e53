"""Releases for some namespaces, side by side over one database, each with the chart's accounts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
import yaml

from carillon_chart.programs import rendered
from carillon_local.access import with_token
from carillon_local.layout import RUNNER_IMAGE
from support.ports import own_port
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from support.stack import Stack

RBAC = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
COUNT = {"sum": {"a": 1, "b": 2}}


class Release:
    """A release's accounts and its operator, for a list of namespaces."""

    def __init__(self, stack: Stack, home: str, name: str, watched: list[str], folder: Path) -> None:
        """Install the chart's accounts and roles in the namespaces that exist."""
        self.name = name
        self._stack = stack
        self._home = home
        self._watched = watched
        lists = ("--set", f"watch.namespaces={{{','.join(watched)}}},api.defaultNamespace={watched[0]}")
        more = ("--set", f"fullnameOverride={name},postgres.enabled=true,tests.enabled=false,rbac.peoplesRoles=false")
        made = [o for o in rendered(*lists, *more, namespace=home) if o["kind"] in RBAC]
        there = {item["metadata"]["name"] for item in stack.get("/api/v1/namespaces")["items"]}
        self.objects = [o for o in made if o["metadata"].get("namespace", home) in there]
        stack.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(self.objects))
        self._kubeconfig = folder / f"{name}.kubeconfig"
        shown = yaml.safe_load(stack.cluster.kubeconfig.read_text())
        self._kubeconfig.write_text(yaml.safe_dump(with_token(shown, stack.token(home, f"{name}-operator"))))

    def start(self) -> None:
        """Start the operator, and wait until it leads and has observed everything."""
        settings = {
            **self._stack.recorder_settings,
            "KUBECONFIG": str(self._kubeconfig),
            "CARILLON_RUNNER_IMAGE": RUNNER_IMAGE,
            "CARILLON_NAMESPACES": ",".join(self._watched),
            "CARILLON_LEASE_NAMESPACE": self._home,
            "CARILLON_LEASE_NAME": f"{self.name}-operator",
            "CARILLON_SWEEP_SECONDS": "1",
        }
        self._stack.spawn(self.name, "carillon_operator", **settings)
        until(lambda: "caught up" in self.log, 60, f"{self.name} leads")

    def may(self, *asked: str) -> bool:
        """Return whether the operator's account has a permission."""
        account = f"system:serviceaccount:{self._home}:{self.name}-operator"
        return self._stack.kubectl("auth", "can-i", *asked, "--as", account, check=False).strip() == "yes"

    @property
    def log(self) -> str:
        """The operator's log."""
        return self._stack.log(self.name)

    def remove(self) -> None:
        """Stop the operator and delete cluster-wide objects; the rest is deleted with its namespaces."""
        if self._stack.known(self.name):
            self._stack.end(self.name)
        for item in self.objects:
            if item["kind"].startswith("Cluster"):
                self._stack.kubectl("delete", item["kind"], item["metadata"]["name"])


@pytest.fixture
def namespaces(stack: Stack) -> Iterator[list[str]]:
    """Give two new namespaces, whose names come before and after the shared one's."""
    with ExitStack() as made:
        yield [made.enter_context(stack.new_namespace(f"{letter}-{uuid4().hex[:8]}")) for letter in "az"]


@pytest.fixture
def alone(stack: Stack) -> Iterator[None]:
    """Stop the shared operator during the test."""
    stack.end("operator")
    yield
    stack.start_operator()


@pytest.fixture
def releases(
    stack: Stack, namespace: str, namespaces: list[str], tmp_path: Path, alone: None
) -> Iterator[tuple[Release, Release]]:
    """Give a release for the first namespace, and one for the second and a missing one."""
    del alone
    first, second = namespaces
    one = Release(stack, namespace, f"r-{first}", [first], tmp_path)
    two = Release(stack, namespace, f"r-{second}", [second, "never-there"], tmp_path)
    yield one, two
    for each in (one, two):
        each.remove()


def test_a_release_runs_the_tasks_of_its_own_namespaces_alone(
    stack: Stack, namespaces: list[str], releases: tuple[Release, Release]
) -> None:
    """Roles in its namespaces are sufficient; another release runs the other tasks."""
    (first, second), (one, two) = namespaces, releases
    one.start()
    for name in namespaces:
        stack.apply(name, "tick", intervalSeconds=1, task=COUNT)
    stack.await_rows(first, "tick", 3, "succeeded")
    assert stack.rows(second) == []
    assert stack.jobs(second) == []
    assert "status" not in stack.task(second, "tick")
    for asked in (("create", "jobs"), ("list", "scheduledtasks"), ("list", "events")):
        assert one.may(*asked, "--namespace", first)
        assert not one.may(*asked, "--namespace", second)
        assert not one.may(*asked, "--all-namespaces")
    # runners report to the recorder: no Secret is written into any namespace
    assert not one.may("create", "secrets", "--namespace", first)
    two.start()
    stack.await_rows(second, "tick", 3, "succeeded")
    count = len(stack.rows(first, "tick", "succeeded"))
    stack.await_rows(first, "tick", count + 2, "succeeded")
    for name in namespaces:
        stack.kubectl("delete", "scheduledtask", "tick", "--namespace", name)
        until(partial(has_no_jobs, stack, name), 60, f"the Jobs of {name} are gone")
        # neither has closed executions of the other
        assert "failed" not in {row["status"] for row in stack.rows(name)}
    assert "orbidden" not in one.log
    assert "namespace unreadable" not in one.log
    # it logs that it has no role in the missing namespace, and continues
    assert two.log.count('"namespace": "never-there"') == 1
    assert "remove it from CARILLON_NAMESPACES" in two.log


def has_no_jobs(stack: Stack, namespace: str) -> bool:
    """Return whether a namespace has no Jobs left."""
    return stack.jobs(namespace) == []


def test_an_api_serves_its_own_namespaces_alone(stack: Stack, namespaces: list[str]) -> None:
    """Lists contain only these, and need permissions only in these; others are rejected with the setting's name."""
    first, second = namespaces
    for name in namespaces:
        stack.apply(name, "later", runAt="2099-01-01T00:00:00Z", task=COUNT)
    stack.kubectl("create", "serviceaccount", "reader", "--namespace", first)
    role = ("--clusterrole", "carillon-view", "--serviceaccount", f"{first}:reader")
    stack.kubectl("create", "rolebinding", "reader", "--namespace", first, *role)
    token = stack.token(first, "reader")
    port = own_port()
    stack.start_facade("listed-api", port, CARILLON_NAMESPACES=first)
    try:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10, trust_env=False) as client:
            until(lambda: is_ready(client), 60, "the API is ready")
            until(lambda: client.get("/api/v1/tasks").is_success, 30, "the role is known to the authorizer")
            assert [i["namespace"] for i in client.get("/api/v1/tasks").json()["items"]] == [first]
            assert {i["namespace"] for i in client.get("/api/v1/upcoming").json()["items"]} == {first}
            assert client.get("/api/v1/executions").is_success
            refused = client.get(f"/api/v1/namespaces/{second}/tasks")
            assert refused.status_code == 403
            assert "CARILLON_NAMESPACES" in refused.json()["detail"]
    finally:
        stack.end("listed-api")


def is_ready(client: httpx.Client) -> bool:
    """Return whether an API reports that it is ready."""
    try:
        return client.get("/readyz").is_success
    except httpx.HTTPError:
        return False
