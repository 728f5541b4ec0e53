"""The admission webhook: kopf's server in this process, called by a real API server, seen through kubectl."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from carillon_core.adapters.kube import KubeConnection
from carillon_core.adapters.kube.webhooks import apply_webhook_configuration
from carillon_core.errors import ForbiddenError, RefusedError
from carillon_core.resources.names import API_VERSION
from carillon_local.layout import free_port
from carillon_operator.gather.admission import TIMEOUT_SECONDS, Admission
from carillon_operator.gather.handlers import run_kopf
from carillon_operator.state.observed_store import ObservedStore
from carillon_operator.state.work_queue import WorkQueue
from carillon_operator.webhook_settings import WebhookSettings
from support.certificates import LOOPBACK, make_certificates
from support.cluster import RunningCluster
from support.waiting import eventually

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SUM = {"sum": {"a": 1, "b": 2}}


@dataclass(slots=True)
class Webhook:
    """A webhook's settings, and kubectl as users run it."""

    connection: KubeConnection
    cluster: RunningCluster
    namespace: str
    settings: WebhookSettings

    async def apply(self, kind: str, name: str, spec: Any, labels: dict[str, str] | None = None) -> tuple[int, str]:
        """Apply an object; return kubectl's exit code and standard error."""
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels or {}},
            "spec": spec,
        }
        assert self.cluster.local is not None
        command = self.cluster.local.kubectl_command(["apply", "--filename", "-"])
        pipe = asyncio.subprocess.PIPE
        kubectl = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        _, said = await kubectl.communicate(json.dumps(body).encode())
        return kubectl.returncode or 0, said.decode()

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator[ObservedStore]:
        """Run kopf with the webhook until the block ends."""
        apply = changes.pop("apply_configuration", partial(apply_webhook_configuration, self.connection))
        admission = Admission(self.settings.model_copy(update=changes), apply, lambda: datetime.now(UTC))
        store, stop = ObservedStore(), asyncio.Event()
        queue = WorkQueue(lambda: datetime.now(UTC))
        kopf = asyncio.ensure_future(run_kopf(store, queue, stop, admission=admission))
        try:
            yield store
            assert not kopf.done(), "the webhook ended the operator"
        finally:
            stop.set()
            await asyncio.wait_for(kopf, 30)

    async def serves(self) -> bool:
        """Return whether the API server already calls the webhook."""
        spec = {"schedule": "61 * * * *", "task": SUM}
        body = {"apiVersion": API_VERSION, "kind": "ScheduledTask", "metadata": {"name": "probe"}, "spec": spec}
        path = f"/apis/{API_VERSION}/namespaces/{self.namespace}/scheduledtasks"
        try:
            await self.connection.request("POST", path, params={"dryRun": "All"}, body=body)
        except RefusedError as error:
            return "denied the request" in str(error)
        return False


@pytest.fixture
async def webhook(
    cluster: RunningCluster,
    connection: KubeConnection,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Webhook]:
    """Give a webhook that is not running yet; its configuration is deleted after the test."""
    if cluster.local is None:
        pytest.skip("the API server of another cluster does not reach this process")
    # kopf's login uses the client library, which reads KUBECONFIG only when it is imported
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", cluster.kubeconfig)
    made = make_certificates(tmp_path)
    settings = WebhookSettings(
        port=free_port(0),
        cert_file=made.cert,
        key_file=made.key,
        ca_file=made.ca,
        address=LOOPBACK,
        host=LOOPBACK,
    )
    yield Webhook(connection, cluster, namespace, settings)
    if (await connection.request("GET", CONFIGURATIONS))["items"]:
        await connection.request("DELETE", f"{CONFIGURATIONS}/carillon")


async def test_kubectl_shows_the_next_times_and_what_may_surprise(webhook: Webhook) -> None:
    """Applying a task prints when it will run; a change of labels prints nothing."""
    async with webhook.running():
        await eventually(webhook.serves, 60)
        spec = {"schedule": "0 0 13 1 5", "timeZone": "Europe/Berlin", "task": SUM}
        code, said = await webhook.apply("ScheduledTask", "backup", spec)
        assert code == 0
        assert "Warning: backup: runs next at 20" in said
        assert said.count("T00:00:00+01:00") == 3
        assert "Warning: backup: runs on days that match either day of month 13 or day of week 5" in said
        assert await webhook.apply("ScheduledTask", "backup", spec, {"team": "a"}) == (0, "")


