"""The Secrets of the chart: database logins and the webhook's certificate."""

from base64 import b64decode
from urllib.parse import urlsplit

import pytest

from carillon_chart.programs import ChartError, rendered, values_of
from carillon_core.resources.crd.definitions import KINDS
from support.chart import Object, containers, of_kind

OWNERS = {"DATABASE_URL": "database-url"}
RUNNERS = {"CARILLON_RUNNER_DATABASE_URL": "runner-database-url"}
APIS = {"CARILLON_API_DATABASE_URL": "api-database-url"}
READ: dict[str, dict[str, str]] = {
    "operator": OWNERS | {"CARILLON_TOKEN_KEY": "token-key"},
    "recorder": {"DATABASE_URL": "runner-database-url"},
    "api": {"DATABASE_URL": "api-database-url"},
    "upgrade": OWNERS,
    "runner-role": OWNERS | RUNNERS,
    "api-role": OWNERS | APIS,
    "test": {},
}
"""The variables of each program, and the keys of the database's Secret that they hold."""


def read_from_the_database_secret(case: str) -> dict[str, dict[str, str]]:
    """Return the keys of the Secret that each program gets, by variable."""
    found: dict[str, dict[str, str]] = {}
    for container in containers(case).values():
        given = {e["name"]: (e.get("valueFrom") or {}).get("secretKeyRef") for e in container["env"]}
        found[container["name"]] = {name: key["key"] for name, key in given.items() if key}
    return found


def test_which_program_sees_which_login() -> None:
    """The API gets only its own login; the operator and the migration get the owner's."""
    assert read_from_the_database_secret("life") == READ
    # the database's own container gets the owner's password
    assert read_from_the_database_secret("trial") == READ | {"postgres": {"POSTGRES_PASSWORD": "owner-password"}}


def test_without_a_role_of_its_own_the_api_logs_in_as_the_owner() -> None:
    """Without database.apiRole, no program reads the key of the API's login."""
    found = read_from_the_database_secret("listed")
    assert found["api"] == OWNERS
    assert "api-role" not in found
    assert "api-database-url" not in {key for keys in found.values() for key in keys.values()}


def test_the_bundled_database_has_three_logins() -> None:
    """Each login has its own user and password."""
    (made,) = (o for name, o in of_kind("trial", "Secret").items() if name == "carillon-database")
    data = {name: b64decode(value).decode() for name, value in made["data"].items()}
    urls = [urlsplit(data[key]) for key in ("database-url", "runner-database-url", "api-database-url")]
    assert [url.username for url in urls] == ["carillon", "carillon_runner", "carillon_api"]
    passwords = [data[f"{whose}-password"] for whose in ("owner", "runner", "api")]
    assert [url.password for url in urls] == passwords
    assert len(set(passwords)) == len(passwords)


def mounted(deployment: Object) -> str:
    """Return the Secret from which an operator reads its webhook certificate."""
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    (name,) = (volume["secret"]["secretName"] for volume in volumes if volume["name"] == "webhook")
    return str(name)


def test_the_webhooks_certificate_is_the_charts_or_cert_managers() -> None:
    """The CA bundle comes from the chart's own certificate, or cert-manager injects it."""
    (own,) = of_kind("life", "ValidatingWebhookConfiguration").values()
    authority = of_kind("life", "Secret")["carillon-webhook"]["data"]["ca.crt"]
    assert [hook["clientConfig"]["caBundle"] for hook in own["webhooks"]] == [authority] * len(KINDS)
    other = ("--set", "webhook.certManager.enabled=true,webhook.certManager.issuerName=authority")
    items = rendered("--values", str(values_of("life")), *other)
    found = {o["kind"]: o for o in items if o["metadata"]["name"] not in {"carillon-api", "carillon-recorder"}}
    assert "Secret" not in found
    issued_secret = found["Certificate"]["spec"]["secretName"]
    # with one name for both, Helm would delete the Secret that cert-manager wrote
    assert (issued_secret, "carillon-webhook" in of_kind("life", "Secret")) == ("carillon-webhook-issued", True)
    assert mounted(found["Deployment"]) == issued_secret
    assert mounted(of_kind("life", "Deployment")["carillon-operator-0"]) == "carillon-webhook"
    assert found["Certificate"]["spec"]["dnsNames"] == ["carillon-webhook.carillon-system.svc"]
    issued = found["ValidatingWebhookConfiguration"]
    assert issued["metadata"]["annotations"] == {"cert-manager.io/inject-ca-from": "carillon-system/carillon-webhook"}
    assert all("caBundle" not in hook["clientConfig"] for hook in issued["webhooks"])


def test_the_recorders_certificate_is_the_charts_or_cert_managers() -> None:
    """It is for the Service's name; the operator reads the CA from where it is."""
    made = of_kind("life", "Secret")["carillon-recorder"]["data"]
    assert set(made) == {"ca.crt", "tls.crt", "tls.key"}
    other = ("--set", "recorder.certManager.enabled=true,recorder.certManager.issuerName=authority")
    found = {(o["kind"], o["metadata"]["name"]): o for o in rendered("--values", str(values_of("life")), *other)}
    assert ("Secret", "carillon-recorder") not in found
    issued = found["Certificate", "carillon-recorder"]["spec"]
    assert (issued["secretName"], issued["dnsNames"]) == (
        "carillon-recorder-issued",
        ["carillon-recorder.carillon-system.svc"],
    )
    for name, volume in (("carillon-operator-0", "recorder"), ("carillon-recorder", "tls")):
        volumes = found["Deployment", name]["spec"]["template"]["spec"]["volumes"]
        assert [v["secret"]["secretName"] for v in volumes if v["name"] == volume] == ["carillon-recorder-issued"]


def test_without_a_recorder_the_operator_gets_the_runners_login() -> None:
    """Then it writes the login into each namespace with tasks."""
    found = read_from_the_database_secret("bare")
    assert found["operator"] == OWNERS | RUNNERS | {"CARILLON_TOKEN_KEY": "token-key"}
    assert "recorder" not in found


def test_without_a_recorder_each_namespace_can_have_a_login_of_its_own() -> None:
    """The migration creates those of the watched namespaces, and the operator hands them out."""
    without = ("--values", str(values_of("listed")), "--set", "recorder.enabled=false,recorder.logins=namespace")
    found = {
        container["name"]: container
        for kind in ("Job", "Deployment")
        for thing in rendered(*without)
        if thing["kind"] == kind
        for container in thing["spec"]["template"]["spec"]["containers"]
    }
    command = ["carillon-migrate", "runner-role", "--namespace", "team-a", "--namespace", "team-b"]
    assert found["runner-role"]["command"] == command
    assert {"name": "CARILLON_RUNNER_LOGINS", "value": "namespace"} in found["operator"]["env"]
    for case in ("recorder.logins=namespace", "recorder.enabled=false,recorder.logins=namespace,watch.namespaces=null"):
        with pytest.raises(ChartError, match=r"recorder\.logins is namespace, which needs"):
            rendered("--values", str(values_of("listed")), "--set", case)
