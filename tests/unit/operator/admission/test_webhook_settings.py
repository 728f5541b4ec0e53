"""The settings of the admission webhook: off unless a port is set."""

import asyncio
from pathlib import Path

import pytest

from carillon_core.domain.access.subjects import Access, Decision, Subject
from carillon_core.errors import SettingsError
from carillon_operator.admission.admission import Admission, webhook_configuration
from carillon_operator.gather.handlers import kopf_settings, registry_of
from carillon_operator.settings import Settings
from carillon_operator.webhook_settings import WebhookSettings
from support.builders import CREATED

FILES = {"CARILLON_WEBHOOK_CERT_FILE": "/tls/tls.crt", "CARILLON_WEBHOOK_KEY_FILE": "/tls/tls.key"}
PORT = {"CARILLON_WEBHOOK_PORT": "9443"}
NEEDED = {"DATABASE_URL": "postgresql://u:p@x/y", "CARILLON_RUNNER_IMAGE": "runner:1"}


def test_without_a_port_there_is_no_webhook() -> None:
    """There is no server and no handler, even with other settings of the webhook."""
    assert Settings.from_env(NEEDED | FILES).webhook is None
    registry = registry_of(lambda *_: None)
    assert not registry._webhooks.get_all_handlers()  # noqa: SLF001  # kopf shows them nowhere else
    assert kopf_settings().admission.server is None


def test_with_a_port_each_kind_has_its_handler() -> None:
    """Their ids are the paths that the API server calls; kopf does not manage the configuration."""
    settings = Settings.from_env(NEEDED | FILES | PORT).webhook
    assert settings == WebhookSettings(port=9443, cert_file=Path("/tls/tls.crt"), key_file=Path("/tls/tls.key"))

    async def apply(_: object) -> None:
        await asyncio.sleep(0)

    async def review(_subject: Subject, _access: Access) -> Decision:
        await asyncio.sleep(0)
        return Decision(allowed=True)

    registry, kopf = registry_of(lambda *_: None), kopf_settings()
    Admission(settings, apply, review, lambda: CREATED).add_to(registry, kopf)
    ids = {str(h.id) for h in registry._webhooks.get_all_handlers()}  # noqa: SLF001  # the same
    assert ids == {"scheduledtasks", "httptargets", "runrequests"}
    assert kopf.admission.managed is None


@pytest.mark.parametrize(
    ("change", "want"),
    [
        (
            {"CARILLON_RUNNER_ROLE_REQUIRED": "true"},
            "CARILLON_RUNNER_DATABASE_URL: must be set to the URL of a user for runners",
        ),
        ({"CARILLON_WEBHOOK_PORT": "https"}, 'CARILLON_WEBHOOK_PORT: must be a number from 1 to 65535 (got "https")'),
        ({"CARILLON_WEBHOOK_CERT_FILE": ""}, "CARILLON_WEBHOOK_CERT_FILE: must be set to a PEM file"),
        ({"CARILLON_WEBHOOK_SERVICE": "carillon"}, 'CARILLON_WEBHOOK_SERVICE: must be namespace/name (got "carillon")'),
        (
            {"CARILLON_WEBHOOK_FAILURE_POLICY": "Warn"},
            'CARILLON_WEBHOOK_FAILURE_POLICY: must be Ignore or Fail (got "Warn")',
        ),
        ({"CARILLON_HTTP_ALLOW": "*.svc,10.0.0.1/8"}, "CARILLON_HTTP_ALLOW: '10.0.0.1/8': the address has bits"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(change: dict[str, str], want: str) -> None:
    """The operator does not start with an incomplete webhook."""
    with pytest.raises(SettingsError) as error:
        Settings.from_env(NEEDED | FILES | PORT | change)
    assert want in str(error.value)


def test_a_service_is_called_by_its_name_and_a_host_by_its_url() -> None:
    """Kopf's own URL is for a webhook outside the cluster."""
    given = {"url": "https://127.0.0.1:9443", "caBundle": "Q0E="}
    inside = WebhookSettings(port=9443, cert_file=Path("c"), key_file=Path("k"), service="carillon/operator")
    outside = WebhookSettings(port=9443, cert_file=Path("c"), key_file=Path("k"), host="127.0.0.1")
    first = webhook_configuration(inside, given)["webhooks"][0]["clientConfig"]
    assert first == {
        "service": {"namespace": "carillon", "name": "operator", "path": "/scheduledtasks", "port": 443},
        "caBundle": "Q0E=",
    }
    assert webhook_configuration(outside, {"url": given["url"]})["webhooks"][0]["clientConfig"] == {
        "url": "https://127.0.0.1:9443/scheduledtasks"
    }