async def test_kubectl_shows_that_a_url_leads_inward(webhook: Webhook) -> None:
    """The task is stored; the warning ends with the complete fix."""
    async with webhook.running():
        await eventually(webhook.serves, 60)
        code, said = await webhook.apply("HTTPTarget", "console", {"url": "http://10.0.0.1/"})
        assert code == 0
        assert (
            "Warning: console: spec.url: 10.0.0.1 is in 10.0.0.0/8 (private use, RFC 1918), which is not allowed"
            in said
        )
        assert "set CARILLON_HTTP_ALLOW on the operator, for example to *.svc, *.svc.cluster.local or 10.96.0." in said


async def test_what_no_schema_sees_is_refused_with_field_and_mend(webhook: Webhook) -> None:
    """This holds for a cron expression, a zone and a template, in all three kinds."""
    async with webhook.running():
        await eventually(webhook.serves, 60)
        bad = {"schedule": "61 * * * *", "timeZone": "Mars/Base", "task": SUM}
        code, said = await webhook.apply("ScheduledTask", "bad", bad)
        assert code == 1
        assert "spec.schedule: '61 * * * *' is not a cron expression: correct its minute" in said
        assert "spec.timeZone: 'Mars/Base' is not an IANA time zone" in said
        code, said = await webhook.apply("HTTPTarget", "bad", {"url": "https://example.com/{{ slot"})
        assert code == 1
        assert "spec.url: is not a valid template" in said
        task = {"http": {"url": "https://example.com/", "body": "{{ slto }}"}}
        code, said = await webhook.apply("RunRequest", "bad", {"task": task})
        assert code == 1
        assert "spec.task.http.body: reads slto, which are not template variables: use slot" in said


async def test_pods_that_could_not_be_are_refused_with_field_and_mend(webhook: Webhook) -> None:
    """The operator's defaults are applied; the API server itself rejects invalid quantities."""
    async with webhook.running():
        await eventually(webhook.serves, 60)
        requests = {"resources": {"requests": {"memory": "512Mi"}}}
        for kind, spec in (
            ("ScheduledTask", {"intervalSeconds": 60, "task": SUM, "pod": requests}),
            ("RunRequest", {"task": SUM, "pod": requests}),
        ):
            code, said = await webhook.apply(kind, "bad", spec)
            assert code == 1
            assert (
                "requests.memory: must be at most the limit of 256Mi that runners have by default (got 512Mi)" in said
            )
            assert "lower it, or set spec.pod.resources.limits.memory" in said
        odd = {"resources": {"requests": {"memory": "512 MB"}}}
        code, said = await webhook.apply("ScheduledTask", "bad", {"intervalSeconds": 60, "task": SUM, "pod": odd})
        assert code == 1
        assert "has a value that is not a quantity: write it as 500m, 2, 256Mi or 1Gi" in said


async def test_a_webhook_that_is_gone_stops_nobody(webhook: Webhook) -> None:
    """The configuration has Ignore and a short timeout, so the API server continues without it."""
    async with webhook.running():
        await eventually(webhook.serves, 60)
    configuration = await webhook.connection.request("GET", f"{CONFIGURATIONS}/carillon")
    said = {(w["failurePolicy"], w["timeoutSeconds"]) for w in configuration["webhooks"]}
    assert said == {("Ignore", TIMEOUT_SECONDS)}
    assert {r for w in configuration["webhooks"] for rule in w["rules"] for r in rule["apiGroups"]} == {"carillon.dev"}
    code, _ = await webhook.apply("ScheduledTask", "bad", {"schedule": "61 * * * *", "task": SUM})
    assert code == 0


async def test_a_webhook_that_cannot_serve_does_not_stop_the_operator(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Tasks are observed although the certificate is missing; the log has the error."""
    caplog.set_level(logging.INFO)
    await webhook.apply("ScheduledTask", "backup", {"intervalSeconds": 60, "task": SUM})
    async with webhook.running(cert_file=tmp_path / "absent.pem") as store:
        await eventually(lambda: (webhook.namespace, "backup") in store.tasks.uids(), 60)
        await eventually(lambda: "admission webhook not serving, trying again" in caplog.messages, 60)


async def test_a_configuration_that_may_not_be_applied_does_not_stop_the_operator(
    webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    """The missing permission is logged, and the call is retried."""

    async def refuse(_body: dict[str, Any]) -> None:
        raise ForbiddenError("the operator may not patch it")

    await webhook.apply("ScheduledTask", "backup", {"intervalSeconds": 60, "task": SUM})
    async with webhook.running(apply_configuration=refuse) as store:
        await eventually(lambda: (webhook.namespace, "backup") in store.tasks.uids(), 60)
        await eventually(lambda: "webhook configuration not applied, trying again" in caplog.messages, 60)
