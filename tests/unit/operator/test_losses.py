"""What may be lost between two writes, or wait for ever: each test is a story of a failure."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.decision.decide import decide
from carillon_core.domain.decision.plan import Launch, Reason, RecordUnlaunched
from carillon_core.domain.decision.unrecorded import MAX_ENTRIES, with_unrecorded
from carillon_core.domain.execution import Closing, execution_id
from carillon_core.domain.observed.jobs import ObservedJob, ObservedTarget
from carillon_core.domain.observed.pod_ends import pod_end
from carillon_core.domain.observed.pod_trouble import pod_trouble
from carillon_core.errors import FieldProblem, RefusedError, UnavailableError
from carillon_core.ports import JobEvent, JSONObject
from carillon_core.resources import RunResult, ScheduledTaskStatus
from carillon_operator.gather.handlers import feed
from support.builders import TASK_UID, at, make_job, make_task
from support.operator import KEY, Operator, running
from support.waiting import eventually

FIRST = "backup-1767225630"  # 2026-01-01T00:00:30Z
POD_OF_FIRST = {"name": "p", "namespace": KEY[0], "uid": "p", "creationTimestamp": "2026-01-01T00:00:31Z"}


@pytest.fixture
def operator() -> Operator:
    """An operator that has seen nothing yet."""
    return Operator()


async def test_slots_missed_before_a_launch_are_recorded_though_its_answer_was_lost(operator: Operator) -> None:
    """The Job that is found settles its own slot, and not in silence those before it."""
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
    """Between the Job and the status."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    operator.now = at("00:02:10")
    await operator.term.reconciler.reconcile(KEY)
    operator.restart()
    await operator.turn("00:02:11")
    assert operator.job_names() == ["backup-1767225720"]
    assert covered(operator) == ["00:00:30", "00:01:00", "00:01:30"]


def covered(operator: Operator) -> list[str]:
    """Return the slots, thirty seconds apart, that the rows stand for."""
    found = set()
    for row in operator.history.rows.values():
        slot = row.first_slot or row.slot
        while slot <= row.slot:
            found.add(f"{slot:%H:%M:%S}")
            slot += timedelta(seconds=30)
    return sorted(found)


class SlowHistory:
    """A history that takes a moment for each write, as one behind a network does."""

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
    """The record and the closing are two writes: the Job's turn comes after the second, not only after the first."""
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
    """Also if nothing else ever wakes its task: a one-shot."""
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
    """The record names the request as its task: both are looked at again."""
    await operator.create_task(intervalSeconds=3600)
    raw = operator.cluster.put_object("RunRequest", KEY[0], KEY[1], {"task": {"counter": {}}})
    await operator.see()
    closing = Closing(
        id=uuid4(),
        namespace=KEY[0],
        task=KEY[1],
        status=ExecutionStatus.FAILED,
        reason="Error",
        message="",
        finished_at=operator.now,
    )
    keys = operator.app.store.keys_of_execution(closing)
    assert sorted(keys) == [KEY, (KEY[0], f"runrequests/{raw['metadata']['name']}")]


def test_a_trial_whose_job_is_gone_does_not_keep_the_circuit_open_for_ever() -> None:
    """It was deleted while no operator watched: the next slot is on trial."""
    task = make_task().every(60).with_spec(suspendAfterFailures=1, cooldownSeconds=60)
    status = open_circuit(trial="00:02:00")
    plan = decide(task.observed(status), [], at("00:03:00"))
    assert [a.slot for a in plan.actions if isinstance(a, Launch)] == [at("00:03:00")]


def test_a_trial_is_counted_though_another_execution_ended_in_the_same_second() -> None:
    """Its failure opens the circuit anew, and a later slot may be tried."""
    task = make_task().every(60).with_spec(suspendAfterFailures=1, cooldownSeconds=60)
    status = open_circuit(trial="00:02:00").model_copy(update={"counted_until": at("00:02:05")})
    trial = make_job("00:02:00", result=RunResult.FAILED)
    assert trial.finished_at == at("00:02:05")
    plan = decide(task.observed(status), [trial], at("00:02:10"))
    assert plan.status.trial_slot is None
    assert plan.status.circuit_opened_at == at("00:02:05")


