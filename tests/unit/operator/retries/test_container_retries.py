"""A container's attempts: a Job each, after the waits of ``spec.retry``, and one execution all the time."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.contract import Cause
from carillon_core.domain.execution import attempt_job_name, job_name, request_job_name
from carillon_core.errors import RefusedError
from carillon_core.ports import JobEvent, JSONObject
from carillon_core.resources.names import ANNOTATION_CANCELLED_BY
from support.builders import at
from support.operator import KEY, Operator

NAMESPACE, SLOT = KEY[0], at("00:00:30")
FIRST = job_name(KEY[1], SLOT)
SECOND, THIRD = (attempt_job_name(FIRST, SLOT, Cause.SCHEDULE, number) for number in (2, 3))
NEXT_SLOT = job_name(KEY[1], at("00:01:00"))
CONTAINER = {"container": {"image": "busybox:1"}}
QUICK = {"limit": 2, "initialDelaySeconds": 1, "factor": 1, "jitter": 0}
SLOW = {"limit": 2, "initialDelaySeconds": 40, "factor": 2, "jitter": 0}


@pytest.fixture
def operator() -> Operator:
    """Return an operator and a cluster at midnight."""
    return Operator()


async def begin(operator: Operator, retry: dict[str, Any], **spec: Any) -> None:
    """Launch the first attempt of a task of every 30 seconds, and let it fail five seconds later."""
    await operator.create_task(intervalSeconds=30, task=CONTAINER, retry=retry, **spec)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(NAMESPACE, FIRST)
    await fail(operator, FIRST, "00:00:35")


async def fail(operator: Operator, name: str, when: str, exit_code: int = 3) -> None:
    """Let the pod of an attempt run and fail, and have a turn."""
    operator.now = at(when)
    operator.cluster.finish_pod(NAMESPACE, name, exit_code, "out of paper" if exit_code else "")
    await operator.turn(when)


def due(operator: Operator) -> str:
    """Return when the task is looked at again."""
    return f"{operator.app.queue.due_time(KEY):%H:%M:%S}"


async def status(operator: Operator) -> JSONObject:
    """Return the stored status of the task."""
    found: JSONObject = (await operator.cluster.tasks.get(*KEY))["status"]
    return found


def attempts(operator: Operator) -> list[tuple[int, str, str | None]]:
    """Return the number, status and error of each attempt of the first execution."""
    row = min(operator.history.rows.values(), key=lambda row: row.slot)
    return [(each.number, each.status.value, each.error) for each in row.attempts]


async def test_each_attempt_is_launched_after_its_wait_and_the_row_has_them_all(operator: Operator) -> None:
    """Times of pods are whole seconds, so the wait begins at the end of that second."""
    await begin(operator, QUICK)
    assert (operator.job_names(), due(operator)) == ([FIRST], "00:00:37")
    await operator.turn("00:00:36")
    assert operator.job_names() == [FIRST], "not before its time"
    await operator.turn("00:00:37")
    await fail(operator, SECOND, "00:00:38")
    await operator.turn("00:00:40")
    assert operator.job_names() == [FIRST, SECOND, THIRD]
    assert operator.rows() == [("00:00:30", "running", None)]
    assert attempts(operator) == [(1, "failed", "out of paper"), (2, "failed", "out of paper")]
    await fail(operator, THIRD, "00:00:41")
    await operator.turn("00:00:50")
    assert operator.job_names() == [FIRST, SECOND, THIRD], "never more than the limit and one"
    assert operator.rows() == [("00:00:30", "failed", "Error")]
    assert [number for number, *_ in attempts(operator)] == [1, 2, 3]
    assert [kind for *_, kind, _ in await operator.events()] == ["Launched", "ExecutionFailed"], "one each"
    assert list(operator.cluster.jobs) == [(NAMESPACE, THIRD)], "the others have told all that they know"


async def test_an_execution_is_active_in_its_waits(operator: Operator) -> None:
    """Forbid skips a slot that falls between two attempts; the status says what is waited for."""
    await begin(operator, SLOW)
    await operator.turn("00:01:00")
    assert operator.job_names() == [FIRST]
    assert [row[1:] for row in operator.rows()] == [("running", None), ("skipped", "StillActive")]
    found = await status(operator)
    assert (found["active"], found["lastExecution"]["result"]) == (1, "Running")
    assert found["lastExecution"]["message"] == "attempt 1 failed (Error); the next one is due at 2026-01-01T00:01:16Z"
    await operator.turn("00:01:16")
    await fail(operator, SECOND, "00:01:20", exit_code=0)
    assert operator.rows()[0][1:] == ("succeeded", None)
    assert attempts(operator) == [(1, "failed", "out of paper"), (2, "succeeded", None)]
    assert (await status(operator))["lastExecution"]["jobName"] == SECOND


@pytest.mark.parametrize("answer", ["told", "lost"])
async def test_a_restart_neither_loses_nor_doubles_an_attempt(operator: Operator, answer: str) -> None:
    """Before the launch, and after it, whether its answer arrived or not."""
    await begin(operator, QUICK)
    operator.restart()
    operator.cluster.lose_next_answer = answer == "lost"
    if answer == "lost":
        operator.now = at("00:00:37")
        await operator.see()
        with pytest.raises(Exception, match="no response"):
            await operator.term.reconciler.reconcile(KEY)
    else:
        await operator.turn("00:00:37")
    operator.restart()
    await operator.turn("00:00:37")
    assert operator.job_names() == [FIRST, SECOND]
    await fail(operator, SECOND, "00:00:45", exit_code=0)
    assert operator.rows() == [("00:00:30", "succeeded", None)]
    assert attempts(operator) == [(1, "failed", "out of paper"), (2, "succeeded", None)]


async def test_an_edit_changes_no_running_execution(operator: Operator) -> None:
    """Neither its policy nor its pod."""
    await begin(operator, QUICK)
    task = (await operator.cluster.tasks.list(None))[0]
    task["spec"] |= {"retry": {"limit": 0}, "task": {"container": {"image": "busybox:2"}}}
    await operator.cluster.tasks.replace(*KEY, task)
    await operator.turn("00:00:37")
    (_, second) = operator.cluster.created
    pod = second["spec"]["template"]["spec"]
    assert (second["metadata"]["name"], pod["containers"][0]["image"]) == (SECOND, "busybox:1")
    env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert env["CARILLON_JOB_NAME"] == SECOND


async def cancelled_by_rest(operator: Operator, name: str) -> None:
    """Delete a Job as the REST API does."""
    uid = operator.cluster.jobs[NAMESPACE, name]["metadata"]["uid"]
    operator.cluster.annotate_job(NAMESPACE, name, uid, {ANNOTATION_CANCELLED_BY: "ann"})
    await operator.cluster.delete_job(NAMESPACE, name, uid)


async def signed_only(operator: Operator, name: str) -> None:
    """Note on a Job who cancels it, and be killed before its deletion."""
    uid = operator.cluster.jobs[NAMESPACE, name]["metadata"]["uid"]
    operator.cluster.annotate_job(NAMESPACE, name, uid, {ANNOTATION_CANCELLED_BY: "ann"})


async def deleted_by_hand(operator: Operator, name: str) -> None:
    """Delete a Job as ``kubectl delete job`` does."""
    operator.cluster.delete_job_first(NAMESPACE, name)


@pytest.mark.parametrize("end", [cancelled_by_rest, signed_only, deleted_by_hand])
@pytest.mark.parametrize("seen", [True, False])
async def test_no_attempt_follows_a_deletion(operator: Operator, end: Any, seen: bool) -> None:  # noqa: FBT001  # of a table
    """Whether the operator has seen it before the next attempt is due, or learns it when it asks."""
    await begin(operator, QUICK)
    operator.now = at("00:00:36")
    await end(operator, FIRST)
    if seen:
        await operator.turn("00:00:36")
    operator.now = at("00:00:37")
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    await operator.turn("00:00:38")
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:00:30", "cancelled", "JobDeleted")]


async def test_a_launch_that_was_on_its_way_when_the_execution_was_cancelled_is_ended(operator: Operator) -> None:
    """Its Job appears after the other was deleted."""
    await begin(operator, QUICK)
    await operator.turn("00:00:37")
    late = operator.cluster.jobs.pop((NAMESPACE, SECOND))
    operator.restart()
    first = next(job for job in operator.cluster.created if job["metadata"]["name"] == FIRST)
    operator.cluster.jobs[NAMESPACE, FIRST] = first
    operator.cluster.finish_pod(NAMESPACE, FIRST, 3)
    operator.now = at("00:00:37")
    await operator.see()
    await cancelled_by_rest(operator, FIRST)
    await operator.turn("00:00:38")
    operator.cluster.jobs[NAMESPACE, SECOND] = late
    operator.cluster.start_pod(NAMESPACE, SECOND)
    await operator.turn("00:00:39")
    assert "deletionTimestamp" in operator.cluster.jobs[NAMESPACE, SECOND]["metadata"]


async def test_an_attempt_that_is_created_again_too_late_is_ended(operator: Operator) -> None:
    """The request had been given up, and its Job was created, had failed and was deleted since."""
    await begin(operator, QUICK)
    await operator.turn("00:00:37")
    late = next(job for job in operator.cluster.created if job["metadata"]["name"] == SECOND)
    await fail(operator, SECOND, "00:00:38")
    await operator.turn("00:00:40")
    assert list(operator.cluster.jobs) == [(NAMESPACE, THIRD)]
    operator.now = at("00:00:41")
    await operator.cluster.create_job({**late, "metadata": {**late["metadata"], "resourceVersion": ""}})
    operator.cluster.start_pod(NAMESPACE, SECOND)
    await operator.turn("00:00:41")
    assert "deletionTimestamp" in operator.cluster.jobs[NAMESPACE, SECOND]["metadata"]
    assert "deletionTimestamp" not in operator.cluster.jobs[NAMESPACE, THIRD]["metadata"]


async def test_a_running_attempt_is_not_ended_by_a_job_that_claims_to_follow_it(operator: Operator) -> None:
    """Who may create Jobs can create one with the labels, the owner and the name that the next would have."""
    await operator.create_task(intervalSeconds=30, task=CONTAINER, retry=QUICK)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(NAMESPACE, FIRST)
    first = operator.cluster.jobs[NAMESPACE, FIRST]
    operator.now = at("00:00:32")
    await operator.cluster.create_job({**first, "metadata": {**first["metadata"], "name": SECOND}, "status": {}})
    await operator.turn("00:00:33")
    assert "deletionTimestamp" not in operator.cluster.jobs[NAMESPACE, FIRST]["metadata"]


async def test_replace_ends_an_execution_in_its_wait(operator: Operator) -> None:
    """The next slot runs instead of the next attempt."""
    await begin(operator, SLOW, concurrencyPolicy="Replace")
    await operator.turn("00:01:00")
    await operator.turn("00:01:01")
    assert operator.job_names() == [FIRST, NEXT_SLOT]
    await operator.turn("00:01:20")
    assert operator.job_names() == [FIRST, NEXT_SLOT]
    assert operator.rows()[0][1:] == ("cancelled", "Replaced")


async def test_no_attempt_begins_after_the_execution_s_time(operator: Operator) -> None:
    """The time-out covers the attempts and the waits; a later attempt has what is left."""
    await begin(operator, QUICK, timeoutSeconds=9)
    await operator.turn("00:00:37")
    assert operator.cluster.created[1]["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 2
    await fail(operator, SECOND, "00:00:38")
    (row,) = operator.history.rows.values()
    assert row.status.value == "failed"
    assert row.message is not None
    assert row.message.endswith("no time is left for another attempt, which would start at 2026-01-01T00:00:40Z")


async def test_an_attempt_that_could_not_be_launched_in_time_is_not_launched_later(operator: Operator) -> None:
    """No operator ran until the execution's time was over: the container would be ended within its first second."""
    await begin(operator, QUICK, timeoutSeconds=60)
    operator.restart()
    await operator.turn("03:00:00")
    await operator.turn("03:00:02")
    assert SECOND not in operator.job_names()
    row = min(operator.history.rows.values(), key=lambda row: row.slot)
    assert (row.status.value, row.reason) == ("failed", "Error")
    assert row.message is not None
    assert row.message.startswith("out of paper; no time is left for another attempt")


