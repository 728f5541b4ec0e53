"""Access to the API of ``make run``: the facade's own account, a user, and that user's API key."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import yaml

from carillon_core.domain.access.api_keys import (
    InvalidEntryError,
    entry,
    entry_json,
    hash_of,
    new_key,
    parse_entry,
    verified,
)
from carillon_devcluster.files import write_atomically
from carillon_local.layout import API_KEY, FACADE_KUBECONFIG, RBAC, LocalError
from carillon_local.target import Target

FACADE_NAMESPACE = "carillon-system"
FACADE = "carillon-api"
OPERATOR = "carillon-operator"
KEYS_SECRET = "carillon-api-keys"  # noqa: S105  # the name of a Secret
USER = "carillon-user"
USER_NAMESPACE = "default"
USER_ROLES = ("carillon-view", "carillon-run", "carillon-edit", "carillon-audit")
TOKEN_LIFE = "8760h"  # noqa: S105  # a duration; each `make run` makes a new token
"""The cluster may issue a shorter token."""


def install_access(target: Target) -> dict[str, str]:
    """Apply the roles, the user and its key; return the settings of the facade."""
    target.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(RBAC))
    target.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(user_manifests()))
    _install_key(target)
    write_facade_kubeconfig(target, FACADE_KUBECONFIG)
    return {
        "KUBECONFIG": str(FACADE_KUBECONFIG),
        "CARILLON_API_KEYS_SECRET": f"{FACADE_NAMESPACE}/{KEYS_SECRET}",
    }


def user_manifests() -> list[dict[str, object]]:
    """Return manifests of the user that calls the API, with its roles in every namespace."""
    group = "rbac.authorization.k8s.io"
    account = {"name": USER, "namespace": USER_NAMESPACE}
    bindings: list[dict[str, object]] = [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{USER}:{role}"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", **account}],
        }
        for role in USER_ROLES
    ]
    return [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}, *bindings]


def write_facade_kubeconfig(target: Target, path: Path) -> None:
    """Write a kubeconfig for the facade's own account, which is not an administrator."""
    asked = ("create", "token", FACADE, "--namespace", FACADE_NAMESPACE, "--duration", TOKEN_LIFE)
    token = target.kubectl(*asked).strip()
    shown = json.loads(target.kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    write_atomically(path, yaml.safe_dump(with_token(shown, token)))


def with_token(config: dict[str, object], token: str) -> dict[str, object]:
    """Return a kubeconfig with one context for another user of the same cluster."""
    clusters = config["clusters"]
    if not isinstance(clusters, list):
        raise LocalError("the kubeconfig names no cluster: correct it")
    context = {"cluster": clusters[0]["name"], "user": FACADE}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [{"name": FACADE, "user": {"token": token}}],
        "contexts": [{"name": FACADE, "context": context}],
        "current-context": FACADE,
    }


def api_key_headers() -> Mapping[str, str]:
    """Return the headers of a call as the user.

    Raises:
        LocalError: There is no key yet.

    """
    try:
        return {"X-API-Key": API_KEY.read_text().strip()}
    except OSError as error:
        raise LocalError("there is no API key yet: `make run` creates one") from error


def _install_key(target: Target) -> None:
    """Create a key, unless the one on this machine is in the cluster."""
    asked = ("get", "secret", KEYS_SECRET, "--namespace", FACADE_NAMESPACE, "--ignore-not-found", "--output", "json")
    found = target.kubectl(*asked)
    stored = json.loads(found).get("data") or {} if found.strip() else {}
    if _is_known(stored.get(USER)):
        return
    key = new_key(USER)
    made = entry([hash_of(key)], f"system:serviceaccount:{USER_NAMESPACE}:{USER}", (), None)
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEYS_SECRET, "namespace": FACADE_NAMESPACE},
        "data": {USER: base64.b64encode(entry_json(made, ()).encode()).decode()},
    }
    write_atomically(API_KEY, key + "\n")
    manager = ("--server-side", "--force-conflicts", "--field-manager", f"carillon-api-key-{USER}")
    target.kubectl("apply", *manager, "--filename", "-", stdin=yaml.safe_dump(manifest))


def _is_known(stored: str | None) -> bool:
    """Return whether the key on this machine is the one in the cluster."""
    try:
        key = API_KEY.read_text().strip()
        return (
            stored is not None
            and verified(key, {USER: parse_entry(base64.b64decode(stored))}, datetime.now(UTC)) is not None
        )
    except (OSError, InvalidEntryError):
        return False
