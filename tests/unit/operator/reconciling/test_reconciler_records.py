"""The reconciler over the memory adapters: retention, Replace, targets, containers, and other writers."""

import copy
from uuid import uuid4

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.execution import Closing
from carillon_core.resources.base import rfc3339
from support.builders import FIRST, at
from support.operator import KEY, Operator, finish, operator

__all__ = ["operator"]


CONTAINER = {"container": {"image": "busybox", "command": ["true"]}}


async def test_a_job_beyond_the_limit_is_deleted_once_its_failure_is_recorded(operator: Operator) -> None:
    """While the database is down, the Job stays as the only record of the failure."""
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
    """The oldest successful Jobs are deleted."""
    await operator.create_task(intervalSeconds=30, successfulJobsHistoryLimit=1)
    for k in range(1, 4):
        when = f"00:{k // 2:02d}:{k % 2 * 30:02d}"
        await operator.turn(when)
        await finish(operator, when, operator.job_names()[-1])
    assert sorted(name for _, name in operator.cluster.jobs) == operator.job_names()[-1:]


async def test_a_pod_that_cannot_start_is_recorded_before_its_job_is_deleted(operator: Operator) -> None:
    """While the database is down, the Job stays; afterwards the row has the reason and the next slot runs."""
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
    """The replaced execution is recorded as cancelled, and the next is launched when its pods are gone."""
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
    """The operator writes its record before the runner can, but waits only two seconds for the database."""
    await operator.create_task(intervalSeconds=30, concurrencyPolicy="Replace")
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    for when, want_ending in (("00:01:00", False), ("00:01:01", False), ("00:01:02", True)):
        operator.now = at(when)
        await operator.see()
        await operator.term.reconciler.reconcile(KEY)
        assert ("deletionTimestamp" in operator.cluster.jobs[KEY[0], FIRST]["metadata"]) is want_ending


async def test_the_last_write_about_an_execution_wakes_who_waits_for_it(operator: Operator) -> None:
    """A written closing wakes its task, even if the record was written before."""
    await operator.create_task(intervalSeconds=30)
    closing = Closing(
        id=uuid4(),
        namespace=KEY[0],
        slot=at("00:00:30"),
        status=ExecutionStatus.FAILED,
        reason="ErrImagePull",
        message="",
        finished_at=at("00:00:30"),
        task=KEY[1],
    )
    await operator.see()
    assert operator.app.store.keys_of_execution(closing) == [KEY]


async def test_a_target_that_appears_later_makes_the_task_ready(operator: Operator) -> None:
    """The slot before the target exists fails, and the slot after runs."""
    await operator.create_task(intervalSeconds=30, task={"http": {"targetRef": {"name": "shop"}}})
    await operator.turn("00:00:30")
    assert operator.rows() == [("00:00:30", "failed", "TargetNotFound")]
    operator.cluster.put_object("HTTPTarget", KEY[0], "shop", {"url": "http://shop.example/"})
    await operator.turn("00:00:45")
    assert (await operator.cluster.tasks.get(*KEY))["status"]["conditions"][0]["status"] == "True"
    await operator.turn("00:01:00")
    assert len(operator.job_names()) == 1


async def test_a_target_that_no_event_has_shown_fails_no_slot(operator: Operator) -> None:
    """The operator asks the API server for the target before it settles a slot."""
    await operator.create_task(intervalSeconds=30, task={"http": {"targetRef": {"name": "shop"}}})
    await operator.see()
    operator.cluster.put_object("HTTPTarget", KEY[0], "shop", {"url": "http://shop.example/"})
    operator.now = at("00:00:30")
    await operator.term.reconciler.reconcile(KEY)
    assert operator.job_names() == [FIRST]
    await operator.settle()
    assert operator.rows() == []


async def test_a_containers_execution_is_recorded_with_its_attempts_and_result(operator: Operator) -> None:
    """The row is running after the launch; attempts and result come from the pods, and the Job stays until then."""
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


async def test_a_status_that_another_operator_wrote_is_adopted(operator: Operator) -> None:
    """Slots in the other operator's status stay settled, are recorded, and are not launched again."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    other = copy.deepcopy((await operator.cluster.tasks.get(*KEY))["status"])
    skipped = {"slot": "2026-01-01T00:00:30Z", "status": "skipped", "reason": "StillActive", "message": "theirs"}
    other |= {"settledUntil": "2026-01-01T00:00:30Z", "unrecorded": [skipped]}
    operator.cluster.tasks.set_status(*KEY, other)
    operator.now = at("00:01:00")
    await operator.term.reconciler.reconcile(KEY)  # from a stale status: supersedes 00:00:30, launches 00:01:00
    await operator.settle()
    await operator.turn("00:01:05")
    assert operator.job_names() == ["backup-1767225660"]
    assert operator.rows() == [("00:00:30", "skipped", "StillActive")]
    stored = (await operator.cluster.tasks.get(*KEY))["status"]
    assert (stored["settledUntil"], stored["unrecorded"]) == ("2026-01-01T00:01:00Z", [])


async def test_an_edit_that_crosses_a_status_write_loses_nothing(operator: Operator) -> None:
    """A status write for an old version fails, and the edit is read before the next decision."""
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
