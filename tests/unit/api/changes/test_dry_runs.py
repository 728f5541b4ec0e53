"""``dryRun=All``: each write says what it would change, and changes nothing."""

import copy
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.adapters.memory.caller import Rule
from carillon_core.contract import Cause
from carillon_core.domain.execution import execution_id, job_name
from carillon_core.resources.base import rfc3339
from carillon_core.resources.names import ANNOTATION_EXECUTION_ID, ANNOTATION_SLOT, LABEL_TASK, LABEL_TASK_UID
from support.api import EVERY_MINUTE, MERGE_PATCH, NOW, TASKS, Facade, facade, fields_of, openapi_document
from support.executions import EXECUTIONS, RUNNING, of_a_task, row

TARGETS = "/api/v1/namespaces/team-a/targets"
RUNS = "/api/v1/namespaces/team-a/runs"
DRY = {"dryRun": "All"}
HOURLY: dict[str, Any] = {**EVERY_MINUTE, "schedule": "0 * * * *"}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def world(rest: Facade) -> None:
    """Create one object of each kind, a failed execution and a running one with its Job."""
    failed = await of_a_task(rest)
    running = row(1, task_uid=failed.task_uid, status=RUNNING)
    await rest.history.record([running])
    labels, notes = {LABEL_TASK_UID: failed.task_uid}, {ANNOTATION_EXECUTION_ID: str(running.id)}
    meta = {"name": "nightly-1", "namespace": "team-a", "labels": labels, "annotations": notes}
    await rest.server.cluster.create_job({"metadata": meta, "spec": {}})
    await rest.client.post(TARGETS, json={"name": "shop", "spec": {"url": "https://example.com/"}})
    uses = {"intervalSeconds": 60, "task": {"http": {"targetRef": {"name": "shop"}}}}
    await rest.create("uses", uses)
    request = {"metadata": {"name": "once"}, "spec": {"taskRef": {"name": "nightly"}}}
    await rest.server.stores["RunRequest"].create("team-a", request)


def stored(rest: Facade) -> Any:
    """Return everything that a write could change."""
    kept = [store._objects for store in rest.server.stores.values()]  # noqa: SLF001  # all of it, as it is
    return copy.deepcopy([*kept, rest.server.cluster.jobs, rest.idempotency.rows, rest.audit_log.events])


WRITES: dict[str, tuple[str, str, Any, int]] = {
    "create": ("POST", TASKS, {"name": "new", "spec": EVERY_MINUTE}, 201),
    "create in the default namespace": ("POST", "/api/v1/tasks", {"name": "new", "spec": EVERY_MINUTE}, 201),
    "replace": ("PUT", f"{TASKS}/nightly", {"spec": HOURLY}, 200),
    "patch": ("PATCH", f"{TASKS}/nightly", {"spec": {"schedule": "0 * * * *"}}, 200),
    "delete": ("DELETE", f"{TASKS}/nightly", None, 200),
    "pause": ("POST", f"{TASKS}/nightly/pause", None, 200),
    "resume": ("POST", f"{TASKS}/nightly/resume", None, 200),
    "run": ("POST", f"{TASKS}/nightly/run", None, 202),
    "run of its own": ("POST", "/api/v1/run-task", {"task_name": "sum", "a": 1, "b": 2}, 202),
    "target": ("POST", TARGETS, {"name": "new", "spec": {"url": "https://example.com/"}}, 201),
    "replace a target": ("PUT", f"{TARGETS}/shop", {"spec": {"url": "https://example.org/"}}, 200),
    "patch a target": ("PATCH", f"{TARGETS}/shop", {"spec": {"method": "PUT"}}, 200),
    "delete a target and its users": ("DELETE", f"{TARGETS}/shop?cascade=true", None, 200),
    "delete a run": ("DELETE", f"{RUNS}/once", None, 200),
    "retry": ("POST", f"{EXECUTIONS}/{{failed}}/retry", None, 202),
    "cancel": ("POST", f"{EXECUTIONS}/{{running}}/cancel", None, 202),
}


