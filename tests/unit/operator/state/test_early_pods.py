"""Pods that are seen before their Job: the answer to its creation is late, or the watch of Jobs is."""

from contextlib import suppress

import pytest

from carillon_core.contract import Cause
from carillon_core.domain.execution import attempt_job_name, job_name
from carillon_core.errors import UnavailableError
from carillon_core.ports import JobEvent, JSONObject
from support.builders import at
from support.operator import KEY, Operator

CONTAINER = {"container": {"image": "busybox"}}
NAME = job_name(KEY[1], at("00:00:30"))
SECOND = attempt_job_name(NAME, at("00:00:30"), Cause.SCHEDULE, 2)


@pytest.fixture
def operator() -> Operator:
    """Return an operator and a cluster at midnight."""
    return Operator()


def show(operator: Operator) -> None:
    """Show the operator the pods as they are."""
    for pod in operator.cluster.pods.values():
        operator.take(JobEvent("MODIFIED", "Pod", pod))


@pytest.mark.parametrize("answer", ["late", "lost"])
@pytest.mark.parametrize("code", [0, 1])
async def test_a_pod_that_ends_before_the_creation_is_answered_does_not_end_an_execution_that_is_retried(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    """The Job still exists, so the next attempt decides the result."""
    create = operator.cluster.create_job

    async def created(manifest: JSONObject) -> JSONObject:
        job = await create(manifest)
        if manifest["metadata"]["name"] != NAME:
            return job
        operator.cluster.start_pod(KEY[0], NAME)
        show(operator)
        operator.cluster.finish_pod(KEY[0], NAME, 1)
        show(operator)
        await operator.write()
        if answer == "lost":
            raise UnavailableError("API server", "no response in time")
        return job

    monkeypatch.setattr(operator.cluster, "create_job", created)
    await operator.create_task(
        runAt="2026-01-01T00:00:30Z", task=CONTAINER, retry={"limit": 1, "initialDelaySeconds": 9}
    )
    with suppress(UnavailableError):
        await operator.turn("00:00:30")
    await operator.settle()
    assert [row[1] for row in operator.rows()] == (["running"] if answer == "late" else [])
    await operator.turn("00:00:40")
    operator.cluster.finish_pod(KEY[0], SECOND, code)
    await operator.turn("00:00:45")
    ((_, status, _),) = operator.rows()
    assert status == ("failed" if code else "succeeded")


async def test_a_pod_whose_job_is_gone_ends_its_execution_once_the_api_server_was_asked(operator: Operator) -> None:
    """The operator was started after the deletion, and saw a pod in its grace."""
    await operator.create_task(runAt="2026-01-01T00:00:30Z", task=CONTAINER, retry={"limit": 1})
    await operator.turn("00:00:30")
    operator.cluster.start_pod(KEY[0], NAME)
    operator.cluster.delete_job_first(KEY[0], NAME)
    operator.restart()
    await operator.turn("00:00:31")
    operator.cluster.finish_pod(KEY[0], NAME, 143)
    for pod in operator.cluster.gone_pods:
        operator.take(JobEvent("DELETED", "Pod", pod))
    await operator.write()
    assert [row[1] for row in operator.rows()] == ["running"], "the API server has not been asked yet"
    await operator.settle()
    assert [row[1:] for row in operator.rows()] == [("cancelled", "JobDeleted")]