@pytest.mark.parametrize("part", ["labels", "annotations", "ownerReferences"])
async def test_the_next_attempt_is_the_same_execution_s_whatever_the_job_says_by_now(
    operator: Operator, part: str
) -> None:
    """Who may only patch Jobs could otherwise hide the next attempt."""
    await begin(operator, QUICK)
    before = copy.deepcopy(operator.cluster.jobs[NAMESPACE, FIRST]["metadata"])
    operator.cluster.jobs[NAMESPACE, FIRST]["metadata"].pop(part)
    await operator.turn("00:00:37")
    made = operator.cluster.created[1]["metadata"]
    assert made["name"] == SECOND
    assert made["labels"] == before["labels"]
    assert made["ownerReferences"] == before["ownerReferences"]
    assert made["annotations"].keys() == before["annotations"].keys()


async def test_a_refused_attempt_fails_the_execution(operator: Operator) -> None:
    """A quota, for example; the row says so, and how the last attempt ended."""
    await begin(operator, QUICK)
    operator.cluster.create_error = RefusedError("exceeded quota: jobs")
    await operator.turn("00:00:37")
    await operator.turn("00:00:39")
    (row,) = operator.history.rows.values()
    assert (row.status.value, row.reason) == ("failed", "LaunchRefused")
    assert row.message is not None
    assert row.message.startswith("attempt 2 was not launched: ")
    assert row.result is not None
    assert (row.result["exitCode"], row.result["message"]) == (3, "out of paper")


