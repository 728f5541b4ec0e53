"""Failures between two writes lose nothing and block nothing."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.execution import Closing
from carillon_core.errors import RefusedError, UnavailableError
from carillon_core.ports import JobEvent
from carillon_operator.gather.handlers import feed
from support.builders import FIRST, POD_OF_FIRST, at
from support.operator import KEY, Operator, operator, running
from support.waiting import eventually

__all__ = ["operator"]


async def test_slots_missed_before_a_launch_are_recorded_though_its_answer_was_lost(operator: Operator) -> None:
    """An existing Job settles its own slot; the slots before it are recorded as missed."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    operator.now = at("00:02:10")
    operator.cluster.lose_next_answer = True
    with pytest.raises(UnavailableError):
        await operator.term.reconciler.reconcile(KEY)
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    assert operator.job_names() == ["backup-1767225720"]
    assert covered(operator) == ["00:00:30", "00:01:00", "00:01:30"]


async def test_slots_missed_before_a_launch_are_recorded_though_the_operator_was_killed(operator: Operator) -> None:
    """Missed slots are recorded if the operator dies after creating the Job and before writing the status."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    operator.now = at("00:02:10")
    await operator.term.reconciler.reconcile(KEY)
    operator.restart()
    await operator.turn("00:02:11")
    assert operator.job_names() == ["backup-1767225720"]
    assert covered(operator) == ["00:00:30", "00:01:00", "00:01:30"]


def covered(operator: Operator) -> list[str]:
    """Return the slots, thirty seconds apart, that the rows cover."""
    found = set()
    for row in operator.history.rows.values():
        slot = row.first_slot or row.slot
        while slot <= row.slot:
            found.add(f"{slot:%H:%M:%S}")
            slot += timedelta(seconds=30)
    return sorted(found)


class SlowHistory:
    """A history whose writes take a moment, as over a network."""

    def __init__(self, operator: Operator) -> None:
        self._record, self._close = operator.history.record, operator.history.close
        operator.history.record = self.record  # type: ignore[method-assign]
        operator.history.close = self.close  # type: ignore[method-assign]

    async def record(self, rows: Sequence[object]) -> None:
        await asyncio.sleep(0.01)
        await self._record(rows)  # type: ignore[arg-type]

    async def close(self, closings: Sequence[Closing]) -> Sequence[UUID]:
        await asyncio.sleep(0.01)
        return await self._close(closings)


async def test_a_pod_that_cannot_start_is_ended_when_its_closing_is_written(operator: Operator) -> None:
    """The Job is deleted after both writes, the record and the closing."""
    SlowHistory(operator)
    await operator.create_task(runAt="2026-01-01T00:00:30Z")
    await operator.turn("00:00:30")
    pod = operator.cluster.start_pod(KEY[0], FIRST)
    pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:31Z"
    waiting = {"reason": "CreateContainerConfigError", "message": "secret not found"}
    pod["status"] = {"phase": "Pending", "containerStatuses": [{"name": "runner", "state": {"waiting": waiting}}]}
    operator.cluster.pods.clear()
    operator.app.store.jobs.put_pod(pod)
    operator.now = at("00:02:00")
    async with running(operator.term.outbox.run()), running(operator.term.reconciler.run_worker()):
        operator.app.queue.add(KEY)
        await eventually(lambda: operator.cluster.jobs == {})
    assert operator.rows() == [("00:00:30", "failed", "CreateContainerConfigError")]
    assert operator.cluster.jobs == {}


async def test_a_failed_job_is_deleted_when_its_closing_is_written(operator: Operator) -> None:
    """The written closing wakes a task that nothing else would wake, such as a one-shot."""
    SlowHistory(operator)
    await operator.create_task(runAt="2026-01-01T00:00:30Z", ttlSecondsAfterFinished=0)
    await operator.turn("00:00:30")
    operator.cluster.finish_pod(KEY[0], FIRST, exit_code=1)
    operator.now = at("00:00:40")
    await operator.see()
    async with (
        running(operator.term.outbox.run()),
        running(operator.term.reconciler.run_worker()),
        running(asyncio.gather(*operator.term.statuses.processes(1))),
        running(operator.term.janitor.run()),
    ):
        operator.app.queue.add(KEY)
        await eventually(lambda: operator.cluster.jobs == {})


async def test_a_request_named_like_a_task_has_its_turn_when_its_record_is_written(operator: Operator) -> None:
    """A written record wakes both the task and the request of that name."""
    await operator.create_task(intervalSeconds=3600)
    raw = operator.cluster.put_object("RunRequest", KEY[0], KEY[1], {"task": {"counter": {}}})
    await operator.see()
    closing = Closing(
        id=uuid4(),
        namespace=KEY[0],
        task=KEY[1],
        slot=operator.now,
        status=ExecutionStatus.FAILED,
        reason="Error",
        message="",
        finished_at=operator.now,
    )
    keys = operator.app.store.keys_of_execution(closing)
    assert sorted(keys) == [KEY, (KEY[0], f"runrequests/{raw['metadata']['name']}")]


async def test_a_job_whose_deletion_is_refused_holds_up_no_other(operator: Operator) -> None:
    """A refused deletion in one namespace does not delay deletions in others."""
    deleted: list[str] = []

    async def delete_job(namespace: str, name: str, *_: object, **__: object) -> None:
        if namespace == "policed":
            raise RefusedError("a policy says no")
        deleted.append(name)

    operator.cluster.delete_job = delete_job  # type: ignore[method-assign]
    async with running(operator.term.janitor.run()):
        operator.term.janitor.delete_job("policed", "one", "1")
        operator.term.janitor.delete_job("other", "two", "2")
        await eventually(lambda: deleted == ["two"])


async def test_a_deletion_that_fails_is_tried_again(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed deletion is retried even if nothing else wakes the task."""
    monkeypatch.setattr("carillon_operator.apply.janitor.RETRY_SECONDS", 0.01)
    tries: list[str] = []

    async def delete_job(_namespace: str, name: str, *_: object, **__: object) -> None:
        tries.append(name)
        if len(tries) == 1:
            raise UnavailableError("API server", "away")

    operator.cluster.delete_job = delete_job  # type: ignore[method-assign, assignment]
    async with running(operator.term.janitor.run()):
        operator.term.janitor.delete_job("default", "one", "1")
        await eventually(lambda: tries == ["one", "one"])


