"""Applies the configuration of the admission webhook. The operator's ``__main__`` composes it."""

from typing import Any

from carillon_core.adapters.kube.connection import KubeConnection

_PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


async def apply_webhook_configuration(connection: KubeConnection, body: dict[str, Any]) -> None:
    """Create or update a ValidatingWebhookConfiguration; replicas may do so concurrently.

    Raises:
        CarillonError: From the connection; ``ForbiddenError`` if the operator lacks the permission.

    """
    params = {"fieldManager": "carillon-operator", "force": "true"}
    path = f"{_PATH}/{body['metadata']['name']}"
    await connection.request("PATCH", path, params=params, body=body, content_type="application/apply-patch+yaml")
