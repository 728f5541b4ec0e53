"""The reconciler over the memory adapters: launches, including those that fail or whose response is lost."""

import asyncio
import json
import re

import pytest

from carillon_core.errors import ConflictError, ForbiddenError, RefusedError, UnavailableError
from support.builders import FIRST, at
from support.operator import KEY, SETTINGS, Operator, operator, running
from support.waiting import eventually

__all__ = ["operator"]


async def test_a_due_slot_is_launched_once(operator: Operator) -> None:
    """Reconciling again does not launch the slot again."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    await operator.turn("00:00:31")
    assert operator.job_names() == [FIRST]


async def test_the_job_says_whose_it_is_and_what_to_run(operator: Operator) -> None:
    """The Job has owner, image and environment; the database URL comes from a Secret."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    (job,) = operator.cluster.created
    task = (await operator.cluster.tasks.list(None))[0]
    assert job["metadata"]["ownerReferences"][0]["uid"] == task["metadata"]["uid"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "runner:1"
    env = {e["name"]: e.get("value") for e in container["env"]}
    assert env["CARILLON_TASK"] == '{"counter": {}}'
    assert env["CARILLON_SLOT"] == "2026-01-01T00:00:30Z"
    assert env["DATABASE_URL"] is None
    assert operator.cluster.secrets[KEY[0], "carillon-runner"] == {"database-url": SETTINGS.runner_database_url}


async def test_a_slot_that_finds_its_predecessor_active_is_recorded_as_skipped(operator: Operator) -> None:
    """A skipped slot is not launched later, even if its predecessor ends a moment afterwards."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], FIRST)
    await operator.turn("00:01:00")
    operator.cluster.finish_pod(KEY[0], FIRST)
    await operator.turn("00:01:01")
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:01:00", "skipped", "StillActive")]


async def test_a_pod_that_has_ended_makes_room_before_its_job_says_so(operator: Operator) -> None:
    """The next slot is launched when the pod has ended, even if the Job's status lags behind."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.cluster.finish_pod(KEY[0], FIRST)
    await operator.turn("00:01:00")
    assert len(operator.job_names()) == 2


async def test_a_lost_answer_does_not_launch_twice(operator: Operator) -> None:
    """If the Job already exists and is the task's own, the launch counts as done."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.restart()
    operator.now = at("00:00:31")
    for raw in await operator.cluster.tasks.list(None):  # the task as before the launch, and no Job
        raw["status"] = {}
        operator.app.store.tasks.put(raw)
    await operator.term.reconciler.reconcile(KEY)
    await operator.write()
    assert operator.job_names() == [FIRST]
    assert operator.rows() == []


async def test_a_list_of_the_past_does_not_break_forbid(operator: Operator) -> None:
    """If the list lacks the Job that the status calls running, the operator asks for that Job."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.restart()
    operator.now = at("00:01:00")
    for raw in await operator.cluster.tasks.list(None):
        operator.app.store.tasks.put(raw)
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:01:00", "skipped", "StillActive")]


async def test_a_job_that_neither_status_nor_list_tells_of_is_asked_for_before_its_slot_is_missed(
    operator: Operator,
) -> None:
    """If the operator died before writing the status and the list is stale, it asks for the Job."""
    await operator.create_task(intervalSeconds=30)
    operator.now = at("00:00:30")
    await operator.see()
    await operator.term.reconciler.reconcile(KEY)
    operator.restart()
    operator.now = at("00:01:00")
    for raw in await operator.cluster.tasks.list(None):
        operator.app.store.tasks.put(raw)
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:01:00", "skipped", "StillActive")]


async def test_a_slot_that_an_earlier_operator_skipped_is_not_launched_from_an_old_list(operator: Operator) -> None:
    """Its status was written and its row recorded; meanwhile the execution that was active has ended."""
    await operator.create_task(intervalSeconds=30, task={"container": {"image": "busybox"}})
    await operator.turn("00:00:30")
    old = await operator.cluster.tasks.list(None)
    await operator.turn("00:01:00")
    assert operator.rows()[-1] == ("00:01:00", "skipped", "StillActive")
    operator.cluster.finish_pod(KEY[0], FIRST, 0, "")
    operator.now = at("00:01:05")
    operator.restart()
    await operator.see()
    for uid in [raw["metadata"]["uid"] for raw in old]:
        operator.app.store.tasks.drop(KEY, uid)
    for raw in old:
        operator.app.store.tasks.put(raw)
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    assert operator.job_names() == [FIRST]
    assert operator.rows()[-1] == ("00:01:00", "skipped", "StillActive")


async def test_a_task_that_is_gone_is_not_launched_from_an_old_list(operator: Operator) -> None:
    """It is looked up before a slot from before is launched."""
    await operator.create_task(intervalSeconds=30)
    old = await operator.cluster.tasks.list(None)
    await operator.cluster.tasks.delete(*KEY)
    operator.now = at("00:00:40")
    operator.restart()
    for raw in old:
        operator.app.store.tasks.put(raw)
    await operator.term.reconciler.reconcile(KEY)
    assert operator.job_names() == []


async def test_a_foreign_job_of_that_name_is_left_alone(operator: Operator) -> None:
    """The slot is recorded as missed, with the reason JobNameTaken."""
    foreign = {"metadata": {"name": FIRST, "namespace": KEY[0]}, "spec": {}}
    await operator.cluster.create_job(foreign)
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:00:30", "missed", "JobNameTaken")]


async def test_a_job_that_only_pretends_to_be_the_tasks_does_not_take_its_slot_in_silence(operator: Operator) -> None:
    """A Job with the labels but no owner is foreign: the slot is recorded as missed."""
    await operator.create_task(intervalSeconds=30)
    uid = (await operator.cluster.tasks.get(*KEY))["metadata"]["uid"]
    labels = {"carillon.dev/task": KEY[1], "carillon.dev/task-uid": uid}
    await operator.cluster.create_job({"metadata": {"name": FIRST, "namespace": KEY[0], "labels": labels}, "spec": {}})
    await operator.turn("00:00:30")
    assert operator.rows() == [("00:00:30", "missed", "JobNameTaken")]


async def test_a_refused_launch_is_recorded_and_the_next_slot_tried(operator: Operator) -> None:
    """A quota or a webhook that refuses one launch does not affect the next slot."""
    await operator.create_task(intervalSeconds=30)
    operator.cluster.create_error = RefusedError("quota exceeded")
    await operator.turn("00:00:30")
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    assert task.status.last_schedule_time is None
    operator.cluster.create_error = None
    await operator.turn("00:01:00")
    assert operator.rows() == [("00:00:30", "missed", "LaunchRefused")]
    assert len(operator.job_names()) == 1


async def test_a_forbidden_launch_keeps_its_slot(operator: Operator) -> None:
    """A slot whose launch was forbidden is launched when the permission is granted, even a one-shot's."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z")
    await operator.turn("00:00:10")
    operator.cluster.create_error = ForbiddenError("no")
    operator.now = at("00:00:30")
    with pytest.raises(ForbiddenError):
        await operator.term.reconciler.reconcile(KEY)
    operator.cluster.create_error = None
    await operator.turn("00:05:00")
    assert operator.job_names() == [FIRST]


async def test_a_launch_whose_answer_was_lost_is_found_before_the_next_is_decided(operator: Operator) -> None:
    """The next slot is skipped, and the launched one is not recorded as missed."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    operator.now = at("00:00:30")
    operator.cluster.lose_next_answer = True
    with pytest.raises(UnavailableError):
        await operator.term.reconciler.reconcile(KEY)
    operator.now = at("00:01:00")  # the watch has not shown the Job yet
    await operator.term.reconciler.reconcile(KEY)
    await operator.settle()
    assert operator.job_names() == [FIRST]
    assert operator.rows() == [("00:01:00", "skipped", "StillActive")]


async def test_tries_do_not_multiply_what_is_recorded_as_missed(operator: Operator) -> None:
    """Retrying a launch records each missed slot once."""
    await operator.create_task(intervalSeconds=30)
    operator.cluster.create_error = UnavailableError("API server", "away")
    for when in ("00:02:10", "00:02:40", "00:03:10"):
        operator.now = at(when)
        await operator.see()
        with pytest.raises(UnavailableError):
            await operator.term.reconciler.reconcile(KEY)
    operator.cluster.create_error = None
    await operator.turn("00:03:20")
    assert [slot for slot, _, _ in operator.rows()] == ["00:00:30", "00:01:00", "00:01:30", "00:02:00", "00:02:30"]
    assert len(operator.job_names()) == 1


async def test_an_older_view_does_not_revive_a_job_that_was_deleted(operator: Operator) -> None:
    """A stale event about a deleted Job does not make the Job active again."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    (job,) = operator.cluster.created
    operator.app.store.jobs.drop((KEY[0], FIRST), job["metadata"]["uid"])
    operator.app.store.jobs.put(job)
    assert [j.active for j in operator.app.store.jobs.under(KEY)] == [False]


async def test_a_long_task_goes_into_several_variables(operator: Operator) -> None:
    """Each variable fits Linux' limit, and joined they are the whole task."""
    body = "ü$" * 30_000
    http = {"url": "http://example.com", "body": body}
    await operator.create_task(intervalSeconds=30, task={"http": http})
    await operator.turn("00:00:30")
    (job,) = operator.cluster.created
    (container,) = job["spec"]["template"]["spec"]["containers"]
    parts = [e["value"] for e in container["env"] if re.fullmatch(r"CARILLON_TASK(_\d+)?", e["name"])]
    assert len(parts) > 1
    assert all(len(part.encode()) < 131_000 for part in parts)
    assert json.loads("".join(part.replace("$$", "$") for part in parts))["http"]["body"] == body


async def test_an_api_server_that_is_away_costs_no_slot(operator: Operator) -> None:
    """The slot is launched when the API server is available again."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:10")
    operator.cluster.outage = "connection refused"
    operator.now = at("00:00:30")
    with pytest.raises(UnavailableError):
        await operator.term.reconciler.reconcile(KEY)
    operator.cluster.outage = None
    await operator.turn("00:00:40")
    assert operator.job_names() == [FIRST]


async def test_a_restart_runs_the_latest_missed_slot_once(operator: Operator) -> None:
    """Of the slots missed during a restart the latest runs and the others are recorded."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    operator.cluster.finish_pod(KEY[0], FIRST)
    operator.restart()
    await operator.turn("00:02:40")
    assert operator.job_names() == [FIRST, "backup-1767225750"]
    assert [row for row in operator.rows() if row[1] != "missed"] == []
    assert [row[0] for row in operator.rows()] == ["00:01:00", "00:01:30", "00:02:00"]


async def test_the_status_reaches_the_object(operator: Operator) -> None:
    """The stored status has the schedule, the last and next slot, and the Ready condition."""
    await operator.create_task(intervalSeconds=30)
    operator.now = at("00:00:30")
    await operator.see()

    async def has_status() -> bool:
        return bool((await operator.cluster.tasks.get(*KEY)).get("status"))

    async with running(asyncio.gather(*operator.term.statuses.processes(1))):
        await operator.term.reconciler.reconcile(KEY)
        await eventually(has_status)
    status = (await operator.cluster.tasks.get(*KEY))["status"]
    assert status["schedule"] == "every 30s"
    assert status["lastScheduleTime"] == "2026-01-01T00:00:30Z"
    assert status["nextScheduleTime"] == "2026-01-01T00:01:00Z"
    assert status["conditions"][0]["type"] == "Ready"


async def test_a_permission_that_is_missing_is_said_on_the_task(operator: Operator) -> None:
    """The task is not ready while the permission is missing, and the slot is launched afterwards."""
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
    """A conflict counts as an unavailable API server: the slot is kept and no bug is reported."""
    await operator.create_task(intervalSeconds=30)
    operator.now = at("00:00:30")
    await operator.see()
    operator.cluster.create_error = ConflictError("the object has been modified")
    with pytest.raises(UnavailableError):
        await operator.term.reconciler.reconcile(KEY)
    operator.cluster.create_error = None
    await operator.turn("00:00:31")
    assert operator.job_names() == [FIRST]
