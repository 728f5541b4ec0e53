"""Tasks over REST: create, list, read, replace, patch and delete, and concurrent writes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from carillon_api.schemas import TaskReplace
from carillon_api.views.tasks import replaced_object, task_view
from carillon_api.views.timetables import Timetables
from carillon_api.views.upcoming import Window
from carillon_core.errors import ConflictError
from carillon_core.ports import JSONObject
from support.api import DEFAULTS, EVERY_MINUTE, MERGE_PATCH, NOW, TASKS, Facade, facade, fields_of


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def test_a_created_task_is_answered_as_stored_with_its_place_and_its_version(rest: Facade) -> None:
    """201 has Location and ETag, and the custom resource has the same spec."""
    response = await rest.create("nightly", labels={"team": "a"})
    view = response.json()
    assert response.headers["location"] == f"{TASKS}/nightly"
    assert response.headers["etag"] == f'"{view["resourceVersion"]}"'
    assert view["name"] == "nightly"
    assert view["namespace"] == "team-a"
    assert view["labels"] == {"team": "a"}
    assert view["spec"] == {**EVERY_MINUTE, **DEFAULTS}
    assert view["status"] == {}
    assert view["generation"] == 1
    assert view["uid"]
    assert view["createdAt"] == "2026-03-01T12:00:00Z"
    stored = await rest.tasks.get("team-a", "nightly")
    assert stored["apiVersion"] == "carillon.dev/v1alpha1"
    assert stored["kind"] == "ScheduledTask"
    assert stored["spec"] == view["spec"]
    assert (await rest.client.get(response.headers["location"])).json() == view


async def test_a_task_says_when_it_runs_in_words_and_in_its_own_time(rest: Facade) -> None:
    """The next five times of one task, and the next one of each task in a list."""
    spec = {**EVERY_MINUTE, "schedule": "0 */6 * * *", "timeZone": "Asia/Kathmandu", "jitterSeconds": 30}
    made = (await rest.create("nightly", spec=spec)).json()
    assert made["scheduleInWords"] == (
        "at 00:00, 06:00, 12:00 and 18:00 every day, Asia/Kathmandu time, launched up to 30 seconds later"
    )
    assert [each["time"][5:] for each in made["nextRuns"]] == [
        *("03-01T12:15:00Z", "03-01T18:15:00Z", "03-02T00:15:00Z", "03-02T06:15:00Z", "03-02T12:15:00Z"),
    ]
    assert made["nextRuns"][0]["localTime"] == "2026-03-01T18:00:00+05:45"
    (listed,) = (await rest.client.get(TASKS)).json()["items"]
    assert listed["scheduleInWords"] == made["scheduleInWords"]
    assert listed["nextRuns"] == made["nextRuns"][:1]


async def test_a_task_that_will_not_run_has_no_next_times(rest: Facade) -> None:
    """It is suspended, or has launched all of its runs; a status of another age is not believed."""
    for name, spec, status, want in (
        ("suspended", {"suspend": True}, {}, 0),
        ("completed", {"maxRuns": 3}, {"runs": 3}, 0),
        ("limited", {"maxRuns": 3}, {"runs": 1}, 2),
        ("odd", {"maxRuns": 3}, {"runs": "1"}, 3),
    ):
        await rest.create(name, spec={**EVERY_MINUTE, **spec})
        rest.tasks.set_status("team-a", name, status)
        shown = (await rest.client.get(f"{TASKS}/{name}")).json()
        assert shown["scheduleInWords"].startswith("every minute, UTC")
        assert len(shown["nextRuns"]) == want, name


async def test_a_task_without_a_namespace_goes_to_the_default_one(rest: Facade) -> None:
    """POST /tasks uses the default namespace of the settings."""
    response = await rest.client.post("/api/v1/tasks", json={"name": "nightly", "spec": EVERY_MINUTE})
    assert response.status_code == 201
    assert response.json()["namespace"] == "team-a"


async def test_only_what_was_set_is_stored(rest: Facade) -> None:
    """The CRD fills in defaults; null means that a field is not set; times are stored in UTC."""
    spec = {"runAt": "2026-03-02T01:00:00+02:00", "schedule": None, "task": {"sum": {"a": 1, "b": 2.5}}}
    stored = (await rest.create(spec=spec)).json()["spec"]
    assert stored == {"runAt": "2026-03-01T23:00:00Z", "task": {"sum": {"a": 1, "b": 2.5}}, **DEFAULTS}


async def test_a_name_that_is_taken_is_a_conflict(rest: Facade) -> None:
    """The second POST of a name is 409."""
    await rest.create("nightly")
    response = await rest.client.post(TASKS, json={"name": "nightly", "spec": EVERY_MINUTE})
    assert response.status_code == 409
    assert fields_of(response) == []
    assert response.json()["type"] == "urn:carillon:problem:already-exists"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_a_task_that_does_not_exist_is_not_found(rest: Facade, method: str) -> None:
    """Every operation on a task answers 404."""
    body = {"spec": EVERY_MINUTE} if method in {"PUT", "PATCH"} else None
    response = await rest.client.request(method, f"{TASKS}/absent", json=body)
    assert response.status_code == 404
    assert fields_of(response) == []


async def test_tasks_are_listed_by_namespace_and_label(rest: Facade) -> None:
    """Lists are of all namespaces, or of one by path or query, with a label selector."""
    await rest.create("b", labels={"tier": "gold"})
    await rest.create("a")
    other = "/api/v1/namespaces/team-b/tasks"
    await rest.client.post(other, json={"name": "c", "labels": {"tier": "gold"}, "spec": EVERY_MINUTE})

    async def names(path: str) -> list[str]:
        response = await rest.client.get(path)
        assert response.status_code == 200, response.text
        return [item["name"] for item in response.json()["items"]]

    assert await names("/api/v1/tasks") == ["a", "b", "c"]
    assert await names("/api/v1/tasks?namespace=team-b") == ["c"]
    assert await names("/api/v1/tasks?labelSelector=tier%3Dgold") == ["b", "c"]
    assert await names(f"{TASKS}?labelSelector=tier%3Dgold") == ["b"]
    assert await names(TASKS) == ["a", "b"]
    assert await names(other) == ["c"]


async def test_put_replaces_the_spec_and_keeps_the_rest(rest: Facade) -> None:
    """Omitted fields of the spec are removed, omitted labels stay, given labels replace."""
    before = (await rest.create(spec={**EVERY_MINUTE, "suspend": True}, labels={"team": "a"})).json()
    spec = {"intervalSeconds": 30, "task": {"counter": {}}}
    after = (await rest.client.put(f"{TASKS}/nightly", json={"spec": spec})).json()
    assert after["spec"] == {**spec, **DEFAULTS}
    assert after["labels"] == {"team": "a"}
    assert after["uid"] == before["uid"]
    assert after["generation"] == 2
    assert after["resourceVersion"] != before["resourceVersion"]
    relabelled = (await rest.client.put(f"{TASKS}/nightly", json={"spec": spec, "labels": {"x": "y"}})).json()
    assert relabelled["labels"] == {"x": "y"}


PATCHES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
    "one field is set": ({"spec": {"suspend": True}}, {**EVERY_MINUTE, "suspend": True}, {"team": "a", "tier": "gold"}),
    "nothing": ({}, EVERY_MINUTE, {"team": "a", "tier": "gold"}),
    "one schedule takes the place of another": (
        {"spec": {"schedule": None, "intervalSeconds": 5}},
        {"intervalSeconds": 5, "task": EVERY_MINUTE["task"]},
        {"team": "a", "tier": "gold"},
    ),
    "a nested field": (
        {"spec": {"task": {"sleep": {"durationSeconds": 9}}}},
        {"schedule": "* * * * *", "task": {"sleep": {"durationSeconds": 9}}},
        {"team": "a", "tier": "gold"},
    ),
    "one label is set and one removed": (
        {"labels": {"new": "1", "tier": None}},
        EVERY_MINUTE,
        {"team": "a", "new": "1"},
    ),
    "all labels are removed": ({"labels": None}, EVERY_MINUTE, {}),
}


@pytest.mark.parametrize("case", PATCHES)
async def test_a_merge_patch_changes_what_it_names(rest: Facade, case: str) -> None:
    """RFC 7396: null removes a field, omitted fields stay."""
    patch, want_spec, want_labels = PATCHES[case]
    await rest.create(labels={"team": "a", "tier": "gold"})
    response = await rest.client.patch(f"{TASKS}/nightly", json=patch, headers=MERGE_PATCH)
    assert response.status_code == 200, response.text
    assert response.json()["spec"] == {**DEFAULTS, **want_spec}
    assert response.json()["labels"] == want_labels
    assert response.headers["etag"] == f'"{response.json()["resourceVersion"]}"'


BAD_PATCHES: dict[str, tuple[dict[str, Any], str]] = {
    "the result has two schedules": ({"spec": {"intervalSeconds": 5}}, "spec"),
    "the result has no schedule": ({"spec": {"schedule": None}}, "spec"),
    "the result has no task": ({"spec": {"task": None}}, "spec.task"),
    "there is no spec left": ({"spec": None}, "spec"),
    "the result's cron cannot be read": ({"spec": {"schedule": "61 * * * *"}}, "spec.schedule"),
    "a field that the kind does not have": ({"spec": {"shedule": "* * * * *"}}, "spec.shedule"),
    "a run in the past": ({"spec": {"schedule": None, "runAt": "2020-01-01T00:00:00Z"}}, "spec.runAt"),
    "a label with a bad value": ({"labels": {"x": "a b"}}, "labels.x"),
    "what a patch may not touch": ({"name": "other"}, "name"),
}


@pytest.mark.parametrize("case", BAD_PATCHES)
async def test_a_patch_is_judged_by_its_result(rest: Facade, case: str) -> None:
    """A patch with an invalid result is rejected with the field, and nothing is written."""
    patch, want_field = BAD_PATCHES[case]
    before = (await rest.create()).json()
    response = await rest.client.patch(f"{TASKS}/nightly", json=patch, headers=MERGE_PATCH)
    assert response.status_code == 422
    assert want_field in fields_of(response)
    assert (await rest.client.get(f"{TASKS}/nightly")).json() == before


async def test_a_task_that_has_run_can_still_be_edited(rest: Facade) -> None:
    """A past runAt may stay unchanged, but may not be set to another time in the past."""
    await rest.create(spec={"runAt": "2026-03-01T13:00:00Z", "task": {"counter": {}}})
    rest.clock.now = NOW.replace(hour=15)
    kept = await rest.client.patch(f"{TASKS}/nightly", json={"spec": {"timeoutSeconds": 5}})
    assert kept.status_code == 200, kept.text
    moved = await rest.client.patch(f"{TASKS}/nightly", json={"spec": {"runAt": "2026-03-01T14:00:00Z"}})
    assert moved.status_code == 422
    assert fields_of(moved) == ["spec.runAt"]


async def test_delete_removes_a_task(rest: Facade) -> None:
    """204 without a body, then 404."""
    await rest.create()
    response = await rest.client.delete(f"{TASKS}/nightly")
    assert response.status_code == 204
    assert response.content == b""
    assert "content-type" not in response.headers
    assert (await rest.client.get(f"{TASKS}/nightly")).status_code == 404


IF_MATCH: dict[str, tuple[str, int]] = {
    "the current version": ("{current}", 200),
    "any version": ("*", 200),
    "one of several": ('"nonsense", {current}', 200),
    "an older version": ("{older}", 412),
    "a weak tag, which never matches": ("W/{current}", 412),
    "a version that never was": ('"nonsense"', 412),
    "a list with spaces, tabs and weak tags": ('"a", W/"b"\t ,{current}', 200),
    "a list with empty elements": (", ,{current},,", 200),
    "a comma within a tag": ('"a,b",{current}', 200),
    "a quote within a tag": ('"a,{current}"', 400),
    "a tag that holds a comma and an x": ('"x,x"', 412),
    "a tag beyond ASCII": ('"\xe4", {current}', 200),
    "the empty tag": ('""', 412),
    "no quotes": ("17", 400),
    "a lower-case w": ("w/{current}", 400),
    "a blank within a tag": ('"a b"', 400),
    "no comma between tags": ('"a" {current}', 400),
    "an open quote": ('{current}, "a', 400),
    "any version, in a list": ("*, {current}", 400),
    "only commas": (",,", 400),
    "empty": ("", 400),
}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("case", IF_MATCH)
async def test_if_match_guards_every_write(rest: Facade, case: str, method: str) -> None:
    """RFC 9110, 13.1.1: a write applies only to a version that the caller has read."""
    header, want_status = IF_MATCH[case]
    older = (await rest.create()).headers["etag"]
    current = (await rest.client.patch(f"{TASKS}/nightly", json={"spec": {"suspend": True}})).headers["etag"]
    headers = [(b"If-Match", header.format(older=older, current=current).encode("latin-1"))]
    body = None if method == "DELETE" else {"spec": EVERY_MINUTE}
    response = await rest.client.request(method, f"{TASKS}/nightly", json=body, headers=headers)
    if want_status == 200:
        assert response.status_code == (204 if method == "DELETE" else 200), response.text
        return
    assert response.status_code == want_status
    assert fields_of(response) == (["If-Match"] if want_status == 400 else [])
    assert (await rest.client.get(f"{TASKS}/nightly")).headers["etag"] == current


async def test_if_match_in_two_lines_is_one_list(rest: Facade) -> None:
    """RFC 9110, 5.3: the order of the lines does not matter."""
    current = (await rest.create()).headers["etag"].encode()
    other = b'"nonsense"'
    for tags in ((current, other), (other, current)):
        headers = [(b"If-Match", tag) for tag in tags]
        response = await rest.client.put(f"{TASKS}/nightly", json={"spec": EVERY_MINUTE}, headers=headers)
        assert response.status_code == 200, response.text
    headers = [(b"If-Match", b"*"), (b"If-Match", current)]
    assert (await rest.client.delete(f"{TASKS}/nightly", headers=headers)).status_code == 400


class Contended:
    """A task store in which another client writes first, for a number of times."""

    def __init__(self, rest: Facade, times: int) -> None:
        """Take the place of the facade's store."""
        self._tasks, self._times = rest.tasks, times
        self._replace = rest.tasks.replace
        rest.tasks.replace = self.replace  # type: ignore[method-assign]  # the race happens between get and replace

    async def replace(self, namespace: str, name: str, body: JSONObject) -> JSONObject:
        """Replace, after somebody else's write."""
        if self._times:
            self._times -= 1
            await self._tasks.patch(namespace, name, {"metadata": {"labels": {"rival": str(self._times)}}})
        return await self._replace(namespace, name, body)


