"""Calls a cluster's etcd, for tests of the effects of compaction on watches and cursors."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any

from carillon_devcluster import ports
from carillon_devcluster.errors import ClusterError
from carillon_devcluster.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carillon_devcluster.layout import ClusterFiles


def compact(files: ClusterFiles) -> None:
    """Make etcd forget all versions except the newest, as the API server does every five minutes."""
    port = State.read(files.state).ports["etcd"]
    trust = ssl.create_default_context(cafile=files.certificate("ca"))
    trust.load_cert_chain(files.certificate("apiserver"), files.key("apiserver"))
    connection = http.client.HTTPSConnection(ports.LOOPBACK, port, timeout=10, context=trust)
    with contextlib.closing(connection):
        newest = _ask(connection, "range", {"key": base64.b64encode(b"/").decode()})["header"]["revision"]
        _ask(connection, "compaction", {"revision": newest, "physical": True})


def _ask(connection: http.client.HTTPSConnection, method: str, body: Mapping[str, object]) -> dict[str, Any]:
    """Call etcd through its JSON gateway."""
    connection.request("POST", f"/v3/kv/{method}", body=json.dumps(body))
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    if response.status != http.HTTPStatus.OK:
        raise ClusterError(f"etcd rejected {method}: {answer}")
    return answer