@pytest.mark.parametrize("case", WRITES)
async def test_a_dry_run_changes_nothing_and_the_write_still_can_be_made(rest: Facade, case: str) -> None:
    """No object, no Job, no audit event and no key; afterwards the same write succeeds."""
    method, path, body, want_status = WRITES[case]
    await world(rest)
    await rest.audited()
    known = {str(r.status): str(r.id) for r in rest.history.rows.values()}
    url = path.format(**known)
    before = stored(rest)
    headers = {"Idempotency-Key": "k", **(MERGE_PATCH if method == "PATCH" else {})}
    asked = await rest.client.request(method, url, json=body, params=_with_dry_run(url), headers=headers)
    assert asked.status_code == want_status, asked.text
    assert "dryRun" in asked.json()
    assert not {"location", "etag"} & set(asked.headers)
    await rest.audited()
    assert stored(rest) == before
    made = await rest.client.request(method, url, json=body, headers=headers)
    assert made.is_success, made.text
    assert b"dryRun" not in made.content


def _with_dry_run(url: str) -> dict[str, str]:
    """Return the query of a URL and the parameter: httpx would drop the query."""
    query = dict(pair.split("=", 1) for pair in url.partition("?")[2].split("&") if pair)
    return query | DRY


def test_every_write_of_the_document_can_be_a_dry_run() -> None:
    """Those that compute only change nothing anyway."""
    writes, dry = set(), set()
    for path, item in openapi_document()["paths"].items():
        for method, operation in item.items():
            if method != "get" and not path.endswith(("/preview", "/suggest")):
                writes.add((method, path))
            if any(parameter["name"] == "dryRun" for parameter in operation.get("parameters", ())):
                dry.add((method, path))
                assert "400" in operation["responses"], path
    assert dry == writes


@pytest.mark.parametrize(
    "query", ["dryRun=all", "dryRun=", "dryRun=true", "dryrun=All", "dry_run=All", "dryRun=All&dryRun=x"]
)
@pytest.mark.parametrize("url", [f"{TASKS}/nightly", f"{TARGETS}/shop"])
async def test_a_misspelt_dry_run_is_refused_and_does_not_write(rest: Facade, url: str, query: str) -> None:
    """400 names the parameter: to ignore it would make the change."""
    await world(rest)
    response = await rest.client.delete(f"{url}?{query}")
    assert (response.status_code, fields_of(response)) == (400, ["dryRun"]), response.text
    assert (await rest.client.get(url)).status_code == 200


async def test_a_dry_run_keeps_no_key_but_judges_it(rest: Facade) -> None:
    """A key that the write would refuse is refused, and a good one can be used for the write."""
    body = {"name": "new", "spec": EVERY_MINUTE}
    refused = await rest.client.post(TASKS, params=DRY, json=body, headers={"Idempotency-Key": "a b"})
    assert (refused.status_code, fields_of(refused)) == (422, ["Idempotency-Key"])
    asked = await rest.client.post(TASKS, params=DRY, json=body, headers={"Idempotency-Key": "k"})
    assert asked.status_code == 201
    assert rest.idempotency.rows == {}


async def test_a_dry_run_needs_the_permission_of_the_write(rest: Facade) -> None:
    """The cluster judges it as the caller, and a conflict is a conflict."""
    await rest.create("nightly")
    bob = rest.let("bob", "t0ken-of-bob", Rule(["get", "list"], ["*"]))
    assert (await rest.client.delete(f"{TASKS}/nightly", params=DRY, headers=bob)).status_code == 403
    taken = await rest.client.post(TASKS, params=DRY, json={"name": "nightly", "spec": EVERY_MINUTE})
    assert taken.status_code == 409
    stale = await rest.client.delete(f"{TASKS}/nightly", params=DRY, headers={"If-Match": '"0"'})
    assert stale.status_code == 412


async def changes(rest: Facade, method: str, url: str, **more: Any) -> Any:
    """Return what a write would change."""
    response = await rest.client.request(method, url, params=DRY, **more)
    assert response.is_success, response.text
    return response.json()["dryRun"]


async def test_another_schedule_says_which_slots_vanish_and_appear(rest: Facade) -> None:
    """Slots of both schedules are in neither list; the comparison ends where fifty differ."""
    await rest.create("nightly", {**EVERY_MINUTE, "schedule": "0 */6 * * *"})
    told = await changes(
        rest, "PATCH", f"{TASKS}/nightly", json={"spec": {"schedule": "0 0,9 * * *"}}, headers=MERGE_PATCH
    )
    vanishing = [slot["time"] for slot in told["slots"]["vanishing"]]
    appearing = [slot["time"] for slot in told["slots"]["appearing"]]
    assert vanishing[:3] == ["2026-03-01T18:00:00Z", "2026-03-02T06:00:00Z", "2026-03-02T12:00:00Z"]
    assert appearing[:2] == ["2026-03-02T09:00:00Z", "2026-03-03T09:00:00Z"]
    assert not any(time.endswith("T00:00:00Z") for time in vanishing + appearing)
    assert told["slots"]["until"] == "2026-03-08T12:00:00Z"
    dense = await changes(
        rest, "PATCH", f"{TASKS}/nightly", json={"spec": {"schedule": "* * * * *"}}, headers=MERGE_PATCH
    )
    assert len(dense["slots"]["appearing"]) == 50
    assert dense["slots"]["until"] == dense["slots"]["appearing"][-1]["time"]


