"""The contract of ``ObjectStore``. Both adapters are tested, one on a real API server."""

from datetime import UTC, datetime, timedelta

import pytest

from carillon_core.adapters.memory.objects import MemoryObjectStore
from carillon_core.errors import AlreadyExistsError, ConflictError, NotFoundError, RefusedError, UnavailableError
from carillon_core.ports import MOST_PAGE_BYTES
from carillon_core.resources.scheduled_task import parse_meta
from support.store_adapters import SUM, Given, given, task

__all__ = ["given"]


async def test_a_created_task_is_stored_with_identity_and_defaults(given: Given) -> None:
    """The stored object has the API server's metadata and the defaults of absent fields."""
    created = await given.create("backup", labels={"team": "a"})
    meta = parse_meta(created["metadata"])
    assert (meta.name, meta.namespace, meta.generation) == ("backup", given.namespace, 1)
    assert meta.labels == {"team": "a"}
    assert meta.uid
    assert meta.resource_version
    assert meta.creation_timestamp is not None
    assert abs(datetime.now(UTC) - meta.creation_timestamp) < timedelta(minutes=1)
    assert created["spec"] == {
        "intervalSeconds": 60,
        "task": SUM,
        "suspend": False,
        "jitterSeconds": 0,
        "concurrencyPolicy": "Forbid",
        "missedRunPolicy": "Latest",
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
        "finishedRequestsHistoryLimit": 100,
    }
    assert "status" not in created
    assert await given.store.get(given.namespace, "backup") == created


async def test_nulls_are_dropped_and_a_status_is_not_the_writers(given: Given) -> None:
    """A null field counts as absent, and a status in a creation is ignored."""
    body = task("backup", schedule="@hourly", timeZone=None, suspend=None, task={"counter": {"name": None}})
    created = await given.store.create(given.namespace, body | {"status": {"active": 7}})
    assert created["spec"]["suspend"] is False
    assert "timeZone" not in created["spec"]
    assert created["spec"]["task"] == {"counter": {}}
    assert "status" not in created


async def test_a_name_is_taken_once(given: Given) -> None:
    """A second object of the same name is refused."""
    await given.create("backup")
    with pytest.raises(AlreadyExistsError, match="backup"):
        await given.create("backup")


async def test_a_missing_namespace_is_named(given: Given) -> None:
    """The error names the missing namespace."""
    with pytest.raises(NotFoundError, match=r"namespaces.*no-such-namespace"):
        await given.store.create("no-such-namespace", task("backup", intervalSeconds=60, task=SUM))


@pytest.mark.parametrize("name", ["absent", "", "..", "a/b", "Upper", "a?b"])
async def test_what_is_not_there_is_not_found(given: Given, name: str) -> None:
    """Every call raises NotFoundError for a missing task and for an invalid name."""
    body = task(name, intervalSeconds=60, task=SUM)
    with pytest.raises(NotFoundError):
        await given.store.get(given.namespace, name)
    with pytest.raises(NotFoundError):
        await given.store.replace(given.namespace, name, body)
    with pytest.raises(NotFoundError):
        await given.store.patch(given.namespace, name, {"spec": {"suspend": True}})
    with pytest.raises(NotFoundError):
        await given.store.delete(given.namespace, name)


async def test_a_list_is_in_order_and_of_its_namespace(given: Given) -> None:
    """Tasks are sorted by name, and a namespace without tasks gives an empty list."""
    for name in ("c", "a", "b"):
        await given.create(name)
    assert [t["metadata"]["name"] for t in await given.store.list(given.namespace)] == ["a", "b", "c"]
    everywhere = [(t["metadata"]["namespace"], t["metadata"]["name"]) for t in await given.store.list(None)]
    assert everywhere == sorted(everywhere)
    assert {(given.namespace, n) for n in "abc"} <= set(everywhere)
    assert await given.store.list("no-such-namespace") == []


@pytest.mark.parametrize(
    ("selector", "want"),
    [
        ("team=a", ["one", "two"]),
        ("team==a,tier=web", ["one"]),
        ("team!=a", ["four", "three"]),
        ("team in (a, b)", ["one", "three", "two"]),
        ("team notin (a)", ["four", "three"]),
        ("tier", ["one"]),
        ("!team", ["four"]),
        ("team in (a),tier notin (web)", ["two"]),
        ("example.com/owner=x", ["four"]),
    ],
)
async def test_a_list_can_be_selected_by_labels(given: Given, selector: str, want: list[str]) -> None:
    """Selectors have the syntax and meaning of Kubernetes."""
    await given.create("one", labels={"team": "a", "tier": "web"})
    await given.create("two", labels={"team": "a"})
    await given.create("three", labels={"team": "b"})
    await given.create("four", labels={"example.com/owner": "x"})
    assert [t["metadata"]["name"] for t in await given.store.list(given.namespace, selector)] == want


@pytest.mark.parametrize("selector", ["team in a", "=a", "team=a=b", "team in (a", "a b"])
async def test_a_selector_that_makes_no_sense_is_refused(given: Given, selector: str) -> None:
    """An invalid selector raises an error instead of matching all or none."""
    with pytest.raises(RefusedError):
        await given.store.list(given.namespace, selector)


