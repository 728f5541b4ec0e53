"""Objects that a real API server refuses, and the adapter's errors."""

from typing import Any

import pytest

from carillon_core.adapters.kube import KubeCluster, KubeConnection, KubeObjectStore
from carillon_core.domain.decision.plan import Notice, Reason
from carillon_core.errors import NotFoundError, RefusedError
from carillon_core.ports import EventSeries, JSONObject
from carillon_core.resources.scheduled_task import parse_meta
from support.kube_connections import job
from support.waiting import eventually


async def test_a_quota_refuses_and_does_not_forbid(connection: KubeConnection, namespace: str) -> None:
    """An exceeded quota is a RefusedError, although the API server answers 403 as for a missing permission."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    await connection.request("POST", path, body=quota)

    async def counted() -> bool:
        return bool((await connection.request("GET", f"{path}/none")).get("status", {}).get("hard"))

    await eventually(counted, 30)
    with pytest.raises(RefusedError, match="exceeded quota"):
        await KubeCluster(connection).create_job(job(namespace, "one-too-many"))


async def test_a_job_in_a_namespace_that_is_not_there(connection: KubeConnection) -> None:
    """The error names the namespace."""
    with pytest.raises(NotFoundError, match="no-such-namespace"):
        await KubeCluster(connection).create_job(job("no-such-namespace", "x"))


async def test_a_job_that_breaks_its_schema_is_refused(connection: KubeConnection, namespace: str) -> None:
    """The error names the fields."""
    bad = job(namespace, "bad")
    bad["spec"]["template"]["spec"]["restartPolicy"] = "Perhaps"
    with pytest.raises(RefusedError) as refused:
        await KubeCluster(connection).create_job(bad)
    assert "spec.template.spec.restartPolicy" in {p.path for p in refused.value.problems}


async def test_a_status_that_breaks_the_schema_is_refused(connection: KubeConnection, namespace: str) -> None:
    """An invalid status is not taken for a missing task."""
    store = KubeObjectStore(connection)
    spec = {"intervalSeconds": 60, "task": {"sum": {"a": 1, "b": 2}}}
    created = await store.create(namespace, {"metadata": {"name": "x"}, "spec": spec})
    with pytest.raises(RefusedError, match=r"status\.active"):
        await KubeCluster(connection).patch_status(parse_meta(created["metadata"]), {"active": "many"})


async def test_a_long_note_is_cut(connection: KubeConnection, namespace: str) -> None:
    """A message over 1,024 characters, which the API server would refuse, is cut."""
    spec = {"intervalSeconds": 60, "task": {"sum": {"a": 1, "b": 2}}}
    created = await KubeObjectStore(connection).create(namespace, {"metadata": {"name": "x"}, "spec": spec})
    notice = Notice("Normal", Reason.LAUNCHED, "ü" * 3000)
    when = created_at(created)
    await KubeCluster(connection).post_event(
        EventSeries(parse_meta(created["metadata"]), "ScheduledTask", notice, when, when)
    )
    (event,) = (await connection.request("GET", f"/api/v1/namespaces/{namespace}/events"))["items"]
    assert len(event["message"]) == 1024
    assert event["source"] == {"component": "carillon-operator"}


def created_at(task: JSONObject) -> Any:
    """Return when a task was created."""
    return parse_meta(task["metadata"]).creation_timestamp
