"""Short manifests of our kinds, for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from carillon_core.resources.base import rfc3339
from carillon_core.resources.names import LABEL_HTTP_TARGET

ONCE: dict[str, Any] = {"intervalSeconds": 1, "maxRuns": 1}
"""The schedule of a task that runs once, soon after it is applied."""


def task(name: str, **spec: Any) -> dict[str, Any]:
    """Return a ScheduledTask."""
    return {"kind": "ScheduledTask", "metadata": {"name": name}, "spec": spec}


def request(name: str, **spec: Any) -> dict[str, Any]:
    """Return a RunRequest."""
    return {"kind": "RunRequest", "metadata": {"name": name}, "spec": spec}


def target(name: str, **spec: Any) -> dict[str, Any]:
    """Return an HTTPTarget."""
    return {"kind": "HTTPTarget", "metadata": {"name": name}, "spec": spec}


def secret(name: str, **data: str) -> dict[str, Any]:
    """Return a Secret that HTTPTargets may use."""
    meta = {"name": name, "labels": {LABEL_HTTP_TARGET: "true"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data}


def soon(seconds: float) -> str:
    """Return a time in the near future, in a manifest's format."""
    return rfc3339(datetime.now(UTC) + timedelta(seconds=seconds))


def condition(item: dict[str, Any], kind: str) -> tuple[str, str]:
    """Return the status and the reason of an object's condition; empty if it is missing."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == kind), ("", ""))
