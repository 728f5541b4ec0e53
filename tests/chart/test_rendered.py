"""What the chart renders: hardened pods, variables that the programs know, images with tags, closed networks."""

import json
import re
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from carillon_api.settings import Settings as ApiSettings
from carillon_chart.programs import CASES, pod_spec, rendered, values_of
from carillon_core import __version__
from carillon_core.resources.crd.definitions import KINDS
from carillon_core.settings import ProgramSettings, variable_of
from carillon_local.layout import CHART, CRDS, RBAC, ROOT
from carillon_operator.settings import LeaseVariables, Settings, Variables
from carillon_operator.webhook_settings import WebhookSettings
from support.restricted import violations

every_case = pytest.mark.parametrize("case", CASES)
Object = dict[str, Any]


@cache
def objects(case: str) -> tuple[Object, ...]:
    """Return the objects of a set of values."""
    return tuple(rendered("--values", str(values_of(case))))


def of_kind(case: str, kind: str) -> dict[str, Object]:
    """Return the objects of a kind by name."""
    return {o["metadata"]["name"]: o for o in objects(case) if o["kind"] == kind}


def pods(case: str) -> dict[str, Object]:
    """Return the specs of all pods by the kind and the name of what makes them."""
    found = {f"{o['kind']} {o['metadata']['name']}": pod_spec(o) for o in objects(case)}
    return {name: spec for name, spec in found.items() if spec is not None}


def containers(case: str) -> dict[str, Object]:
    """Return all containers, those that come first among them, by their pod's and their own name."""
    return {
        f"{name}/{container['name']}": container
        for name, spec in pods(case).items()
        for container in (*(spec.get("initContainers") or ()), *spec["containers"])
    }


@every_case
def test_every_pod_is_restricted(case: str) -> None:
    """By the Pod Security standard, with a root that is read-only and memory that is bounded."""
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
    """Each thing that is loosened in a pod of the chart is named."""
    spec = json.loads(json.dumps(pods("trial")["Deployment carillon-api"]))
    pod, container = LOOSE[what]
    spec["securityContext"] |= pod
    spec["containers"][0]["securityContext"] |= container
    assert violations(spec) == [f"api: {what}"]


MODELS: dict[str, tuple[type[ProgramSettings], ...]] = {
    "operator": (Variables, LeaseVariables, WebhookSettings),
    "api": (ApiSettings,),
}
READ_BY_HAND = {
    "upgrade": ("core/carillon_core/contract.py", "core/carillon_core/adapters/postgres/roles/runner_role.py"),
    "runner-role": ("core/carillon_core/contract.py", "core/carillon_core/adapters/postgres/roles/runner_role.py"),
    "api-role": ("core/carillon_core/contract.py", "core/carillon_core/adapters/postgres/roles/api_role.py"),
    "test": ("charts/carillon/files/installed.py",),
}


def read_by(program: str) -> set[str]:
    """Return the variables that a program reads."""
    if program in MODELS:
        return {variable_of(*field) for model in MODELS[program] for field in model.model_fields.items()}
    text = "".join((ROOT / path).read_text() for path in READ_BY_HAND[program])
    return set(re.findall(r"\b(?:CARILLON_[A-Z_]+|DATABASE_URL|API_URL|NAMESPACE|TOKEN_FILE)\b", text))


@every_case
def test_every_variable_is_one_that_its_program_reads(case: str) -> None:
    """A name that is misspelt would say nothing and do nothing."""
    for name, container in containers(case).items():
        program = container["name"]
        if program == "postgres":
            continue
        given = {variable["name"] for variable in container["env"]}
        assert given - read_by(program) == set(), name


