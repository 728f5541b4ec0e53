"""An execution is active until its pods have ended: deletions and conditions of its Job only announce that."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.contract import ExitCode
from carillon_core.domain.execution import job_name
from carillon_core.ports import JobEvent, JSONObject
from support.builders import at
from support.operator import KEY, Operator

CONTAINER = {"container": {"image": "busybox"}}
FIRST, SECOND = (job_name(KEY[1], at(when)) for when in ("00:00:30", "00:01:00"))


@pytest.fixture
def operator() -> Operator:
    """Return an operator and a cluster at midnight."""
    return Operator()


async def begin(operator: Operator, task: dict[str, Any] | None = None, **spec: Any) -> None:
    """Launch the first execution of a task of every 30 seconds, and let its pod run."""
    await operator.create_task(intervalSeconds=30, task=task or CONTAINER, **spec)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:00:31")


async def delete_in_the_foreground(operator: Operator) -> None:
    """Delete the first Job as the facade does."""
    uid = operator.cluster.jobs[KEY[0], FIRST]["metadata"]["uid"]
    await operator.cluster.delete_job(KEY[0], FIRST, uid)


async def delete_job_first(operator: Operator) -> None:
    """Delete the first Job as ``kubectl delete job`` does."""
    operator.cluster.delete_job_first(KEY[0], FIRST)


async def announce_failure(operator: Operator) -> None:
    """Let the first Job's deadline pass: its controller says so and deletes its pod."""
    announce(operator, "FailureTarget", "DeadlineExceeded")


def announce(operator: Operator, kind: str, reason: str = "") -> None:
    """Let the Job controller announce the end of the first Job."""
    job = operator.cluster.jobs[KEY[0], FIRST]
    job["status"] |= {"active": 0, "terminating": 1}
    job["status"]["conditions"] = [{"type": kind, "status": "True", "reason": reason}]
    operator.cluster.delete_pods(KEY[0], job["metadata"]["uid"])


