"""The Secrets of the chart: logins of the database, the webhook's certificate."""

from base64 import b64decode
from urllib.parse import urlsplit

from carillon_chart.programs import rendered, values_of
from carillon_core.resources.crd.definitions import KINDS
from support.chart import Object, containers, of_kind

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
