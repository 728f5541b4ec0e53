"""Credentials for a real API server: unknown tokens, broken kubeconfigs, renewal."""

import json
import sys
from pathlib import Path

import pytest

from carillon_core.adapters.kube import KubeConnection, KubeObjectStore
from carillon_core.errors import ForbiddenError, NotFoundError, SettingsError
from support.cluster import RunningCluster
from support.kube_connections import kubeconfig_with
from support.waiting import eventually


async def test_a_token_that_nobody_knows_is_forbidden_and_not_told(cluster: RunningCluster, tmp_path: Path) -> None:
    """The message says to renew the token and does not repeat it."""
    config = kubeconfig_with(cluster, tmp_path, token="not-a-known-token")  # noqa: S106  # it is none
    async with KubeConnection(config) as connection:
        with pytest.raises(ForbiddenError, match="renew the token") as forbidden:
            await KubeObjectStore(connection).list(None)
    assert "not-a-known-token" not in str(forbidden.value)


async def test_a_kubeconfig_that_cannot_be_read_is_a_setting_to_mend(tmp_path: Path) -> None:
    """The message names the file and does not repeat its content."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("users: [{name: x, user: {token: top-secret}}]\n", encoding="utf-8")
    for path in (broken, tmp_path / "absent.yaml"):
        with pytest.raises(SettingsError, match=path.name) as error:
            async with KubeConnection(str(path)):
                pass
        assert "top-secret" not in str(error.value)


async def service_account_token(connection: KubeConnection, namespace: str) -> str:
    """Return a token of the namespace's default account, which has no permissions."""
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    await eventually_made(connection, account)
    token: str = (await connection.request("POST", f"{account}/token", body={"spec": {}}))["status"]["token"]
    return token


async def test_a_token_file_that_was_rotated_is_read_again(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, tmp_path: Path
) -> None:
    """After a 401 the token file is read again and the request repeated."""
    file = tmp_path / "token"
    file.write_text("stale", encoding="utf-8")
    config = kubeconfig_with(cluster, tmp_path, tokenFile=str(file))
    async with KubeConnection(config, renewal_seconds=0) as own:
        with pytest.raises(ForbiddenError, match="renew the token"):
            await KubeObjectStore(own).list(namespace)
        file.write_text(await service_account_token(connection, namespace), encoding="utf-8")
        with pytest.raises(ForbiddenError, match="cannot list resource"):
            await KubeObjectStore(own).list(namespace)


async def test_a_plugin_is_run_again_when_its_token_expires(
    cluster: RunningCluster, connection: KubeConnection, namespace: str, tmp_path: Path
) -> None:
    """A credential plugin, as managed clouds use, is run again for each expired token."""
    said_by_plugin = tmp_path / "credential.json"
    program = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", f"print(open({str(said_by_plugin)!r}, encoding='utf-8').read())"],
        "interactiveMode": "Never",
    }

    def let_plugin_say(token: str) -> None:
        credential = {
            "apiVersion": program["apiVersion"],
            "kind": "ExecCredential",
            "status": {"token": token, "expirationTimestamp": "2020-01-01T00:00:00Z"},
        }
        said_by_plugin.write_text(json.dumps(credential), encoding="utf-8")

    let_plugin_say("stale")
    async with KubeConnection(kubeconfig_with(cluster, tmp_path, exec=program)) as own:
        with pytest.raises(ForbiddenError, match="renew the token"):
            await KubeObjectStore(own).list(namespace)
        let_plugin_say(await service_account_token(connection, namespace))
        with pytest.raises(ForbiddenError, match="cannot list resource"):
            await KubeObjectStore(own).list(namespace)


async def eventually_made(connection: KubeConnection, path: str) -> None:
    """Wait until a controller has made an object."""

    async def there() -> bool:
        try:
            await connection.request("GET", path)
        except NotFoundError:
            return False
        return True

    await eventually(there)
