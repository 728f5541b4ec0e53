"""The reconciler over the memory adapters: requests, containers, targets, retention, and what each leaves behind."""

import copy
from typing import Any
from uuid import uuid4

import pytest

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Closing
from carillon_core.errors import ConflictError, ForbiddenError, RefusedError, UnavailableError
from carillon_core.resources.base import rfc3339
from support.builders import at
from support.operator import KEY, Operator, running
from support.waiting import eventually

FIRST = "backup-1767225630"  # 2026-01-01T00:00:30Z
CONTAINER = {"container": {"image": "busybox", "command": ["true"]}}


@pytest.fixture
def operator() -> Operator:
    """An operator that has seen nothing yet."""
    return Operator()


def request(operator: Operator, name: str = "now", **spec: Any) -> None:
    """Request a run of the task."""
    operator.cluster.put_object("RunRequest", KEY[0], name, {"taskRef": {"name": KEY[1]}, **spec})


def status_of(operator: Operator, name: str = "now") -> dict[str, Any]:
    """Return a request's stored status."""
    status: dict[str, Any] = operator.cluster.objects["RunRequest"][KEY[0], name]["status"]
    return status


def accepted(operator: Operator) -> tuple[str, str]:
    """Return what Accepted says of the request."""
    (condition,) = (c for c in status_of(operator)["conditions"] if c["type"] == "Accepted")
    return condition["status"], condition["reason"]


async def finish(operator: Operator, when: str, name: str, exit_code: int = 0, message: str = "") -> None:
    """Let a Job's pod end, and let the operator see it."""
    operator.now = at(when)
    operator.cluster.finish_pod(KEY[0], name, exit_code, message)
    await operator.turn(when)


# retention


async def test_a_job_beyond_the_limit_is_deleted_once_its_failure_is_recorded(operator: Operator) -> None:
    """With the database away it stays, for it is all that is known of the execution."""
    await operator.create_task(intervalSeconds=30, failedJobsHistoryLimit=0)
    await operator.turn("00:00:30")
    operator.history.outage = "connection refused"
    operator.cluster.finish_pod(KEY[0], FIRST, 1, "boom")
    operator.now = at("00:00:40")
    await operator.see()
    for _ in range(3):
        await operator.term.reconciler.reconcile(KEY)
        await operator.term.statuses.flush()
        await operator.term.janitor.drained()
    assert (KEY[0], FIRST) in operator.cluster.jobs
    operator.history.outage = None
    await operator.settle()
    assert operator.rows() == [("00:00:30", "failed", "Error")]
    assert (KEY[0], FIRST) not in operator.cluster.jobs


async def test_the_history_limit_of_successes_holds(operator: Operator) -> None:
    """The oldest go; a runner recorded them itself."""
    await operator.create_task(intervalSeconds=30, successfulJobsHistoryLimit=1)
    for k in range(1, 4):
        when = f"00:{k // 2:02d}:{k % 2 * 30:02d}"
        await operator.turn(when)
        await finish(operator, when, operator.job_names()[-1])
    assert sorted(name for _, name in operator.cluster.jobs) == operator.job_names()[-1:]


async def test_a_pod_that_cannot_start_is_recorded_before_its_job_is_deleted(operator: Operator) -> None:
    """With the database away the Job stays; the row says why, and the next slot has its turn."""
    await operator.create_task(intervalSeconds=60)
    await operator.turn("00:01:00")
    name = operator.job_names()[0]
    pod = operator.cluster.start_pod(KEY[0], name)
    stuck = operator.cluster.pods[KEY[0], f"{name}-pod"]
    waiting = {"reason": "ErrImagePull", "message": "no such image"}
    stuck["metadata"]["creationTimestamp"] = rfc3339(operator.now)
    stuck["status"] = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}
    assert pod["metadata"]["name"] == f"{name}-pod"
    operator.history.outage = "connection refused"
    operator.now = at("00:01:45")
    await operator.see()
    await operator.term.reconciler.reconcile(KEY)
    assert "deletionTimestamp" not in operator.cluster.jobs[KEY[0], name]["metadata"]
    operator.history.outage = None
    await operator.settle()
    assert operator.rows() == [("00:01:00", "failed", "ErrImagePull")]
    assert "deletionTimestamp" in operator.cluster.jobs[KEY[0], name]["metadata"]
    operator.cluster.remove_job(KEY[0], name)
    await operator.turn("00:02:00")
    assert len(operator.job_names()) == 2


async def test_replace_ends_the_execution_and_then_launches(operator: Operator) -> None:
    """One row says cancelled; the next Job comes when the pods of the first are gone."""
    await operator.create_task(intervalSeconds=30, concurrencyPolicy="Replace")
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:01:00")
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:00:30", "cancelled", "Replaced")]
    operator.cluster.remove_job(KEY[0], FIRST)
    await operator.turn("00:01:05")
    assert len(operator.job_names()) == 2
    assert operator.rows() == [("00:00:30", "cancelled", "Replaced")]


