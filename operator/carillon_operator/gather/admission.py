"""The optional admission webhook: refuses what no schema can see, and warns of what may surprise.

kopf serves it within the operator. Nothing of it may stop the operator: a port
that is taken, a certificate that is missing or a permission that lacks is said
in the log, and tried again. Nor may it stop users: the configuration says
``Ignore`` and a short time-out, so that a webhook that is down is passed over.

kopf could manage the configuration (``settings.admission.managed``), but its
time-out is fixed at 30 seconds, it makes a mutating configuration as well, a
missing permission ends the operator, and the end of one replica takes the
webhook from the others. So the configuration is applied here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import kopf

from carillon_core.backoff import Backoff, Tries
from carillon_core.domain.egress.rules import CLOSED, AllowList
from carillon_core.domain.scope import Scope
from carillon_core.domain.validity.review import review_of
from carillon_core.errors import CarillonError
from carillon_core.logs import get_logger
from carillon_core.resources import names
from carillon_core.resources.pods import PodSettings
from carillon_operator.settings import WebhookSettings

log = get_logger(__name__)

CONFIGURATION = "carillon"
TIMEOUT_SECONDS = 5
"""How long the API server waits for an answer before it goes on without."""
RETRIES = Backoff(first=1.0, longest=60.0)
KINDS = {
    names.KIND: names.PLURAL,
    names.KIND_TARGET: names.PLURAL_TARGETS,
    names.KIND_REQUEST: names.PLURAL_REQUESTS,
}
LABEL_NAME = "kubernetes.io/metadata.name"
"""Which each namespace has from the API server."""
UNPROCESSABLE = 422

ApplyConfiguration = Callable[[dict[str, Any]], Awaitable[None]]
"""Applies a ValidatingWebhookConfiguration."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The webhook, composed of its settings, a way to say where it is, and a clock."""

    settings: WebhookSettings
    apply_configuration: ApplyConfiguration
    clock: Callable[[], datetime]
    http_allow: AllowList = CLOSED
    """What HTTP tasks may reach beside public addresses."""
    pod_defaults: PodSettings = field(default_factory=PodSettings)
    """What pods have whose tasks say no more."""
    scope: Scope = field(default_factory=Scope)
    """In which namespaces the API server is to ask it."""

    def add_to(self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings) -> None:
        """Register a handler for each kind, and the server."""
        for kind, plural in KINDS.items():
            self._add_handler(registry, kind, plural)
        settings.admission.server = self.serve

    def _add_handler(self, registry: kopf.OperatorRegistry, kind: str, plural: str) -> None:
        @kopf.on.validate(
            names.GROUP,
            names.VERSION,
            plural,
            registry=registry,
            id=plural,
            operations=["CREATE", "UPDATE"],
            side_effects=False,
            ignore_failures=True,
        )
        async def validate(*, body: kopf.Body, warnings: list[str], **more: Any) -> None:
            review = review_of(kind, body, more.get("old"), self.clock(), self.http_allow, self.pod_defaults)
            warnings.extend(review.warnings)
            if review.problems:
                raise kopf.AdmissionError("; ".join(str(p) for p in review.problems), code=UNPROCESSABLE)

    async def serve(self, answer: Any) -> AsyncIterator[Any]:
        """Serve for life; kopf iterates this once for each certificate. Failures are tried again, never raised."""
        tries = Tries(RETRIES)
        publishing: asyncio.Future[None] | None = None
        while True:
            server = kopf.WebhookServer(
                addr=self.settings.address,
                port=self.settings.port,
                host=self.settings.host,
                certfile=self.settings.cert_file,
                pkeyfile=self.settings.key_file,
                cafile=self.settings.ca_file,
            )
            try:
                async for client_config in server(answer):
                    log.info("admission webhook serving", port=self.settings.port)
                    tries.succeeded()
                    if publishing is not None:
                        publishing.cancel()
                    # kopf comes back for the next one at once: this goes on beside it
                    publishing = asyncio.ensure_future(self._publish(client_config))
                    yield client_config
                wait = tries.failed()  # the server ended
            except Exception as error:  # noqa: BLE001  # schedules fire without a webhook, whatever fails in it
                wait = tries.failed()
                why = f"{type(error).__name__}: {error}"
                log.warning("admission webhook not serving, trying again", why=why, retry_in_s=wait)
            finally:
                if publishing is not None:
                    publishing.cancel()
            await asyncio.sleep(wait)

    async def _publish(self, client_config: Mapping[str, Any]) -> None:
        """Tell the API server where the webhook is, until it has taken it."""
        if self.settings.host is None and self.settings.service is None:
            log.info(
                "webhook configuration not applied: neither CARILLON_WEBHOOK_HOST nor CARILLON_WEBHOOK_SERVICE is set"
            )
            return
        body = webhook_configuration(self.settings, client_config, self.scope)
        tries = Tries(RETRIES)
        while True:
            try:
                await self.apply_configuration(body)
            except CarillonError as error:
                wait = tries.failed()
                log.warning("webhook configuration not applied, trying again", why=str(error), retry_in_s=wait)
            else:
                log.info("webhook configuration applied", name=CONFIGURATION)
                return
            await asyncio.sleep(wait)


def webhook_configuration(
    settings: WebhookSettings, client_config: Mapping[str, Any], scope: Scope | None = None
) -> dict[str, Any]:
    """Return the ValidatingWebhookConfiguration of a webhook.

    Args:
        settings: Where the API server finds it: by its service, else by its host.
        client_config: kopf's, with its URL and its CA.
        scope: In which namespaces it is asked; in all if left out.

    """
    selector = {}
    if scope is not None and scope.namespaces:
        named = {"key": LABEL_NAME, "operator": "In", "values": list(scope.namespaces)}
        selector = {"namespaceSelector": {"matchExpressions": [named]}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION, "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY}},
        "webhooks": [
            {
                "name": f"{plural}.admission.{names.GROUP}",
                "clientConfig": _client_config(settings, client_config, plural),
                "rules": [
                    {
                        "apiGroups": [names.GROUP],
                        "apiVersions": [names.VERSION],
                        "resources": [plural],
                        "operations": ["CREATE", "UPDATE"],
                        "scope": "Namespaced",
                    }
                ],
                **selector,
                "failurePolicy": settings.failure_policy,
                "matchPolicy": "Equivalent",
                "sideEffects": "None",
                "timeoutSeconds": TIMEOUT_SECONDS,
                "admissionReviewVersions": ["v1"],
            }
            for plural in KINDS.values()
        ],
    }


def _client_config(settings: WebhookSettings, client_config: Mapping[str, Any], plural: str) -> dict[str, Any]:
    trust = {"caBundle": client_config["caBundle"]} if client_config.get("caBundle") else {}
    if settings.service is not None:
        namespace, _, name = settings.service.partition("/")
        return {"service": {"namespace": namespace, "name": name, "path": f"/{plural}", "port": 443}, **trust}
    return {"url": f"{client_config['url']}/{plural}", **trust}
