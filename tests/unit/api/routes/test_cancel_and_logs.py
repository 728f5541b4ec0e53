"""Cancelling executions and reading their logs over REST."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import ExecutionStatus
from carillon_core.domain.execution import ExecutionRecord, later_job_names
from carillon_core.errors import OwnAccountError, RefusedError
from carillon_core.resources.names import ANNOTATION_EXECUTION_ID, LABEL_TASK_UID
from support.api import Facade, facade, fields_of
from support.executions import (
    EXECUTIONS,
    NAMESPACED,
    RUNNING,
    row,
)


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def running_job(rest: Facade, record: ExecutionRecord) -> None:
    """Create an execution's Job and its pod in the cluster."""
    labels, annotations = {LABEL_TASK_UID: record.task_uid}, {ANNOTATION_EXECUTION_ID: str(record.id)}
    meta = {"name": record.job_name, "namespace": record.namespace, "labels": labels, "annotations": annotations}
    template = {"metadata": {"labels": labels, "annotations": annotations}}
    await rest.server.cluster.create_job({"metadata": meta, "spec": {"template": template}})
    rest.server.cluster.start_pod(record.namespace, str(record.job_name))


async def test_an_execution_that_runs_is_ended_by_its_job(rest: Facade) -> None:
    """The response is 202; the Job is gone when its pod has ended, and the audit has the caller."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert response.status_code == 202, response.text
    assert response.json()["jobName"] == "nightly-0"
    (job,) = rest.server.cluster.jobs.values()
    assert job["metadata"]["deletionTimestamp"], "its pod is in its grace period"
    rest.server.cluster.finish_pod(record.namespace, "nightly-0", 143)
    assert rest.server.cluster.jobs == {}
    event = (await rest.audited())[-1]
    assert (event.action, event.resource, event.name) == ("cancel", "executions", str(record.id))


async def test_the_job_says_who_cancelled(rest: Facade) -> None:
    """The operator reads the annotation for the row, the status and the Event."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    assert (await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")).status_code == 202
    (job,) = rest.server.cluster.jobs.values()
    assert job["metadata"]["annotations"]["carillon.dev/cancelled-by"] == (await rest.audited())[-1].subject


async def test_a_container_is_cancelled_in_whichever_attempt_it_is(rest: Facade) -> None:
    """The row has the name of the first Job; the Job of the third attempt is ended, and of the second if it is left."""
    record = row(status=RUNNING, task_type="container", job_name="nightly-1767225630")
    await rest.history.record([record])
    later = later_job_names(str(record.job_name), record.slot, record.cause, 1)[:2]
    for name in later:
        await running_job(rest, replace(record, job_name=name))
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert (response.status_code, response.json()["jobName"]) == (202, later[-1])
    metas = [job["metadata"] for job in rest.server.cluster.jobs.values()]
    assert all("carillon.dev/cancelled-by" in meta["annotations"] for meta in metas)
    assert all("deletionTimestamp" in meta for meta in metas)