def test_the_defaults_of_pods_are_what_the_operator_reads() -> None:
    """As they stand in the values, whether there are any or none."""
    for name, pool in (("trial", {}), ("life", {"pool": "batch"})):
        found = next(each for key, each in containers(name).items() if key.endswith("/operator"))
        env = {each["name"]: each.get("value") for each in found["env"]}
        needed = {"DATABASE_URL": "postgresql://u:p@h/d", "CARILLON_RUNNER_IMAGE": "r:1"}
        told = {
            key: value
            for key, value in env.items()
            if key in {"CARILLON_POD_DEFAULTS", "CARILLON_QUEUE_NAME"} and value
        }
        runner = Settings.from_env(needed | told).runner
        assert (runner.pod.node_selector, runner.queue_name) == (pool, "nightly" if pool else None)


def test_every_setting_of_the_operator_and_the_api_can_be_made() -> None:
    """But for those that a pod has no use for."""
    needless = {"KUBECONFIG", "CARILLON_RUNNER_SECRET", "CARILLON_WEBHOOK_CA_FILE", "CARILLON_WEBHOOK_ADDRESS"}
    needless |= {"CARILLON_WEBHOOK_HOST", "CARILLON_WEBHOOK_SERVICE", "CARILLON_WEBHOOK_FAILURE_POLICY"}
    for program in ("operator", "api"):
        given = {
            variable["name"]
            for name, container in containers("life").items()
            if name.startswith("Deployment ") and container["name"] == program
            for variable in container["env"]
        }
        assert read_by(program) - given - needless == set()


@every_case
def test_every_image_has_a_tag_or_a_digest(case: str) -> None:
    """Never `latest`, and by default the release that the chart is of."""
    for name, container in containers(case).items():
        assert re.search(r"(:[^/:]+|@sha256:[0-9a-f]{64})$", container["image"]), name
        assert not container["image"].endswith(":latest"), name
    if case == "trial":
        assert containers(case)["Deployment carillon-api/api"]["image"] == f"carillon-operator:{__version__}"


