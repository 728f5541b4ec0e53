"""The reconciler over the memory adapters: requests."""

from typing import Any

import pytest

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.errors import RefusedError, UnavailableError
from support.builders import FIRST, at
from support.operator import KEY, Operator, finish, operator

__all__ = ["operator"]


def request(operator: Operator, name: str = "now", **spec: Any) -> None:
    """Request a run of the task."""
    operator.cluster.put_object("RunRequest", KEY[0], name, {"taskRef": {"name": KEY[1]}, **spec})


def status_of(operator: Operator, name: str = "now") -> dict[str, Any]:
    """Return a request's stored status."""
    status: dict[str, Any] = operator.cluster.objects["RunRequest"][KEY[0], name]["status"]
    return status


def accepted(operator: Operator) -> tuple[str, str]:
    """Return status and reason of the request's Accepted condition."""
    (condition,) = (c for c in status_of(operator)["conditions"] if c["type"] == "Accepted")
    return condition["status"], condition["reason"]


async def test_a_request_is_launched_recorded_and_deleted(operator: Operator) -> None:
    """Deleting the request deletes its Job; its row stays."""
    await operator.create_task(intervalSeconds=3600)
    operator.now = at("00:10:00")
    request(operator, ttlSecondsAfterFinished=60)
    await operator.turn("00:10:00")
    await operator.turn("00:10:01")
    (name,) = operator.job_names()
    assert accepted(operator) == ("True", "Accepted")
    assert status_of(operator)["result"] == "Running"
    await finish(operator, "00:10:05", name, 1, "boom")
    assert (status_of(operator)["result"], status_of(operator)["message"]) == ("Failed", "boom")
    (row,) = operator.history.rows.values()
    assert (row.cause, row.status, row.message) == (Cause.MANUAL, ExecutionStatus.FAILED, "boom")
    await operator.turn("00:11:05")
    assert operator.cluster.objects["RunRequest"] == {}
    assert operator.cluster.jobs == {}


async def test_a_request_that_finds_an_execution_active_is_refused_and_recorded(operator: Operator) -> None:
    """The refusal is recorded, and the active execution continues."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.now = at("00:00:40")
    request(operator)
    await operator.turn("00:00:40")
    assert accepted(operator) == ("False", "StillActive")
    assert operator.rows() == [("00:00:40", "skipped", "StillActive")]
    assert operator.job_names() == [FIRST]


async def test_a_slot_that_finds_a_requests_execution_active_is_skipped(operator: Operator) -> None:
    """Forbid also applies between a slot and a requested run."""
    await operator.create_task(intervalSeconds=30)
    operator.now = at("00:00:20")
    request(operator)
    await operator.turn("00:00:20")
    await operator.turn("00:00:30")
    assert operator.rows() == [("00:00:30", "skipped", "StillActive")]


async def test_a_request_for_no_task_is_refused_after_its_grace(operator: Operator) -> None:
    """The refusal waits ten seconds, because the task may be applied after the request."""
    operator.now = at("00:00:10")
    request(operator)
    await operator.turn("00:00:15")
    assert operator.job_names() == []
    await operator.turn("00:00:20")
    assert accepted(operator) == ("False", "TaskNotFound")
    (row,) = operator.history.rows.values()
    assert (row.status, row.task_type, row.task) == (ExecutionStatus.FAILED, "unknown", KEY[1])


async def test_a_task_that_no_event_has_shown_does_not_refuse_its_request(operator: Operator) -> None:
    """The operator asks the API server for the task before it refuses a request."""
    request(operator)
    await operator.see()
    await operator.create_task(intervalSeconds=3600)
    operator.now = at("00:00:20")
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    assert accepted(operator) == ("True", "Accepted")


async def test_a_request_that_the_api_server_refuses_is_recorded(operator: Operator) -> None:
    """The refusal is final."""
    await operator.create_task(intervalSeconds=3600)
    operator.now = at("00:10:00")
    request(operator)
    operator.cluster.create_error = RefusedError("quota exceeded")
    await operator.turn("00:10:00")
    operator.cluster.create_error = None
    await operator.turn("00:10:30")
    assert operator.job_names() == []
    assert operator.rows() == [("00:10:00", "missed", "LaunchRefused")]


async def test_a_request_whose_answer_was_lost_is_launched_once(operator: Operator) -> None:
    """If the Job already exists and is the request's own, the launch counts as done."""
    await operator.create_task(intervalSeconds=3600)
    operator.now = at("00:10:00")
    request(operator)
    await operator.see()
    operator.cluster.lose_next_answer = True
    with pytest.raises(UnavailableError):
        await operator.term.reconciler.reconcile(KEY)
    operator.restart()
    await operator.turn("00:10:05")
    assert len(operator.job_names()) == 1
    assert accepted(operator) == ("True", "Accepted")