async def test_a_cancellation_does_not_depend_on_the_signature(
    rest: Facade, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a role of the API's account that is older than the annotation."""

    async def refused(*_: str) -> None:
        raise OwnAccountError("no patch of Jobs")

    monkeypatch.setattr(rest.server, "mark_cancelled", refused)
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    assert (await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")).status_code == 202
    assert "could not annotate the Job with the cancelling user" in caplog.text


async def test_a_job_of_the_same_name_is_not_touched(rest: Facade) -> None:
    """Names are reused: only the execution's id on the Job counts."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, row(7, job_name=record.job_name))
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert (response.status_code, response.json()["jobName"]) == (202, None)
    assert "no longer exists" in response.json()["message"]
    assert len(rest.server.cluster.jobs) == 1


async def test_the_end_of_a_job_that_is_gone_is_said_to_come(rest: Facade) -> None:
    """There is nothing to delete; the operator closes the row, and the audit has no event."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert (response.status_code, response.json()["jobName"]) == (202, None)
    assert await rest.audited() == []


@pytest.mark.parametrize("other", [False, True])
async def test_who_may_not_delete_jobs_is_told_so_though_the_job_is_gone(rest: Facade, *, other: bool) -> None:
    """The permission is checked even if there is no Job, or another Job with its name."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    if other:
        await running_job(rest, row(7, job_name=record.job_name))
    looker = rest.let("bob", "t0ken-of-bob", *NAMESPACED, Rule(["get"], ["jobs"], "team-a"))
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel", headers=looker)
    assert response.status_code == 403


async def test_what_has_ended_is_not_cancelled(rest: Facade) -> None:
    """The response is 409 with the status."""
    record = row()
    await rest.history.record([record])
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel")
    assert response.status_code == 409
    assert "Failed" in response.json()["detail"]


async def test_cancelling_needs_the_right_to_delete_jobs(rest: Facade) -> None:
    """Permission to read Jobs is not enough, and notes nothing on the Job."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED, Rule(["get"], ["jobs"], "team-a"))
    response = await rest.client.post(f"{EXECUTIONS}/{record.id}/cancel", headers=bob)
    assert response.status_code == 403
    (job,) = rest.server.cluster.jobs.values()
    assert "carillon.dev/cancelled-by" not in job["metadata"]["annotations"]


async def test_logs_are_text(rest: Facade) -> None:
    """Bytes that are not UTF-8 are replaced; tailLines and limitBytes apply."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    rest.server.logs["team-a", "nightly-0-pod"] = "eins\nzwölf\n".encode() + b"\xff\n"
    path = f"{EXECUTIONS}/{record.id}/logs"
    response = await rest.client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "eins\nzwölf\n\N{REPLACEMENT CHARACTER}\n"
    assert (await rest.client.get(f"{path}?tailLines=2&limitBytes=3")).text == "zw\N{REPLACEMENT CHARACTER}"
    assert (await rest.client.get(f"{path}?pod=nightly-0-pod&limitBytes=4")).text == "eins"


async def test_logs_are_of_the_container_that_runs_the_task(rest: Facade) -> None:
    """Other containers, such as a mesh's proxy, are ignored, regardless of their order."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    pod = rest.server.cluster.pods["team-a", "nightly-0-pod"]
    for name in ("runner", "task"):
        pod["spec"] = {"containers": [{"name": "proxy"}, {"name": name}]}
        rest.server.logs["team-a", "nightly-0-pod"] = name.encode()
        assert (await rest.client.get(f"{EXECUTIONS}/{record.id}/logs")).text == name


GONE: dict[str, tuple[dict[str, Any], str]] = {
    "the pod is gone": ({}, ""),
    "there never was one": ({"job_name": None, "status": ExecutionStatus.SKIPPED}, ""),
    "it has no such pod": ({}, "?pod=other"),
}


@pytest.mark.parametrize("case", GONE)
async def test_logs_that_are_gone_say_so(rest: Facade, case: str) -> None:
    """The 404 has its own type: the execution exists, but not its logs."""
    fields, query = GONE[case]
    record = row(**fields)
    await rest.history.record([record])
    if query:
        await running_job(rest, record)
    response = await rest.client.get(f"{EXECUTIONS}/{record.id}/logs{query}")
    assert response.status_code == 404
    assert fields_of(response) == []
    assert response.json()["type"] == "urn:carillon:problem:logs-gone"


async def test_a_pod_that_has_not_begun_has_said_nothing(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """The response is 409: the logs will exist in a moment."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)

    def waiting(_logs: object, _where: object) -> bytes:
        raise RefusedError('container "runner" is waiting to start: ContainerCreating')

    class Waiting(dict[tuple[str, str], bytes]):
        __getitem__ = waiting

    monkeypatch.setattr(rest.server, "logs", Waiting())
    response = await rest.client.get(f"{EXECUTIONS}/{record.id}/logs")
    assert response.status_code == 409
    assert "waiting to start" in response.json()["detail"]


async def test_logs_need_the_right_to_read_them(rest: Facade) -> None:
    """Permission to list pods is not enough."""
    record = row(status=RUNNING)
    await rest.history.record([record])
    await running_job(rest, record)
    rest.server.logs["team-a", "nightly-0-pod"] = b"secret"
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED, Rule(["list"], ["pods"], "team-a"))
    response = await rest.client.get(f"{EXECUTIONS}/{record.id}/logs", headers=bob)
    assert response.status_code == 403
    assert "secret" not in response.text


BAD_LOGS = ("tailLines=0", "limitBytes=0", "limitBytes=1048577", "pod=", "follow=true")


@pytest.mark.parametrize("query", BAD_LOGS)
async def test_a_bad_part_of_the_logs_is_named(rest: Facade, query: str) -> None:
    """The response is 422 with the parameter."""
    response = await rest.client.get(f"{EXECUTIONS}/{UUID(int=1)}/logs?{query}")
    assert response.status_code == 422
    assert fields_of(response) == [query.partition("=")[0]]