def test_a_digest_wins_over_the_tag() -> None:
    """What is deployed is then what was tested."""
    digest = "sha256:" + "0" * 64
    found = rendered("--values", str(values_of("trial")), "--set", f"operator.runnerImage.digest={digest}")
    (operator,) = (o for o in found if o["metadata"]["name"] == "carillon-operator-0" and o["kind"] == "Deployment")
    env = {e["name"]: e.get("value") for e in operator["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["CARILLON_RUNNER_IMAGE"] == f"carillon-runner@{digest}"


def test_the_chart_is_of_this_release() -> None:
    """The version of chart, app and packages is one."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], str(chart["appVersion"])) == (__version__, __version__)


def test_the_chart_has_the_crds_that_the_models_make() -> None:
    """Byte for byte as in crds/, and rendered with the note that keeps them when the release goes."""
    files = {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()}
    assert files == {path.name: path.read_bytes() for path in CRDS.iterdir()}, "run: make manifests"
    found = of_kind("trial", "CustomResourceDefinition")
    assert len(found) == len(KINDS)
    for text in files.values():
        want = yaml.safe_load(text)
        made = found[want["metadata"]["name"]]
        assert made["spec"] == want["spec"]
        assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_roles_are_those_of_files_rbac() -> None:
    """One source: what `make run` applies is what the chart renders."""
    rules = {name: role["rules"] for name, role in of_kind("trial", "ClusterRole").items()}
    labels = {name: role["metadata"]["labels"] for name, role in of_kind("trial", "ClusterRole").items()}
    wanted = [o for path in RBAC.iterdir() for o in yaml.safe_load_all(path.read_text()) if o["kind"] == "ClusterRole"]
    assert {o["metadata"]["name"]: o["rules"] for o in wanted} == rules
    for role in wanted:
        assert (role["metadata"].get("labels") or {}).items() <= labels[role["metadata"]["name"]].items()


OF_NO_NAMESPACE = {"tokenreviews", "subjectaccessreviews", "users", "groups", "serviceaccounts"}
"""What the facade asks the cluster about callers, and as whom it acts: callers may be of any namespace."""


def test_for_all_namespaces_the_operators_role_is_the_clusters() -> None:
    """And nothing is bound in any namespace but the release's."""
    assert "carillon-operator" in of_kind("trial", "ClusterRoleBinding")
    assert {o["metadata"]["namespace"] for o in of_kind("trial", "RoleBinding").values()} == {"carillon-system"}


def test_for_a_list_of_namespaces_the_operators_role_is_theirs() -> None:
    """In each the rules of files/rbac, bound to the account; by the cluster it has nothing, the API no object."""
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
        assert role["rules"] == wanted
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role["metadata"]["name"])
        assert binding["subjects"] == [account]
    bound = {o["roleRef"]["name"] for o in of_kind("listed", "ClusterRoleBinding").values()}
    rules = [rule for name in bound for rule in of_kind("listed", "ClusterRole")[name]["rules"]]
    assert {resource for rule in rules for resource in rule["resources"]} == OF_NO_NAMESPACE
    assert {o["metadata"].get("namespace") for o in objects("listed")} == {None, "carillon-system", "team-a", "team-b"}


def test_the_programs_are_told_the_list_and_the_webhook_is_asked_there_alone() -> None:
    """What the operator and the API read is what the chart binds; without a list all are told of all."""
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
    """In the first namespace of the list, else in the release's own; there it has its role."""
    for case, namespace in (("listed", "team-a"), ("trial", "carillon-system")):
        ((name, container),) = ((k, c) for k, c in containers(case).items() if c["name"] == "test")
        env = {e["name"]: e.get("value") for e in container["env"]}
        assert env["NAMESPACE"] == namespace
        account = name.removeprefix("Pod ").removesuffix("/test")
        held = [o for o in objects(case) if o["metadata"]["name"] == account and o["kind"] in {"Role", "RoleBinding"}]
        assert {o["metadata"]["namespace"] for o in held} == {namespace}
        assert [o["subjects"][0]["namespace"] for o in held if "subjects" in o] == ["carillon-system"]


def test_a_namespace_that_is_a_number_stays_a_text() -> None:
    """As Kubernetes allows it."""
    values = ("--set-string", "watch.namespaces[0]=2026,api.defaultNamespace=2026")
    found = rendered("--values", str(values_of("trial")), *values)
    bound = [o["metadata"]["namespace"] for o in found if o["metadata"]["name"] == "carillon-operator-tasks"]
    assert bound == ["2026", "2026"]


def test_the_role_to_request_runs_does_nothing_else() -> None:
    """Who has it cannot read a task, nor cancel one."""
    (rule,) = of_kind("trial", "ClusterRole")["carillon-runner"]["rules"]
    assert rule == {"apiGroups": ["carillon.dev"], "resources": ["runrequests"], "verbs": ["create"]}


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
    """Every pod is closed, and has one policy that opens what it needs, in both directions."""
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
    "operator": (["webhook"], [53, 53, 5353, 5353, 5432, 443]),
    "api": (["http"], [53, 53, 5353, 5353, 5432, 443]),
    "migrate": ([], [53, 53, 5353, 5353, 5432]),
    "runner": ([], [53, 53, 5353, 5353, 5432]),
    "test": ([], [53, 53, 5353, 5353, "http"]),
    "default-deny": ([], []),
}


@pytest.mark.parametrize("component", OPEN)
def test_the_ports_that_are_open(component: str) -> None:
    """For life: by number or by name, inward and outward; and outward never to anywhere."""
    spec = of_kind("life", "NetworkPolicy")[f"carillon-{component}"]["spec"]
    inward, outward = (list(spec.get(way) or ()) for way in ("ingress", "egress"))
    ports = tuple([port["port"] for rule in rules for port in rule["ports"]] for rules in (inward, outward))
    assert ports == OPEN[component]
    assert all(rule["to"] for rule in outward)