async def test_the_first_job_stays_until_the_stored_status_settles_its_slot(operator: Operator) -> None:
    """Until then only its name keeps an operator that starts from an old list from launching the slot again."""
    await operator.create_task(intervalSeconds=30, task=CONTAINER, retry={**QUICK, "initialDelaySeconds": 0})
    operator.now = SLOT
    await operator.see()
    await operator.term.reconciler.reconcile(KEY)
    operator.cluster.finish_pod(NAMESPACE, FIRST, 3)
    for _ in range(2):
        await operator.see()
        await operator.term.reconciler.reconcile(KEY)
    await operator.term.janitor.drained()
    assert sorted(name for _, name in operator.cluster.jobs) == sorted([FIRST, SECOND])
    await operator.turn(SLOT + timedelta(seconds=1))
    await operator.turn(SLOT + timedelta(seconds=2))
    assert list(operator.cluster.jobs) == [(NAMESPACE, SECOND)]


@pytest.mark.parametrize("deleting", [False, True])
async def test_an_old_watch_that_shows_the_first_job_after_the_second_is_not_believed(
    operator: Operator,
    deleting: bool,  # noqa: FBT001  # a parameter of the table
) -> None:
    """The API server is asked before an attempt is launched, even if the status does not tell of the second."""
    await begin(operator, QUICK)
    old = copy.deepcopy(operator.cluster.jobs[NAMESPACE, FIRST])
    if deleting:  # by the operator that has launched the second
        old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:38Z"
    pod = next(iter(operator.cluster.pods.values()))
    await operator.turn("00:00:37")
    await operator.turn("00:00:38")
    operator.restart()
    operator.now = at("00:00:39")
    for raw in await operator.cluster.tasks.list(None):
        raw["status"].pop("lastExecution")
        operator.app.store.tasks.put(raw)
    operator.take(JobEvent("ADDED", "Job", old))
    operator.take(JobEvent("ADDED", "Pod", pod))
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    assert operator.job_names() == [FIRST, SECOND]
    await fail(operator, SECOND, "00:00:45", exit_code=0)
    assert operator.rows() == [("00:00:30", "succeeded", None)]


