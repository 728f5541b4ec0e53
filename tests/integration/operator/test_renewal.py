"""The webhook's certificate is renewed while a real API server calls the webhook with it."""

import asyncio
import base64
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.webhooks import KubeWebhookCertificates
from carillon_core.errors import CarillonError, ConflictError
from carillon_core.resources.names import API_VERSION
from carillon_operator.admission.webhook_server import WebhookServer
from carillon_operator.renewal.renewer import Renewer
from carillon_operator.webhook_settings import WebhookSettings
from support.certificates import LOOPBACK
from support.cluster import RunningCluster
from support.ports import own_port
from support.waiting import eventually
from support.webhook_certificates import made_at, secret_data

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
LIFE = timedelta(minutes=5)
SETTLE = timedelta(seconds=2)
SAID = "the webhook answered"


async def answer(request: Any, **_: Any) -> Any:
    """Deny whatever is asked, so that an answer differs from a webhook that could not be called."""
    response = {"uid": request["request"]["uid"], "allowed": False, "status": {"message": SAID}}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


class Rig:
    """A webhook whose certificate is in a Secret, and in files as the node would mount that."""

    def __init__(self, connection: KubeConnection, namespace: str, folder: Path) -> None:
        """Take where it is; nothing is made yet."""
        self._connection = connection
        self._namespace = namespace
        self._folder = folder
        names = {name: folder / name for name in ("tls.crt", "tls.key")}
        self.settings = WebhookSettings(
            port=own_port(), cert_file=names["tls.crt"], key_file=names["tls.key"], address=LOOPBACK, host=LOOPBACK
        )
        self.certificates = KubeWebhookCertificates(connection, f"{namespace}/webhook", namespace)

    async def make(self, made: dict[str, bytes]) -> None:
        """Create the Secret and the webhook configuration, as the chart does."""
        data = {key: base64.b64encode(value).decode() for key, value in made.items()}
        secret = {"metadata": {"name": "webhook"}, "type": "kubernetes.io/tls", "data": data}
        await self._connection.request("POST", f"/api/v1/namespaces/{self._namespace}/secrets", body=secret)
        rule = {"apiGroups": ["carillon.dev"], "apiVersions": ["v1alpha1"], "resources": ["scheduledtasks"]}
        hook = {
            "name": "renewal.carillon.dev",
            "clientConfig": {"url": f"https://{LOOPBACK}:{self.settings.port}/tasks", "caBundle": data["ca.crt"]},
            "rules": [{**rule, "operations": ["CREATE"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        body = {"metadata": {"name": self._namespace}, "webhooks": [hook]}
        await self._connection.request("POST", CONFIGURATIONS, body=body)

    async def mount(self) -> None:
        """Write the files anew, as a node does some time after the Secret has changed."""
        data = (await self.certificates.stored()).data
        for name in ("tls.crt", "tls.key"):
            file = self._folder / f".{name}"
            file.write_bytes(data[name])
            file.rename(self._folder / name)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve until the block ends."""
        server = WebhookServer(self.settings)
        server.look_seconds = 0.05
        async with aclosing(server(answer)) as given:
            await anext(given)
            following = asyncio.ensure_future(self._followed(given))
            try:
                yield
            finally:
                following.cancel()
                await asyncio.wait({following})

    async def _followed(self, given: Any) -> None:
        async for _ in given:
            pass

    async def said(self) -> str:
        """Return what the API server says of a task, after calling the webhook or failing to."""
        spec = {"intervalSeconds": 60, "task": {"sum": {"a": 1, "b": 2}}}
        body = {"apiVersion": API_VERSION, "kind": "ScheduledTask", "metadata": {"name": "probe"}, "spec": spec}
        path = f"/apis/{API_VERSION}/namespaces/{self._namespace}/scheduledtasks"
        try:
            return json.dumps(await self._connection.request("POST", path, params={"dryRun": "All"}, body=body))
        except CarillonError as error:
            return str(error)

    async def answers(self) -> bool:
        """Return whether the webhook answers."""
        return SAID in await self.said()


@pytest.fixture
async def rig(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, tmp_path: Path
) -> AsyncIterator[Rig]:
    """Give a webhook of a namespace; its configuration is deleted after the test."""
    assert cluster.local is not None, "the API server of another cluster does not reach this process"
    yield Rig(connection, namespace, tmp_path)
    await connection.request("DELETE", f"{CONFIGURATIONS}/{namespace}")


async def test_no_review_fails_while_the_certificate_is_renewed(rig: Rig) -> None:
    """Neither before the change, nor while files are still the old ones, nor after; then the new one serves."""
    address = x509.IPAddress(ipaddress.ip_address(LOOPBACK))
    old = secret_data(made_at(datetime.now(UTC) - LIFE * 0.8, LIFE, address))
    await rig.make(old)
    await rig.mount()
    renewer = Renewer(rig.certificates, lambda: datetime.now(UTC), settle=SETTLE)
    async with rig.serving():
        await eventually(rig.answers, 30)
        while (await rig.certificates.stored()).data["tls.crt"] == old["tls.crt"]:
            assert await rig.answers(), await rig.said()
            await asyncio.wait_for(renewer.look(), 10)
        assert await rig.answers(), await rig.said()
        await rig.mount()

        async def serves_another() -> bool:
            assert await rig.answers(), await rig.said()
            served = await asyncio.to_thread(ssl.get_server_certificate, (LOOPBACK, rig.settings.port))
            return served.encode() != old["tls.crt"]

        await eventually(serves_another, 20)


async def test_a_write_to_a_secret_that_has_changed_is_refused(rig: Rig) -> None:
    """Two operators, or one and Helm, do not overwrite each other."""
    made = secret_data(made_at(datetime.now(UTC), LIFE))
    await rig.make(made)
    stored = await rig.certificates.stored()
    await rig.certificates.store(stored.version, {"next.crt": b"first"})
    with pytest.raises(ConflictError):
        await rig.certificates.store(stored.version, {"next.crt": b"second"})
    latest = await rig.certificates.stored()
    assert latest.data == made | {"next.crt": b"first"}
    await rig.certificates.store(latest.version, {"next.crt": None})
    assert (await rig.certificates.stored()).data == made
    assert [await rig.certificates.trust(made["tls.crt"]) for _ in range(2)] == [True, False]
