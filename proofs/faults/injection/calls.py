"""Names requests and watch events as ``Step`` does, and confines requests to a namespace. Pure.

The operator is cluster-wide, and many run at once: each sees only the namespace
of its plan, because the proxy rewrites the paths of collections.
"""

import re
from collections.abc import Mapping
from typing import Any

from carillon_core.recording import wire
from carillon_core.resources import names

_COLLECTION = re.compile(
    rf"/(?P<group>api/v1|apis/[^/]+/[^/]+)/"
    rf"(?P<plural>cronjobs|jobs|pods|{names.PLURAL}|{names.PLURAL_TARGETS}|{names.PLURAL_REQUESTS})"
)
_OBJECT = re.compile(
    r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+)?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[a-z]+))?)?"
)
_JOB_NAME = re.compile(r"(?P<task>.+)-(?:\d{10}|\d{8}|[0-9a-f]{9}[g-z])")  # seconds, a CronJob's minutes, an attempt
_POD_NAME = re.compile(r"(?P<task>.+)-\d{10}-.+")
_RECORD = re.compile(wire.PATH.format(execution=r"[^/]+", operation=r"(?P<operation>[a-z-]+)"))
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_SHORT = {names.PLURAL: "tasks", names.PLURAL_REQUESTS: "requests", names.PLURAL_TARGETS: "targets"}
_TASKS = {"tasks", "cronjobs"}
_ENDS = {"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"}
DISCOVERY = re.compile(r"/(api|apis|version|api/v1|apis/[^/]+|apis/[^/]+/[^/]+)/?")
"""Paths whose answers are the same for all operators."""


def confined(path: str, namespace: str) -> str:
    """Return a path, with a collection of all namespaces replaced by that of one."""
    found = _COLLECTION.fullmatch(path)
    return f"/{found['group']}/namespaces/{namespace}/{found['plural']}" if found else path


def resource_of(path: str) -> str:
    """Return the resource of a path: ``tasks``, ``cronjobs``, ``jobs``, ``pods``, …, or an empty text."""
    found = _OBJECT.fullmatch(path)
    return _SHORT.get(found["plural"], found["plural"]) if found else ""


def is_collection(path: str) -> bool:
    """Return whether a path is a collection."""
    found = _OBJECT.fullmatch(path)
    return found is not None and found["name"] is None


def write_of(method: str, path: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """Return the kind of a write and the task it is about.

    Args:
        method: Such as POST.
        path: Without the query.
        body: The decoded body; an empty mapping for a patch that is a list.

    """
    found = _OBJECT.fullmatch(path)
    if found is None:
        return f"{_VERBS.get(method, method.lower())}-other", ""
    resource = resource_of(path)
    if found["sub"] == "status" and resource in _TASKS:
        return f"{_VERBS[method]}-status", found["name"]
    kind = f"{_VERBS.get(method, method.lower())}-{resource}"
    if resource == "events":
        return kind, str((body.get("involvedObject") or {}).get("name") or "")
    if resource == "jobs":
        labels = (body.get("metadata") or {}).get("labels") or {}
        name = _JOB_NAME.fullmatch(found["name"] or "")
        return kind, str(labels.get(names.LABEL_TASK) or (name["task"] if name else ""))
    return kind, found["name"] or "" if resource in _TASKS else ""


def record_of(path: str, body: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the kind of a request to the recorder and the task it is about; None for another request."""
    found = _RECORD.fullmatch(path)
    if found is None:
        return None
    pod = _POD_NAME.fullmatch(str(body.get("pod") or ""))
    return f"record-{found['operation']}", pod["task"] if pod else ""


def event_of(resource: str, event: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the kind of a watch event and the task it is about; None for a bookmark or an error."""
    change, item = event["type"], event["object"]
    if change not in {"ADDED", "MODIFIED", "DELETED"}:
        return None
    meta = item["metadata"]
    task = meta["name"] if resource in _TASKS else str((meta.get("labels") or {}).get(names.LABEL_TASK) or "")
    return f"event-{resource}-{_state(resource, change, item)}", task


def _state(resource: str, change: str, item: Mapping[str, Any]) -> str:
    if change != "MODIFIED":
        return str(change).lower()
    status = item.get("status") or {}
    if resource == "pods":
        phase = str(status.get("phase") or "")
        return {"Running": "running", "Succeeded": "ended", "Failed": "ended"}.get(phase, "changed")
    if resource == "jobs":
        ended = any(c["type"] in _ENDS and c["status"] == "True" for c in status.get("conditions") or ())
        return "ended" if ended else "changed"
    return "changed"
