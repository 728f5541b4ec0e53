"""Queries the API server with the administrator's certificate, using only the standard library."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carillon_devcluster.layout import ClusterFiles


class ApiServer:
    """The health of a cluster's API server."""

    def __init__(self, url: str, files: ClusterFiles) -> None:
        """Read the certificates; nothing is sent yet."""
        self._url = url
        context = ssl.create_default_context(cafile=str(files.certificate("ca")))
        context.load_cert_chain(files.certificate("admin"), files.key("admin"))
        # No proxy, even if the environment sets one, because this is loopback.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def get(self, path: str) -> bytes | None:
        """Return the response to a request; None unless it is successful."""
        try:
            with self._opener.open(self._url + path, timeout=5) as response:
                content: bytes = response.read()
                return content
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def read(self, path: str) -> dict[str, Any] | None:
        """Return an object, or None if it does not exist."""
        content = self.get(path)
        if content is None:
            return None
        found: dict[str, Any] = json.loads(content)
        return found

    def ready(self) -> bool:
        """Return whether the API server is ready."""
        return self.get("/readyz") is not None

    def has_service_account(self) -> bool:
        """Return whether pods can be created: whether the default service account exists."""
        return self.get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def schedulable(self, node: str, booted_after: float) -> bool:
        """Return whether a node is ready for pods now, not only according to the status of an earlier run."""
        found = self.read(f"/api/v1/nodes/{node}")
        return found is not None and is_schedulable(found, booted_after)


def is_schedulable(node: dict[str, Any], heartbeat_after: float) -> bool:
    """Return whether a Node object is ready, without taints, and has sent a heartbeat since (seconds since 1970)."""
    if node.get("spec", {}).get("taints"):
        return False
    for condition in node.get("status", {}).get("conditions", []):
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            heartbeat = datetime.fromisoformat(condition["lastHeartbeatTime"])
            # The API truncates times to whole seconds.
            return heartbeat.timestamp() >= int(heartbeat_after)
    return False