def open_circuit(trial: str) -> ScheduledTaskStatus:
    """Return the status of a task whose circuit opened at 00:01, with a slot on trial."""
    return ScheduledTaskStatus(
        observed_generation=1,
        settled_until=at(trial),
        consecutive_failures=1,
        counted_until=at("00:01:05"),
        circuit_opened_at=at("00:01:05"),
        trial_slot=at(trial),
    )


async def test_a_job_whose_deletion_is_refused_holds_up_no_other(operator: Operator) -> None:
    """A policy of one namespace must not cost the others five seconds for each of its Jobs."""
    deleted: list[str] = []

    async def delete_job(namespace: str, name: str, *_: object, **__: object) -> None:
        if namespace == "policed":
            raise RefusedError("a policy says no")
        deleted.append(name)

    operator.cluster.delete_job = delete_job  # type: ignore[method-assign]
    async with running(operator.term.janitor.run()):
        operator.term.janitor.delete_job("policed", "one", "1")
        operator.term.janitor.delete_job("other", "two", "2")
        await eventually(lambda: deleted == ["two"], 1)


async def test_a_deletion_that_fails_is_tried_again(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else may ever wake the task of a one-shot, or a request that has ended."""
    monkeypatch.setattr("carillon_operator.apply.janitor.RETRY_SECONDS", 0.01)
    tries: list[str] = []

    async def delete_job(_namespace: str, name: str, *_: object, **__: object) -> None:
        tries.append(name)
        if len(tries) == 1:
            raise UnavailableError("API server", "away")

    operator.cluster.delete_job = delete_job  # type: ignore[method-assign, assignment]
    async with running(operator.term.janitor.run()):
        operator.term.janitor.delete_job("default", "one", "1")
        await eventually(lambda: tries == ["one", "one"], 1)


async def test_a_request_that_cannot_be_carried_out_delays_no_slot_and_no_other_request(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failure is tried again ever more rarely; the slots of its task come at their times."""
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
    """It ended while no operator watched, and the sweep is quicker than its task's turn."""
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


async def test_requests_that_are_gone_leave_nothing_behind(operator: Operator) -> None:
    """The writer of statuses forgets when it wrote theirs."""
    for number in range(5):
        raw = operator.cluster.put_object("RunRequest", KEY[0], f"r{number}", {"taskRef": {"name": "nobody"}})
        feed(operator.app.store, operator.app.queue, "RunRequest", "ADDED", raw)
        operator.now += timedelta(seconds=20)
        await operator.term.reconciler.reconcile((KEY[0], "nobody"))
        await operator.term.statuses.flush()
        feed(operator.app.store, operator.app.queue, "RunRequest", "DELETED", raw)
    assert len(operator.term.statuses._last) <= 1  # noqa: SLF001  # what grows is private


async def test_a_job_that_went_with_its_task_leaves_nothing_behind(operator: Operator) -> None:
    """It was active; nobody is left whom it concerns."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    job = operator.cluster.jobs[KEY[0], FIRST]
    raw = await operator.cluster.tasks.get(*KEY)
    feed(operator.app.store, operator.app.queue, "ScheduledTask", "DELETED", raw)
    for change in operator.app.store.jobs.changes(JobEvent("DELETED", "Job", job)):
        operator.term.closer.job_changed(change)
    owner = {"kind": "Job", "name": FIRST, "uid": job["metadata"]["uid"]}
    pod = {"metadata": {**POD_OF_FIRST, "ownerReferences": [owner]}, "status": {"phase": "Failed"}}
    list(operator.app.store.jobs.changes(JobEvent("MODIFIED", "Pod", pod)))  # it ends after its Job is gone
    await operator.term.reconciler.reconcile(KEY)
    await operator.write()
    await operator.term.reconciler.reconcile(KEY)
    assert operator.app.store.jobs.under(KEY) == []
    assert [reason for _, _, reason in operator.rows()] == ["JobDeleted"]


async def test_what_was_closed_is_remembered_as_long_as_its_job_is_there(operator: Operator) -> None:
    """And no longer: a day of failures is much to remember."""
    await operator.create_task(intervalSeconds=30, failedJobsHistoryLimit=1)
    for slot in ("00:00:30", "00:01:00", "00:01:30"):
        await operator.turn(slot)
        operator.cluster.finish_pod(KEY[0], operator.job_names()[-1], exit_code=1)
        await operator.turn(at(slot) + timedelta(seconds=5))
    operator.now = at("00:10:00")
    await operator.see()
    await operator.term.sweeper.sweep()
    kept = {job.uid for job in operator.app.store.jobs.under(KEY)}
    assert set(operator.term.closer._closed) == kept  # noqa: SLF001  # what grows is private


async def test_a_pods_event_amid_a_list_does_not_keep_a_job_that_is_gone(operator: Operator) -> None:
    """Else it would be active for ever, and its task skipped for ever."""
    await operator.create_task(intervalSeconds=30, task={"container": {"image": "x"}}, retry={"limit": 3})
    await operator.turn("00:00:30")
    job = operator.cluster.jobs.pop((KEY[0], FIRST))
    owner = {"kind": "Job", "name": FIRST, "uid": job["metadata"]["uid"]}
    pod = {"metadata": {**POD_OF_FIRST, "ownerReferences": [owner]}, "status": {"phase": "Failed"}}
    for event in (JobEvent("LISTING", "Job", {}), JobEvent("MODIFIED", "Pod", pod), JobEvent("SYNCED", "Job", {})):
        list(operator.app.store.jobs.changes(event))
    assert [j.active for j in operator.app.store.jobs.under(KEY)] == [False]


def test_entries_become_one_in_the_order_of_their_slots() -> None:
    """Whatever was settled first: a run of slots whose first is later than its last is no row."""
    status = ScheduledTaskStatus()
    slots = [at("02:00"), at("01:00"), *(at("03:00") + timedelta(minutes=k) for k in range(MAX_ENTRIES))]
    for slot in slots:
        record = RecordUnlaunched(
            slot, execution_id(TASK_UID, slot, Cause.SCHEDULE), ExecutionStatus.MISSED, Reason.SUPERSEDED, ""
        )
        status = with_unrecorded(status, record)
    assert [e for e in status.unrecorded if e.first_slot is not None and e.first_slot > e.slot] == []
    assert min(e.first_slot or e.slot for e in status.unrecorded) == at("01:00")


def test_a_run_of_slots_that_joins_another_keeps_its_beginning() -> None:
    """The first of both is the first of one."""
    status = ScheduledTaskStatus()
    for k in range(MAX_ENTRIES):
        status = with_unrecorded(status, skipped(at("03:00") + timedelta(minutes=k)))
    status = with_unrecorded(status, replace(skipped(at("02:00")), first_slot=at("00:00")))
    status = with_unrecorded(status, skipped(at("01:00")))
    assert min(e.first_slot or e.slot for e in status.unrecorded) == at("00:00")


def skipped(slot: object) -> RecordUnlaunched:
    """Return what records a slot as missed."""
    uid = execution_id(TASK_UID, slot, Cause.SCHEDULE)  # type: ignore[arg-type]
    return RecordUnlaunched(slot, uid, ExecutionStatus.MISSED, Reason.SUPERSEDED, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec",
    [
        {"runAt": "9999-12-31T23:59:59Z", "jitterSeconds": 86400},
        {"schedule": "* * * * *", "startAt": "0001-01-01T00:00:00Z"},
        {"schedule": "* * * * *", "startAt": "0001-01-01T00:00:00Z", "endAt": "9999-12-31T23:59:59Z"},
        {"intervalSeconds": 1, "startAt": "0001-01-01T00:00:00Z", "jitterSeconds": 86400},
        {"intervalSeconds": 31622400, "startAt": "9999-12-31T23:59:59Z", "jitterSeconds": 86400},
        {"schedule": "* * * * *", "startAt": "9999-12-31T23:59:00Z", "durationSeconds": 3162240000},
    ],
)
def test_times_at_the_ends_of_the_calendar_are_decided_about(spec: JSONObject) -> None:
    """Its owner is told how the task stands; the years 1 and 9999 are no reason to fail at each turn."""
    task = make_task().with_spec(**spec)
    uids = (str(uuid4()) for _ in range(20))
    for uid in uids:
        assert decide(task.with_meta(uid=uid).observed(), [], at("00:02:00")).status.conditions


def test_a_sidecar_does_not_speak_for_the_runner() -> None:
    """The API server orders the statuses as it likes: the runner's exit code counts."""
    states = [
        {"name": "istio-proxy", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        {"name": "runner", "state": {"terminated": {"exitCode": 5, "reason": "Error", "message": "too long"}}},
    ]
    end = pod_end({"metadata": POD_OF_FIRST, "status": {"phase": "Failed", "containerStatuses": states}})
    assert end is not None
    assert (end.exit_code, end.message) == (5, "too long")


def test_patience_with_a_pod_begins_when_it_has_a_node() -> None:
    """One that waited long for a node has not waited for its image."""
    waiting = {"name": "runner", "state": {"waiting": {"reason": "ErrImagePull"}}}
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:10:00Z"}
    status = {"phase": "Pending", "containerStatuses": [waiting], "conditions": [scheduled]}
    trouble = pod_trouble({"metadata": POD_OF_FIRST, "status": status})
    assert trouble is not None
    assert trouble.since == at("00:10:00")


async def test_a_late_event_of_a_former_task_does_not_push_out_its_successor(operator: Operator) -> None:
    """Of one object kopf keeps the events' order, not of two objects of one name."""
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


def test_a_job_is_deleted_only_when_its_result_is_counted() -> None:
    """An operator that is killed between the deletion and the status would never count it."""
    task = make_task().every(60).with_spec(suspendAfterFailures=2, failedJobsHistoryLimit=0)
    job: ObservedJob = make_job("00:01:00", result=RunResult.FAILED)
    plan = decide(task.observed(ScheduledTaskStatus(settled_until=at("00:01:00"))), [job], at("00:01:10"))
    assert plan.status.consecutive_failures == 1
    assert plan.actions == ()
    assert len(decide(task.observed(plan.status), [job], at("00:01:11")).actions) == 1


async def test_an_annotation_finer_than_a_second_does_not_keep_the_status_from_settling(operator: Operator) -> None:
    """Whoever may create Jobs could have it written for ever."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    job = operator.cluster.jobs[KEY[0], FIRST]
    job["metadata"]["annotations"]["carillon.dev/slot"] = "2026-01-01T00:00:30.5Z"
    operator.restart()
    await operator.turn("00:00:31")
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert task.status == task.stored


def test_a_condition_is_never_longer_than_the_crd_takes() -> None:
    """The API server would refuse the whole status at each try; and what is cut is no news at the next turn."""
    problems = tuple(FieldProblem(f"spec.headers[{k}]", "x" * 1000) for k in range(64))
    task = make_task().every(60).with_spec(task={"http": {"targetRef": {"name": "crm"}}}).observed()
    task = replace(task, target=ObservedTarget("crm", None, problems))
    plan = decide(task, [], at("00:00:10"))
    assert max(len(c.message) for c in plan.status.conditions) <= 32_768
    assert decide(replace(task, status=plan.status), [], at("00:00:11")).notices == ()
