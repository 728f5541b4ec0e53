"""Kubernetes' rules for names and labels, as patterns for schemas and as functions. Standard library only."""

import re

MAX_LABEL = 63
MAX_SUBDOMAIN = 253
_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""An RFC 1123 label, such as the name of a namespace."""
DNS_SUBDOMAIN = rf"{_PART}(\.{_PART})*"
"""An RFC 1123 subdomain, such as the name of most objects. It may have ``MAX_SUBDOMAIN`` characters, which the pattern
does not check."""
LABEL_PREFIX = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
"""The part of a label's key before the slash, for schemas: limited in length, but two dots may follow each other."""
LABEL_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
"""The part of a label's key after the slash, or a value that is not empty."""


def is_dns_label(name: str) -> bool:
    """Return whether a name is an RFC 1123 label."""
    return re.fullmatch(DNS_LABEL, name) is not None


def is_dns_subdomain(name: str) -> bool:
    """Return whether a name is an RFC 1123 subdomain."""
    return len(name) <= MAX_SUBDOMAIN and re.fullmatch(DNS_SUBDOMAIN, name) is not None
