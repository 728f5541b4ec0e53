"""General information in the OpenAPI document: licence, contact, servers and tags. ``finish`` adds it."""

from carillon_core.ports import JSONObject

INFO: JSONObject = {
    "contact": {"name": "The Carillon authors"},
    "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
}
SERVERS: tuple[JSONObject, ...] = ({"url": "/", "description": "The server that serves this document."},)
TAGS: tuple[JSONObject, ...] = (
    {"name": "tasks", "description": "Create, read, change, pause and delete ScheduledTasks."},
    {"name": "targets", "description": "Manage HTTPTargets: the URLs and the Secrets that HTTP tasks share."},
    {"name": "runs", "description": "Run a task outside its schedule, and see its outcome."},
    {"name": "run-task", "description": "Run a one-off task without a ScheduledTask, and read its output."},
    {"name": "upcoming", "description": "See when tasks run next, and preview a spec before you store it."},
    {
        "name": "executions",
        "description": "Read the history: executions, their attempts and logs. Retry or cancel one.",
    },
    {
        "name": "reports",
        "description": (
            "See a task's statistics, a timeline of past executions and planned slots, and the expected load."
        ),
    },
    {"name": "events", "description": "Follow changes to tasks and executions."},
    {"name": "me", "description": "The caller's identity, and its permissions by namespace."},
    {"name": "metrics", "description": "Count executions by status."},
    {"name": "audit", "description": "See who changed what through this API."},
    {"name": "health", "description": "Probes for Kubernetes and metrics for Prometheus."},
)
"""Every tag of the routes, in the order of the documentation pages."""