async def test_a_replacement_is_the_whole_spec_and_a_new_generation(given: Given) -> None:
    """Absent fields are removed, the uid stays, and generation and resourceVersion change."""
    old = await given.create("backup", labels={"team": "a"}, startingDeadlineSeconds=5)
    new = await given.store.replace(given.namespace, "backup", task("backup", schedule="@hourly", task=SUM))
    assert "startingDeadlineSeconds" not in new["spec"]
    assert "intervalSeconds" not in new["spec"]
    assert "labels" not in new["metadata"]
    assert new["metadata"]["uid"] == old["metadata"]["uid"]
    assert new["metadata"]["generation"] == 2
    assert new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]


async def test_a_replacement_of_an_old_version_is_a_conflict(given: Given) -> None:
    """A replacement needs the current resourceVersion."""
    old = await given.create("backup")
    seen = await given.store.patch(given.namespace, "backup", {"spec": {"suspend": True}})
    with pytest.raises(ConflictError):
        await given.store.replace(given.namespace, "backup", old)
    seen["spec"]["suspend"] = False
    replaced = await given.store.replace(given.namespace, "backup", seen)
    assert replaced["spec"]["suspend"] is False


async def test_a_patch_merges(given: Given) -> None:
    """As in RFC 7396, given fields change, null removes a field, and the others stay."""
    await given.create("backup", labels={"team": "a", "tier": "web"})
    patch = {
        "metadata": {"labels": {"team": None, "new": "x"}},
        "spec": {"intervalSeconds": None, "schedule": "@daily"},
    }
    patched = await given.store.patch(given.namespace, "backup", patch)
    assert patched["metadata"]["labels"] == {"tier": "web", "new": "x"}
    assert patched["spec"]["schedule"] == "@daily"
    assert "intervalSeconds" not in patched["spec"]
    assert patched["spec"]["task"] == SUM
    assert patched["metadata"]["generation"] == 2


async def test_a_patch_of_an_old_version_is_a_conflict(given: Given) -> None:
    """A resourceVersion in a patch must be the current one."""
    old = await given.create("backup")
    version = old["metadata"]["resourceVersion"]
    conditional = {"metadata": {"resourceVersion": version}, "spec": {"suspend": True}}
    await given.store.patch(given.namespace, "backup", conditional)
    with pytest.raises(ConflictError):
        await given.store.patch(given.namespace, "backup", conditional | {"spec": {"suspend": False}})


async def test_a_change_of_labels_alone_keeps_the_generation(given: Given) -> None:
    """Only changes of the spec change the generation."""
    await given.create("backup")
    patched = await given.store.patch(given.namespace, "backup", {"metadata": {"labels": {"a": "b"}}})
    assert patched["metadata"]["generation"] == 1


async def test_a_patch_that_changes_nothing_keeps_the_version(given: Given) -> None:
    """Such a patch causes no event for watches."""
    created = await given.create("backup")
    patched = await given.store.patch(given.namespace, "backup", {"spec": {"intervalSeconds": 60}})
    assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_writers_of_the_spec_do_not_touch_the_status(given: Given) -> None:
    """A status in a replacement or a patch is ignored."""
    created = await given.create("backup")
    await given.cluster.patch_status(parse_meta(created["metadata"]), {"active": 1})
    body = task("backup", schedule="@hourly", task=SUM) | {"status": {"active": 5}}
    assert (await given.store.replace(given.namespace, "backup", body))["status"] == {"active": 1}
    patched = await given.store.patch(given.namespace, "backup", {"status": {"active": 5}})
    assert patched["status"] == {"active": 1}


async def test_a_deleted_task_is_gone(given: Given) -> None:
    """Its name can be used for a new object."""
    old = await given.create("backup")
    await given.store.delete(given.namespace, "backup")
    with pytest.raises(NotFoundError):
        await given.store.get(given.namespace, "backup")
    assert (await given.create("backup"))["metadata"]["uid"] != old["metadata"]["uid"]


async def test_a_deletion_of_an_old_version_is_a_conflict(given: Given) -> None:
    """A deletion with a resourceVersion needs the current one."""
    old = await given.create("backup")
    new = await given.store.patch(given.namespace, "backup", {"spec": {"suspend": True}})
    with pytest.raises(ConflictError):
        await given.store.delete(given.namespace, "backup", old["metadata"]["resourceVersion"])
    await given.store.delete(given.namespace, "backup", new["metadata"]["resourceVersion"])


async def test_a_store_that_answers_can_be_pinged(given: Given) -> None:
    """A ping of an available store succeeds; the readiness probe depends on it."""
    await given.store.ping()


async def test_memory_that_is_down_is_unavailable() -> None:
    """Tests can make the adapter in memory fail."""
    store = MemoryObjectStore()
    store.outage = "the test says so"
    with pytest.raises(UnavailableError, match="the test says so"):
        await store.ping()
    with pytest.raises(UnavailableError):
        await store.list(None)


async def test_a_page_is_bounded_in_bytes(given: Given) -> None:
    """Of large objects it has fewer than the limit, and a token; the pages join."""
    names = [f"large-{number:02}" for number in range(24)]
    container = {"image": "a", "args": ["x" * 62_500] * 4}
    for name in names:
        await given.store.create(
            given.namespace, task(name, schedule="@yearly", suspend=True, task={"container": container})
        )
    found, token = [], None
    while True:
        page = await given.store.page(given.namespace, limit=500, continue_token=token)
        assert 0 < page.size <= MOST_PAGE_BYTES
        found += [item["metadata"]["name"] for item in page.items]
        token = page.continue_token
        if token is None:
            break
        assert len(page.items) < len(names)
    assert found == names
