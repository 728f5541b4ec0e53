"""The Leases of the API server; the operator elects its leader by one."""

from carillon_core.adapters.kube.connection import KubeConnection, segment
from carillon_core.ports import JSONObject

_API_VERSION = "coordination.k8s.io/v1"


class KubeLeases:
    """``Leases`` over a connection."""

    def __init__(self, connection: KubeConnection) -> None:
        """Take the connection; the caller closes it."""
        self._connection = connection

    async def get(self, namespace: str, name: str) -> JSONObject:
        """Return a Lease, or raise ``NotFoundError``."""
        return await self._connection.request("GET", f"{_path(namespace)}/{segment(name)}")

    async def create(self, namespace: str, name: str, spec: JSONObject) -> JSONObject:
        """Create a Lease and return it as stored."""
        body = {"apiVersion": _API_VERSION, "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        return await self._connection.request("POST", _path(namespace), body=body)

    async def update(self, lease: JSONObject) -> JSONObject:
        """Replace a Lease as it was read, and return it as stored."""
        meta = lease["metadata"]
        path = f"{_path(meta['namespace'])}/{segment(meta['name'])}"
        return await self._connection.request("PUT", path, body=lease)


def _path(namespace: str) -> str:
    return f"/apis/{_API_VERSION}/namespaces/{segment(namespace)}/leases"
