"""``carillon api-key``: make a key, and the part of the Secret that lets it in. ``app`` calls it; it asks nobody."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import yaml

from carillon_cli.documents import InputError
from carillon_core.domain.access.api_keys import InvalidEntryError, entry, entry_json, hash_of, new_key
from carillon_core.resources.base import rfc3339

SECRET = "carillon-system/carillon-api-keys"  # noqa: S105  # the name of one


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, which is shown once, and what is applied to the cluster."""

    key: str
    manifest: str


def create(
    name: str,
    user: str,
    groups: Sequence[str],
    expires_at: datetime | None,
    previous_hash: str | None,
    secret: str = SECRET,
) -> NewKey:
    """Return a new key and the manifest of the Secret with this one data key.

    Args:
        name: The key's name.
        user: As whom its bearer calls.
        groups: In which groups; those that the cluster gives every user are added when it is used.
        expires_at: From when on it is refused.
        previous_hash: Of the key that it replaces, which stays valid beside it.
        secret: The Secret's namespace and name.

    Raises:
        InputError: Something of it makes no sense; with the mend.

    """
    namespace, slash, secret_name = secret.partition("/")
    if not slash or not all(re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", part) for part in (namespace, secret_name)):
        raise InputError(f"--secret {secret} is no Secret: write its namespace and its name, such as {SECRET}")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InputError(f"--expires-at {rfc3339(expires_at)} is past: write a time to come")
    try:
        key = new_key(name)
    except ValueError as error:
        raise InputError(f"{name!r} {error}") from error
    hashes = [hash_of(key)] if previous_hash is None else [hash_of(key), previous_hash]
    try:
        made = entry(hashes, user, groups, expires_at)
    except InvalidEntryError as error:
        raise InputError(f"the key {name} {error}") from error
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret_name, "namespace": namespace},
        "data": {name: base64.b64encode(entry_json(made, groups).encode()).decode()},
    }
    return NewKey(key, yaml.safe_dump(manifest, sort_keys=False))