async def test_a_refused_request_is_not_deleted_before_it_is_recorded(operator: Operator) -> None:
    """While the database is down, the request stays even after its time to live."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.now = at("00:00:40")
    request(operator, ttlSecondsAfterFinished=1)
    operator.history.outage = "connection refused"
    for when in ("00:00:40", "00:00:50"):
        operator.now = at(when)
        await operator.see()
        for _ in range(2):
            await operator.term.reconciler.reconcile(KEY)
            await operator.term.statuses.flush()
        await operator.term.janitor.drained()
    assert operator.cluster.objects["RunRequest"] != {}
    operator.history.outage = None
    await operator.turn("00:00:55")
    assert ("00:00:40", "skipped", "StillActive") in operator.rows()
    assert operator.cluster.objects["RunRequest"] == {}


async def test_a_request_with_a_task_of_its_own_has_a_turn_of_its_own(operator: Operator) -> None:
    """Such a request is reconciled under a key that no task can have."""
    operator.cluster.put_object("RunRequest", KEY[0], "alone", {"task": {"sum": {"a": 1, "b": 2}}})
    await operator.see()
    await operator.term.reconciler.reconcile((KEY[0], "runrequests/alone"))
    await operator.write()
    (job,) = operator.cluster.created
    assert job["metadata"]["ownerReferences"][0]["kind"] == "RunRequest"
    assert status_of(operator, "alone")["result"] == "Running"


async def test_a_finished_request_keeps_only_what_its_deletion_needs(operator: Operator) -> None:
    """Its spec's free fields leave the operator's memory; it is still recorded with its type, and deleted in time."""
    body = "x" * 50_000
    own = {"task": {"http": {"url": "http://example.com/", "body": body}}}
    operator.cluster.put_object("RunRequest", KEY[0], "alone", {**own, "ttlSecondsAfterFinished": 60})
    long_past = {"taskRef": {"name": KEY[1]}, "runAt": "2020-01-01T00:00:00Z", "parameters": {"note": body}}
    operator.cluster.put_object("RunRequest", KEY[0], "old", {**long_past, "ttlSecondsAfterFinished": 60})
    await operator.create_task(intervalSeconds=3600)
    alone = (KEY[0], "runrequests/alone")
    await operator.turn("00:00:05")
    await operator.term.reconciler.reconcile(alone)
    [job] = operator.job_names()
    operator.cluster.finish_pod(KEY[0], job, 1, "boom")
    await operator.see()
    await operator.term.reconciler.reconcile(alone)
    await operator.write()
    await operator.see()
    for name in ("alone", "old"):
        found = operator.app.store.requests.get((KEY[0], name))
        assert found is not None
        assert found.status.finished_at is not None
        assert body not in repr(found)
    assert {(row.task, row.task_type) for row in operator.history.rows.values()} == {
        ("alone", "http"),
        (KEY[1], "counter"),
    }
    operator.now = at("00:02:00")
    await operator.turn("00:02:00")
    await operator.term.reconciler.reconcile(alone)
    await operator.write()
    assert operator.cluster.objects["RunRequest"] == {}