def test_the_bundled_database_is_open_to_ours_alone() -> None:
    """Our pods, and runners wherever their tasks are."""
    spec = of_kind("trial", "NetworkPolicy")["carillon-postgres"]["spec"]
    assert spec.get("egress") is None
    (rule,) = spec["ingress"]
    assert [peer["podSelector"]["matchLabels"].get("app.kubernetes.io/component") for peer in rule["from"][:-1]] == [
        "operator",
        "api",
        "migrate",
    ]
    assert rule["from"][-1] == {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "carillon"}},
    }


def test_of_named_namespaces_the_bundled_database_is_open_to_these_alone() -> None:
    """What has a runner's label elsewhere does not reach its port."""
    values = ("--set", "postgres.enabled=true,watch.namespaces={a,b},api.defaultNamespace=a")
    (policy,) = (
        o for o in rendered(*values) if o["kind"] == "NetworkPolicy" and o["metadata"]["name"] == "carillon-postgres"
    )
    assert policy["spec"]["ingress"][0]["from"][-1]["namespaceSelector"] == {
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}]
    }


def test_there_is_a_deployment_of_two_for_each_shard() -> None:
    """Each knows its number, and all of them how many there are."""
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
    """A shard's standby is not on its leader's node for pods of other shards being there."""
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
    """Never both: Helm and the autoscaler would change the number in turn, or refuse each other's change."""
    found = rendered("--set", f"postgres.enabled=true,api.autoscaling.enabled={str(scaled).lower()},api.replicas=3")
    (api,) = (o for o in found if o["kind"] == "Deployment" and o["metadata"]["name"] == "carillon-api")
    assert api["spec"].get("replicas") == (None if scaled else 3)
    assert len([o for o in found if o["kind"] == "HorizontalPodAutoscaler"]) == int(scaled)


def test_the_migration_comes_first_where_the_database_is_there_already() -> None:
    """A hook; with the bundled database a Job like any other, since what it waits for comes with it."""
    (hook,) = of_kind("life", "Job").values()
    (plain,) = of_kind("trial", "Job").values()
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "annotations" not in plain["metadata"]
    assert plain["metadata"]["name"] == "carillon-migrate-1"
    for job in (hook, plain):
        spec = job["spec"]["template"]["spec"]
        assert [c["command"][1] for c in spec["initContainers"]] == ["upgrade"]
        assert [c["command"][1] for c in spec["containers"]] == ["api-role", "runner-role"]


OWNERS = {"DATABASE_URL": "database-url"}
RUNNERS = {"CARILLON_RUNNER_DATABASE_URL": "runner-database-url"}
APIS = {"CARILLON_API_DATABASE_URL": "api-database-url"}
READ: dict[str, dict[str, str]] = {
    "operator": OWNERS | RUNNERS | {"CARILLON_TOKEN_KEY": "token-key"},
    "api": {"DATABASE_URL": "api-database-url"},
    "upgrade": OWNERS,
    "runner-role": OWNERS | RUNNERS,
    "api-role": OWNERS | APIS,
    "test": {},
}
"""What each program reads from the Secret of the database, and into which variable."""


def read_from_the_database_secret(case: str) -> dict[str, dict[str, str]]:
    """Return the keys that each program is given, by the variable."""
    found: dict[str, dict[str, str]] = {}
    for container in containers(case).values():
        given = {e["name"]: (e.get("valueFrom") or {}).get("secretKeyRef") for e in container["env"]}
        found[container["name"]] = {name: key["key"] for name, key in given.items() if key}
    return found


def test_which_program_sees_which_login() -> None:
    """The API none but its own; the owner's are the operator's and the migration's."""
    assert read_from_the_database_secret("life") == READ
    # its own container is given the owner's password
    assert read_from_the_database_secret("trial") == READ | {"postgres": {"POSTGRES_PASSWORD": "owner-password"}}


def test_without_a_role_of_its_own_the_api_logs_in_as_the_owner() -> None:
    """As it did before there was one: a release whose Secret has no such key goes on, and nobody reads the key."""
    found = read_from_the_database_secret("listed")
    assert found["api"] == OWNERS
    assert "api-role" not in found
    assert "api-database-url" not in {key for keys in found.values() for key in keys.values()}