ENDS = [delete_in_the_foreground, delete_job_first, announce_failure]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("policy", ["Forbid", "Replace"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_nothing_is_launched_while_a_pod_is_in_its_grace(
    operator: Operator,
    end: Callable[[Operator], Any],
    policy: str,
    restarted: bool,  # noqa: FBT001  # a parameter of the table
) -> None:
    """However its end was announced, and whether or not the operator saw that; afterwards the next slot runs."""
    await begin(operator, concurrencyPolicy=policy)
    operator.now = at("00:00:50")
    await end(operator)
    if restarted:
        operator.restart()
    await operator.turn("00:00:51")
    await operator.turn("00:01:00")
    assert operator.job_names() == [FIRST], "the first one's container still runs"
    operator.cluster.finish_pod(KEY[0], FIRST, 143)
    await operator.turn("00:01:10")
    assert operator.job_names() == [FIRST, *([SECOND] if policy == "Replace" else [])]
    if policy == "Forbid":
        await operator.turn("00:01:30")
        assert operator.job_names() == [FIRST, job_name(KEY[1], at("00:01:30"))]


@pytest.mark.parametrize("end", ENDS)
async def test_a_pod_that_does_not_end_is_waited_for_until_ten_seconds_after_its_grace(
    operator: Operator, end: Callable[[Operator], Any]
) -> None:
    """Its node may be lost: the task goes on, by itself at that time, and the execution is recorded."""
    await begin(operator, startingDeadlineSeconds=5)
    operator.now = at("00:00:50")
    await end(operator)
    await operator.turn("00:00:51")
    grace_over = at("00:00:50") + timedelta(seconds=30)
    assert operator.app.queue.due_time(KEY) == at("00:01:00")
    await operator.turn("00:01:00")
    assert operator.app.queue.due_time(KEY) == at("00:01:30")
    await operator.turn(grace_over + timedelta(seconds=9))
    assert operator.rows()[0][1] == "running"
    await operator.turn(grace_over + timedelta(seconds=10))
    status, reason = operator.rows()[0][1:]
    announced = end is announce_failure
    assert (status, reason) == (("timed_out", "Timeout") if announced else ("cancelled", "JobDeleted"))
    await operator.turn("00:01:30")
    assert operator.job_names()[1:] == [job_name(KEY[1], at("00:01:30"))]


async def test_a_task_is_decided_again_when_a_pod_is_given_up(operator: Operator) -> None:
    """Nothing else may ever wake it."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=CONTAINER)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:00:31")
    operator.cluster.delete_job_first(KEY[0], FIRST)
    await operator.turn("00:00:32")
    assert operator.app.queue.due_time(KEY) == at("00:00:31") + timedelta(seconds=40)


async def test_a_pod_of_a_lost_node_is_not_waited_for(operator: Operator) -> None:
    """Kubernetes says so of the pod; nothing is heard of it again."""
    await begin(operator)
    operator.now = at("00:00:50")
    operator.cluster.delete_job_first(KEY[0], FIRST)
    operator.cluster.pods[KEY[0], f"{FIRST}-pod"]["status"]["reason"] = "NodeLost"
    operator.cluster.pods[KEY[0], f"{FIRST}-pod"]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:55Z"
    await operator.turn("00:01:00")
    assert operator.job_names() == [FIRST, SECOND]


OWN_RESULTS: dict[str, tuple[Callable[[Operator], Any], int, str, str | None]] = {
    "deleted in the foreground, and it had done its work": (delete_in_the_foreground, 0, "succeeded", None),
    "deleted with kubectl, and it had done its work": (delete_job_first, 0, "succeeded", None),
    "past its deadline, and it had done its work": (announce_failure, 0, "succeeded", None),
    "deleted in the foreground": (delete_in_the_foreground, 143, "cancelled", "JobDeleted"),
    "deleted with kubectl": (delete_job_first, 143, "cancelled", "JobDeleted"),
    "past its deadline": (announce_failure, 143, "timed_out", "Timeout"),
}


@pytest.mark.parametrize(("end", "code", "want", "want_reason"), OWN_RESULTS.values(), ids=OWN_RESULTS.keys())
@pytest.mark.parametrize("tries", [0, 2])
async def test_a_container_that_ends_in_its_grace_has_its_own_result(
    operator: Operator, end: Callable[[Operator], Any], code: int, want: str, want_reason: str | None, tries: int
) -> None:
    """Its exit code is in the row, and a work that was done counts as done."""
    await begin(operator, retry={"limit": tries})
    operator.now = at("00:00:40")
    await end(operator)
    await operator.turn("00:00:41")
    assert operator.rows()[0][1] == "running"
    operator.now = at("00:00:45")
    operator.cluster.finish_pod(KEY[0], FIRST, code, "bye")
    await watch_pods(operator)
    await operator.turn("00:00:46")
    (row,) = operator.history.rows.values()
    assert (row.status.value, row.reason, row.result) == (want, want_reason, {"exitCode": code, "message": "bye"})
    assert row.finished_at == at("00:00:45")


async def watch_pods(operator: Operator) -> None:
    """Show the operator what the watch of pods showed since: the last version of each that is gone."""
    for pod in operator.cluster.gone_pods:
        operator.take(JobEvent("DELETED", "Pod", pod))


async def test_a_replaced_container_that_had_done_its_work_succeeded(operator: Operator) -> None:
    """Its end is recorded when it has ended, and its successor is launched then."""
    await begin(operator, concurrencyPolicy="Replace")
    await operator.turn("00:01:00")
    assert operator.rows()[0][1] == "running"
    operator.now = at("00:01:05")
    operator.cluster.finish_pod(KEY[0], FIRST)
    await watch_pods(operator)
    await operator.turn("00:01:06")
    assert operator.rows()[0][1:] == ("succeeded", None)
    assert operator.job_names() == [FIRST, SECOND]


async def test_a_replaced_container_that_was_ended_says_why(operator: Operator) -> None:
    """The reason is the operator's, the exit code the container's."""
    await begin(operator, concurrencyPolicy="Replace")
    await operator.turn("00:01:00")
    operator.cluster.finish_pod(KEY[0], FIRST, 143)
    await watch_pods(operator)
    await operator.turn("00:01:06")
    assert operator.rows()[0][1:] == ("cancelled", "Replaced")
    assert [row.result for row in operator.history.rows.values() if row.result] == [{"exitCode": 143, "message": ""}]


async def test_a_run_that_fits_its_interval_is_not_skipped_for_its_jobs_lag(operator: Operator) -> None:
    """The pod has ended; that its Job says so a second later is of no matter."""
    await begin(operator, task={"counter": {}})
    operator.cluster.finish_pod(KEY[0], FIRST)
    await operator.turn("00:01:00")
    assert operator.job_names() == [FIRST, SECOND]


async def test_a_success_is_not_told_before_the_jobs_other_pods_have_ended(operator: Operator) -> None:
    """SuccessCriteriaMet is an announcement, too."""
    await begin(operator)
    announce(operator, "SuccessCriteriaMet")
    await operator.turn("00:01:00")
    assert operator.job_names() == [FIRST]
    operator.cluster.finish_pod(KEY[0], FIRST)
    await operator.turn("00:01:30")
    assert operator.job_names() == [FIRST, job_name(KEY[1], at("00:01:30"))]


async def test_a_job_that_is_deleted_before_its_pod_was_seen_is_asked_for_it(operator: Operator) -> None:
    """The watch of pods may be behind that of Jobs, by much if its connection has died in silence."""
    await operator.create_task(intervalSeconds=30, task=CONTAINER)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    job = operator.cluster.jobs[KEY[0], FIRST]
    operator.cluster.delete_job_first(KEY[0], FIRST)
    operator.take(JobEvent("DELETED", "Job", job))
    operator.now = at("00:01:00")
    await operator.term.reconciler.reconcile(KEY)
    assert operator.job_names() == [FIRST]


async def test_a_job_that_is_deleted_before_its_pods_end_was_seen_is_asked_for_that(operator: Operator) -> None:
    """What is recorded of it is what its container did."""
    await operator.create_task(intervalSeconds=3600, startAt="2026-01-01T00:00:30Z", task=CONTAINER)
    await operator.turn("00:00:30")
    operator.cluster.finish_pod(KEY[0], FIRST, message="done")
    operator.take(JobEvent("DELETED", "Job", operator.cluster.jobs.pop((KEY[0], FIRST))))
    await operator.settle()
    (row,) = operator.history.rows.values()
    assert (row.status.value, row.result) == ("succeeded", {"exitCode": 0, "message": "done"})


async def test_a_job_that_had_failed_before_it_was_deleted_stays_failed(operator: Operator) -> None:
    """A deletion says nothing of an execution that is over."""
    await begin(operator)
    operator.cluster.finish_pod(KEY[0], FIRST, 3)
    await operator.turn("00:00:40")
    operator.cluster.jobs[KEY[0], FIRST]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:41Z"
    await operator.turn("00:00:42")
    assert operator.rows()[0][1:] == ("failed", "Error")
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert task.status.last_execution is not None
    assert task.status.last_execution.result == "Failed"


async def test_pods_of_a_job_that_is_gone_leave_nothing_behind(operator: Operator) -> None:
    """Its execution is recorded, its pods have ended: it is forgotten with its request."""
    raw = operator.cluster.put_object("RunRequest", KEY[0], "now", {"task": CONTAINER})
    key = (KEY[0], "runrequests/now")
    await operator.see()
    await operator.term.reconciler.reconcile(key)
    (job,) = operator.cluster.jobs.values()
    name = job["metadata"]["name"]
    operator.cluster.start_pod(KEY[0], name)
    await operator.see()
    operator.cluster.delete_job_first(KEY[0], name)
    del operator.cluster.objects["RunRequest"][KEY[0], "now"]
    operator.app.store.requests.drop((KEY[0], "now"), raw["metadata"]["uid"])
    await operator.see()
    await operator.term.reconciler.reconcile(key)
    assert [j.active for j in operator.app.store.jobs.under(key)] == [True]
    operator.cluster.finish_pod(KEY[0], name, 143)
    await watch_pods(operator)
    await operator.see()
    await operator.write()
    await operator.term.reconciler.reconcile(key)
    assert operator.app.store.jobs.under(key) == []
    assert [row[1:] for row in operator.rows()] == [("cancelled", "JobDeleted")]


async def drain(operator: Operator, code: int = 143) -> None:
    """Evict the first Job's pod, and let it end."""
    job = operator.cluster.jobs[KEY[0], FIRST]
    operator.cluster.delete_pods(KEY[0], job["metadata"]["uid"], disruption="EvictionByEvictionAPI")
    await operator.see()
    operator.cluster.finish_pod(KEY[0], FIRST, code)
    await watch_pods(operator)


async def test_a_container_that_a_drain_ends_is_not_over(operator: Operator) -> None:
    """Its Job starts another pod, and the eviction uses up no try: nothing is launched beside it."""
    await begin(operator)
    operator.now = at("00:00:40")
    await drain(operator)
    await operator.turn("00:00:41")
    await operator.turn("00:01:00")
    assert [row[1] for row in operator.rows()] == ["running", "skipped"]
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:01:01")
    operator.now = at("00:01:05")
    operator.cluster.finish_pod(KEY[0], FIRST)
    await operator.turn("00:01:06")
    row = min(operator.history.rows.values(), key=lambda row: row.slot)
    assert row.status.value == "succeeded"
    assert [(a.status.value, a.reason) for a in row.attempts] == [
        ("failed", "EvictionByEvictionAPI"),
        ("succeeded", None),
    ]


INTERRUPTED: dict[str, tuple[Callable[[Operator], Any] | None, tuple[str, str | None] | None]] = {
    "by a drain": (None, None),
    "by kubectl delete job": (delete_job_first, ("cancelled", "JobDeleted")),
    "by the facade": (delete_in_the_foreground, ("cancelled", "JobDeleted")),
    "by its Job's deadline": (announce_failure, ("timed_out", "Timeout")),
}


@pytest.mark.parametrize(("end", "want"), INTERRUPTED.values(), ids=INTERRUPTED.keys())
async def test_an_execution_that_an_interrupted_runner_left_open(
    operator: Operator, end: Callable[[Operator], Any] | None, want: tuple[str, str | None] | None
) -> None:
    """The next pod goes on with it; if none may follow, it is closed with the reason."""
    await begin(operator, task={"counter": {}}, retry={"limit": 1})
    operator.now = at("00:00:40")
    await (drain(operator, ExitCode.INTERRUPTED) if end is None else end(operator))
    await operator.see()
    if end is not None:
        operator.cluster.finish_pod(KEY[0], FIRST, ExitCode.INTERRUPTED)
        await watch_pods(operator)
    await operator.turn("00:00:41")
    first = [row[1:] for row in operator.rows() if row[0] == "00:00:30"]
    assert first == ([want] if want else [])
    assert any(job.active for job in operator.app.store.jobs.under(KEY)) is (want is None)


async def test_an_end_amid_a_turn_is_recorded_though_the_job_is_gone_before_the_next(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn reads the Jobs at its beginning; the launch that it waits for takes a while."""
    await begin(operator, concurrencyPolicy="Allow")
    create_job = operator.cluster.create_job

    async def create_and_end(manifest: JSONObject) -> JSONObject:
        operator.cluster.finish_pod(KEY[0], FIRST)
        operator.take(JobEvent("MODIFIED", "Pod", operator.cluster.pods[KEY[0], f"{FIRST}-pod"]))
        return await create_job(manifest)

    monkeypatch.setattr(operator.cluster, "create_job", create_and_end)
    operator.now = at("00:01:00")
    await operator.term.reconciler.reconcile(KEY)
    operator.take(JobEvent("DELETED", "Job", operator.cluster.jobs.pop((KEY[0], FIRST))))
    await operator.settle()
    assert operator.rows()[0][1] == "succeeded"