async def test_what_a_dry_run_computes_is_not_remembered(rest: Facade) -> None:
    """The next real change has the same generation as the dry run's, and its own times."""
    await rest.create("nightly")
    await changes(rest, "PATCH", f"{TASKS}/nightly", json={"spec": {"schedule": "0 0 1 1 *"}}, headers=MERGE_PATCH)
    await rest.client.put(f"{TASKS}/nightly", json={"spec": HOURLY})
    upcoming = (await rest.client.get(f"{TASKS}/nightly/upcoming?count=1")).json()
    assert upcoming["items"][0]["time"] == "2026-03-01T13:00:00Z"


async def test_a_pause_takes_all_slots_and_a_resume_brings_them_back(rest: Facade) -> None:
    """Pausing a suspended task changes nothing."""
    await rest.create("nightly", HOURLY)
    paused = await changes(rest, "POST", f"{TASKS}/nightly/pause")
    assert (len(paused["slots"]["vanishing"]), paused["slots"]["appearing"]) == (50, [])
    await rest.client.post(f"{TASKS}/nightly/pause")
    again = await changes(rest, "POST", f"{TASKS}/nightly/pause")
    assert (again["changed"], again["slots"]["vanishing"]) == (False, [])
    resumed = await changes(rest, "POST", f"{TASKS}/nightly/resume")
    assert resumed["slots"]["appearing"] == paused["slots"]["vanishing"]


RESUMED: dict[str, tuple[dict[str, Any], bool, list[str], list[str]]] = {
    "the operator saw the pause": ({}, True, [], ["Suspended"]),
    "it did not": ({}, False, ["2026-03-01T12:00:00Z"], ["SupersededByLaterSlot"] * 2),
    "it did not, and all are made up for": (
        {"missedRunPolicy": "All", "concurrencyPolicy": "Allow"},
        False,
        ["2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z"],
        [],
    ),
    "it did not, and late slots are skipped": (
        {"missedRunPolicy": "Skip"},
        False,
        [],
        ["MissedRunPolicy"] * 3,
    ),
    "it did not, and the deadline has passed": (
        {"startingDeadlineSeconds": 60},
        False,
        [],
        ["SupersededByLaterSlot"] * 2 + ["StartingDeadlineExceeded"],
    ),
}


@pytest.mark.parametrize("case", RESUMED)
async def test_a_resume_says_which_runs_it_would_cause(rest: Facade, case: str) -> None:
    """They are what the operator's own decision launches of the slots since the last settled one."""
    policy, seen, want_launches, want_reasons = RESUMED[case]
    rest.clock.now = NOW - timedelta(days=1)
    await rest.create("nightly", {**HOURLY, **policy, "suspend": True})
    since = (NOW - timedelta(hours=2, minutes=30)).isoformat().replace("+00:00", "Z")
    status: dict[str, Any] = {"settledUntil": since, "calendar": {"schedule": "0 * * * *"}}
    if seen:
        condition = {"type": "Suspended", "status": "True", "reason": "Suspended", "lastTransitionTime": since}
        status["conditions"] = [condition]
    rest.tasks.set_status("team-a", "nightly", status)
    rest.clock.now = NOW + timedelta(minutes=2)
    told = await changes(rest, "POST", f"{TASKS}/nightly/resume")
    assert told["launches"] == want_launches
    assert [each["reason"] for each in told["unlaunched"]] == want_reasons
    assert told["slots"]["appearing"][0]["time"] == "2026-03-01T13:00:00Z"


async def test_what_the_caller_may_not_read_is_assumed_and_said(rest: Facade) -> None:
    """A caller without Jobs and targets gets the rest."""
    await world(rest)
    edits = Rule(["get", "list", "patch", "delete"], ["scheduledtasks"])
    bob = rest.let("bob", "t0ken-of-bob", edits)
    told = await changes(rest, "POST", f"{TASKS}/uses/pause", headers=bob)
    assert told["notes"] == [
        "you may not list Jobs: the task is assumed to have no active executions",
        "you may not read the HTTPTarget shop: it is assumed to exist and to be valid",
    ]
    blind = rest.let("eve", "t0ken-of-eve", Rule(["delete"], ["scheduledtasks"]))
    told = await changes(rest, "DELETE", f"{TASKS}/uses", headers=blind)
    assert told["notes"] == ["you may not read the task: its slots and executions are not shown"]
    assert "slots" not in told or told["slots"] is None


