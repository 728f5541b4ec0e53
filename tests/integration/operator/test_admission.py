"""The admission webhook: kopf's server in this process, called by a real API server, seen through kubectl."""

import logging
from pathlib import Path
from typing import Any

import pytest

from carillon_core.errors import ForbiddenError
from carillon_operator.admission.webhook_server import TIMEOUT_SECONDS
from support.waiting import eventually
from support.webhook import CONFIGURATIONS, Webhook, webhook

__all__ = ["webhook"]
SUM = {"sum": {"a": 1, "b": 2}}


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
        assert await webhook.apply("ScheduledTask", "backup", spec, labels={"team": "a"}) == (0, "")


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
