"""Objects that today's schemas reject, because they are older or bypassed them, do not affect other tasks."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml

from carillon_local.layout import CRDS
from support.manifests import condition, request, target, task
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.stack import Stack

ANCIENT_SPECS: dict[str, Any] = {
    "a-text": "every minute",
    "a-number": 5,
    "a-list": [{"schedule": "* * * * *"}],
    "nothing": None,
    "no-task": {"intervalSeconds": 1},
    "two-schedules": {"intervalSeconds": 1, "schedule": "* * * * *", "task": {"counter": {}}},
    "of-texts": {"intervalSeconds": "1", "task": "counter", "suspend": "no"},
    "huge": {"intervalSeconds": 10**15, "task": {"sleep": {"durationSeconds": 10**15}}},
    "unknown": {"intervalSeconds": 1, "task": {"telegram": {"to": "nobody"}}, "retries": 3},
    "nested": {"intervalSeconds": 1, "task": {"plugin": {"name": "x", "parameters": {"a": [[[[[[]]]]]]}}}},
    "never": {"schedule": "0 0 31 2 *", "task": {"counter": {}}},
}
GARBAGE: dict[str, Any] = {
    "a-text": "broken",
    "a-list": [1, 2],
    "of-wrong-types": {"conditions": "none", "active": "many", "unrecorded": 7, "calendar": []},
    "of-wrong-times": {"settledUntil": "yesterday", "lastScheduleTime": "9999-99-99"},
    "of-the-future": {"settledUntil": "9998-01-01T00:00:00Z", "countedUntil": "9998-01-01T00:00:00Z", "runs": -5},
    "of-the-past": {
        "settledUntil": "0001-01-01T00:00:00Z",
        "backlog": {"after": "0001-01-01T00:00:00Z", "until": "9998-01-01T00:00:00Z"},
        "unrecorded": [
            {"slot": "0001-01-01T00:00:00Z", "status": "skipped", "reason": "x\u0000y"},
            {"slot": "9999-12-31T23:59:59Z", "status": "missed", "reason": "far"},
        ],
    },
}


@contextmanager
def lawless(stack: Stack) -> Iterator[None]:
    """Remove the schemas and the webhook until the block ends."""
    everything = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    with stack.webhook_off():
        for crd in everything:
            schema = {"type": "object", "properties": {"spec": {**LOOSE}, "status": {**LOOSE}}}
            patch = [{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": schema}]
            name = crd["metadata"]["name"]
            stack.kubectl("patch", "crd", name, "--type=json", "--patch", json.dumps(patch))
        try:
            yield
        finally:
            stack.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(CRDS))


HONEST = {"intervalSeconds": 1, "task": {"counter": {}}}
LOOSE = {"x-kubernetes-preserve-unknown-fields": True}
"""Any value of any type."""


def applied(stack: Stack, namespace: str, items: list[dict[str, Any]]) -> bool:
    """Apply objects; return whether the API server accepted all of them, which it does once it uses the new schemas."""
    said = stack.apply_objects(namespace, *items, check=False)
    return len(said.splitlines()) == len(items)


def test_what_breaks_every_rule_stops_nobody_else(stack: Stack, namespace: str) -> None:
    """The operator survives specs and statuses of any shape, giant annotations, and Jobs that pretend to be ours."""
    stack.apply_objects(namespace, task("honest", **HONEST))
    with lawless(stack):
        write_garbage(stack, namespace)
        others_go_on(stack, namespace)
    # the rules are restored, and the invalid objects still exist
    others_go_on(stack, namespace)
    stack.end("operator")
    stack.start_operator()
    others_go_on(stack, namespace)
    stack.await_rows(namespace, "needy", 1, "failed")
    assert stack.http.get(f"/api/v1/namespaces/{namespace}/tasks").is_success
    assert stack.runs("operator")
    assert stack.runs("api")
    assert "Traceback" not in stack.log("operator")
    slots = [row["slot"] for row in stack.rows(namespace, "honest")]
    assert len(slots) == len(set(slots))
    for name in ("a-text", "of-the-future"):
        await_ready(stack, namespace, f"status-{name}")


def await_ready(stack: Stack, namespace: str, name: str) -> None:
    """Wait until the operator has written the status again."""
    wanted = ("True", "Scheduled")
    until(lambda: condition(stack.ours(namespace, "scheduledtasks", name), "Ready") == wanted, 30, f"{name} is mended")


def others_go_on(stack: Stack, namespace: str) -> None:
    """Wait until the tasks with a valid spec have run again, whatever their status contains."""
    names = ["honest", "giant", *(f"status-{name}" for name in GARBAGE)]
    since = datetime.now(UTC)
    for name in names:
        stack.await_slot_after(namespace, name, since)


def write_garbage(stack: Stack, namespace: str) -> None:
    """Write an object that every schema would reject."""
    giant = {"metadata": {"name": "giant", "annotations": {"note": "x" * 100_000}}}
    broken = [
        *({**task(f"spec-{name}"), "spec": spec} for name, spec in ANCIENT_SPECS.items()),
        *({**request(f"spec-{name}"), "spec": spec} for name, spec in ANCIENT_SPECS.items()),
        *({**target(f"spec-{name}"), "spec": spec} for name, spec in ANCIENT_SPECS.items()),
        {**task("giant", **HONEST), **giant},
        {**task("needy", intervalSeconds=1, task={"http": {"targetRef": {"name": "spec-a-text"}}})},
        *(task(f"status-{name}", **HONEST) for name in GARBAGE),
    ]
    until(lambda: applied(stack, namespace, broken), 60, "the API server takes anything", 1)
    for name, status in GARBAGE.items():
        patch = json.dumps([{"op": "add", "path": "/status", "value": status}])
        there = ("scheduledtask", f"status-{name}", "--namespace", namespace, "--subresource=status")
        stack.kubectl("patch", *there, "--type=json", "--patch", patch)
    impostor = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "impostor",
            "labels": {
                "app.kubernetes.io/managed-by": "carillon",
                "carillon.dev/task": "giant",
                "carillon.dev/task-uid": "none",
            },
            "annotations": {"carillon.dev/slot": "long ago", "carillon.dev/execution-id": "1"},
        },
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "test/missing:1"}]}},
        },
    }
    stack.apply_objects(namespace, impostor)
