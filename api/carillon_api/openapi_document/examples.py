"""Examples of responses by operation. ``described`` adds them, because FastAPI removes null from those of a route."""

from collections.abc import Mapping

from carillon_core.ports import JSONObject

_STATISTICS: JSONObject = {
    "namespace": "team-a",
    "task": "nightly-report",
    "from": "2027-01-01T00:00:00Z",
    "to": "2027-01-08T00:00:00Z",
    "executions": {
        "Running": 0,
        "Succeeded": 6,
        "Failed": 1,
        "TimedOut": 0,
        "Cancelled": 0,
        "Skipped": 0,
        "Missed": 0,
    },
    "successRate": 0.857143,
    "durationSeconds": {"p50": 41.2, "p95": 63.95, "p99": 66.79},
    "latencySeconds": {"p50": 1.4, "p95": 2.1, "p99": 2.34},
    "complete": True,
    "results": [
        {
            "id": "0c4b8a5e-2f0e-5f43-9a61-0b6f0c2a7d11",
            "slot": "2027-01-07T01:30:00Z",
            "status": "Failed",
            "reason": "HTTP5xx",
        },
        {
            "id": "9d1f6f0a-77f5-5c0b-8f8e-4c2b1f0f3e55",
            "slot": "2027-01-06T01:30:00Z",
            "status": "Succeeded",
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
_TIMELINE: JSONObject = {
    "from": "2027-01-07T00:00:00Z",
    "to": "2027-01-08T12:00:00Z",
    "now": "2027-01-07T09:15:00Z",
    "marks": [
        {
            "namespace": "team-a",
            "task": "nightly-report",
            "slot": "2027-01-07T01:30:00Z",
            "firstSlot": None,
            "kind": "past",
            "status": "Failed",
            "reason": "HTTP5xx",
            "executionId": "0c4b8a5e-2f0e-5f43-9a61-0b6f0c2a7d11",
            "startedAt": "2027-01-07T01:30:01.412Z",
            "finishedAt": "2027-01-07T01:30:42.612Z",
        },
        {
            "namespace": "team-a",
            "task": "nightly-report",
            "slot": "2027-01-08T01:30:00Z",
            "firstSlot": None,
            "kind": "planned",
            "status": None,
            "reason": None,
            "executionId": None,
            "startedAt": None,
            "finishedAt": None,
        },
    ],
    "bucketSeconds": None,
    "buckets": None,
    "complete": True,
    "plannedUntil": None,
}
_BUCKETS: JSONObject = {
    "from": "2027-01-01T00:00:00Z",
    "to": "2027-01-31T00:00:00Z",
    "now": "2027-01-07T09:15:00Z",
    "marks": None,
    "bucketSeconds": 21600,
    "buckets": [
        {"start": "2027-01-07T00:00:00Z", "executions": {"Succeeded": 351, "Failed": 3, "Skipped": 6}, "planned": 0},
        {"start": "2027-01-07T06:00:00Z", "executions": {"Running": 1, "Succeeded": 194}, "planned": 165},
        {"start": "2027-01-07T12:00:00Z", "executions": {}, "planned": 360},
    ],
    "complete": True,
    "plannedUntil": None,
}
_LOAD: JSONObject = {
    "from": "2027-01-07T09:15:00Z",
    "to": "2027-01-07T09:20:00Z",
    "bucketSeconds": 60,
    "counts": [0, 1, 0, 0, 3],
    "seconds": [0.0, 41.2, 0.0, 0.0, 46.7],
    "secondsMissing": None,
    "total": 4,
    "tasks": 4,
    "measuredTasks": 3,
    "busiest": [
        {
            "start": "2027-01-07T09:19:00Z",
            "count": 3,
            "seconds": 46.7,
            "tasks": [
                {"namespace": "team-a", "task": "heartbeat", "count": 2, "seconds": 5.5},
                {"namespace": "team-b", "task": "invoices", "count": 1, "seconds": 41.2},
            ],
            "taskCount": 2,
        },
        {
            "start": "2027-01-07T09:16:00Z",
            "count": 1,
            "seconds": 41.2,
            "tasks": [{"namespace": "team-a", "task": "nightly-report", "count": 1, "seconds": 41.2}],
            "taskCount": 1,
        },
    ],
    "countedUntil": None,
}
_UPCOMING: JSONObject = {
    "items": [
        {
            "time": "2027-01-08T01:30:00Z",
            "localTime": "2027-01-08T02:30:00+01:00",
            "namespace": "team-a",
            "task": "nightly-report",
            "timeZone": "Europe/Berlin",
        }
    ],
    "blocked": [
        {
            "namespace": "team-a",
            "task": "invoices",
            "time": "2027-01-07T10:00:00Z",
            "reason": "TargetNotFound",
            "message": "HTTPTarget billing not found",
        },
        {
            "namespace": "team-a",
            "task": "old-report",
            "time": None,
            "reason": "Suspended",
            "message": "the task is suspended: no slots are launched until spec.suspend is false",
        },
    ],
    "tasks": 3,
}
_SPREAD: JSONObject = {
    "offsetSeconds": 1020,
    "schedule": "17 2 * * *",
    "startAt": None,
    "current": {"most": 41, "mean": 41.0},
    "suggested": {"most": 2, "mean": 2.0},
    "message": None,
}
_MATCHES: JSONObject = {
    "matched": 2,
    "done": 0,
    "unchanged": 0,
    "failed": 0,
    "remaining": 0,
    "nextCursor": None,
    "items": [
        {
            "namespace": "team-a",
            "task": name,
            "executionId": None,
            "outcome": "matched",
            "created": None,
            "problem": None,
        }
        for name in ("invoices", "nightly-report")
    ],
    "dryRun": {
        "changed": True,
        "created": [],
        "deleted": [],
        "slots": None,
        "launches": [],
        "unlaunched": [],
        "ends": [],
        "notes": [],
    },
}
_RETRIED: JSONObject = {
    "matched": 2,
    "done": 1,
    "unchanged": 0,
    "failed": 1,
    "remaining": 0,
    "nextCursor": None,
    "items": [
        {
            "namespace": "team-a",
            "task": "nightly-report",
            "executionId": "0c4b8a5e-2f0e-5f43-9a61-0b6f0c2a7d11",
            "outcome": "done",
            "created": "retry-0c4b8a5e2f0e5f439a610b6f0c2a7d11-1",
            "problem": None,
        },
        {
            "namespace": "team-a",
            "task": "old-report",
            "executionId": "9d1f6f0a-77f5-5c0b-8f8e-4c2b1f0f3e55",
            "outcome": "failed",
            "created": None,
            "problem": {
                "type": "urn:carillon:problem:wrong-state",
                "title": "Not allowed in the execution's current state",
                "status": 409,
                "detail": "the ScheduledTask team-a/old-report has been deleted: create it again",
            },
        },
    ],
}
_DELETION: JSONObject = {
    "namespace": "team-a",
    "name": "nightly-report",
    "dryRun": {
        "changed": True,
        "created": [],
        "deleted": [{"kind": "ScheduledTask", "name": "nightly-report"}],
        "slots": {
            "vanishing": [{"time": "2027-01-08T01:30:00Z", "localTime": "2027-01-08T02:30:00+01:00"}],
            "appearing": [],
            "until": "2027-01-09T00:00:00Z",
        },
        "launches": [],
        "unlaunched": [],
        "ends": [{"id": "0c4b8a5e-2f0e-5f43-9a61-0b6f0c2a7d11", "jobName": "nightly-report-30153810"}],
        "notes": [],
    },
}
_RUN_DELETION: JSONObject = {
    "namespace": "team-a",
    "name": "hello-now",
    "dryRun": {
        "changed": True,
        "created": [],
        "deleted": [{"kind": "RunRequest", "name": "hello-now"}],
        "slots": None,
        "launches": [],
        "unlaunched": [],
        "ends": [],
        "notes": [],
    },
}

_HEALTH: JSONObject = {
    "status": "ok",
    "components": [{"name": name, "status": "up"} for name in ("database", "apiServer", "operator")],
}

EXAMPLES: Mapping[str, JSONObject] = {
    "getSystemHealth": _HEALTH,
    "getTaskStatistics": _STATISTICS,
    "getCaller": _CALLER,
    "getNamespacedTimeline": _TIMELINE,
    "getTimeline": _BUCKETS,
    "listUpcoming": _UPCOMING,
    "listNamespacedUpcoming": _UPCOMING,
    "getNamespacedLoad": _LOAD,
    "getLoad": _LOAD,
    "suggestNamespacedOffset": _SPREAD,
    "suggestOffset": _SPREAD,
    "changeTasks": _MATCHES,
    "changeNamespacedTasks": _MATCHES,
    "changeExecutions": _RETRIED,
    "changeNamespacedExecutions": _RETRIED,
    "deleteTask": _DELETION,
    "deleteRun": _RUN_DELETION,
}
"""A response 200 of each operation that has an example."""