def test_the_bundled_database_has_three_logins() -> None:
    """Each a user with a password of its own."""
    (made,) = (o for name, o in of_kind("trial", "Secret").items() if name == "carillon-database")
    data = {name: b64decode(value).decode() for name, value in made["data"].items()}
    urls = [urlsplit(data[key]) for key in ("database-url", "runner-database-url", "api-database-url")]
    assert [url.username for url in urls] == ["carillon", "carillon_runner", "carillon_api"]
    passwords = [data[f"{whose}-password"] for whose in ("owner", "runner", "api")]
    assert [url.password for url in urls] == passwords
    assert len(set(passwords)) == len(passwords)


def test_no_pod_has_a_token_that_does_not_need_one() -> None:
    """The operator, the API and the test call the API server; the others do not."""
    for name, spec in pods("trial").items():
        wants = any(part in name for part in ("operator", "api", "test"))
        assert spec["automountServiceAccountToken"] is wants, name


def metrics() -> set[str]:
    """Return the metrics that docs/metrics.md has, with what a histogram makes of its name."""
    found = set(re.findall(r"^\| `(carillon_\w+)` \| (\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    more = {f"{name}_{part}" for name, kind in found if kind == "histogram" for part in ("bucket", "sum", "count")}
    return {name for name, _ in found} | more


def expressions() -> dict[str, str]:
    """Return the expressions of the alerts and the dashboard by where they are."""
    (rules,) = of_kind("life", "PrometheusRule").values()
    found = {rule["alert"]: rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]}
    (board,) = of_kind("life", "ConfigMap").values()
    for panel in json.loads(board["data"]["carillon.json"])["panels"]:
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    return found


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    """Each expression names at least one, and none that docs/metrics.md has not; parentheses and braces are closed."""
    for where, expression in expressions().items():
        named = set(re.findall(r"\bcarillon_\w+", expression))
        assert named, where
        assert named <= metrics(), where
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), where


def test_the_script_of_helm_test_is_what_the_file_says() -> None:
    """It goes through the template unchanged."""
    (container,) = pods("trial")["Pod carillon-test"]["containers"]
    assert container["args"] == [(Path(CHART) / "files" / "installed.py").read_text()]


def mounted(deployment: Object) -> str:
    """Return the Secret that an operator reads its webhook's certificate from."""
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    (name,) = (volume["secret"]["secretName"] for volume in volumes if volume["name"] == "webhook")
    return str(name)


def test_the_webhooks_certificate_is_the_charts_or_cert_managers() -> None:
    """Made by the chart it is trusted by what is in the configuration; else cert-manager puts that in."""
    (own,) = of_kind("life", "ValidatingWebhookConfiguration").values()
    authority = of_kind("life", "Secret")["carillon-webhook"]["data"]["ca.crt"]
    assert [hook["clientConfig"]["caBundle"] for hook in own["webhooks"]] == [authority] * len(KINDS)
    other = ("--set", "webhook.certManager.enabled=true,webhook.certManager.issuerName=authority")
    items = rendered("--values", str(values_of("life")), *other)
    found = {o["kind"]: o for o in items if o["metadata"]["name"] != "carillon-api"}
    assert "Secret" not in found
    issued_secret = found["Certificate"]["spec"]["secretName"]
    # of one name, Helm would delete what cert-manager has just written
    assert (issued_secret, "carillon-webhook" in of_kind("life", "Secret")) == ("carillon-webhook-issued", True)
    assert mounted(found["Deployment"]) == issued_secret
    assert mounted(of_kind("life", "Deployment")["carillon-operator-0"]) == "carillon-webhook"
    assert found["Certificate"]["spec"]["dnsNames"] == ["carillon-webhook.carillon-system.svc"]
    issued = found["ValidatingWebhookConfiguration"]
    assert issued["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": "carillon-system/carillon-webhook"}
    assert all("caBundle" not in hook["clientConfig"] for hook in issued["webhooks"])
