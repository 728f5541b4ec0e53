"""Reads certificates and makes new ones. Pure, but for the random keys.

An authority signs one certificate and is forgotten with its key: nobody can
sign another one that the API server would trust.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SPENT = 2 / 3
"""The share of its life after which a certificate is renewed, as by cert-manager."""
MOST_SKEW = timedelta(minutes=5)
"""How far the clock of the API server may be behind."""


class InvalidCertificateError(Exception):
    """What is stored is no certificate."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, and the authority that signed it, in PEM."""

    authority: bytes
    certificate: bytes
    key: bytes


def due_at(certificate: bytes, authorities: bytes) -> datetime | None:
    """Return when a certificate is to be renewed; None: at once, since no such authority signed it.

    Raises:
        InvalidCertificateError: One of them is no certificate in PEM.

    """
    (leaf, *_), known = _parsed(certificate), _parsed(authorities)
    issuer = _issuer(leaf, known)
    return None if issuer is None else min(_due_at(leaf), _due_at(issuer))


def issuer_of(certificate: bytes, authorities: bytes) -> bytes:
    """Return the authority that signed a certificate, in PEM; empty if it is none of these."""
    issuer = _issuer(_parsed(certificate)[0], _parsed(authorities))
    return b"" if issuer is None else issuer.public_bytes(serialization.Encoding.PEM)


def succeeding(certificate: bytes, now: datetime) -> Issued:
    """Return a new certificate for the same names and for as long as this one, by an authority of its own."""
    (old, *_) = _parsed(certificate)
    life = old.not_valid_after_utc - old.not_valid_before_utc
    since = now - min(MOST_SKEW, life / 10)
    try:
        names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise InvalidCertificateError("it has no names") from error
    shared = x509.CertificateBuilder().not_valid_before(since).not_valid_after(since + life)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    # its own name, so that it is not taken for the one before it, which is trusted beside it for a while
    issuer = _name(f"carillon-webhook-ca-{now:%Y%m%d%H%M%S}")
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        shared.subject_name(issuer)
        .issuer_name(issuer)
        .public_key(authority_key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        shared.subject_name(_name("carillon-webhook"))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .add_extension(names, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(authority.public_bytes(pem), leaf.public_bytes(pem), private)


def _parsed(pem: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidCertificateError(str(error)) from error


def _issuer(leaf: x509.Certificate, authorities: Sequence[x509.Certificate]) -> x509.Certificate | None:
    return next((authority for authority in authorities if _signed(authority, leaf)), None)


def _signed(authority: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):  # another key, a key of another kind, another name
        return False
    return True


def _due_at(certificate: x509.Certificate) -> datetime:
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return since + (until - since) * SPENT


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
