"""Examples of responses by operation. ``described`` adds them, because FastAPI removes null from those of a route."""

from collections.abc import Mapping

from carillon_core.ports import JSONObject

_STATISTICS: JSONObject = {
    "namespace": "team-a",
    "task": "nightly-report",
    "from": "2027-01-01T00:00:00Z",
    "to": "2027-01-08T00:00:00Z",
    "executions": {
        "running": 0,
        "succeeded": 6,
        "failed": 1,
        "timed_out": 0,
        "cancelled": 0,
        "skipped": 0,
        "missed": 0,
    },
    "successRate": 0.857143,
    "durationSeconds": {"p50": 41.2, "p95": 63.95, "p99": 66.79},
    "latencySeconds": {"p50": 1.4, "p95": 2.1, "p99": 2.34},
    "complete": True,
    "results": [
        {
            "id": "0c4b8a5e-2f0e-5f43-9a61-0b6f0c2a7d11",
            "slot": "2027-01-07T01:30:00Z",
            "status": "failed",
            "reason": "http_5xx",
        },
        {
            "id": "9d1f6f0a-77f5-5c0b-8f8e-4c2b1f0f3e55",
            "slot": "2027-01-06T01:30:00Z",
            "status": "succeeded",
            "reason": None,
        },
    ],
}
_CALLER: JSONObject = {
    "userName": "system:serviceaccount:team-a:ci",
    "groups": ["system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated"],
    "defaultNamespace": "team-a",
    "servesAllNamespaces": False,
    "everywhere": {"tasks": [], "targets": [], "requests": [], "executions": []},
    "namespaces": [
        {
            "name": "team-a",
            "tasks": ["get", "list", "create", "update", "patch", "delete"],
            "targets": ["get", "list"],
            "requests": ["get", "list", "create"],
            "executions": ["get", "list"],
        },
    ],
    "uncheckedNamespaces": 0,
}

EXAMPLES: Mapping[str, JSONObject] = {
    "getTaskStatistics": _STATISTICS,
    "getCaller": _CALLER,
}
"""A response 200 of each operation that has an example."""
