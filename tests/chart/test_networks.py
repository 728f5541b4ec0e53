"""The NetworkPolicies that the chart renders."""

from typing import Any

import pytest

from carillon_chart.programs import pod_spec, rendered
from support.chart import Object, objects, of_kind


def selected(case: str, labels: dict[str, str]) -> list[Object]:
    """Return the NetworkPolicies that select pods with these labels."""
    chosen = []
    for policy in of_kind(case, "NetworkPolicy").values():
        wanted = policy["spec"]["podSelector"].get("matchLabels") or {}
        if wanted.items() <= labels.items():
            chosen.append(policy)
    return chosen


@pytest.mark.parametrize("case", ["life", "trial"])
def test_nothing_passes_but_what_is_named(case: str) -> None:
    """Every pod has the default-deny policy and one policy of its own, in both directions."""
    for item in objects(case):
        spec = pod_spec(item)
        if spec is None:
            continue
        labels = item["metadata"]["labels"] if item["kind"] == "Pod" else item["spec"]["template"]["metadata"]["labels"]
        policies = selected(case, labels)
        names = sorted(policy["metadata"]["name"] for policy in policies)
        assert names == sorted(["carillon-default-deny", f"carillon-{labels['app.kubernetes.io/component']}"])
        assert all(policy["spec"]["policyTypes"] == ["Ingress", "Egress"] for policy in policies)


OPEN: dict[str, tuple[list[Any], list[Any]]] = {
    "operator": (["webhook", "metrics"], [53, 53, 5353, 5353, 5432, 443]),
    "api": (["http"], [53, 53, 5353, 5353, 5432, 443]),
    "migrate": ([], [53, 53, 5353, 5353, 5432]),
    "recorder": (["recorder"], [53, 53, 5353, 5353, 5432]),
    "runner": ([], [53, 53, 5353, 5353, "recorder"]),
    "test": ([], [53, 53, 5353, 5353, "http"]),
    "default-deny": ([], []),
}


@pytest.mark.parametrize("component", OPEN)
def test_the_ports_that_are_open(component: str) -> None:
    """Each component has the stated open ports, and its outgoing rules name their destination."""
    spec = of_kind("life", "NetworkPolicy")[f"carillon-{component}"]["spec"]
    inward, outward = (list(spec.get(way) or ()) for way in ("ingress", "egress"))
    ports = tuple([port["port"] for rule in rules for port in rule["ports"]] for rules in (inward, outward))
    assert ports == OPEN[component]
    assert all(rule["to"] for rule in outward)


OURS = ["operator", "api", "migrate", "recorder"]


def peers(policy: Object) -> list[Any]:
    """Return who may reach the bundled database."""
    assert policy["spec"].get("egress") is None
    (rule,) = policy["spec"]["ingress"]
    return list(rule["from"])


def test_the_recorder_is_open_to_all_namespaces_and_the_database_to_ours_alone() -> None:
    """Runners anywhere reach the recorder, and no database."""
    policies = of_kind("trial", "NetworkPolicy")
    assert policies["carillon-recorder"]["spec"]["ingress"][0]["from"] == [{"namespaceSelector": {}}]
    found = peers(policies["carillon-postgres"])
    assert [peer["podSelector"]["matchLabels"].get("app.kubernetes.io/component") for peer in found] == OURS


def test_without_a_recorder_the_bundled_database_is_open_to_runners() -> None:
    """The database accepts Carillon's pods, and runners in any namespace."""
    values = ("--set", "postgres.enabled=true,recorder.enabled=false")
    (policy,) = (
        o for o in rendered(*values) if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == "carillon-postgres"
    )
    assert peers(policy)[-1] == {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "carillon"}},
    }


def test_of_named_namespaces_the_bundled_database_is_open_to_these_alone() -> None:
    """With a list of namespaces, the database accepts runners only from those."""
    values = ("--set", "postgres.enabled=true,recorder.enabled=false,watch.namespaces={a,b},api.defaultNamespace=a")
    (policy,) = (
        o for o in rendered(*values) if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == "carillon-postgres"
    )
    assert policy["spec"]["ingress"][0]["from"][-1]["namespaceSelector"] == {
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}]
    }


def test_the_webhook_can_be_open_to_the_api_server_alone() -> None:
    """By default to all, since a chart cannot know from where the API server calls."""
    peers = "networkPolicy.webhookFrom[0].ipBlock.cidr=10.0.0.0/28"
    for arguments, want in (((), None), (("--set", peers), [{"ipBlock": {"cidr": "10.0.0.0/28"}}])):
        found = rendered("--set", "database.existingSecret=db", *arguments)
        rules = [
            rule
            for thing in found
            if thing["kind"] == "NetworkPolicy"
            for rule in thing["spec"].get("ingress") or ()
            if [port["port"] for port in rule.get("ports", ())] == ["webhook"]
        ]
        assert [rule.get("from") for rule in rules] == [want]
