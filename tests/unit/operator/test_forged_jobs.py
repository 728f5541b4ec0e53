"""Jobs and pods that tenants forge or edit: none says anything about an object of another namespace."""

import asyncio
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest

from carillon_core.contract import ExecutionStatus
from carillon_core.domain.execution import job_name
from carillon_core.ports import JobEvent
from carillon_core.resources import names
from carillon_core.resources.base import rfc3339
from carillon_operator.gather.lookups import MOST_ASKED
from support.builders import at
from support.operator import KEY, Operator, operator

__all__ = ["operator"]

INTRUDER = "intruder"


def forge_finished_twin(operator: Operator) -> None:
    """Forge the only Job in another namespace, failed; its runner has not claimed the row yet."""
    [(name, raw)] = operator.cluster.jobs.items()
    forged = deepcopy(raw)
    forged["metadata"] |= {"namespace": INTRUDER, "uid": "f0f0f0f0-0000-4000-8000-000000000001"}
    ended = {"type": "Failed", "status": "True", "reason": "Error", "lastTransitionTime": "2026-01-01T00:00:20Z"}
    forged["status"] = {"conditions": [ended]}
    operator.cluster.jobs[INTRUDER, name[1]] = forged


async def test_a_job_forged_in_another_namespace_takes_no_slot(operator: Operator) -> None:
    """It writes no row of the task's slot, so that the task's own runner can claim it."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    forge_finished_twin(operator)
    await operator.see()
    await operator.term.reconciler.reconcile((INTRUDER, KEY[1]))
    await operator.term.sweep()
    await operator.write()
    assert operator.history.rows == {}


async def test_a_job_that_cannot_be_read_hides_no_other(operator: Operator, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in a list nor in a watch; it counts as foreign."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    [(name, raw)] = operator.cluster.jobs.items()
    forged = deepcopy(raw)
    forged["metadata"] |= {"namespace": INTRUDER, "uid": "f0f0f0f0-0000-4000-8000-000000000001"}
    forged["status"] = {"conditions": [{"status": "True"}]}  # no API server stores it: it stands for a defect of ours
    operator.cluster.jobs = {(INTRUDER, name[1]): forged, name: raw}
    operator.restart()
    await operator.see()
    operator.take(JobEvent("MODIFIED", "Job", forged))
    assert operator.app.store.jobs.get(*name) is not None
    assert operator.app.store.jobs.get(INTRUDER, name[1]) is None
    assert "cannot read a Job" in caplog.text


async def test_a_job_forged_for_a_request_of_another_namespace_does_not_settle_it(operator: Operator) -> None:
    """The request's own Job alone says how it ended."""
    operator.cluster.put_object("RunRequest", KEY[0], "now", {"task": {"counter": {}}})
    key = (KEY[0], "runrequests/now")
    await operator.see()
    await operator.term.reconciler.reconcile(key)
    await operator.write()
    forge_finished_twin(operator)
    operator.now = at("00:00:30")
    await operator.see()
    for each in ((INTRUDER, "runrequests/now"), key):
        await operator.term.reconciler.reconcile(each)
        await operator.write()
    assert operator.cluster.objects["RunRequest"][KEY[0], "now"]["status"]["result"] == "Running"
    assert operator.history.rows == {}


async def test_a_pod_forged_in_another_namespace_does_not_end_a_job(operator: Operator) -> None:
    """A pod counts only in the namespace of its Job."""
    await operator.create_task(intervalSeconds=3600)
    operator.cluster.put_object("RunRequest", KEY[0], "now", {"taskRef": {"name": KEY[1]}})
    await operator.turn("00:00:10")
    [name] = operator.job_names()
    operator.cluster.finish_pod(KEY[0], name, 0, "")
    [(place, pod)] = operator.cluster.pods.items()
    operator.cluster.pods.clear()
    operator.cluster.jobs[KEY[0], name]["status"] = {}
    forged = deepcopy(pod)
    forged["metadata"] |= {"namespace": INTRUDER, "uid": "f0f0f0f0-0000-4000-8000-000000000002"}
    operator.cluster.pods[INTRUDER, place[1]] = forged
    await operator.turn("00:00:20")
    operator.cluster.jobs[KEY[0], name]["metadata"]["labels"]["touched"] = "yes"
    await operator.turn("00:00:21")
    found = operator.app.store.jobs.get(KEY[0], name)
    assert found is not None
    assert found.active


