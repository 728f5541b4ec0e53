"""Certificates for the admission webhook of a test, from its own authority."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of a server on loopback."""

    ca: Path
    cert: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Write an authority's certificate, and a server's with its key, into a folder."""
    authority = trustme.CA()
    issued = authority.issue_cert(LOOPBACK)
    made = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(made.ca)
    issued.private_key_pem.write_to_path(made.key)
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(made.cert, append=number > 0)
    return made
