"""Helpers that run pods with one container on a real node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.waiting import until

if TYPE_CHECKING:
    from carillon_devcluster.realnode import RealNode

HARDENED = {
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def run(node: RealNode, namespace: str, container: dict[str, Any], **spec: object) -> dict[str, Any]:
    """Run one container until it ends, or until it succeeds if it is restarted; return its final state."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "once", "namespace": namespace},
        "spec": {"restartPolicy": "Never", **spec, "containers": [container]},
    }
    await_account(node, namespace)
    node.cluster.kubectl("create", "--filename", "-", stdin=json.dumps(pod))

    def state() -> dict[str, Any]:
        found = node.cluster.kubectl("get", "pod", "once", "--namespace", namespace, "--output", "json")
        status = json.loads(found)["status"]
        if status["phase"] not in {"Succeeded", "Failed"}:
            return {}
        ended: dict[str, Any] = status["containerStatuses"][0]["state"].get("terminated") or {}
        return ended

    until(lambda: bool(state()), 60, "the container has ended")
    return state()


def await_account(node: RealNode, namespace: str) -> None:
    """Wait until pods can be created in a namespace."""
    account = ("get", "serviceaccount", "default", "--namespace", namespace, "--ignore-not-found", "--output", "name")
    until(lambda: bool(node.cluster.kubectl(*account)), 30, "the namespace has its service account")