async def active_job(rest: Facade, task: dict[str, Any]) -> str:
    """Create the active Job of a task's slot, as the operator does, and return its execution's id."""
    slot = NOW - timedelta(minutes=1)
    owner = {"kind": "ScheduledTask", "name": task["name"], "uid": task["uid"], "controller": True}
    meta = {
        "name": job_name(task["name"], slot),
        "namespace": "team-a",
        "labels": {LABEL_TASK: task["name"], LABEL_TASK_UID: task["uid"]},
        "annotations": {ANNOTATION_SLOT: rfc3339(slot)},
        "ownerReferences": [owner],
    }
    await rest.server.cluster.create_job({"metadata": meta, "spec": {}})
    return str(execution_id(task["uid"], slot, Cause.SCHEDULE))


async def test_a_deletion_names_the_slots_and_the_executions_that_would_end(rest: Facade) -> None:
    """A pause ends none of them."""
    uid = await active_job(rest, (await rest.create("nightly", HOURLY)).json())
    told = await changes(rest, "DELETE", f"{TASKS}/nightly")
    assert [each["id"] for each in told["ends"]] == [uid]
    assert told["deleted"] == [{"kind": "ScheduledTask", "name": "nightly"}]
    assert (len(told["slots"]["vanishing"]), told["slots"]["appearing"]) == (50, [])
    assert (await changes(rest, "POST", f"{TASKS}/nightly/pause"))["ends"] == []


async def test_jobs_that_cannot_be_read_are_left_out(rest: Facade) -> None:
    """Whoever may write Jobs can write anything into them; the others count."""
    task = (await rest.create("nightly", HOURLY)).json()
    uid = await active_job(rest, task)
    jobs = rest.server.cluster.jobs
    (good,) = jobs.values()
    broken = {**good["metadata"], "name": "broken", "annotations": ["neither", "keys", "nor", "values"]}
    jobs["team-a", "broken"] = {**good, "metadata": broken}
    told = await changes(rest, "DELETE", f"{TASKS}/nightly")
    assert [each["id"] for each in told["ends"]] == [uid]


async def test_of_large_jobs_as_many_as_a_page_has_bytes(rest: Facade) -> None:
    """A note says that there are more: their owner decides how large they are."""
    task = (await rest.create("nightly", HOURLY)).json()
    for number in range(6):
        meta = {"name": f"large-{number}", "namespace": "team-a", "labels": {LABEL_TASK_UID: task["uid"]}}
        await rest.server.cluster.create_job({"metadata": {**meta, "annotations": {"a": "x" * 10**6}}, "spec": {}})
    told = await changes(rest, "DELETE", f"{TASKS}/nightly")
    assert told["notes"] == ["only 4 Jobs of the task are looked at: it has more, or they are too large together"]


async def test_a_run_that_was_requested_already_would_not_be_created_again(rest: Facade) -> None:
    """The name of a run with a key is derived from it, and that of a retry from its execution."""
    failed = await of_a_task(rest)
    for url in (f"{TASKS}/nightly/run", f"{EXECUTIONS}/{failed.id}/retry"):
        key = {"Idempotency-Key": "k"}
        asked = await changes(rest, "POST", url, headers=key)
        assert [each["kind"] for each in asked["created"]] == ["RunRequest"]
        assert (await rest.client.post(url, headers=key)).status_code == 202
        again = await changes(rest, "POST", url, headers=key)
        assert (again["changed"], again["created"]) == (False, [])
        rest.idempotency.rows.clear()


async def test_a_cancellation_and_a_cascade_name_what_would_go(rest: Facade) -> None:
    """The Job of the execution; the target with its users."""
    await world(rest)
    running = next(r for r in rest.history.rows.values() if r.status is RUNNING)
    told = await changes(rest, "POST", f"{EXECUTIONS}/{running.id}/cancel")
    assert told["ends"] == [{"id": str(running.id), "jobName": "nightly-1"}]
    cascade = await rest.client.delete(f"{TARGETS}/shop", params={**DRY, "cascade": "true"})
    named = [(each["kind"], each["name"]) for each in cascade.json()["dryRun"]["deleted"]]
    assert named == [("ScheduledTask", "uses"), ("HTTPTarget", "shop")]
