"""The contract of ``Cluster``: the status of tasks, and requests and targets."""

from uuid import uuid4

import pytest

from carillon_core.errors import ConflictError, NotFoundError
from carillon_core.ports import JSONObject, ObjectKind
from carillon_core.resources.scheduled_task import parse_meta
from support.cluster_adapters import Given, create_task, given

__all__ = ["given"]


async def test_a_status_is_set_as_a_whole(given: Given) -> None:
    """Fields that are absent or null in the new status are removed; the generation stays."""
    meta = await create_task(given)
    first = {
        "active": 1,
        "schedule": "every 60s",
        "lastExecution": {
            "id": "x",
            "slot": "2026-01-01T00:00:00Z",
            "jobName": "j",
            "result": "Failed",
            "message": "it broke",
        },
    }
    written = await given.cluster.patch_status(meta, first)
    assert written["status"] == first
    second = {
        "active": 0,
        "schedule": None,
        "lastExecution": {"id": "y", "slot": "2026-01-01T00:01:00Z", "jobName": "k", "result": "Running"},
    }
    task = await given.cluster.patch_status(parse_meta(written["metadata"]), second)
    assert task["status"] == {k: v for k, v in second.items() if v is not None}
    assert task["metadata"]["generation"] == 1
    assert (await given.tasks.get(given.namespace, "backup"))["status"] == task["status"]


async def test_a_status_is_not_for_another_of_the_name(given: Given) -> None:
    """The status of a deleted task is not written to a new task with its name."""
    old = await create_task(given)
    await given.tasks.delete(given.namespace, "backup")
    with pytest.raises(NotFoundError):
        await given.cluster.patch_status(old, {"active": 1})
    await create_task(given)
    with pytest.raises(NotFoundError):
        await given.cluster.patch_status(old, {"active": 1})
    assert "active" not in (await given.tasks.get(given.namespace, "backup")).get("status", {})


async def test_a_status_is_for_one_version(given: Given) -> None:
    """A status for an old version is a conflict; without a version there is no check."""
    meta = await create_task(given)
    await given.cluster.patch_status(meta, {"active": 1})
    with pytest.raises(ConflictError):
        await given.cluster.patch_status(meta, {"active": 2})
    assert (await given.tasks.get(given.namespace, "backup"))["status"]["active"] == 1
    await given.cluster.patch_status(meta.model_copy(update={"resource_version": ""}), {"active": 3})
    assert (await given.tasks.get(given.namespace, "backup"))["status"]["active"] == 3


REQUEST = {"taskRef": {"name": "backup"}}


async def test_requests_and_targets_are_found(given: Given) -> None:
    """Objects are found by name, in a list, and in the list of uids."""
    target = await given.put("HTTPTarget", "hook", {"url": "http://example.com/"})
    request = await given.put("RunRequest", "now", REQUEST)
    found: list[tuple[ObjectKind, JSONObject]] = [("HTTPTarget", target), ("RunRequest", request)]
    for kind, raw in found:
        name = (given.namespace, raw["metadata"]["name"])
        assert (await given.cluster.uids(kind))[name] == raw["metadata"]["uid"]
        listed = [item async for item in given.cluster.list_objects(kind)]
        (found_item,) = [i for i in listed if (i["metadata"]["namespace"], i["metadata"]["name"]) == name]
        assert (found_item["metadata"]["uid"], found_item["spec"]) == (raw["metadata"]["uid"], raw["spec"])
        assert (await given.cluster.get_object(kind, *name))["metadata"]["uid"] == raw["metadata"]["uid"]
        with pytest.raises(NotFoundError):
            await given.cluster.get_object(kind, given.namespace, "absent")


async def test_a_list_of_a_namespace_is_of_that_alone(given: Given) -> None:
    """A list of any kind, whole or of uids, has only objects of the given namespace."""
    await create_task(given)
    await given.put("HTTPTarget", "hook", {"url": "http://example.com/"})
    await given.put("RunRequest", "now", REQUEST)
    kinds: tuple[ObjectKind, ...] = ("ScheduledTask", "HTTPTarget", "RunRequest")
    for kind in kinds:
        (found,) = [item async for item in given.cluster.list_objects(kind, given.namespace)]
        key = (given.namespace, found["metadata"]["name"])
        assert await given.cluster.uids(kind, given.namespace) == {key: found["metadata"]["uid"]}
        assert [item async for item in given.cluster.list_objects(kind, "kube-public")] == []
        assert await given.cluster.uids(kind, "kube-public") == {}


async def test_a_request_has_a_status_and_is_deleted(given: Given) -> None:
    """A request's status is written, and a request with another uid is not deleted."""
    meta = parse_meta((await given.put("RunRequest", "now", REQUEST))["metadata"])
    written = await given.cluster.patch_status(meta, {"message": "hello"}, "RunRequest")
    assert written["status"] == {"message": "hello"}
    with pytest.raises(NotFoundError):
        await given.cluster.delete_request(meta.model_copy(update={"uid": str(uuid4())}))
    await given.cluster.delete_request(meta)
    with pytest.raises(NotFoundError):
        await given.cluster.delete_request(meta)
