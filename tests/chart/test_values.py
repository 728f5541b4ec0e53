"""The chart rejects invalid values by name, before anything is installed."""

import json
from collections.abc import Callable, Mapping
from functools import partial

import pytest
import yaml

from carillon_api.settings import Settings as ApiSettings
from carillon_chart.programs import CASES, ChartError, rendered, values_of
from carillon_chart.reference import leaves, readme
from carillon_core.domain.egress.rules import read_allow_list
from carillon_core.errors import SettingsError
from carillon_local.layout import CHART
from carillon_operator.settings import Settings as OperatorSettings

TRIAL = ("--set", "postgres.enabled=true")
WRONG: dict[str, tuple[str, str]] = {
    "a value that there is not": ("operater.replicas=2", "'operater' not allowed"),
    "one that there is not, further in": ("operator.replica=2", "at '/operator': additional properties 'replica'"),
    "a word for a number": ("operator.replicas=two", "at '/operator/replicas'"),
    "less than no replica": ("operator.replicas=-1", "at '/operator/replicas'"),
    "no shard": ("operator.shards=0", "at '/operator/shards'"),
    "a lease that is too short to be renewed": ("operator.leaseSeconds=1", "at '/operator/leaseSeconds'"),
    "no worker": ("operator.workers=0", "at '/operator/workers'"),
    "a retention below nothing": ("operator.historyRetentionDays=-1", "at '/operator/historyRetentionDays'"),
    "a fraction of a second": ("operator.sweepSeconds=1.5", "at '/operator/sweepSeconds'"),
    "a queue in capitals": ("operator.queueName=Nightly", "at '/operator/queueName'"),
    "a default that no pod has": ("operator.podDefaults.hostNetwork=true", "at '/operator/podDefaults'"),
    "the port of the probes": ("webhook.enabled=true,webhook.port=8081", "webhook.port is 8081"),
    "metrics that nobody may scrape": (
        "monitoring.serviceMonitor.enabled=true,api.metricsPublic=false",
        "wants api.metricsPublic=true",
    ),
    "a name that no Service can have": ("fullnameOverride=my.carillon", "fullnameOverride"),
    "a word for a list": ("operator.httpAllow=*.svc", "at '/operator/httpAllow'"),
    "two addresses in one": ("operator.httpAllow[0]=a b", "at '/operator/httpAllow/0'"),
    "the tag that means anything": ("operator.image.tag=latest", "at '/operator/image/tag'"),
    "a number for a tag": ("operator.image.tag=17", "at '/operator/image/tag'"),
    "a digest cut short": ("operator.runnerImage.digest=sha256:abc", "at '/operator/runnerImage/digest'"),
    "an image with a space": ("operator.runnerImage.repository=a b", "at '/operator/runnerImage/repository'"),
    "a pull policy of one's own": ("operator.image.pullPolicy=Often", "at '/operator/image/pullPolicy'"),
    "a resource that a pod has not": ("operator.resources.limits.gpus=1", "at '/operator/resources/limits'"),
    "a quantity that is none": ("api.resources.requests.memory=lots", "at '/api/resources/requests/memory'"),
    "a port beyond the last": ("api.service.port=70000", "at '/api/service/port'"),
    "a kind of Service that there is not": ("api.service.type=Public", "at '/api/service/type'"),
    "a namespace with capitals": ("api.defaultNamespace=Team", "at '/api/defaultNamespace'"),
    "a watched namespace with capitals": ("watch.namespaces[0]=Team", "at '/watch/namespaces/0'"),
    "a pattern of watched namespaces": ("watch.namespaces[0]=team-*", "at '/watch/namespaces/0'"),
    "a watched namespace that is too long": (f"watch.namespaces[0]={'a' * 64}", "at '/watch/namespaces/0'"),
    "a word for the watched namespaces": ("watch.namespaces=team-a", "at '/watch/namespaces'"),
    "a namespace watched twice": ("watch.namespaces={team-a,team-a}", "at '/watch/namespaces'"),
    "a default namespace that is not watched": (
        "watch.namespaces={team-a,team-b}",
        "api.defaultNamespace is default, which is not in watch.namespaces: set it to one of team-a, team-b",
    ),
    "a network without its length": ("api.trustedProxies[0]=10.0.0.0", "at '/api/trustedProxies/0'"),
    "an origin with a path": ("api.corsOrigins[0]=https://a/b", "at '/api/corsOrigins/0'"),
    "a switch that is a word": ("api.metricsPublic=perhaps", "at '/api/metricsPublic'"),
    "no rate": ("api.rateLimit=0", "at '/api/rateLimit'"),
    "a log level in lowercase": ("logLevel=info", "at '/logLevel'"),
    "a log format that there is not": ("logFormat=xml", "at '/logFormat'"),
    "a Secret's name with an underscore": ("database.existingSecret=my_db", "at '/database/existingSecret'"),
    "a password among the values": ("postgres.password=secret", "at '/postgres': additional properties 'password'"),
    "an image of Postgres without a tag": ("postgres.image=postgres", "at '/postgres/image'"),
    "Postgres of any version": ("postgres.image=postgres:latest", "at '/postgres/image'"),
    "Postgres of any version, from a registry": ("postgres.image=r.example:5000/pg:latest", "at '/postgres/image'"),
    "Postgres of a registry without a tag": ("postgres.image=r.example:5000/pg", "at '/postgres/image'"),
    "a tag in the image's name": (
        "operator.image.repository=r.example:5000/carillon-operator:7",
        "with a tag in it: take it off and set operator.image.tag=7",
    ),
    "a tag in the runner's image's name": (
        "operator.runnerImage.repository=runner:7",
        "operator.runnerImage.repository is runner:7, with a tag in it",
    ),
    "a volume of no size": ("postgres.storage=big", "at '/postgres/storage'"),
    "a failure policy that there is not": ("webhook.failurePolicy=Warn", "at '/webhook/failurePolicy'"),
    "a port that only root may have": ("webhook.port=443", "at '/webhook/port'"),
    "an interval without its unit": (
        "monitoring.serviceMonitor.interval=30",
        "at '/monitoring/serviceMonitor/interval'",
    ),
    "a label that is a number": ("monitoring.dashboard.labels.a=1", "at '/monitoring/dashboard/labels/a'"),
    "a precedence beyond the last": ("flowSchema.matchingPrecedence=10001", "at '/flowSchema/matchingPrecedence'"),
    "an API's role that is a name": ("database.apiRole=carillon_api", "at '/database/apiRole'"),
    "a network of the database that is a name": (
        "networkPolicy.database.cidrs[0]=db.example.com",
        "at '/networkPolicy/database/cidrs/0'",
    ),
    "an ingress without a host": ("api.ingress.enabled=true", "api.ingress.host is not set: set it"),
    "cert-manager without an issuer": (
        "webhook.enabled=true,webhook.certManager.enabled=true",
        "webhook.certManager.issuerName is not set: name",
    ),
    "more replicas at least than at most": (
        "api.autoscaling.minReplicas=9",
        "api.autoscaling.minReplicas is more than",
    ),
    "two databases": ("database.existingSecret=db", "database.existingSecret and postgres.enabled are both set: unset"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_refused_by_its_name(case: str) -> None:
    """Helm names the invalid value, and says what it must be."""
    given, want = WRONG[case]
    with pytest.raises(ChartError) as refused:
        rendered(*TRIAL, "--set", given)
    assert want in str(refused.value)


PROXIES = {
    "10.0.0.0/8": True,
    "192.168.7.128/25": True,
    "203.0.113.9/32": True,
    "0.0.0.0/0": True,
    "fd00::/8": True,
    "fe80::/10": True,
    "2001:db8:0:0:0:0:0:1/128": True,
    "::/0": True,
    "1:2:3:4:5:6:7::/112": True,
    "10.0.0.1/8": False,
    "10.0.0.0/33": False,
    "10.0.0/8": False,
    "10.0.0.256/32": False,
    "010.0.0.0/8": False,
    "192.168.7.129/25": False,
    "fd00::1/8": False,
    "fec0::/9": False,
    "fd00::/129": False,
    "1::2::3/128": False,
    "1:2:3:4:5:6:7:8:9/128": False,
    "12345::/16": False,
    ":::/0": False,
}
ORIGINS = {
    "*": True,
    "https://console.example.com": True,
    "http://localhost:3000": True,
    "https://[::1]:8443": True,
    "https://Console.example.com": False,
    "https://console.example.com/": False,
    "https://a_b.example": False,
    "https://a.example:123456": False,
    "ftp://a.example": False,
}
ALLOWED = {
    "*.svc": True,
    "*.svc:443": True,
    "db.shop.svc": True,
    "DB.shop.svc.": True,
    "_sip.example": True,
    "10.96.0.0/12": True,
    "10.96.0.0/12:8080": True,
    "10.0.0.5": True,
    "::1": True,
    "[::1]:80": True,
    "[fd00::/8]:443": True,
    "127.0.0.0/8": True,
    "10.96.0.1/12": False,
    "10.0.0.5:0": False,
    "10.0.0.5:65536": False,
    "10.0.0.5:http": False,
    "https://db.shop": False,
    "localhost": False,
    "a.localhost": False,
    "*.localhost": False,
    "127.1": False,
    "0x7f000001": False,
    "db..shop": False,
    "-db.shop": False,
    "d*b.shop": False,
    "*": False,
    "::ffff:10.0.0.5": False,
    "::ffff:a00:5": False,
    "64:ff9b::a00:5": False,
    "[::1": False,
    "fd00::1/8": False,
    "::1%eth0": False,
}


def taken_by_the_api(variable: str, text: str) -> bool:
    """Return whether the API would start with this value."""
    return _taken(ApiSettings.from_env, {"DATABASE_URL": "postgresql://u:p@h/d", variable: text})


def taken_by_the_operator(text: str) -> bool:
    """Return whether the operator would start with this value."""
    return _taken(read_allow_list, {"CARILLON_HTTP_ALLOW": text})


def _taken(read: Callable[[Mapping[str, str]], object], env: Mapping[str, str]) -> bool:
    try:
        read(env)
    except SettingsError:
        return False
    return True


JUDGED: dict[str, tuple[dict[str, bool], Callable[[str], bool]]] = {
    "api.trustedProxies": (PROXIES, partial(taken_by_the_api, "CARILLON_TRUSTED_PROXIES")),
    "api.corsOrigins": (ORIGINS, partial(taken_by_the_api, "CARILLON_CORS_ORIGINS")),
    "operator.httpAllow": (ALLOWED, taken_by_the_operator),
}


@pytest.mark.parametrize("field", JUDGED)
def test_what_a_program_would_refuse_is_refused_before_it_starts(field: str) -> None:
    """The chart and the program give the same verdict on each entry, and the chart names the field."""
    entries, taken = JUDGED[field]
    part, name = field.split(".")
    assert {entry: taken(entry) for entry in entries} == entries
    right = [entry for entry, fine in entries.items() if fine]
    assert rendered(*TRIAL, "--set-json", f"{field}={json.dumps(right)}")
    for entry in entries.keys() - set(right):
        with pytest.raises(ChartError) as refused:
            rendered(*TRIAL, "--set-json", f"{field}={json.dumps([entry])}")
        assert f"{field} has {entry}: " in str(refused.value) or f"/{part}/{name}/0" in str(refused.value), entry


PODS: dict[str, bool] = {
    '{"nodeSelector": {"example.com/pool": "batch"}}': True,
    '{"nodeSelector": {"a b": "batch"}}': False,
    '{"nodeSelector": {"pool": "two words"}}': False,
    '{"tolerations": [{"operator": "Exists"}]}': True,
    '{"tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]}': True,
    '{"tolerations": [{"key": "pool", "value": "batch"}]}': True,
    '{"tolerations": [{"value": "batch"}]}': False,
    '{"tolerations": [{"key": "pool", "operator": "Exists", "value": "batch"}]}': False,
    '{"tolerations": [{"key": "pool", "operator": "In"}]}': False,
    '{"tolerations": [{"key": "pool", "effect": "Never"}]}': False,
    '{"tolerations": [{"key": "pool", "effect": "NoSchedule", "tolerationSeconds": 60}]}': False,
    '{"tolerations": [{"key": "pool", "tolerationSeconds": 60}]}': False,
    '{"tolerations": [{"key": "pool", "colour": "red"}]}': False,
    '{"imagePullSecrets": [{"name": ""}]}': False,
    '{"resources": {"limits": {"memory": "256Mi"}}}': True,
    '{"resources": {"limits": {"memory": "256 and something, but by no means more Mi"}}}': False,
}


@pytest.mark.parametrize("pod", PODS)
def test_defaults_of_pods_that_the_operator_would_refuse_are_refused(pod: str) -> None:
    """The schema and the operator give the same verdict."""
    needed = {"DATABASE_URL": "postgresql://u:p@h/d", "CARILLON_RUNNER_IMAGE": "r:1"}
    assert _taken(OperatorSettings.from_env, needed | {"CARILLON_POD_DEFAULTS": pod}) is PODS[pod]
    arguments = (*TRIAL, "--set-json", f"operator.podDefaults={pod}")
    if PODS[pod]:
        assert rendered(*arguments)
        return
    with pytest.raises(ChartError, match="at '/operator/podDefaults/"):
        rendered(*arguments)


def test_no_database_is_refused_with_the_mend() -> None:
    """The database is the only value without a default."""
    with pytest.raises(
        ChartError, match=r"database\.existingSecret is not set: name a Secret .* postgres\.enabled=true"
    ):
        rendered()


def test_every_value_has_a_description_and_a_default() -> None:
    """The schema and values.yaml have the same values, except Helm's own."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - set(values) == {"global"}
    found = list(leaves(schema, values))
    assert all(description.endswith(".") for _, _, description in found)
    assert _paths(schema, values) == []


def _paths(schema: dict[str, object], values: object, where: str = "") -> list[str]:
    """Return the values that only the schema or only values.yaml has, except those in objects without a schema."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not isinstance(values, dict) or "requests" in properties:
        return []
    odd = [f"{where}.{name}" for name in properties.keys() ^ values.keys() if name != "global"]
    for name in properties.keys() & values.keys():
        odd += _paths(properties[name], values[name], f"{where}.{name}")
    return odd


def test_the_schema_is_strict_all_the_way_down() -> None:
    """An object with named values allows no others."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert _open(schema) == []


def _open(schema: object, where: str = "") -> list[str]:
    if not isinstance(schema, dict):
        return []
    found = [where] if "properties" in schema and schema.get("additionalProperties") is not False else []
    for name, part in (schema.get("properties") or {}).items():
        found += _open(part, f"{where}.{name}")
    return found


def test_the_readme_is_what_is_generated() -> None:
    """`make manifests` updates it."""
    assert (CHART / "README.md").read_text() == readme()


@pytest.mark.parametrize("case", CASES)
def test_the_sets_of_values_of_the_checks_render(case: str) -> None:
    """Each set in ci/ renders the same twice, except for random values."""
    first, second = (rendered("--values", str(values_of(case))) for _ in range(2))
    assert [(o["kind"], o["metadata"]["name"]) for o in first] == [(o["kind"], o["metadata"]["name"]) for o in second]
