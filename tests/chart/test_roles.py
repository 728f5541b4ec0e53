"""The roles that the chart renders, and the namespaces in which they are bound."""

import yaml

from carillon_chart.programs import rendered, values_of
from carillon_local.layout import RBAC
from support.chart import Object, containers, objects, of_kind


def without_secrets(rules: list[Object]) -> list[Object]:
    """Return the rules that hold with a recorder: then no Secret is written; labels are read all the same."""
    return [rule for rule in rules if "secrets" not in rule["resources"] or rule["verbs"] == ["get"]]


def test_the_roles_are_those_of_files_rbac() -> None:
    """The chart renders the roles that `make run` applies; with a recorder, without those on Secrets."""
    rules = {name: role["rules"] for name, role in of_kind("trial", "ClusterRole").items()}
    labels = {name: role["metadata"]["labels"] for name, role in of_kind("trial", "ClusterRole").items()}
    wanted = [o for path in RBAC.iterdir() for o in yaml.safe_load_all(path.read_text()) if o["kind"] == "ClusterRole"]
    assert {o["metadata"]["name"]: without_secrets(o["rules"]) for o in wanted} == rules
    (whole,) = (o["rules"] for o in wanted if o["metadata"]["name"] == "carillon-operator")
    assert of_kind("bare", "ClusterRole")["bell-operator"]["rules"] == whole
    for role in wanted:
        assert (role["metadata"].get("labels") or {}).items() <= labels[role["metadata"]["name"]].items()


OF_NO_NAMESPACE = {
    "tokenreviews",
    "subjectaccessreviews",
    "users",
    "groups",
    "serviceaccounts",
    "validatingwebhookconfigurations",
}
"""What is of the whole cluster: to check and impersonate callers, who may be from any namespace, and the webhook."""


def test_for_all_namespaces_the_operators_role_is_the_clusters() -> None:
    """Roles are bound in no namespace except the release's."""
    assert "carillon-operator" in of_kind("trial", "ClusterRoleBinding")
    assert {o["metadata"]["namespace"] for o in of_kind("trial", "RoleBinding").values()} == {"carillon-system"}


def test_for_a_list_of_namespaces_the_operators_role_is_theirs() -> None:
    """Each namespace has the operator's role, and no cluster role covers any task."""
    (wanted,) = (
        o["rules"]
        for o in yaml.safe_load_all((RBAC / "operator.yaml").read_text())
        if o["kind"] == "ClusterRole" and o["metadata"]["name"] == "carillon-operator"
    )
    account = {"kind": "ServiceAccount", "name": "teams-operator", "namespace": "carillon-system"}
    for namespace in ("team-a", "team-b"):
        where = {"name": "teams-operator-tasks", "namespace": namespace}
        found = {o["kind"]: o for o in objects("listed") if where.items() <= o["metadata"].items()}
        role, binding = found["Role"], found["RoleBinding"]
        assert role["rules"] == without_secrets(wanted)
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role["metadata"]["name"])
        assert binding["subjects"] == [account]
        notes = {"name": "teams-api-tasks", "namespace": namespace}
        (role,) = (o for o in objects("listed") if o["kind"] == "Role" and notes.items() <= o["metadata"].items())
        assert role["rules"] == [
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["patch"]},
            {"apiGroups": ["carillon.dev"], "resources": ["scheduledtasks"], "verbs": ["list", "watch"]},
        ]
    bound = {o["roleRef"]["name"] for o in of_kind("listed", "ClusterRoleBinding").values()}
    rules = [rule for name in bound for rule in of_kind("listed", "ClusterRole")[name]["rules"]]
    assert {resource for rule in rules for resource in rule["resources"]} == OF_NO_NAMESPACE
    assert {o["metadata"].get("namespace") for o in objects("listed")} == {None, "carillon-system", "team-a", "team-b"}


def test_the_programs_are_told_the_list_and_the_webhook_is_asked_there_alone() -> None:
    """Operator, API and webhook cover the namespaces of the list, or all without one."""
    for case, told, chosen in (("listed", "team-a,team-b", ["team-a", "team-b"]), ("life", "", None)):
        for name, container in containers(case).items():
            if container["name"] in {"operator", "api"}:
                env = {e["name"]: e.get("value") for e in container["env"]}
                assert env["CARILLON_NAMESPACES"] == told, name
        (configuration,) = of_kind(case, "ValidatingWebhookConfiguration").values()
        for hook in configuration["webhooks"]:
            (selected_by,) = (hook.get("namespaceSelector") or {}).get("matchExpressions") or [{"values": None}]
            assert selected_by["values"] == chosen
            assert chosen is None or selected_by["key"] == "kubernetes.io/metadata.name"


