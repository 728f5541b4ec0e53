"""The pods that the chart renders: security, images, replicas, and the order of the migration."""

import json
import re
from typing import Any

import pytest

from carillon_chart.programs import rendered, values_of
from carillon_core import __version__
from support.chart import containers, every_case, of_kind, pods
from support.restricted import violations


@every_case
def test_every_pod_is_restricted(case: str) -> None:
    """Every pod meets the Pod Security standard, with a read-only root and a memory limit."""
    found = {name: violations(spec) for name, spec in pods(case).items()}
    assert found
    assert {name: what for name, what in found.items() if what} == {}


LOOSE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "may run as root": ({"runAsNonRoot": None}, {"runAsNonRoot": None}),
    "may gain privileges": ({}, {"allowPrivilegeEscalation": True}),
    "keeps capabilities": ({}, {"capabilities": {"drop": ["NET_RAW"]}}),
    "has no seccomp profile": ({"seccompProfile": None}, {"seccompProfile": None}),
    "can write to its root": ({}, {"readOnlyRootFilesystem": False}),
}


@pytest.mark.parametrize("what", LOOSE)
def test_the_check_sees_what_is_loose(what: str) -> None:
    """The check names each setting of a pod that is loosened."""
    spec = json.loads(json.dumps(pods("trial")["Deployment carillon-api"]))
    pod, container = LOOSE[what]
    spec["securityContext"] |= pod
    spec["containers"][0]["securityContext"] |= container
    assert violations(spec) == [f"api: {what}"]


@every_case
def test_every_image_has_a_tag_or_a_digest(case: str) -> None:
    """No image has the tag `latest`; by default the tag is the chart's version."""
    for name, container in containers(case).items():
        assert re.search(r"(:[^/:]+|@sha256:[0-9a-f]{64})$", container["image"]), name
        assert not container["image"].endswith(":latest"), name
    if case == "trial":
        assert containers(case)["Deployment carillon-api/api"]["image"] == f"carillon-operator:{__version__}"


def test_only_labelled_tasks_have_metrics_unless_asked() -> None:
    """Whoever reaches the port can read them."""
    for more, want in (((), "0"), (("--set", "operator.taskMetrics=50"), "50")):
        found = rendered("--values", str(values_of("trial")), *more)
        (operator,) = (o for o in found if o["metadata"]["name"] == "carillon-operator-0" and o["kind"] == "Deployment")
        env = {e["name"]: e.get("value") for e in operator["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert env["CARILLON_TASK_METRICS"] == want


def test_a_digest_wins_over_the_tag() -> None:
    """If a digest is set, the tag is left out."""
    digest = "sha256:" + "0" * 64
    found = rendered("--values", str(values_of("trial")), "--set", f"operator.runnerImage.digest={digest}")
    (operator,) = (o for o in found if o["metadata"]["name"] == "carillon-operator-0" and o["kind"] == "Deployment")
    env = {e["name"]: e.get("value") for e in operator["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["CARILLON_RUNNER_IMAGE"] == f"carillon-runner@{digest}"


def test_there_is_a_deployment_of_two_for_each_shard() -> None:
    """Each Deployment is told its shard and the number of shards."""
    found = [o for name, o in of_kind("life", "Deployment").items() if "operator" in name]
    told = []
    for deployment in found:
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        env = {e["name"]: e.get("value") for e in container["env"]}
        told.append((deployment["spec"]["replicas"], env["CARILLON_SHARD"], env["CARILLON_SHARDS"]))
        assert deployment["spec"]["selector"]["matchLabels"]["carillon.dev/shard"] == env["CARILLON_SHARD"]
        assert (env["CARILLON_LEASE_NAMESPACE"], env["CARILLON_LEASE_NAME"]) == ("carillon-system", "carillon-operator")
    assert told == [(2, "0", "2"), (2, "1", "2")]


def test_the_pods_of_each_shard_keep_apart_from_one_another() -> None:
    """Pods spread within their own shard, regardless of other shards."""
    sets = ("--set", "postgres.enabled=true,operator.shards=2")
    found = [o for o in rendered(*sets) if o["kind"] == "Deployment" and "operator" in o["metadata"]["name"]]
    for shard, deployment in enumerate(found):
        template = deployment["spec"]["template"]
        for constraint in template["spec"]["topologySpreadConstraints"]:
            chosen = constraint["labelSelector"]["matchLabels"]
            assert chosen["carillon.dev/shard"] == str(shard)
            assert chosen.items() <= template["metadata"]["labels"].items()
    (api,) = (o for o in rendered(*sets) if o["kind"] == "Deployment" and o["metadata"]["name"] == "carillon-api")
    for constraint in api["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        assert "carillon.dev/shard" not in constraint["labelSelector"]["matchLabels"]


@pytest.mark.parametrize("scaled", [True, False])
def test_replicas_are_the_autoscalers_or_the_values(*, scaled: bool) -> None:
    """With an autoscaler the Deployment has no replicas, so that Helm does not reset them."""
    found = rendered("--set", f"postgres.enabled=true,api.autoscaling.enabled={str(scaled).lower()},api.replicas=3")
    (api,) = (o for o in found if o["kind"] == "Deployment" and o["metadata"]["name"] == "carillon-api")
    assert api["spec"].get("replicas") == (None if scaled else 3)
    assert len([o for o in found if o["kind"] == "HorizontalPodAutoscaler"]) == int(scaled)


def test_the_migration_comes_first_where_the_database_is_there_already() -> None:
    """The migration is a hook, except with the bundled database, which is installed with it."""
    (hook,) = of_kind("life", "Job").values()
    (plain,) = of_kind("trial", "Job").values()
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "annotations" not in plain["metadata"]
    assert plain["metadata"]["name"] == "carillon-migrate-1"
    for job in (hook, plain):
        spec = job["spec"]["template"]["spec"]
        assert [c["command"][1] for c in spec["initContainers"]] == ["upgrade"]
        assert [c["command"][1] for c in spec["containers"]] == ["api-role", "runner-role"]


def test_no_pod_has_a_token_that_does_not_need_one() -> None:
    """Only the operator, the API and the test have a token for the API server."""
    for name, spec in pods("trial").items():
        wants = any(part in name for part in ("operator", "api", "test"))
        assert spec["automountServiceAccountToken"] is wants, name
