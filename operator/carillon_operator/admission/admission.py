"""The optional admission webhook: rejects what no schema can, and warns about surprises.

It is served within the operator. Nothing in it may stop the operator: a port
in use, a missing certificate or a missing permission is logged and tried again.
Nor may it block users: the configuration has ``failurePolicy: Ignore`` and a
short timeout, so that the API server skips a webhook that is down.

kopf could manage the configuration itself (``settings.admission.managed``), but
then the timeout is fixed at 30 seconds, a mutating configuration is created as
well, a missing permission ends the operator, and one replica that ends takes
the webhook from the others. So this module applies the configuration.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import kopf

from carillon_core.backoff import Backoff, Tries
from carillon_core.cpu_limit import CPU_LIMIT
from carillon_core.domain.access.authoring import needs_of
from carillon_core.domain.egress.rules import CLOSED, AllowList
from carillon_core.domain.scope import Scope
from carillon_core.domain.validity.review import review_of
from carillon_core.errors import CarillonError, TooMuchWorkError
from carillon_core.logs import get_logger
from carillon_core.resources import names
from carillon_core.resources.pods import PodSettings
from carillon_operator.admission.authors import Authors, ReviewAccess, UncheckedAuthorError, author_of
from carillon_operator.admission.job_trial import JobTrial, UntriedError
from carillon_operator.admission.references import References
from carillon_operator.admission.webhook_server import TIMEOUT_SECONDS, WebhookServer
from carillon_operator.webhook_settings import WebhookSettings

log = get_logger(__name__)

CONFIGURATION = "carillon"
RETRIES = Backoff(first=1.0, longest=60.0)
KINDS = {
    names.KIND: names.PLURAL,
    names.KIND_TARGET: names.PLURAL_TARGETS,
    names.KIND_REQUEST: names.PLURAL_REQUESTS,
}
LABEL_NAME = "kubernetes.io/metadata.name"
"""A label that the API server sets on each namespace."""
UNPROCESSABLE = 422
FORBIDDEN = 403
UNAVAILABLE = 503

ApplyConfiguration = Callable[[dict[str, Any]], Awaitable[None]]
"""Applies a ValidatingWebhookConfiguration."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The webhook: its settings, how it asks the cluster, and a clock."""

    settings: WebhookSettings
    apply_configuration: ApplyConfiguration
    review_access: ReviewAccess
    clock: Callable[[], datetime]
    http_allow: AllowList = CLOSED
    """The addresses that HTTP tasks may reach besides public ones."""
    pod_defaults: PodSettings = field(default_factory=PodSettings)
    """The pod settings of tasks that set none."""
    scope: Scope = field(default_factory=Scope)
    """The namespaces whose objects the API server sends to it."""
    trial: JobTrial | None = None
    """Has the API server judge the Jobs of tasks with pods of their own; None: they are not tried."""
    references: References | None = None
    """Looks for what a spec names; None: nothing is looked for."""

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
        async def validate(*, body: kopf.Body, userinfo: kopf.UserInfo, warnings: list[str], **more: Any) -> None:
            judged = partial(review_of, kind, body, more.get("old"), self.clock(), self.http_allow, self.pod_defaults)
            try:
                review = CPU_LIMIT.run(judged)
            except TooMuchWorkError as error:
                # an operator that has to decide about it would set it aside
                raise kopf.AdmissionError(f"spec: cannot be judged: {error}", code=UNPROCESSABLE) from error
            warnings.extend(review.warnings)
            if review.problems:
                raise kopf.AdmissionError("; ".join(str(p) for p in review.problems), code=UNPROCESSABLE)
            # who may not use a Secret does not learn here whether it exists
            if await self._check_author(kind, body, more.get("old"), userinfo, warnings) and self.references:
                warnings.extend(await self.references.warnings(kind, body, more.get("old")))
            await self._try_job(kind, body, more.get("old"), warnings)

    async def _try_job(
        self, kind: str, new: Mapping[str, Any], old: Mapping[str, Any] | None, warnings: list[str]
    ) -> None:
        """Refuse an object whose Job the API server would refuse."""
        if self.trial is None:
            return
        try:
            problems = await self.trial.problems(kind, new, old)
        except UntriedError as error:
            warnings.append(str(error))
            return
        if problems:
            raise kopf.AdmissionError("; ".join(str(p) for p in problems), code=UNPROCESSABLE)

    async def _check_author(
        self,
        kind: str,
        new: Mapping[str, Any],
        old: Mapping[str, Any] | None,
        userinfo: Mapping[str, Any],
        warnings: list[str],
    ) -> bool:
        """Refuse an object whose author lacks a permission for what the operator would do for them.

        Return whether the author has them all, as far as there are any.
        """
        needs = needs_of(kind, str(new["metadata"]["namespace"]), new, old)
        if not needs:
            return True
        try:
            problems = await Authors(self.review_access).problems(author_of(userinfo), needs)
        except UncheckedAuthorError as error:
            if self.settings.failure_policy == "Fail":
                raise kopf.AdmissionError(str(error), code=UNAVAILABLE) from error
            warnings.append(str(error))
            return False
        if problems:
            raise kopf.AdmissionError("; ".join(str(p) for p in problems), code=FORBIDDEN)
        return True

    async def serve(self, answer: Any) -> AsyncIterator[Any]:
        """Serve for ever; kopf iterates over one configuration per certificate. Failures are retried, never raised."""
        tries = Tries(RETRIES)
        publishing: asyncio.Future[None] | None = None
        while True:
            try:
                async with aclosing(WebhookServer(self.settings)(answer)) as serving:
                    async for client_config in serving:
                        log.info("admission webhook serving", port=self.settings.port)
                        tries.succeeded()
                        if publishing is not None:
                            publishing.cancel()
                        # in the background, since kopf asks for the next one immediately
                        publishing = asyncio.ensure_future(self._publish(client_config))
                        yield client_config
                wait = tries.failed()  # the server ended
            except Exception as error:  # noqa: BLE001  # no failure of the webhook may stop schedules
                wait = tries.failed()
                why = f"{type(error).__name__}: {error}"
                log.warning("admission webhook not serving, trying again", why=why, retry_in_s=wait)
            finally:
                if publishing is not None:
                    publishing.cancel()
            await asyncio.sleep(wait)

    async def _publish(self, client_config: Mapping[str, Any]) -> None:
        """Apply the configuration that tells the API server where the webhook is; retry until it is accepted."""
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
