"""The admission webhook's configuration and its certificate. The operator's ``__main__`` composes them."""

import base64
from collections.abc import Mapping
from typing import Any

from carillon_core.adapters.kube.connection import JSON_PATCH, MERGE_PATCH, Fence, KubeConnection, segment
from carillon_core.errors import ConflictError, RefusedError
from carillon_core.ports import StoredCertificate

_PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


async def apply_webhook_configuration(connection: KubeConnection, body: dict[str, Any]) -> None:
    """Create or update a ValidatingWebhookConfiguration; replicas may do so concurrently.

    Raises:
        CarillonError: From the connection; ``ForbiddenError`` if the operator lacks the permission.

    """
    params = {"fieldManager": "carillon-operator", "force": "true"}
    path = f"{_PATH}/{body['metadata']['name']}"
    await connection.request("PATCH", path, params=params, body=body, content_type="application/apply-patch+yaml")


class KubeWebhookCertificates:
    """``WebhookCertificates``: a Secret, and the ``caBundle`` of a ValidatingWebhookConfiguration."""

    def __init__(self, connection: KubeConnection, secret: str, configuration: str, fence: Fence | None = None) -> None:
        """Take their names.

        Args:
            connection: To the API server; the caller closes it.
            secret: The Secret's namespace and name, ``namespace/name``.
            configuration: The configuration's name.
            fence: Called before each write is sent; raises if it must not be sent any more.

        """
        namespace, _, name = secret.partition("/")
        self._connection = connection
        self._secret = f"/api/v1/namespaces/{segment(namespace)}/secrets/{segment(name)}"
        self._configuration = f"{_PATH}/{segment(configuration)}"
        self._fence = fence

    async def stored(self) -> StoredCertificate:
        """Return the certificate."""
        found = await self._connection.request("GET", self._secret)
        data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
        return StoredCertificate(data, found["metadata"]["resourceVersion"])

    async def store(self, version: str, changes: Mapping[str, bytes | None]) -> None:
        """Set keys of the Secret, and remove those that are None, if it still has this version."""
        data = {key: None if value is None else base64.b64encode(value).decode() for key, value in changes.items()}
        body = {"metadata": {"resourceVersion": version}, "data": data}
        await self._connection.write(self._fence, "PATCH", self._secret, body=body, content_type=MERGE_PATCH)

    async def trust(self, bundle: bytes) -> bool:
        """Have the API server trust these authorities, and return whether it did not before."""
        wanted = base64.b64encode(bundle).decode()
        found = await self._connection.request("GET", self._configuration)
        changes = [
            {"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": wanted}
            for number, hook in enumerate(found.get("webhooks") or ())
            if hook["clientConfig"].get("caBundle") != wanted
        ]
        if not changes:
            return False
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]}
        body = [version, *changes]
        try:
            await self._connection.write(self._fence, "PATCH", self._configuration, body=body, content_type=JSON_PATCH)
        except RefusedError as error:  # a failed test is a 422
            raise ConflictError("the webhook configuration has been changed in the meantime") from error
        return True