async def test_the_record_of_a_replacement_comes_first_but_is_not_waited_for_long(operator: Operator) -> None:
    """Else the runner's own word, that it was terminated, would stand; and a history that is away stops no slot."""
    await operator.create_task(intervalSeconds=30, concurrencyPolicy="Replace")
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    for when, want_ending in (("00:01:00", False), ("00:01:01", False), ("00:01:02", True)):
        operator.now = at(when)
        await operator.see()
        await operator.term.reconciler.reconcile(KEY)
        assert ("deletionTimestamp" in operator.cluster.jobs[KEY[0], FIRST]["metadata"]) is want_ending


async def test_the_last_write_about_an_execution_wakes_who_waits_for_it(operator: Operator) -> None:
    """Its record and its closing may be written apart: who looks between the two finds that something waits."""
    await operator.create_task(intervalSeconds=30)
    closing = Closing(
        id=uuid4(),
        namespace=KEY[0],
        status=ExecutionStatus.FAILED,
        reason="ErrImagePull",
        message="",
        finished_at=at("00:00:30"),
        task=KEY[1],
    )
    await operator.see()
    assert operator.app.store.keys_of_execution(closing) == [KEY]


# requests


async def test_a_request_is_launched_recorded_and_deleted(operator: Operator) -> None:
    """Its Job goes with it; the history keeps its execution."""
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
    """In the history once the API server has it; the slot's execution goes on."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.now = at("00:00:40")
    request(operator)
    await operator.turn("00:00:40")
    assert accepted(operator) == ("False", "StillActive")
    assert operator.rows() == [("00:00:40", "skipped", "StillActive")]
    assert operator.job_names() == [FIRST]


async def test_a_slot_that_finds_a_requests_execution_active_is_skipped(operator: Operator) -> None:
    """Manual runs obey the same rule, and slots obey it towards them."""
    await operator.create_task(intervalSeconds=30)
    operator.now = at("00:00:20")
    request(operator)
    await operator.turn("00:00:20")
    await operator.turn("00:00:30")
    assert operator.rows() == [("00:00:30", "skipped", "StillActive")]


async def test_a_request_for_no_task_is_refused_after_its_grace(operator: Operator) -> None:
    """A task that is applied a moment later is found."""
    operator.now = at("00:00:10")
    request(operator)
    await operator.turn("00:00:15")
    assert operator.job_names() == []
    await operator.turn("00:00:20")
    assert accepted(operator) == ("False", "TaskNotFound")
    (row,) = operator.history.rows.values()
    assert (row.status, row.task_type, row.task) == (ExecutionStatus.FAILED, "unknown", KEY[1])


async def test_a_task_that_no_event_has_shown_does_not_refuse_its_request(operator: Operator) -> None:
    """The API server is asked before a request is refused."""
    request(operator)
    await operator.see()
    await operator.create_task(intervalSeconds=3600)
    operator.now = at("00:00:20")
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    assert accepted(operator) == ("True", "Accepted")


async def test_a_request_that_the_api_server_refuses_is_recorded(operator: Operator) -> None:
    """For good."""
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
    """The Job exists and is its own."""
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
    """With the database away it stays, though its time to live is over."""
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
    """Under a key that no task can have."""
    operator.cluster.put_object("RunRequest", KEY[0], "alone", {"task": {"sum": {"a": 1, "b": 2}}})
    await operator.see()
    await operator.term.reconciler.reconcile((KEY[0], "runrequests/alone"))
    await operator.write()
    (job,) = operator.cluster.created
    assert job["metadata"]["ownerReferences"][0]["kind"] == "RunRequest"
    assert status_of(operator, "alone")["result"] == "Running"


# targets


async def test_a_target_that_appears_later_makes_the_task_ready(operator: Operator) -> None:
    """The slot before it failed, the slot after it runs."""
    await operator.create_task(intervalSeconds=30, task={"http": {"targetRef": {"name": "shop"}}})
    await operator.turn("00:00:30")
    assert operator.rows() == [("00:00:30", "failed", "TargetNotFound")]
    operator.cluster.put_object("HTTPTarget", KEY[0], "shop", {"url": "http://shop.example/"})
    await operator.turn("00:00:45")
    assert (await operator.cluster.tasks.get(*KEY))["status"]["conditions"][0]["status"] == "True"
    await operator.turn("00:01:00")
    assert len(operator.job_names()) == 1


async def test_a_target_that_no_event_has_shown_fails_no_slot(operator: Operator) -> None:
    """The API server is asked before a slot is settled."""
    await operator.create_task(intervalSeconds=30, task={"http": {"targetRef": {"name": "shop"}}})
    await operator.see()
    operator.cluster.put_object("HTTPTarget", KEY[0], "shop", {"url": "http://shop.example/"})
    operator.now = at("00:00:30")
    await operator.term.reconciler.reconcile(KEY)
    assert operator.job_names() == [FIRST]
    await operator.settle()
    assert operator.rows() == []


# containers


async def test_a_containers_execution_is_recorded_with_its_attempts_and_result(operator: Operator) -> None:
    """It has no runner: running at the launch, its attempts and its end from its pods, its Job kept till then."""
    await operator.create_task(intervalSeconds=30, task=CONTAINER, retry={"limit": 1}, successfulJobsHistoryLimit=0)
    await operator.turn("00:00:30")
    (row,) = operator.history.rows.values()
    assert (row.status, row.task_type, row.job_name) == (ExecutionStatus.RUNNING, "container", FIRST)
    operator.now = at("00:00:33")
    operator.cluster.finish_pod(KEY[0], FIRST, 3, "first")
    failed = copy.deepcopy(operator.cluster.pods[KEY[0], f"{FIRST}-pod"])
    failed["metadata"] |= {"name": f"{FIRST}-pod-0", "uid": "pod-0"}
    operator.cluster.pods[KEY[0], f"{FIRST}-pod-0"] = failed
    del operator.cluster.pods[KEY[0], f"{FIRST}-pod"]
    await operator.turn("00:00:34")
    assert [r.status for r in operator.history.rows.values()] == [ExecutionStatus.RUNNING], "another try follows"
    await finish(operator, "00:00:40", FIRST, 0, "done")
    (row,) = operator.history.rows.values()
    assert row.status is ExecutionStatus.SUCCEEDED
    assert row.result == {"exitCode": 0, "message": "done"}
    assert [(a.number, a.status.value, a.error) for a in row.attempts] == [
        (1, "failed", "first"),
        (2, "succeeded", None),
    ]
    assert operator.cluster.jobs == {}


# somebody else writes, too


async def test_a_status_that_another_operator_wrote_is_adopted(operator: Operator) -> None:
    """What it settled stays settled, what it is to record is recorded, and nothing is launched twice."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    other = copy.deepcopy((await operator.cluster.tasks.get(*KEY))["status"])
    skipped = {"slot": "2026-01-01T00:00:30Z", "status": "skipped", "reason": "StillActive", "message": "theirs"}
    other |= {"settledUntil": "2026-01-01T00:00:30Z", "unrecorded": [skipped]}
    operator.cluster.tasks.set_status(*KEY, other)
    operator.now = at("00:01:00")
    await operator.term.reconciler.reconcile(KEY)  # decided on what it knows: 00:00:30 is superseded, 00:01:00 launched
    await operator.settle()
    await operator.turn("00:01:05")
    assert operator.job_names() == ["backup-1767225660"]
    assert operator.rows() == [("00:00:30", "skipped", "StillActive")]
    stored = (await operator.cluster.tasks.get(*KEY))["status"]
    assert (stored["settledUntil"], stored["unrecorded"]) == ("2026-01-01T00:01:00Z", [])


