"""The certificate of the admission webhook, where it is stored, and what the API server trusts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """The data of the Secret with the certificate, and the version in which it was read."""

    data: Mapping[str, bytes]
    version: str


class WebhookCertificates(Protocol):
    """Reads and replaces the webhook's certificate. Each method raises ``ForbiddenError`` without the permission."""

    async def stored(self) -> StoredCertificate:
        """Return the certificate; ``NotFoundError`` if there is no Secret."""
        ...

    async def store(self, version: str, changes: Mapping[str, bytes | None]) -> None:
        """Set keys of the Secret, and remove those that are None; ``ConflictError`` if it has another version now."""
        ...

    async def trust(self, bundle: bytes) -> bool:
        """Have the API server trust these authorities, and return whether it did not before.

        Raises:
            NotFoundError: There is no webhook configuration.
            ConflictError: It was changed at the same time.

        """
        ...
