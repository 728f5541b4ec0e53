"""The webhook's certificate in memory, and certificates of a given life."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from carillon_core.errors import ConflictError
from carillon_core.ports import StoredCertificate
from carillon_operator.renewal.certificates import Issued, succeeding


class MemoryWebhookCertificates:
    """``WebhookCertificates`` in memory.

    Attributes:
        data: The Secret's.
        trusted: What the API server trusts.
        faster: Called before each write, as others write meanwhile.

    """

    def __init__(self, data: Mapping[str, bytes]) -> None:
        self.data = dict(data)
        self.trusted = self.data["ca.crt"]
        self.version = 1
        self.faster: list[Mapping[str, bytes]] = []

    async def stored(self) -> StoredCertificate:
        """Return the certificate."""
        return StoredCertificate(dict(self.data), str(self.version))

    async def store(self, version: str, changes: Mapping[str, bytes | None]) -> None:
        """Set keys of the Secret, and remove those that are None, if it still has this version."""
        if self.faster:
            self.data |= self.faster.pop()
            self.version += 1
        if version != str(self.version):
            raise ConflictError("changed in the meantime")
        self.version += 1
        self.data = {k: v for k, v in {**self.data, **changes}.items() if v is not None}

    async def trust(self, bundle: bytes) -> bool:
        """Trust these authorities, and return whether that is new."""
        before, self.trusted = self.trusted, bundle
        return before != bundle


def made_at(now: datetime, life: timedelta, name: str | x509.GeneralName = "webhook.test.svc") -> Issued:
    """Return a certificate of this life that is made now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    names = x509.SubjectAlternativeName([x509.DNSName(name) if isinstance(name, str) else name])
    template = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), now, now + life)
        .add_extension(names, critical=True)
        .sign(key, hashes.SHA256())
    )
    return succeeding(template.public_bytes(serialization.Encoding.PEM), now)


def secret_data(made: Issued) -> dict[str, bytes]:
    """Return the data of a Secret with a certificate."""
    return {"ca.crt": made.authority, "tls.crt": made.certificate, "tls.key": made.key}
