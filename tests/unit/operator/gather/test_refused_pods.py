"""The looks for Jobs whose pods are refused: when they happen, how often, and what follows."""

import asyncio
from datetime import timedelta

import pytest

from carillon_core.domain.decision.decide import decide
from carillon_core.domain.observed.pod_trouble import PodTrouble
from carillon_core.errors import ForbiddenError, UnavailableError
from carillon_core.ports import JobEvent
from carillon_operator.gather.refused_pods import RefusedPods
from support.builders import at
from support.operator import KEY, Operator, operator, running
from support.pod_refusals import NO_ACCOUNT, NO_ROOM
from support.waiting import eventually

__all__ = ["operator"]


HELD = {"type": "Suspended", "status": "True"}


async def launch(operator: Operator) -> str:
    """Launch the slot of 00:01 and return its Job's name."""
    await operator.create_task(intervalSeconds=60)
    await operator.turn("00:01:00")
    await operator.see()
    (name,) = operator.job_names()
    return name


async def look(operator: Operator, when: str) -> None:
    """Look at the namespace and decide about the result."""
    operator.now = at(when)
    await operator.term.refused_pods.look(KEY[0])
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()


async def last_execution(operator: Operator) -> tuple[str, str]:
    """Return result and message of the task's last execution from the stored status."""
    last = (await operator.cluster.tasks.get(*KEY))["status"]["lastExecution"]
    return last["result"], last.get("message", "")


async def test_a_refused_pod_is_found_shown_and_its_execution_ended(operator: Operator) -> None:
    """The row and the status have the reason, and the next slot is launched."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:09")
    assert operator.cluster.looks == [], "the Job is too young to be looked into"
    await look(operator, "00:01:10")
    assert await last_execution(operator) == ("Running", f"its pod cannot start: FailedCreate: {NO_ACCOUNT}")
    assert operator.rows() == []
    job = operator.app.store.jobs.get(KEY[0], name)
    assert job is not None
    assert job.admitted_at == at("00:01:00"), "the Job is still known to be as old as it is"
    await look(operator, "00:01:45")
    assert operator.rows() == [("00:01:00", "failed", "FailedCreate")]
    job = operator.app.store.jobs.get(KEY[0], name)
    assert job is not None
    assert job.finished_at == at("00:01:45"), "results are counted in the order in which they came"
    await operator.see()
    await operator.turn("00:01:46")
    result, message = await last_execution(operator)
    assert result == "Failed"
    assert NO_ACCOUNT in message
    await operator.turn("00:02:00")
    assert len(operator.job_names()) == 2
    assert operator.rows() == [("00:01:00", "failed", "FailedCreate")]


async def test_an_end_between_two_seconds_is_written_and_counted_once(operator: Operator) -> None:
    """The end is truncated to seconds, as in the stored status, so that it is written once."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:10")
    operator.now = at("00:01:45") + timedelta(microseconds=500_000)
    await operator.term.refused_pods.look(KEY[0])
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    await operator.see()
    await operator.turn("00:01:47")
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert task.status == task.stored
    assert (task.status.consecutive_failures, task.status.counted_until) == (1, at("00:01:45"))


async def test_failures_of_this_kind_open_the_circuit(operator: Operator) -> None:
    """A refused pod counts as a failure for the circuit."""
    await operator.create_task(intervalSeconds=60, suspendAfterFailures=1)
    await operator.turn("00:01:00")
    await operator.see()
    operator.cluster.refuse_pod(KEY[0], operator.job_names()[0], NO_ACCOUNT)
    await look(operator, "00:01:45")
    await operator.see()
    await operator.turn("00:01:50")
    await operator.turn("00:02:00")
    assert operator.rows()[1:] == [("00:02:00", "skipped", "CircuitOpen")]


async def test_an_execution_that_waits_for_room_is_shown_and_runs_when_there_is_some(operator: Operator) -> None:
    """The status says that the pod waits for room until the pod starts."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ROOM)
    for when in ("00:01:10", "00:01:45", "00:01:59"):
        await look(operator, when)
        assert await last_execution(operator) == ("Running", f"its pod is waiting for quota: FailedCreate: {NO_ROOM}")
    assert operator.rows() == []
    operator.cluster.start_pod(KEY[0], name)
    await operator.turn("00:01:59")
    assert await last_execution(operator) == ("Running", "")
    await look(operator, "00:10:00")
    assert len(operator.cluster.looks) == 3, "a Job that has a pod is looked into no more"


async def test_a_job_whose_pod_no_watch_has_shown_is_not_ended(operator: Operator) -> None:
    """Before it ends an execution, the operator asks for its pods, because a watch may lag."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:10")
    operator.cluster.start_pod(KEY[0], name)
    await look(operator, "00:01:45")
    assert operator.rows() == []
    assert "deletionTimestamp" not in operator.cluster.jobs[KEY[0], name]["metadata"]
    assert await last_execution(operator) == ("Running", "")