async def test_an_edit_that_crosses_a_status_write_loses_nothing(operator: Operator) -> None:
    """The write is for the version that was decided on: the edit is read, and decided about."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.now = at("00:01:00")
    await operator.term.reconciler.reconcile(KEY)
    raw = await operator.cluster.tasks.get(*KEY)
    raw["spec"]["suspend"] = True
    await operator.cluster.tasks.replace(*KEY, raw)
    await operator.settle()
    await operator.turn("00:01:10")
    assert operator.rows() == []
    assert operator.job_names() == [FIRST]
    stored = (await operator.cluster.tasks.get(*KEY))["status"]
    assert next(c["status"] for c in stored["conditions"] if c["type"] == "Suspended") == "True"


async def test_a_permission_that_is_missing_is_said_on_the_task(operator: Operator) -> None:
    """The slot is kept; a worker says so and tries again."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    operator.cluster.create_error = ForbiddenError("no jobs for you")
    operator.now = at("00:00:30")

    async def is_said() -> bool:
        task = operator.app.store.tasks.get(KEY)
        return task is not None and any(c.reason == "LaunchRefused" for c in task.status.conditions)

    async with running(operator.term.reconciler.run_worker()):
        operator.app.queue.add(KEY)
        await eventually(is_said)
    await operator.write()
    ready = (await operator.cluster.tasks.get(*KEY))["status"]["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "LaunchRefused")
    operator.cluster.create_error = None
    await operator.turn("00:00:40")
    assert operator.job_names() == [FIRST]


async def test_a_conflict_at_a_launch_is_tried_again(operator: Operator) -> None:
    """The API server may say so amid a change of its own; the slot is not lost, and nothing is called a defect."""
    await operator.create_task(intervalSeconds=30)
    operator.now = at("00:00:30")
    await operator.see()
    operator.cluster.create_error = ConflictError("the object has been modified")
    with pytest.raises(UnavailableError):
        await operator.term.reconciler.reconcile(KEY)
    operator.cluster.create_error = None
    await operator.turn("00:00:31")
    assert operator.job_names() == [FIRST]