async def test_another_s_job_of_the_name_ends_the_execution(operator: Operator) -> None:
    """It is not taken for an attempt, and not touched."""
    await begin(operator, QUICK)
    forged = {"metadata": {"name": SECOND, "namespace": NAMESPACE, "uid": "forged"}, "spec": {}, "status": {}}
    operator.cluster.jobs[NAMESPACE, SECOND] = forged
    await operator.turn("00:00:37")
    await operator.turn("00:00:39")
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:00:30", "failed", "JobNameTaken")]
    assert "deletionTimestamp" not in operator.cluster.jobs[NAMESPACE, SECOND]["metadata"]


async def test_no_attempt_follows_when_the_task_is_gone(operator: Operator) -> None:
    """Even if its Jobs were left."""
    await begin(operator, QUICK)
    task = (await operator.cluster.tasks.list(None))[0]
    operator.app.store.tasks.drop(KEY, task["metadata"]["uid"])
    operator.now = at("00:00:37")
    await operator.term.reconciler.reconcile(KEY)
    await operator.write()
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:00:30", "cancelled", "JobDeleted")]


async def test_the_sweep_finds_the_newest_attempt(operator: Operator) -> None:
    """The row has the name of the first Job, which is gone."""
    await begin(operator, SLOW)
    await operator.turn("00:01:16")
    await operator.turn("00:01:17")
    operator.cluster.start_pod(NAMESPACE, SECOND)
    operator.now = at("00:03:00")
    for _ in range(2):
        await operator.term.sweeper.sweep()
        await operator.write()
        assert operator.rows()[0][1] == "running"
        operator.restart()  # and without having seen a Job
        operator.cluster.job_reads.clear()
    await operator.term.sweeper.sweep()
    uid = next(iter(operator.history.rows.values())).task_uid
    assert operator.cluster.job_reads == [f"of {uid}", SECOND], "not each name that it may have"


async def test_a_request_s_container_is_retried_as_well(operator: Operator) -> None:
    """Its status is that of the newest attempt."""
    await operator.create_task(runAt="2026-01-02T00:00:00Z", task=CONTAINER, retry=QUICK)
    operator.now = at("00:00:10")
    made = operator.cluster.put_object("RunRequest", NAMESPACE, "now", {"taskRef": {"name": KEY[1]}})
    await operator.turn("00:00:10")
    first = request_job_name("now", made["metadata"]["uid"])
    second = attempt_job_name(first, at("00:00:10"), Cause.MANUAL, 2)
    await fail(operator, first, "00:00:12")
    await operator.turn("00:00:14")
    await operator.turn("00:00:15")
    assert list(operator.cluster.jobs) == [(NAMESPACE, second)]
    assert operator.cluster.objects["RunRequest"][NAMESPACE, "now"]["status"]["result"] == "Running"
    await fail(operator, second, "00:00:16", exit_code=0)
    found = operator.cluster.objects["RunRequest"][NAMESPACE, "now"]["status"]
    assert (found["result"], found["jobName"]) == ("Succeeded", second)
    assert [status for _, status, _ in attempts(operator)] == ["failed", "succeeded"]