async def test_a_pod_that_came_between_two_looks_clears_what_was_found(operator: Operator) -> None:
    """A pod between two looks clears the refusal, even if the pod is already deleted."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:10")
    operator.now = at("00:01:20")
    pod = operator.cluster.start_pod(KEY[0], name)
    await operator.see()
    for change in ("MODIFIED", "DELETED"):
        list(operator.app.store.jobs.changes(JobEvent(change, "Pod", pod)))
    await look(operator, "00:02:30")
    assert operator.rows() == [("00:02:00", "skipped", "StillActive")]
    assert len(operator.cluster.looks) == 1


async def test_a_job_that_waits_in_a_queue_is_not_looked_into(operator: Operator) -> None:
    """A suspended Job has no pod and needs no look."""
    await operator.create_task(intervalSeconds=60, queueName="nightly")
    await operator.turn("00:01:00")
    await operator.see()
    await look(operator, "00:01:30")
    assert operator.cluster.looks == []


async def test_a_job_that_its_queue_has_just_let_go_is_not_looked_into_yet(operator: Operator) -> None:
    """A look waits until the Job controller has started the Job, and earlier refusals no longer count."""
    await operator.create_task(intervalSeconds=60)
    await operator.turn("00:01:00")
    await operator.see()
    raw = await operator.cluster.get_job(KEY[0], operator.job_names()[0])
    store = operator.app.store
    store.jobs.put({**raw, "spec": {**raw["spec"], "suspend": False}, "status": {"conditions": [HELD]}})
    assert store.jobs.without_pod() == []
    change = store.jobs.put({**raw, "status": {"conditions": [{**HELD, "status": "False"}]}})
    assert change is not None
    assert change.after is not None
    store.jobs.refuse_pod(change.after, PodTrouble("FailedCreate", NO_ACCOUNT, at("00:01:00")))
    change = store.jobs.put({**raw, "spec": {**raw["spec"], "suspend": True}})
    assert change is not None
    assert change.after is not None
    assert change.after.trouble is None


async def test_many_jobs_of_a_namespace_cost_one_look(operator: Operator) -> None:
    """One look covers all Jobs of a namespace."""
    await operator.create_task(intervalSeconds=1, concurrencyPolicy="Allow")
    for k in range(1, 11):
        await operator.turn(at("00:00:00") + timedelta(seconds=k))
    await operator.see()
    for name in operator.job_names():
        operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:00:25")
    assert operator.cluster.looks == [(KEY[0], 10)]
    shown = [job.trouble is not None for job in operator.app.store.jobs.under(KEY)]
    assert shown.count(True) == 10


async def test_looking_begins_with_a_job_and_goes_on_by_itself(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process looks when a Job is old enough, retries after a failure, and stops when every Job has a pod."""
    monkeypatch.setattr("carillon_operator.state.work_queue.MAX_SLEEP_SECONDS", 0.01)  # the test sets the clock
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    operator.now = at("00:01:10")
    operator.cluster.outage = "connection refused"
    looking = operator.term.refused_pods
    async with running(_all(looking)):
        await eventually(lambda: looking.due_time(KEY[0]) == at("00:01:25"))
        assert operator.cluster.looks == [], "it could not be asked"
        operator.cluster.outage = None
        operator.now = at("00:01:25")
        await eventually(lambda: operator.cluster.looks == [(KEY[0], 1)], 20)
        await eventually(lambda: looking.due_time(KEY[0]) == at("00:01:45"))
        operator.cluster.start_pod(KEY[0], name)
        await operator.see()
        operator.now = at("00:01:45")
        await eventually(lambda: looking.due_time(KEY[0]) is None, 20)
    assert operator.cluster.looks == [(KEY[0], 1)]


async def test_events_that_may_not_be_read_stop_nothing(
    operator: Operator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the permission, the operator logs one warning and tries again after five minutes."""
    monkeypatch.setattr("carillon_operator.state.work_queue.MAX_SLEEP_SECONDS", 0.01)  # the test sets the clock
    await launch(operator)
    operator.now = at("00:01:10")
    operator.cluster.forbidden.add(KEY[0])
    looking = operator.term.refused_pods
    async with running(_all(looking)):
        await eventually(lambda: looking.due_time(KEY[0]) == at("00:06:10"))
        for _, job in operator.app.store.jobs.without_pod(KEY[0]):
            looking.expect(job)
        assert looking.due_time(KEY[0]) == at("00:06:10"), "another Job does not have it asked sooner"
        operator.now = at("00:06:10")
        await eventually(lambda: looking.due_time(KEY[0]) == at("00:11:10"))
    assert [r.levelname for r in caplog.records if "why pods are refused" in r.message] == ["WARNING"]
    with pytest.raises(ForbiddenError):
        await looking.look(KEY[0])


async def test_a_look_that_fails_decides_nothing(operator: Operator) -> None:
    """The previous result stays, but is too old to end an execution."""
    name = await launch(operator)
    operator.cluster.refuse_pod(KEY[0], name, NO_ACCOUNT)
    await look(operator, "00:01:10")
    operator.cluster.outage = "connection refused"
    operator.now = at("00:01:50")
    with pytest.raises(UnavailableError):
        await operator.term.refused_pods.look(KEY[0])
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert decide(task, operator.app.store.jobs.under(KEY), operator.now).actions == ()


async def _all(looking: RefusedPods) -> None:
    await asyncio.gather(*looking.processes())
