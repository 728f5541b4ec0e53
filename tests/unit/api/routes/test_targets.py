"""HTTPTargets over REST, and the deletion of targets in use."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from carillon_core.adapters.memory.caller import Rule
from support.api import CALLER, EVERY_MINUTE, MERGE_PATCH, TASKS, Facade, facade, fields_of

TARGETS = "/api/v1/namespaces/team-a/targets"
SPEC: dict[str, Any] = {
    "url": "https://shop.example.com/",
    "headers": [{"name": "Authorization", "secretKeyRef": {"name": "shop", "key": "token"}}],
}
DEFAULTS = {"method": "GET", "maxRedirects": 0}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def create(rest: Facade, name: str = "shop", **body: Any) -> httpx.Response:
    """Create a target, which must succeed."""
    response = await rest.client.post(TARGETS, json={"name": name, "spec": SPEC, **body})
    assert response.status_code == 201, response.text
    return response


def calling(target: str) -> dict[str, Any]:
    """Return the spec of a task that uses a target."""
    return {"http": {"targetRef": {"name": target}}}


async def add_run(rest: Facade, name: str, finished_at: str | None = None, **spec: Any) -> None:
    """Store a RunRequest, which may have finished."""
    store = rest.server.stores["RunRequest"]
    await store.create("team-a", {"metadata": {"name": name}, "spec": spec})
    if finished_at is not None:
        store.set_status("team-a", name, {"finishedAt": finished_at})


async def test_a_created_target_is_answered_as_stored_with_its_place_and_its_version(rest: Facade) -> None:
    """201 has Location and ETag; the response has references to Secrets, not their values."""
    response = await create(rest, labels={"team": "shop"})
    view = response.json()
    assert response.headers["location"] == f"{TARGETS}/shop"
    assert response.headers["etag"] == f'"{view["resourceVersion"]}"'
    assert (view["name"], view["namespace"], view["labels"]) == ("shop", "team-a", {"team": "shop"})
    assert view["spec"] == {**DEFAULTS, **SPEC}
    assert "status" not in view
    assert (await rest.client.get(f"{TARGETS}/shop")).json() == view
    in_default = await rest.client.post("/api/v1/targets", json={"name": "other", "spec": SPEC})
    assert (in_default.status_code, in_default.json()["namespace"]) == (201, "team-a")


async def test_a_target_is_replaced_and_patched(rest: Facade) -> None:
    """PUT resets omitted fields, a merge patch keeps them; labels change only if the body has labels."""
    await create(rest, labels={"team": "shop"})
    put = await rest.client.put(f"{TARGETS}/shop", json={"spec": {"url": "https://a/"}})
    assert put.status_code == 200, put.text
    assert put.json()["spec"] == {**DEFAULTS, "url": "https://a/"}
    assert put.json()["labels"] == {"team": "shop"}
    patch = {"spec": {"method": "PUT"}, "labels": {"team": None}}
    patched = await rest.client.patch(f"{TARGETS}/shop", json=patch, headers=MERGE_PATCH)
    assert patched.status_code == 200, patched.text
    assert patched.json()["spec"] == {**DEFAULTS, "url": "https://a/", "method": "PUT"}
    assert patched.json()["labels"] == {}
    assert patched.headers["etag"] == f'"{patched.json()["resourceVersion"]}"'


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_write_under_an_old_version_is_refused(rest: Facade, method: str) -> None:
    """The response is 412, and nothing is written; with the current version, the write succeeds."""
    older = (await create(rest)).headers["etag"]
    current = (await rest.client.patch(f"{TARGETS}/shop", json={"spec": {"method": "PUT"}})).headers["etag"]
    body = None if method == "DELETE" else {"spec": {"url": "https://b/"}}
    refused = await rest.client.request(method, f"{TARGETS}/shop", json=body, headers={"If-Match": older})
    assert (refused.status_code, fields_of(refused)) == (412, [])
    assert (await rest.client.get(f"{TARGETS}/shop")).headers["etag"] == current
    done = await rest.client.request(method, f"{TARGETS}/shop", json=body, headers={"If-Match": current})
    assert done.is_success, done.text


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a name in capitals": ({"name": "Shop", "spec": SPEC}, "name"),
    "a name that is too long": ({"name": "a" * 254, "spec": SPEC}, "name"),
    "no URL": ({"name": "a", "spec": {}}, "spec.url"),
    "a URL that is none": ({"name": "a", "spec": {"url": "ftp://a/"}}, "spec.url"),
    "a template that cannot be read": ({"name": "a", "spec": {"url": "https://a/{{ slot"}}, "spec.url"),
    "a header without a value": ({"name": "a", "spec": {**SPEC, "headers": [{"name": "X"}]}}, "spec.headers[0]"),
    "a label that is none": ({"name": "a", "labels": {"x": "a b"}, "spec": SPEC}, "labels.x"),
    "an unknown field": ({"name": "a", "spec": {**SPEC, "uri": "x"}}, "spec.uri"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_target_is_refused_with_its_field(rest: Facade, case: str) -> None:
    """Nothing is created."""
    body, want_field = BAD[case]
    response = await rest.client.post(TARGETS, json=body)
    assert response.status_code == 422, response.text
    assert want_field in fields_of(response)
    assert (await rest.client.get(TARGETS)).json()["items"] == []


async def test_targets_are_listed_by_label_and_prefix_in_pages(rest: Facade) -> None:
    """They are listed like tasks."""
    for name in ("a1", "a2", "b1"):
        await create(rest, name, labels={"tier": "gold" if name != "a2" else "none"})
    page = (await rest.client.get(f"{TARGETS}?limit=2")).json()
    assert [t["name"] for t in page["items"]] == ["a1", "a2"]
    rest_of_it = (await rest.client.get("/api/v1/targets", params={"limit": 2, "cursor": page["nextCursor"]})).json()
    assert "detail" in rest_of_it, "a cursor of one namespace is none of all"
    rest_of_it = (await rest.client.get(TARGETS, params={"limit": 2, "cursor": page["nextCursor"]})).json()
    assert ([t["name"] for t in rest_of_it["items"]], rest_of_it["nextCursor"]) == (["b1"], None)
    selected = (await rest.client.get("/api/v1/targets?namePrefix=a&labelSelector=tier%3Dgold")).json()
    assert [t["name"] for t in selected["items"]] == ["a1"]


async def test_a_target_that_nobody_uses_is_deleted(rest: Facade) -> None:
    """The response is 204; tasks of other targets, ended runs, and runs of a ScheduledTask do not prevent it."""
    await create(rest)
    await rest.create("other", {"intervalSeconds": 60, "task": calling("bank")})
    await add_run(rest, "over", "2026-03-01T12:00:00Z", task=calling("shop"))
    await add_run(rest, "referring", taskRef={"name": "other"})
    response = await rest.client.delete(f"{TARGETS}/shop")
    assert (response.status_code, response.content) == (204, b"")
    assert (await rest.client.get(f"{TARGETS}/shop")).status_code == 404
    assert (await rest.client.delete(f"{TARGETS}/shop")).status_code == 404


async def in_use(rest: Facade) -> None:
    """Let a target be used by two tasks and a run."""
    await create(rest)
    await rest.create("nightly", {"intervalSeconds": 60, "task": calling("shop")})
    await rest.create("hourly", {"intervalSeconds": 60, "task": calling("shop")})
    await rest.create("unrelated", EVERY_MINUTE)
    await add_run(rest, "now", task=calling("shop"))


USERS = [
    {"kind": "ScheduledTask", "name": "hourly"},
    {"kind": "ScheduledTask", "name": "nightly"},
    {"kind": "RunRequest", "name": "now"},
]


async def test_a_target_in_use_stays_and_its_users_are_named(rest: Facade) -> None:
    """The 409 has its own type."""
    await in_use(rest)
    response = await rest.client.delete(f"{TARGETS}/shop")
    assert (response.status_code, fields_of(response)) == (409, [])
    assert response.json()["type"] == "urn:carillon:problem:in-use"
    assert response.json()["users"] == USERS
    assert (await rest.client.get(f"{TARGETS}/shop")).status_code == 200


async def test_of_a_target_in_use_only_those_are_named_whom_the_caller_may_list(rest: Facade) -> None:
    """Without permission to list runs, only tasks are named; without any, the target is deleted, as by kubectl."""
    await in_use(rest)
    rest.server.rules[CALLER.name] = [Rule("*", ["httptargets", "scheduledtasks"])]
    response = await rest.client.delete(f"{TARGETS}/shop")
    assert response.json()["users"] == USERS[:2]
    rest.server.rules[CALLER.name] = [Rule("*", ["httptargets"])]
    assert (await rest.client.delete(f"{TARGETS}/shop")).status_code == 204


async def test_a_cascade_deletes_the_users_and_then_the_target(rest: Facade) -> None:
    """The response lists the deleted users; other objects stay."""
    await in_use(rest)
    response = await rest.client.delete(f"{TARGETS}/shop?cascade=true")
    assert (response.status_code, response.json()) == (200, {"deleted": USERS})
    assert [t["name"] for t in (await rest.client.get(TASKS)).json()["items"]] == ["unrelated"]
    assert (await rest.client.get(f"{TARGETS}/shop")).status_code == 404
    assert await rest.server.stores["RunRequest"].list(None) == []
    deletions = sorted((e.resource, e.name) for e in await rest.audited() if e.action == "delete")
    tasks = [("scheduledtasks", "hourly"), ("scheduledtasks", "nightly")]
    assert deletions == [("httptargets", "shop"), ("runrequests", "now"), *tasks]


async def test_a_cascade_that_is_stopped_says_what_is_gone_and_what_is_left(rest: Facade) -> None:
    """The caller may delete tasks but not runs: the response is 403, and the target still exists."""
    await in_use(rest)
    rest.server.rules[CALLER.name] = [Rule("*", ["httptargets", "scheduledtasks"]), Rule(["get", "list"], ["*"])]
    response = await rest.client.delete(f"{TARGETS}/shop?cascade=true")
    assert (response.status_code, fields_of(response)) == (403, [])
    problem = response.json()
    assert (problem["deleted"], problem["users"]) == (USERS[:2], USERS[2:])
    assert (await rest.client.get(f"{TARGETS}/shop")).status_code == 200


async def test_a_user_that_turns_to_another_target_meanwhile_is_spared(rest: Facade) -> None:
    """A cascade checks each user again before it is deleted."""
    await in_use(rest)
    store, listed = rest.tasks, rest.tasks.page

    async def page(namespace: str | None, **more: Any) -> Any:
        found = await listed(namespace, **more)
        await store.patch("team-a", "hourly", {"spec": {"task": calling("bank")}})
        return found

    rest.tasks.page = page  # type: ignore[method-assign]  # the race happens between list and delete
    response = await rest.client.delete(f"{TARGETS}/shop?cascade=true")
    assert response.json() == {"deleted": USERS[1:]}
    assert [t["metadata"]["name"] for t in await store.list(None)] == ["hourly", "unrelated"]


async def test_the_secret_of_the_runners_is_refused(rest: Facade) -> None:
    """In a header and as a signing key, in a new target and in a changed one."""
    own = {"name": "carillon-runner", "key": "database-url"}
    spec = {**SPEC, "headers": [{"name": "X", "secretKeyRef": own}], "signing": {"secretKeyRefs": [own]}}
    fields = ["spec.headers[0].secretKeyRef.name", "spec.signing.secretKeyRefs[0].name"]
    response = await rest.client.post(TARGETS, json={"name": "leak", "spec": spec})
    assert (response.status_code, fields_of(response)) == (422, fields)
    await create(rest)
    patch = {"spec": {"headers": spec["headers"]}}
    response = await rest.client.patch(f"{TARGETS}/shop", json=patch, headers=MERGE_PATCH)
    assert (response.status_code, fields_of(response)) == (422, fields[:1])
