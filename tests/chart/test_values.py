"""What the chart refuses: each wrong value by its name, before anything is installed."""

import json

import pytest
import yaml

from carillon_chart.programs import CASES, ChartError, rendered, values_of
from carillon_chart.reference import leaves, readme
from carillon_local.layout import CHART

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
    "a log level in small letters": ("logLevel=info", "at '/logLevel'"),
    "a log format that there is not": ("logFormat=xml", "at '/logFormat'"),
    "a Secret's name with an underscore": ("database.existingSecret=my_db", "at '/database/existingSecret'"),
    "a password among the values": ("postgres.password=secret", "at '/postgres': additional properties 'password'"),
    "an image of Postgres without a tag": ("postgres.image=postgres", "at '/postgres/image'"),
    "a volume of no size": ("postgres.storage=big", "at '/postgres/storage'"),
    "a failure policy that there is not": ("webhook.failurePolicy=Warn", "at '/webhook/failurePolicy'"),
    "a port that only root may have": ("webhook.port=443", "at '/webhook/port'"),
    "an interval without its unit": (
        "monitoring.serviceMonitor.interval=30",
        "at '/monitoring/serviceMonitor/interval'",
    ),
    "a label that is a number": ("monitoring.dashboard.labels.a=1", "at '/monitoring/dashboard/labels/a'"),
    "a precedence beyond the last": ("flowSchema.matchingPrecedence=10001", "at '/flowSchema/matchingPrecedence'"),
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
    """Helm says which value is wrong, and what it should be."""
    given, want = WRONG[case]
    with pytest.raises(ChartError) as refused:
        rendered(*TRIAL, "--set", given)
    assert want in str(refused.value)


def test_no_database_is_refused_with_the_mend() -> None:
    """The one thing that has no default."""
    with pytest.raises(
        ChartError, match=r"database\.existingSecret is not set: name a Secret .* postgres\.enabled=true"
    ):
        rendered()


def test_every_value_has_a_description_and_a_default() -> None:
    """What the schema knows, values.yaml has, and the other way round; but for Helm's own."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(schema["properties"]) - set(values) == {"global"}
    found = list(leaves(schema, values))
    assert all(description.endswith(".") for _, _, description in found)
    assert _paths(schema, values) == []


def _paths(schema: dict[str, object], values: object, where: str = "") -> list[str]:
    """Return what is only in the schema or only in the values; what an object without a schema holds does not count."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not isinstance(values, dict) or "requests" in properties:
        return []
    odd = [f"{where}.{name}" for name in properties.keys() ^ values.keys() if name != "global"]
    for name in properties.keys() & values.keys():
        odd += _paths(properties[name], values[name], f"{where}.{name}")
    return odd


def test_the_schema_is_strict_all_the_way_down() -> None:
    """An object that names its values has no others."""
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
    """`make manifests` writes it."""
    assert (CHART / "README.md").read_text() == readme()


@pytest.mark.parametrize("case", CASES)
def test_the_sets_of_values_of_the_checks_render(case: str) -> None:
    """Each in ci/, twice the same but for what is random."""
    first, second = (rendered("--values", str(values_of(case))) for _ in range(2))
    assert [(o["kind"], o["metadata"]["name"]) for o in first] == [(o["kind"], o["metadata"]["name"]) for o in second]
