"""``carillon api-key``: create a key and its entry in the Secret, without a cluster. ``app`` calls it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import yaml

from carillon_cli.documents import InputError
from carillon_core.domain.access.api_keys import InvalidEntryError, entry, entry_json, hash_of, new_key
from carillon_core.domain.validity.future import future_problem
from carillon_core.name_patterns import is_dns_label, is_dns_subdomain

SECRET = "carillon-system/carillon-api-keys"  # noqa: S105  # the name of one


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, which is shown once, and the manifest to apply."""

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
        user: The user that the key authenticates.
        groups: The groups of the user; the groups of every user are added when the key is used.
        expires_at: When the key expires.
        previous_hash: The hash of the key to replace, which stays valid.
        secret: The Secret's namespace and name.

    Raises:
        InputError: An argument is invalid; the message says what to write.

    """
    namespace, slash, secret_name = secret.partition("/")
    if not slash or not is_dns_label(namespace) or not is_dns_subdomain(secret_name):
        raise InputError(f"--secret: must be NAMESPACE/NAME, such as {SECRET} (got {secret!r})")
    if past := future_problem(expires_at, datetime.now(UTC), "--expires-at"):
        raise InputError(str(past))
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
