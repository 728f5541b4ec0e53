"""The proxy of ``make faults``: how it names requests and events, and limits them to a namespace."""

from __future__ import annotations

from typing import Any

import pytest

from carillon_core.resources import names
from faults.injection import calls

TASKS = f"/apis/{names.API_VERSION}"
LABELS = {names.LABEL_TASK: "api"}


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/api/v1/pods", "/api/v1/namespaces/own/pods"),
        ("/apis/batch/v1/jobs", "/apis/batch/v1/namespaces/own/jobs"),
        (f"{TASKS}/scheduledtasks", f"{TASKS}/namespaces/own/scheduledtasks"),
        (f"{TASKS}/runrequests", f"{TASKS}/namespaces/own/runrequests"),
        ("/apis/batch/v1/namespaces/own/jobs", "/apis/batch/v1/namespaces/own/jobs"),
        ("/api/v1", "/api/v1"),
        ("/api/v1/namespaces", "/api/v1/namespaces"),
    ],
)
def test_collections_of_all_namespaces_are_confined(path: str, want: str) -> None:
    """All other requests are unchanged."""
    assert calls.confined(path, "own") == want


@pytest.mark.parametrize(
    ("method", "path", "body", "want"),
    [
        ("POST", "/apis/batch/v1/namespaces/n/jobs", {"metadata": {"labels": LABELS}}, ("create-jobs", "api")),
        ("DELETE", "/apis/batch/v1/namespaces/n/jobs/my-api-1767225604", {}, ("delete-jobs", "my-api")),
        ("PATCH", f"{TASKS}/namespaces/n/scheduledtasks/api/status", {}, ("patch-status", "api")),
        ("PATCH", f"{TASKS}/namespaces/n/scheduledtasks/api", {}, ("patch-tasks", "api")),
        ("POST", "/api/v1/namespaces/n/events", {"involvedObject": {"name": "api"}}, ("create-events", "api")),
        ("POST", "/api/v1/namespaces/n/secrets", {"metadata": {"name": "s"}}, ("create-secrets", "")),
        ("POST", "/whatever", {}, ("create-other", "")),
    ],
)
def test_writes_are_named_by_verb_resource_and_task(
    method: str, path: str, body: dict[str, Any], want: tuple[str, str]
) -> None:
    """The n-th request of a kind is therefore the same in every run."""
    assert calls.write_of(method, path, body) == want


def pod(phase: str) -> dict[str, Any]:
    """Return a pod of the task."""
    return {"metadata": {"name": "api-1767225604-x", "labels": LABELS}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("resource", "change", "item", "want"),
    [
        ("pods", "ADDED", pod("Pending"), ("event-pods-added", "api")),
        ("pods", "MODIFIED", pod("Pending"), ("event-pods-changed", "api")),
        ("pods", "MODIFIED", pod("Running"), ("event-pods-running", "api")),
        ("pods", "MODIFIED", pod("Succeeded"), ("event-pods-ended", "api")),
        ("pods", "DELETED", pod("Failed"), ("event-pods-deleted", "api")),
        ("tasks", "MODIFIED", {"metadata": {"name": "api"}}, ("event-tasks-changed", "api")),
        ("pods", "BOOKMARK", {"metadata": {}}, None),
        ("pods", "ERROR", {"code": 410}, None),
    ],
)
def test_events_are_named_by_what_they_show(
    resource: str, change: str, item: dict[str, Any], want: tuple[str, str] | None
) -> None:
    """Bookmarks and errors are not steps."""
    assert calls.event_of(resource, {"type": change, "object": item}) == want


def test_a_job_has_ended_with_its_first_condition_that_says_so() -> None:
    """The operator reads it in the same way."""
    conditions = [{"type": "SuccessCriteriaMet", "status": "True"}]
    item = {"metadata": {"name": "j", "labels": LABELS}, "status": {"conditions": conditions}}
    assert calls.event_of("jobs", {"type": "MODIFIED", "object": item}) == ("event-jobs-ended", "api")


@pytest.mark.parametrize(
    ("path", "body", "want"),
    [
        ("/v1/executions/6f96/claim", {"pod": "my-api-1767225604-x7k2p"}, ("record-claim", "my-api")),
        ("/v1/executions/6f96/save-attempts", {"pod": "api-1767225604-x7k2p"}, ("record-save-attempts", "api")),
        ("/v1/executions/6f96/look", {}, ("record-look", "")),
        ("/healthz", {}, None),
    ],
)
def test_requests_to_the_recorder_are_named(path: str, body: dict[str, Any], want: tuple[str, str] | None) -> None:
    """By the operation and the task of the pod that sends it."""
    assert calls.record_of(path, body) == want
