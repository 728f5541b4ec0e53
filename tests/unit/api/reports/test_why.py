"""Why a task ran, or did not, over REST; the revisions of its spec; permissions and bad input."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from carillon_core.adapters.memory.caller import Rule
from carillon_core.domain.why.revision import TaskRevision
from support.api import EVERY_MINUTE, NOW, TASKS, Facade, facade, fields_of
from support.calendars import utc
from support.executions import SUCCEEDED, row
from support.past import revision

WHY, REVISIONS = f"{TASKS}/nightly/why", f"{TASKS}/nightly/revisions"
SPEC = {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin", "task": {"sum": {"a": 1, "b": 2}}}
READER = [Rule(["get"], ["scheduledtasks"], "team-a"), Rule(["list"], ["executions"], "team-a")]
AUDITOR = [*READER, Rule(["list"], ["auditevents"], "team-a")]


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def why(rest: Facade, at: str | None = None, headers: Any = None) -> dict[str, Any]:
    """Return the answer."""
    response = await rest.client.get(WHY, params={"at": at} if at else {}, headers=headers)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def created(rest: Facade, **spec: Any) -> TaskRevision:
    """Create a task yesterday; return its first revision as the operator records it."""
    rest.clock.now = NOW - timedelta(days=1)
    uid = (await rest.create(spec=SPEC | spec)).json()["uid"]
    made = revision(1, schedule="30 2 * * *", timeZone="Europe/Berlin")
    made = replace(made, task_uid=uid, created_at=rest.clock.now, seen_at=rest.clock.now, last_seen_at=NOW)
    await rest.revisions.record([made])
    rest.clock.now = NOW
    return made


async def test_a_slot_that_ran(rest: Facade) -> None:
    """With its execution, and the spec that was in force."""
    spec = await created(rest)
    ran = row(task_uid=spec.task_uid, slot=utc("2026-03-01 01:30"), status=SUCCEEDED, result={"sum": 3})
    await rest.history.record([ran])
    body = await why(rest, "2026-03-01T02:30")
    assert body == {
        "namespace": "team-a",
        "task": "nightly",
        "at": "2026-03-01T01:30:00Z",
        "timeZone": "Europe/Berlin",
        "outcome": "Ran",
        "message": "the slot of 2026-03-01T01:30:00Z succeeded",
        "reason": None,
        "slot": "2026-03-01T01:30:00Z",
        "execution": {
            "id": str(ran.id),
            "slot": "2026-03-01T01:30:00Z",
            "firstSlot": None,
            "status": "Succeeded",
            "reason": None,
            "message": None,
            "startedAt": "2026-03-01T12:00:00Z",
            "finishedAt": "2026-03-01T12:00:02Z",
        },
        "revision": {
            "uid": spec.task_uid,
            "generation": 1,
            "seenAt": "2026-02-28T12:00:00Z",
            "changedBy": {"manager": "kubectl-edit", "user": "alice"},
        },
        "suspension": None,
        "clockChange": None,
        "slotBefore": "2026-02-28T01:30:00Z",
        "slotAfter": "2026-03-02T01:30:00Z",
    }


async def test_by_default_now_is_explained(rest: Facade) -> None:
    """Even if the operator has not recorded the spec."""
    await rest.create(spec=SPEC)
    body = await why(rest)
    assert (body["at"], body["outcome"], body["revision"]["generation"]) == ("2026-03-01T12:00:00Z", "NotDue", 1)


async def test_who_suspended_a_task(rest: Facade) -> None:
    """The user of the change, if the caller may read the audit; otherwise the program."""
    first = await created(rest)
    rest.clock.now = NOW - timedelta(hours=12)
    assert (await rest.client.post(f"{TASKS}/nightly/pause")).status_code == 200
    await rest.audited()
    paused = replace(revision(2, schedule="30 2 * * *", timeZone="Europe/Berlin", suspend=True), manager="carillon")
    seen: dict[str, Any] = {
        "task_uid": first.task_uid,
        "created_at": first.created_at,
        "seen_at": rest.clock.now,
        "last_seen_at": NOW,
    }
    await rest.revisions.record([replace(paused, **seen)])
    rest.clock.now = NOW
    for rules, user in ((AUDITOR, "alice"), (READER, None)):
        body = await why(rest, "2026-03-01T01:30:00Z", rest.let(f"bob-{user}", f"t-{user}", *rules))
        assert body["outcome"] == "Suspended"
        assert body["message"].endswith(f"it had been suspended by {user or 'carillon'} since 2026-03-01T00:00:00Z")
        assert body["suspension"] == {
            "since": "2026-03-01T00:00:00Z",
            "sinceOrEarlier": False,
            "generation": 2,
            "changedBy": {"manager": "carillon", "user": user},
        }


async def test_the_future_is_explained_by_the_present(rest: Facade) -> None:
    """A condition of the task may keep it from running."""
    await created(rest)
    assert (await why(rest, "2026-03-05T01:30:00Z"))["outcome"] == "WillRun"
    ready = {"type": "Ready", "status": "False", "reason": "CircuitOpen", "message": "5 executions failed in a row"}
    condition = ready | {"lastTransitionTime": "2026-03-01T00:00:00Z", "observedGeneration": 1}
    rest.tasks.set_status("team-a", "nightly", {"observedGeneration": 1, "conditions": [condition]})
    body = await why(rest, "2026-03-05T01:30:00Z")
    assert (body["outcome"], body["reason"]) == ("WillNotRun", "CircuitOpen")
    assert "5 executions failed in a row" in body["message"]


async def test_a_deleted_task_is_explained_by_its_history(rest: Facade) -> None:
    """As its executions are listed. Rows without a spec are enough for their slots."""
    spec = await created(rest)
    ran = row(task_uid=spec.task_uid, slot=utc("2026-03-01 01:30"), status=SUCCEEDED)
    await rest.history.record([ran])
    await rest.tasks.delete("team-a", "nightly")
    assert (await why(rest, "2026-03-01T01:30:00Z"))["outcome"] == "Ran"
    rest.clock.now = NOW + timedelta(days=2)
    assert (await why(rest))["outcome"] == "Deleted"
    assert len((await rest.client.get(REVISIONS)).json()["items"]) == 1
    rest.revisions.kept.clear()
    body = await why(rest, "2026-03-01T01:30:00Z")
    assert (body["outcome"], body["slot"], body["revision"]) == ("Ran", "2026-03-01T01:30:00Z", None)


async def test_revisions_are_listed_newest_first(rest: Facade) -> None:
    """A page at a time, with who made them."""
    first = await created(rest)
    second = replace(first, generation=2, seen_at=NOW, spec=None, rules=None, problem="spec: too odd", manager=None)
    await rest.revisions.record([second])
    page = (await rest.client.get(REVISIONS, params={"limit": "1"})).json()
    assert [(each["generation"], each["spec"], each["problem"]) for each in page["items"]] == [
        (2, None, "spec: too odd")
    ]
    page = (await rest.client.get(REVISIONS, params={"limit": "1", "cursor": page["nextCursor"]})).json()
    assert page == {
        "items": [
            {
                "uid": first.task_uid,
                "generation": 1,
                "createdAt": "2026-02-28T12:00:00Z",
                "seenAt": "2026-02-28T12:00:00Z",
                "lastSeenAt": "2026-03-01T12:00:00Z",
                "changedBy": {"manager": "kubectl-edit", "user": "alice"},
                "spec": {"schedule": "30 2 * * *"},
                "problem": None,
            }
        ],
        "nextCursor": None,
    }


@pytest.mark.parametrize("path", [WHY, REVISIONS])
async def test_what_never_was_is_not_found(rest: Facade, path: str) -> None:
    """Neither the task nor a history of it."""
    response = await rest.client.get(path)
    assert response.status_code == 404
    assert fields_of(response) == []


FORBIDDEN: dict[str, tuple[str, list[Rule], int]] = {
    "why: both permissions": (WHY, READER, 200),
    "why: not the task": (WHY, READER[1:], 403),
    "why: not the executions": (WHY, READER[:1], 403),
    "revisions: the task": (REVISIONS, READER[:1], 200),
    "revisions: not the task": (REVISIONS, READER[1:], 403),
}


@pytest.mark.parametrize(("path", "rules", "want"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
async def test_the_cluster_decides_who_may_ask(rest: Facade, path: str, rules: list[Rule], want: int) -> None:
    """Also of a task that does not exist any more."""
    await created(rest)
    headers = rest.let("bob", "t-bob", *rules)
    assert (await rest.client.get(path, headers=headers)).status_code == want
    await rest.tasks.delete("team-a", "nightly")
    assert (await rest.client.get(path, headers=headers)).status_code == want


BAD: dict[str, tuple[str, dict[str, str], str]] = {
    "no time": (WHY, {"at": "yesterday"}, "at"),
    "a number": (WHY, {"at": "1772366400"}, "at"),
    "a date that does not exist": (WHY, {"at": "2026-02-30T00:00:00Z"}, "at"),
    "a plus that was not escaped": (WHY, {"at": "2026-02-28T00:00:00 01:00"}, "at"),
    "too far ahead": (WHY, {"at": "2037-01-01T00:00:00Z"}, "at"),
    "the year 1": (WHY, {"at": "0001-01-01T00:00"}, "at"),
    "an unknown parameter's value": (REVISIONS, {"limit": "51"}, "limit"),
    "a cursor of another list": (REVISIONS, {"cursor": "abc"}, "cursor"),
}


@pytest.mark.parametrize(("path", "params", "want"), BAD.values(), ids=BAD.keys())
async def test_bad_input_is_refused(rest: Facade, path: str, params: dict[str, str], want: str) -> None:
    """The problem names the parameter."""
    await created(rest)
    response = await rest.client.get(path, params=params)
    assert (response.status_code, fields_of(response)) == (422, [want])


async def test_without_the_database_the_answer_is_503(rest: Facade) -> None:
    """It may be tried again."""
    await rest.create(spec=EVERY_MINUTE)
    rest.revisions.outage = "connection refused"
    for path in (WHY, REVISIONS):
        assert (await rest.client.get(path)).status_code == 503


async def test_another_generation_by_labels_alone_has_no_other_author(rest: Facade) -> None:
    """The audit has a change of labels by bob, which made no generation."""
    spec = await created(rest)
    headers = {**rest.let("bob", "t-bob", Rule("*", "*")), "Content-Type": "application/merge-patch+json"}
    changed = await rest.client.patch(f"{TASKS}/nightly", json={"labels": {"a": "b"}}, headers=headers)
    assert changed.status_code == 200
    await rest.audited()
    (item,) = (await rest.client.get(REVISIONS)).json()["items"]
    assert (item["generation"], item["changedBy"]["user"]) == (spec.generation, "alice")