async def test_a_patch_that_meets_another_write_is_made_again(rest: Facade) -> None:
    """The result has both writes."""
    await rest.create()
    Contended(rest, times=2)
    response = await rest.client.patch(f"{TASKS}/nightly", json={"spec": {"suspend": True}})
    assert response.status_code == 200, response.text
    assert response.json()["spec"]["suspend"] is True
    assert response.json()["labels"] == {"rival": "0"}


async def test_a_patch_gives_up_after_a_few_conflicts(rest: Facade) -> None:
    """Constant conflicts end in 409, not in an endless loop."""
    await rest.create()
    Contended(rest, times=100)
    response = await rest.client.patch(f"{TASKS}/nightly", json={"spec": {"suspend": True}})
    assert response.status_code == 409
    assert response.json()["type"] == "urn:carillon:problem:conflict"
    assert fields_of(response) == []


async def test_a_conflict_under_if_match_is_the_callers(rest: Facade) -> None:
    """A write between the check and ours leads to 412 and is not overwritten."""
    etag = (await rest.create()).headers["etag"]
    Contended(rest, times=1)
    response = await rest.client.patch(f"{TASKS}/nightly", json={"spec": {"suspend": True}}, headers={"If-Match": etag})
    assert response.status_code == 412
    assert fields_of(response) == []
    assert (await rest.tasks.get("team-a", "nightly"))["spec"]["suspend"] is False


async def test_the_stores_conflict_is_the_one_that_the_facade_knows(rest: Facade) -> None:
    """The tests above rely on this: a replace with an old version raises ``ConflictError``."""
    await rest.create()
    old = await rest.tasks.get("team-a", "nightly")
    await rest.tasks.patch("team-a", "nightly", {"metadata": {"labels": {"rival": "1"}}})
    with pytest.raises(ConflictError):
        await rest.tasks.replace("team-a", "nightly", old)


async def test_a_broken_object_from_the_cluster_is_shown_as_it_is_and_can_be_mended(rest: Facade) -> None:
    """An object that kubectl stored under older rules can be read and replaced by a valid spec."""
    await rest.create()
    broken = {**await rest.tasks.get("team-a", "nightly"), "spec": {"schedule": "never", "task": {}}}
    shown = task_view(broken, Window(NOW, NOW, None, 1), Timetables())
    assert (shown.spec, shown.schedule_in_words, shown.next_runs) == (broken["spec"], None, [])
    sound = TaskReplace.model_validate({"spec": EVERY_MINUTE})
    assert replaced_object(broken, sound, NOW)["spec"] == EVERY_MINUTE
