"""kubectl and REST show the same objects, and ``kubectl get`` prints the relevant columns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from carillon_devcluster import ClusterError
from support.view import instant
from support.waiting import until

if TYPE_CHECKING:
    from support.stack import Stack

SPEC = {"intervalSeconds": 3600, "task": {"sum": {"a": 1, "b": 2}}}


def test_what_rest_creates_kubectl_sees(stack: Stack, namespace: str) -> None:
    """This holds for create, change and delete over REST."""
    tasks = f"/api/v1/namespaces/{namespace}/tasks"
    created = stack.http.post(tasks, json={"name": "made", "spec": SPEC})
    assert created.status_code == 201
    assert stack.task(namespace, "made")["spec"]["intervalSeconds"] == 3600
    changed = stack.http.patch(f"{tasks}/made", json={"spec": {"suspend": True}})
    assert changed.status_code == 200
    assert stack.task(namespace, "made")["spec"]["suspend"] is True
    assert stack.http.delete(f"{tasks}/made").status_code == 204
    assert "made" not in stack.kubectl("get", "scheduledtasks", "--namespace", namespace, "--output", "name")


def test_what_kubectl_applies_rest_sees(stack: Stack, namespace: str) -> None:
    """This holds for create, change and delete with kubectl."""
    path = f"/api/v1/namespaces/{namespace}/tasks/applied"
    stack.apply(namespace, "applied", **SPEC)
    assert stack.http.get(path).json()["spec"]["task"] == SPEC["task"]
    stack.apply(namespace, "applied", **{**SPEC, "intervalSeconds": 60})
    assert stack.http.get(path).json()["spec"]["intervalSeconds"] == 60
    stack.kubectl("delete", "scheduledtask", "applied", "--namespace", namespace)
    assert stack.http.get(path).status_code == 404


def test_kubectl_get_answers_the_questions(stack: Stack, namespace: str) -> None:
    """The columns are schedule, suspended, active, last run and result, next run, and ready."""
    stack.apply(namespace, "shown", intervalSeconds=1, task={"counter": {}})
    stack.await_executions(namespace, "shown", 1, "Succeeded")
    until(lambda: stack.task(namespace, "shown")["status"].get("lastResult") == "Succeeded", 30, "the status says so")
    head, line = stack.kubectl("get", "scheduledtasks", "--namespace", namespace).splitlines()
    columns = ["NAME", "SCHEDULE", "SUSPEND", "ACTIVE", "LAST RUN", "LAST RESULT", "NEXT RUN", "READY", "REASON", "AGE"]
    starts = [head.index(column) for column in columns]
    assert starts == sorted(starts)
    cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    assert cells[:3] == ["shown", "every 1s", "false"]
    assert cells[5] == "Succeeded"
    assert cells[6].endswith("Z")
    assert cells[7:9] == ["True", "Scheduled"]
    assert "shown" in stack.kubectl("get", "schtask", "--namespace", namespace, "--output", "name")


def test_suspend_stops_and_resume_runs_no_surprise(stack: Stack, namespace: str) -> None:
    """Slots that passed during the suspension are not launched."""
    stack.apply(namespace, "pausing", intervalSeconds=1, suspend=True, task={"counter": {}})
    until(lambda: stack.ready_reason(namespace, "pausing") == "True Suspended", 30, "the task is suspended")
    assert stack.executions(namespace, "pausing") == []
    resumed = datetime.now(UTC)
    stack.kubectl(
        "patch",
        "scheduledtask",
        "pausing",
        "--namespace",
        namespace,
        "--type=merge",
        "--patch",
        '{"spec":{"suspend":false}}',
    )
    stack.await_executions(namespace, "pausing", 1, "Succeeded")
    # a late operator may miss one that came after
    missed = stack.executions(namespace, "pausing", "Missed")
    assert [row for row in missed if instant(row["slot"]) <= resumed] == []


REFUSED = {
    "no schedule at all": ({"task": {"counter": {}}}, "exactly one of"),
    "two schedules": ({"intervalSeconds": 5, "schedule": "* * * * *", "task": {"counter": {}}}, "exactly one"),
    "no task type": ({"intervalSeconds": 5, "task": {}}, "exactly one of"),
    "two task types": ({"intervalSeconds": 5, "task": {"counter": {}, "sum": {"a": 1, "b": 2}}}, "exactly one"),
    "a negative interval": ({"intervalSeconds": -5, "task": {"counter": {}}}, "greater than or equal to 1"),
    "a sleep of zero": (
        {"intervalSeconds": 5, "task": {"sleep": {"durationSeconds": 0}}},
        "greater than or equal to 1",
    ),
    "an unknown field": ({"intervalSeconds": 5, "cron": "x", "task": {"counter": {}}}, 'unknown field "spec.cron"'),
}


@pytest.mark.parametrize(("spec", "want"), REFUSED.values(), ids=REFUSED.keys())
def test_kubectl_is_told_what_to_mend(stack: Stack, namespace: str, spec: dict[str, object], want: str) -> None:
    """The API server rejects an invalid spec with a message that says what to fix."""
    with pytest.raises(ClusterError, match=want):
        stack.apply(namespace, "wrong", **spec)


def test_a_name_that_is_too_long_is_refused(stack: Stack, namespace: str) -> None:
    """A Job's name also contains the slot's time."""
    with pytest.raises(ClusterError, match="52"):
        stack.apply(namespace, "n" * 53, **SPEC)


@pytest.mark.parametrize(
    ("fields", "want_field"),
    [({"schedule": "61 * * * *"}, "spec.schedule"), ({"schedule": "0 0 * * *", "timeZone": "Mars/X"}, "spec.timeZone")],
    ids=["an unparsable cron", "an unknown time zone"],
)
def test_what_no_schema_sees(stack: Stack, namespace: str, fields: dict[str, str], want_field: str) -> None:
    """REST and the webhook reject it with the field; past them, it is Ready=False, and the operator continues."""
    spec = {**fields, "task": {"counter": {}}}
    answer = stack.http.post(f"/api/v1/namespaces/{namespace}/tasks", json={"name": "wrong", "spec": spec})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [want_field]
    assert stack.refuses(namespace, "wrong", want_field, **spec), "the webhook refuses what REST refuses"
    with stack.webhook_off():
        until(lambda: not stack.refuses(namespace, "wrong", want_field, **spec), 30, "the webhook is off")
    until(
        lambda: stack.ready_reason(namespace, "wrong") == "False InvalidSchedule", 30, "Ready is False with its reason"
    )
    stack.apply(namespace, "right", intervalSeconds=1, task={"counter": {}})
    stack.await_executions(namespace, "right", 1, "Succeeded")