async def test_a_request_that_cannot_be_carried_out_delays_no_slot_and_no_other_request(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failing request is retried with increasing delay; the task's slots stay on time."""
    await operator.create_task(intervalSeconds=30)
    operator.cluster.put_object("RunRequest", KEY[0], "bad", {"taskRef": {"name": KEY[1]}})
    operator.cluster.put_object("RunRequest", KEY[0], "good", {"taskRef": {"name": KEY[1]}})
    await operator.see()
    original = operator.term.reconciler.requests.reconcile
    seen = []

    async def reconcile_request(key: object, request: object) -> object:
        name = request.meta.name  # type: ignore[attr-defined]
        seen.append(name)
        if name == "bad":
            raise ValueError(name)
        return await original(key, request)  # type: ignore[arg-type]

    monkeypatch.setattr(operator.term.reconciler.requests, "reconcile", reconcile_request)
    operator.now = at("00:00:10")
    with pytest.raises(ValueError, match="bad"):
        await operator.term.reconciler.reconcile(KEY)
    assert seen == ["bad", "good"]
    due = operator.app.queue.due_time(KEY)
    assert due is not None
    assert due <= at("00:00:30")


async def test_the_sweep_does_not_call_a_container_failed_that_succeeded(operator: Operator) -> None:
    """A container that ended while no operator was running is recorded as succeeded, also by the sweep."""
    await operator.create_task(intervalSeconds=3600, task={"container": {"image": "busybox"}})
    await operator.turn("01:00:00")
    name = operator.job_names()[0]
    operator.cluster.finish_pod(KEY[0], name)
    operator.cluster.finish_job(KEY[0], name)
    operator.restart()
    operator.now = at("01:10:00")
    await operator.see()
    await operator.term.sweeper.sweep()
    await operator.term.reconciler.reconcile(KEY)
    await operator.write()
    assert [status for _, status, _ in operator.rows()] == ["succeeded"]


async def test_the_sweep_does_not_take_the_end_of_a_container_that_failed(operator: Operator) -> None:
    """Its Job shows how it ended; the end of its log is being read when the sweep comes."""
    await operator.create_task(intervalSeconds=3600, task={"container": {"image": "busybox"}})
    await operator.turn("01:00:00")
    name = operator.job_names()[0]
    operator.cluster.finish_pod(KEY[0], name, 3, "out of paper")
    operator.cluster.finish_job(KEY[0], name, failed="BackoffLimitExceeded")
    operator.restart()
    operator.now = at("01:10:00")
    await operator.see()
    await operator.term.sweeper.sweep()
    await operator.write()
    (row,) = operator.history.rows.values()
    assert (row.status.value, row.reason, row.result) == ("failed", "Error", {"exitCode": 3, "message": "out of paper"})


async def test_requests_that_are_gone_leave_nothing_behind(operator: Operator) -> None:
    """The status writer forgets requests that are deleted."""
    for number in range(5):
        raw = operator.cluster.put_object("RunRequest", KEY[0], f"r{number}", {"taskRef": {"name": "nobody"}})
        feed(operator.app.store, operator.app.queue, "RunRequest", "ADDED", raw)
        operator.now += timedelta(seconds=20)
        await operator.term.reconciler.reconcile((KEY[0], "nobody"))
        await operator.term.statuses.flush()
        feed(operator.app.store, operator.app.queue, "RunRequest", "DELETED", raw)
    assert len(operator.term.statuses._last) <= 1  # noqa: SLF001  # what grows is private


async def test_a_job_that_went_with_its_task_leaves_nothing_behind(operator: Operator) -> None:
    """A Job that is deleted with its task is forgotten, and its row is closed."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    job = operator.cluster.jobs[KEY[0], FIRST]
    raw = await operator.cluster.tasks.get(*KEY)
    feed(operator.app.store, operator.app.queue, "ScheduledTask", "DELETED", raw)
    for change in operator.app.store.jobs.changes(JobEvent("DELETED", "Job", job)):
        operator.term.closer.job_changed(change)
    owner = {"kind": "Job", "name": FIRST, "uid": job["metadata"]["uid"]}
    pod = {"metadata": {**POD_OF_FIRST, "ownerReferences": [owner]}, "status": {"phase": "Failed"}}
    list(operator.app.store.jobs.changes(JobEvent("MODIFIED", "Pod", pod)))  # the pod ends after its Job is gone
    await operator.term.reconciler.reconcile(KEY)
    await operator.write()
    await operator.term.reconciler.reconcile(KEY)
    assert operator.app.store.jobs.under(KEY) == []
    assert [reason for _, _, reason in operator.rows()] == ["JobDeleted"]


async def test_what_was_closed_is_remembered_as_long_as_its_job_is_there(operator: Operator) -> None:
    """The closer remembers a closed execution only while its Job exists."""
    await operator.create_task(intervalSeconds=30, failedJobsHistoryLimit=1)
    for slot in ("00:00:30", "00:01:00", "00:01:30"):
        await operator.turn(slot)
        operator.cluster.finish_pod(KEY[0], operator.job_names()[-1], exit_code=1)
        await operator.turn(at(slot) + timedelta(seconds=5))
    operator.now = at("00:10:00")
    await operator.see()
    await operator.term.sweeper.sweep()
    kept = {(KEY[0], job.uid) for job in operator.app.store.jobs.under(KEY)}
    assert set(operator.term.closer._closed) == kept  # noqa: SLF001  # what grows is private


async def test_a_pods_event_amid_a_list_does_not_keep_a_job_that_is_gone(operator: Operator) -> None:
    """A Job that is missing from the list is inactive, even if an event about its pod arrives meanwhile."""
    await operator.create_task(intervalSeconds=30, task={"container": {"image": "x"}}, retry={"limit": 3})
    await operator.turn("00:00:30")
    job = operator.cluster.jobs.pop((KEY[0], FIRST))
    owner = {"kind": "Job", "name": FIRST, "uid": job["metadata"]["uid"]}
    pod = {"metadata": {**POD_OF_FIRST, "ownerReferences": [owner]}, "status": {"phase": "Failed"}}
    for event in (JobEvent("LISTING", "Job", {}), JobEvent("MODIFIED", "Pod", pod), JobEvent("SYNCED", "Job", {})):
        list(operator.app.store.jobs.changes(event))
    assert [j.active for j in operator.app.store.jobs.under(KEY)] == [False]


async def test_a_late_event_of_a_former_task_does_not_push_out_its_successor(operator: Operator) -> None:
    """Late events about a deleted task do not affect a new task with its name."""
    await operator.create_task(intervalSeconds=30)
    former = await operator.cluster.tasks.get(*KEY)
    await operator.cluster.tasks.delete(*KEY)
    await operator.create_task(intervalSeconds=60)
    new = await operator.cluster.tasks.get(*KEY)
    store, queue = operator.app.store, operator.app.queue
    feed(store, queue, "ScheduledTask", "ADDED", new)
    feed(store, queue, "ScheduledTask", "MODIFIED", former)
    feed(store, queue, "ScheduledTask", "DELETED", former)
    task = store.tasks.get(KEY)
    assert task is not None
    assert task.meta.uid == new["metadata"]["uid"]


async def test_an_annotation_finer_than_a_second_does_not_keep_the_status_from_settling(operator: Operator) -> None:
    """An annotation with fractions of a second does not cause endless status writes."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    job = operator.cluster.jobs[KEY[0], FIRST]
    job["metadata"]["annotations"]["carillon.dev/slot"] = "2026-01-01T00:00:30.5Z"
    operator.restart()
    await operator.turn("00:00:31")
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert task.status == task.stored


async def test_a_job_whose_change_fails_to_be_noted_ends_no_watch(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would list everything again, for ever; a turn of its key looks at it once more."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    (raw,) = operator.cluster.jobs.values()
    operator.restart()

    def broken(_: object) -> None:
        raise ValueError("a defect of ours")

    monkeypatch.setattr(operator.term.closer, "job_changed", broken)
    operator.app._take(JobEvent("ADDED", "Job", raw))  # noqa: SLF001  # as the watch does
    assert "change of a Job not noted" in caplog.text
    assert await asyncio.wait_for(operator.app.queue.take(), 1) == KEY