def test_helm_test_runs_its_task_where_the_release_does() -> None:
    """The test uses the first namespace of the list, or the release's, and has its role there."""
    for case, namespace in (("listed", "team-a"), ("trial", "carillon-system")):
        ((name, container),) = ((k, c) for k, c in containers(case).items() if c["name"] == "test")
        env = {e["name"]: e.get("value") for e in container["env"]}
        assert env["NAMESPACE"] == namespace
        account = name.removeprefix("Pod ").removesuffix("/test")
        held = [o for o in objects(case) if o["metadata"]["name"] == account and o["kind"] in {"Role", "RoleBinding"}]
        assert {o["metadata"]["namespace"] for o in held} == {namespace}
        assert [o["subjects"][0]["namespace"] for o in held if "subjects" in o] == ["carillon-system"]


def test_a_namespace_that_is_a_number_stays_a_text() -> None:
    """A namespace may consist of digits, as in Kubernetes."""
    values = ("--set-string", "watch.namespaces[0]=2026,api.defaultNamespace=2026")
    found = rendered("--values", str(values_of("trial")), *values)
    bound = [o["metadata"]["namespace"] for o in found if o["metadata"]["name"] == "carillon-operator-tasks"]
    assert bound == ["2026", "2026"]


def test_the_role_to_request_runs_does_nothing_else() -> None:
    """The role allows the creation of requests only."""
    (rule,) = of_kind("trial", "ClusterRole")["carillon-runner"]["rules"]
    assert rule == {"apiGroups": ["carillon.dev"], "resources": ["runrequests"], "verbs": ["create"]}


def test_the_operator_reads_secrets_only_where_their_labels_count() -> None:
    """The role and the setting go together: any Secret is used only if no author is left unchecked."""
    for case, want in (("life", "any"), ("trial", "labelled"), ("bare", "labelled"), ("listed", "labelled")):
        told = {
            variable.get("value")
            for container in containers(case).values()
            if container["name"] == "operator"
            for variable in container["env"]
            if variable["name"] == "CARILLON_TARGET_SECRETS"
        }
        roles = [o for o in objects(case) if o["kind"] in {"Role", "ClusterRole"}]
        reading = [o for o in roles if o["metadata"]["name"].endswith("-operator-secrets")]
        assert (told, bool(reading)) == ({want}, want == "labelled"), case
        assert all(o["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}] for o in reading)
        places = {o["metadata"].get("namespace") for o in reading}
        assert places <= ({"team-a", "team-b"} if case == "listed" else {None}), case


def test_the_operator_reads_logs_only_where_rows_keep_them() -> None:
    """The value turns the role off, and it is of the namespaces of a list."""
    for case, places in (("trial", {None}), ("listed", {"team-a", "team-b"}), ("bare", set())):
        reading = [
            o
            for o in objects(case)
            if o["kind"] in {"Role", "ClusterRole"} and o["metadata"]["name"].endswith("-operator-logs")
        ]
        assert {o["metadata"].get("namespace") for o in reading} == places, case
        assert all(o["rules"] == [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}] for o in reading)


def test_the_operator_renews_the_certificate_that_the_chart_made_and_no_other() -> None:
    """Its Secret and the webhook configuration, each by name; nothing with cert-manager or without the webhook."""
    issued = ("--set", "webhook.certManager.enabled=true,webhook.certManager.issuerName=authority")
    with_issuer = rendered("--values", str(values_of("trial")), *issued)
    for found in (objects("bare"), with_issuer):
        assert not [o for o in found if o["metadata"]["name"].endswith("-operator-certificate")]
    held = {o["kind"]: o for o in objects("trial") if o["metadata"]["name"] == "carillon-operator-certificate"}
    rules = {kind: (o["metadata"].get("namespace"), o["rules"]) for kind, o in held.items() if "rules" in o}
    common = {"verbs": ["get", "patch"]}
    configuration = {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"]}
    secret = {"apiGroups": [""], "resources": ["secrets"]}
    assert rules == {
        "ClusterRole": (None, [configuration | common | {"resourceNames": ["carillon"]}]),
        "Role": ("carillon-system", [secret | common | {"resourceNames": ["carillon-webhook"]}]),
    }
    env = {
        e["name"]: e.get("value")
        for name, c in containers("trial").items()
        if c["name"] == "operator"
        for e in c["env"]
    }
    told = [env[f"CARILLON_WEBHOOK_{what}"] for what in ("SECRET", "CONFIGURATION")]
    assert told == ["carillon-system/carillon-webhook", "carillon"]
