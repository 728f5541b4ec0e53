"""Builders of pods and Jobs with which a test sets only the relevant values, and waiting for conditions."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from carillon_devcluster import LocalCluster


IMAGES = {"shell:1": {"entrypoint": ["/bin/sh", "-c"], "env": {"FROM_IMAGE": "yes"}}}
"""An image: a shell that takes its script as an argument."""


def pod(name: str, script: str, *, env: list[dict[str, Any]] | None = None, **spec: object) -> dict[str, Any]:
    """Return a pod that runs a script once."""
    container = {"name": "main", "image": spec.pop("image", "shell:1"), "args": [script], "env": env or []}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def job(name: str, script: str) -> dict[str, Any]:
    """Return a Job that runs a script once."""
    template = pod(name, script)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": template["spec"]}},
    }


def apply(cluster: LocalCluster, *manifests: dict[str, Any]) -> None:
    """Create objects."""
    for manifest in manifests:
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest))


def get(cluster: LocalCluster, kind: str, name: str) -> dict[str, Any]:
    """Return an object; empty if it does not exist."""
    text = cluster.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
    found: dict[str, Any] = json.loads(text) if text.strip() else {}
    return found


def main_state(found: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a pod's only container."""
    statuses = found.get("status", {}).get("containerStatuses") or [{}]
    state: dict[str, Any] = statuses[0].get("state", {})
    return state


def until(what: str, condition: Callable[[], bool], within: float = 30.0) -> None:
    """Return as soon as the condition is true; fail with its name if it does not become true in time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"waited {within} s for {what}"


def phase(cluster: LocalCluster, name: str) -> str:
    """Return a pod's phase."""
    found: str = get(cluster, "pod", name).get("status", {}).get("phase", "")
    return found


def finished(cluster: LocalCluster, name: str) -> dict[str, Any]:
    """Return a pod as soon as it has finished."""
    until(f"pod {name} to end", lambda: phase(cluster, name) in {"Succeeded", "Failed"})
    return get(cluster, "pod", name)
