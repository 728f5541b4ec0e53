"""API keys: their form, how they are stored, and which user they authenticate. Pure; for API and command line.

A key is ``crl_<name>_<secret>``; the secret has 190 random bits. Only the key's
SHA-256 is stored. A slow hash would protect a password, which can be guessed;
190 bits cannot, and a slow hash would delay every request. The prefix ``crl_``
lets scanners find a key that was committed to a repository.
"""

import hashlib
import hmac
import json
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, ValidationError

from carillon_core.domain.access.subjects import Subject
from carillon_core.name_patterns import DNS_LABEL, is_dns_label
from carillon_core.resources.base import Model

SECRET_LENGTH = 32
MOST_HASHES = 2
HASH_MARK = "sha256:"
_ALPHABET = string.ascii_letters + string.digits
_KEY = re.compile(rf"crl_(?P<name>{DNS_LABEL})_[0-9A-Za-z]{{{SECRET_LENGTH}}}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_PRINTABLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_NO_HASH = HASH_MARK + "0" * 64
"""Takes the place of a missing hash in comparisons; no text is known to have this hash."""

AUTHENTICATED = "system:authenticated"
_REFUSED_USERS = re.compile(r"system:(node:.*|kube-.*|anonymous|apiserver|admin)")
_REFUSED_GROUPS = frozenset({"system:masters", "system:nodes", "system:unauthenticated", "system:bootstrappers"})
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:(?P<namespace>[^:]+):(?P<name>[^:]+)")


class InvalidEntryError(ValueError):
    """An entry of the Secret cannot be used; the message says why and never contains a hash."""


class _Stored(Model):
    """The value of one data key of the Secret, as JSON."""

    hashes: list[str] = Field(min_length=1, max_length=MOST_HASHES)
    user: str = Field(min_length=1, max_length=512)
    groups: list[str] = Field(default_factory=list, max_length=64)
    expires_at: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class APIKeyEntry:
    """The user that a key authenticates, and when it expires."""

    hashes: tuple[str, ...]
    """One, or two while a key is being replaced: ``sha256:`` and 64 hexadecimal digits."""
    subject: Subject
    """Includes the groups that the cluster gives every user."""
    expires_at: datetime | None = None


def new_key(name: str) -> str:
    """Return a new random key with this name.

    Raises:
        ValueError: The name is invalid.

    """
    if not is_dns_label(name):
        raise ValueError(
            "is not a valid key name: use at most 63 lower-case letters, digits and hyphens, and begin and end with a "
            "letter or a digit, such as ci"
        )
    return f"crl_{name}_" + "".join(secrets.choice(_ALPHABET) for _ in range(SECRET_LENGTH))


def name_of(key: str) -> str | None:
    """Return the name in a key, or None if the text is not a key."""
    found = _KEY.fullmatch(key)
    return found["name"] if found else None


def hash_of(key: str) -> str:
    """Return the hash of a key, as stored."""
    return HASH_MARK + hashlib.sha256(key.encode()).hexdigest()


def verified(key: str, entries: Mapping[str, APIKeyEntry], now: datetime) -> APIKeyEntry | None:
    """Return the entry of a key, or None if there is none or it has expired.

    An unknown name takes as many hash comparisons as a known one, each in constant time.
    """
    entry = entries.get(name_of(key) or "")
    hashes = (*(entry.hashes if entry else ()), _NO_HASH, _NO_HASH)[:MOST_HASHES]
    given = hash_of(key)
    fits = [hmac.compare_digest(given, known) for known in hashes]
    if entry is None or not any(fits) or (entry.expires_at is not None and entry.expires_at <= now):
        return None
    return entry


def parse_entry(value: bytes) -> APIKeyEntry:
    """Return an entry of the Secret.

    Raises:
        InvalidEntryError: The message says what to write instead.

    """
    try:
        stored = _Stored.model_validate_json(value)
    except ValidationError as error:
        # pydantic's messages repeat the input
        places = sorted({".".join(str(part) for part in e["loc"]) or "the JSON" for e in error.errors()})
        raise InvalidEntryError(f"cannot be read ({', '.join(places)}): `carillon api-key create` writes one") from None
    return entry(stored.hashes, stored.user, stored.groups, stored.expires_at)


def entry(hashes: Sequence[str], user: str, groups: Sequence[str], expires_at: datetime | None) -> APIKeyEntry:
    """Return an entry.

    Raises:
        InvalidEntryError: Its hash is not valid, or it names a user or a group that a key must not grant.

    """
    if not all(_HASH.fullmatch(each) for each in hashes):
        raise InvalidEntryError("has an invalid hash: write sha256: and 64 hexadecimal digits in lower case")
    if not 1 <= len(hashes) <= MOST_HASHES:
        raise InvalidEntryError(f"has {len(hashes)} hashes: keep one, or {MOST_HASHES} while a key is being replaced")
    for word in (user, *groups):
        if not _PRINTABLE.fullmatch(word):
            raise InvalidEntryError("names a user or a group that is empty or has more than plain ASCII: correct it")
    if _REFUSED_USERS.fullmatch(user):
        raise InvalidEntryError(f"maps to the user {user}: a key stands for people and services, not for the cluster")
    if refused := sorted(_REFUSED_GROUPS.intersection(groups)):
        raise InvalidEntryError(f"maps to the group {refused[0]}: give the user the roles that it needs instead")
    return APIKeyEntry(tuple(hashes), Subject(user, _all_groups(user, groups)), expires_at)


def entry_json(found: APIKeyEntry, groups: Sequence[str]) -> str:
    """Return an entry as stored in the Secret; ``groups`` does not include those that the cluster adds."""
    value: dict[str, object] = {"hashes": list(found.hashes), "user": found.subject.name}
    if groups:
        value["groups"] = list(groups)
    if found.expires_at is not None:
        value["expiresAt"] = found.expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(value)


def _all_groups(user: str, groups: Sequence[str]) -> tuple[str, ...]:
    """Return the groups with those that the cluster's authentication would add."""
    added = [AUTHENTICATED]
    if account := _SERVICE_ACCOUNT.fullmatch(user):
        added += ["system:serviceaccounts", f"system:serviceaccounts:{account['namespace']}"]
    return tuple(dict.fromkeys((*groups, *added)))