async def test_a_pod_that_names_a_job_of_another_namespace_as_its_owner_does_not_count_for_it(
    operator: Operator,
) -> None:
    """Its end is that of a Job of its own namespace: the other one's failure is still recorded when it comes."""
    await operator.create_task(intervalSeconds=3600, task={"container": {"image": "x"}})
    own = await operator.cluster.tasks.create(INTRUDER, {"metadata": {"name": "own"}, "spec": OWN})
    operator.cluster.put_object("RunRequest", KEY[0], "now", {"taskRef": {"name": KEY[1]}})
    await operator.turn("00:00:10")
    [job] = operator.cluster.jobs.values()
    pod = forged_pod(own["metadata"]["uid"], job)
    operator.take(JobEvent("ADDED", "Pod", pod))
    code = {"name": "task", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    ended = pod | {"status": {"phase": "Failed", "containerStatuses": [code]}}
    operator.take(JobEvent("MODIFIED", "Pod", ended))
    await operator.term.reconciler.reconcile((INTRUDER, "own"))
    await operator.write()
    operator.cluster.finish_pod(KEY[0], job["metadata"]["name"], exit_code=3)
    await operator.turn("00:00:40")
    [row] = [row for row in operator.history.rows.values() if row.namespace == KEY[0]]
    assert row.status is ExecutionStatus.FAILED


OWN = {"suspend": True, "intervalSeconds": 3600, "task": {"container": {"image": "x"}}}


def forged_pod(task_uid: str, job: dict[str, Any]) -> dict[str, Any]:
    """Return a pod of the intruder's own task that names a Job of another namespace as its owner."""
    slot = job["metadata"]["annotations"][names.ANNOTATION_SLOT]
    name = job_name("own", datetime.fromisoformat(slot))
    owner = {"kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
    labels = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_TASK: "own",
        names.LABEL_TASK_UID: task_uid,
    }
    meta = {
        "name": "p",
        "namespace": INTRUDER,
        "uid": "f0f0f0f0-0000-4000-8000-000000000004",
        "creationTimestamp": slot,
        "labels": labels,
        "annotations": {names.ANNOTATION_SLOT: slot},
        "ownerReferences": [owner | {"controller": True}],
    }
    return {"metadata": meta, "spec": {"containers": [{"name": "task"}]}, "status": {"phase": "Running"}}


async def test_a_job_whose_labels_are_edited_stays_its_requests(operator: Operator) -> None:
    """Whatever a tenant writes into the labels of a Job, its request reaches its end."""
    for number, label in enumerate((names.LABEL_REQUEST_UID, names.LABEL_TASK_UID, names.LABEL_TASK)):
        name = f"edited-{number}"
        operator.cluster.put_object("RunRequest", KEY[0], name, {"task": {"counter": {}}})
        key = (KEY[0], f"runrequests/{name}")
        await operator.see()
        await operator.term.reconciler.reconcile(key)
        await operator.write()
        [job] = [job for job in operator.job_names() if job.startswith(name)]
        labels = operator.cluster.jobs[KEY[0], job]["metadata"]["labels"]
        labels[label] = "f0f0f0f0-0000-4000-8000-000000000003"
        await operator.see()
        ended = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
        operator.cluster.jobs[KEY[0], job]["status"] = {"conditions": [ended]}
        await operator.see()
        await operator.term.reconciler.reconcile(key)
        await operator.write()
        status = operator.cluster.objects["RunRequest"][KEY[0], name]["status"]
        assert (status["result"], status["message"]) == ("TimedOut", "too long"), label


async def test_the_end_of_a_job_whose_task_is_deleted_is_still_recorded(operator: Operator) -> None:
    """Its owner was known in its namespace."""
    await operator.create_task(intervalSeconds=30)
    await operator.turn("00:00:30")
    task = operator.app.store.tasks.get(KEY)
    assert task is not None
    await operator.cluster.tasks.delete(*KEY)
    operator.app.store.tasks.drop(KEY, task.meta.uid)
    await operator.turn("00:00:40")
    assert operator.rows() == [("00:00:30", "cancelled", "JobDeleted")]


RETRY = {"limit": 20, "initialDelaySeconds": 40}


async def forge_and_delete(operator: Operator, number: int, uid: str | None = None) -> None:
    """Forge Jobs like the task's only one, of other slots and perhaps of another uid, and delete them all."""
    await operator.create_task(intervalSeconds=3600, task={"container": {"image": "x"}}, retry=RETRY)
    await operator.turn("01:00:00")
    [raw] = operator.cluster.jobs.values()
    for each in range(number):
        forged = deepcopy(raw)
        slot = at("00:00:30") + timedelta(seconds=each)
        forged["metadata"] |= {"name": job_name(KEY[1], slot), "uid": f"f0f0f0f0-0000-4000-8000-{each:012}"}
        forged["metadata"]["annotations"][names.ANNOTATION_SLOT] = rfc3339(slot)
        if uid is not None:
            forged["metadata"]["labels"][names.LABEL_TASK_UID] = uid
            forged["metadata"]["ownerReferences"][0]["uid"] = uid
        operator.take(JobEvent("ADDED", "Job", forged))
        operator.take(JobEvent("DELETED", "Job", forged))
    assert len(operator.app.store.jobs.unasked[KEY]) == number
    operator.cluster.job_reads.clear()
    operator.app.queue.close()
    operator.app.queue.open()


async def test_a_turn_asks_about_few_deleted_jobs(operator: Operator) -> None:
    """The others have turns of their own, and other keys theirs in between; each is asked about once."""
    await forge_and_delete(operator, MOST_ASKED + 1)
    reads = operator.cluster.job_reads
    await operator.term.reconciler.reconcile(KEY)
    assert len(reads) == MOST_ASKED, "one list tells whether there is a later attempt"
    assert await asyncio.wait_for(operator.app.queue.take(), 1) == KEY
    await operator.term.reconciler.reconcile(KEY)
    assert len(reads) == MOST_ASKED + 1
    assert KEY not in operator.app.store.jobs.unasked


async def test_nothing_is_asked_about_deleted_jobs_of_an_unknown_owner(operator: Operator) -> None:
    """They hold up no turn; should the owner become known, it is made up for."""
    uid = "f0f0f0f0-0000-4000-8000-00000000000a"
    await forge_and_delete(operator, MOST_ASKED + 1, uid)
    await operator.term.reconciler.reconcile(KEY)
    assert operator.cluster.job_reads == []
    assert operator.app.queue.due_time(KEY) == at("02:00:00")
    operator.app.store.tasks.departed.learn(KEY[0], uid)
    await operator.term.reconciler.reconcile(KEY)
    assert operator.cluster.job_reads == [f"of {uid}"] * MOST_ASKED
