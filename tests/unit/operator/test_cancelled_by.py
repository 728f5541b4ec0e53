"""An execution that a user cancels by the REST API: the row, the status and the Event say who it was."""

from dataclasses import replace

import pytest

from carillon_core.contract import ExecutionStatus, ExitCode
from carillon_core.ports import JobEvent
from support.builders import FIRST, at
from support.operator import KEY, Operator, operator, running_row

__all__ = ["operator"]

CONTAINER: dict[str, object] = {"container": {"image": "x:1"}}
COUNTER: dict[str, object] = {"counter": {}}


async def cancel(operator: Operator, name: str) -> None:
    """Cancel an execution as the facade does: note who it is, then delete the Job."""
    uid = operator.cluster.jobs[KEY[0], name]["metadata"]["uid"]
    operator.cluster.annotate_job(KEY[0], name, uid, {"carillon.dev/cancelled-by": "ann"})
    await operator.see()
    await operator.cluster.delete_job(KEY[0], name, uid)


@pytest.mark.parametrize("task", [CONTAINER, COUNTER], ids=["a container", "a runner"])
async def test_a_slots_execution_says_who_cancelled_it(operator: Operator, task: dict[str, object]) -> None:
    """In the row, in the task's status, and in one Event."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=task)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    if task is COUNTER:
        await running_row(operator)
    await operator.turn("00:00:31")
    await cancel(operator, FIRST)
    await operator.turn("00:00:32")
    operator.cluster.finish_pod(KEY[0], FIRST, 143 if task is CONTAINER else ExitCode.CANCELLED, "got a signal")
    await operator.turn("00:00:33")
    await operator.turn("00:00:34")
    (row,) = operator.history.rows.values()
    assert (row.status, row.reason, row.message) == ("cancelled", "JobDeleted", "cancelled by ann")
    stored = operator.app.store.tasks.get(KEY)
    assert stored is not None
    assert stored.status.last_execution is not None
    assert (stored.status.last_execution.result, stored.status.last_execution.message) == (
        "Cancelled",
        "cancelled by ann",
    )
    events = [event for event in await operator.events() if event[1] == "Warning"]
    assert events == [("ScheduledTask", "Warning", "ExecutionFailed", 1)]
    assert any(e.notice.message.endswith(": cancelled by ann") for e in operator.cluster.events.values())


async def test_nothing_is_recorded_while_the_runner_is_in_its_grace(operator: Operator) -> None:
    """It may finish yet: then the row, the status and the Event all say that it succeeded."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=COUNTER)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    row = await running_row(operator)
    await operator.turn("00:00:31")
    await cancel(operator, FIRST)
    await operator.turn("00:00:32")
    assert operator.history.rows[row.id].status is ExecutionStatus.RUNNING, "its pod is still in its grace"
    # as the runner does before it exits
    done = replace(row, status=ExecutionStatus.SUCCEEDED, finished_at=at("00:00:33"))
    operator.history.rows[row.id] = done
    pod = operator.cluster.pods[KEY[0], f"{FIRST}-pod"]
    operator.cluster.finish_pod(KEY[0], FIRST, 0, "")
    operator.take(JobEvent("DELETED", "Pod", pod))
    await operator.turn("00:00:33")
    await operator.turn("00:00:34")
    assert operator.history.rows[row.id] == done
    stored = operator.app.store.tasks.get(KEY)
    assert stored is not None
    assert stored.status.last_execution is not None
    assert stored.status.last_execution.result == "Succeeded"
    assert ("ScheduledTask", "Normal", "ExecutionSucceeded", 1) in await operator.events()
    assert not [event for event in await operator.events() if event[1] == "Warning"]


async def test_a_runner_that_was_killed_is_closed_at_its_pods_end(operator: Operator) -> None:
    """It recorded nothing: the operator closes its row, and says who cancelled it."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=COUNTER)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await running_row(operator)
    await operator.turn("00:00:31")
    await cancel(operator, FIRST)
    await operator.turn("00:00:32")
    operator.cluster.finish_pod(KEY[0], FIRST, 137, "")
    await operator.turn("00:01:02")
    (row,) = operator.history.rows.values()
    assert (row.status, row.reason, row.message) == ("cancelled", "JobDeleted", "cancelled by ann")


async def test_a_runner_that_was_faster_does_not_hide_who_cancelled(operator: Operator) -> None:
    """Its row says only that it was terminated; the operator adds why when the pod has ended."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=COUNTER)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:00:31")
    row = replace(await running_row(operator), status=ExecutionStatus.CANCELLED, reason="Terminated")
    operator.history.rows[row.id] = replace(row, message="terminated by SIGTERM", finished_at=at("00:00:32"))
    await cancel(operator, FIRST)
    operator.cluster.finish_pod(KEY[0], FIRST, ExitCode.CANCELLED, "got a signal")
    await operator.turn("00:00:32")
    assert operator.rows() == [("00:00:30", "cancelled", "JobDeleted")]
    assert operator.history.rows[row.id].message == "cancelled by ann"


async def test_an_annotation_alone_cancels_nothing(operator: Operator) -> None:
    """Only a Job that is being deleted is cancelled."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=COUNTER)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await running_row(operator)
    uid = operator.cluster.jobs[KEY[0], FIRST]["metadata"]["uid"]
    operator.cluster.annotate_job(KEY[0], FIRST, uid, {"carillon.dev/cancelled-by": "ann"})
    await operator.turn("00:00:32")
    assert [row[1] for row in operator.rows()] == ["running"]


async def test_a_request_says_who_cancelled_it(operator: Operator) -> None:
    """In its status and in its Event; here its Job never had a pod."""
    await operator.create_task(intervalSeconds=3600)
    operator.now = at("00:10:00")
    operator.cluster.put_object("RunRequest", KEY[0], "now", {"taskRef": {"name": KEY[1]}})
    await operator.turn("00:10:00")
    await operator.turn("00:10:01")
    await cancel(operator, operator.job_names()[0])
    await operator.turn("00:10:02")
    await operator.turn("00:10:03")
    status = operator.cluster.objects["RunRequest"][KEY[0], "now"]["status"]
    assert (status["result"], status["reason"], status["message"]) == ("Cancelled", "JobDeleted", "cancelled by ann")
    await operator.events()
    own = [e.notice.message for e in operator.cluster.events.values() if e.kind == "RunRequest"]
    assert any(message.endswith(": cancelled by ann") for message in own)


@pytest.mark.parametrize("task", [CONTAINER, COUNTER], ids=["a container", "a runner"])
async def test_a_job_that_was_cancelled_before_it_had_a_pod_is_announced_once(
    operator: Operator, task: dict[str, object]
) -> None:
    """Its end is known when the API server has been asked about its pods."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=task)
    await operator.turn("00:00:30")
    await operator.turn("00:00:31")
    await cancel(operator, FIRST)
    await operator.turn("00:00:32")
    await operator.turn("00:00:33")
    assert operator.rows() == [("00:00:30", "cancelled", "JobDeleted")]
    events = [event for event in await operator.events() if event[1] == "Warning"]
    assert events == [("ScheduledTask", "Warning", "ExecutionFailed", 1)]
    assert any(e.notice.message.endswith(": cancelled by ann") for e in operator.cluster.events.values())
