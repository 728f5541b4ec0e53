"""The audit: each change is logged at once and written to the database; neither delays the response."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from carillon_api.auth.access import Origin
from carillon_api.auth.audit import AuditTrail, audit_event
from carillon_api.auth.authentication import Caller
from carillon_core.adapters.memory.audit import MemoryAuditLog
from carillon_core.adapters.memory.caller import Rule
from carillon_core.domain.access.subjects import Subject
from carillon_core.ports import AuditEvent
from support.api import CALLER, EVERY_MINUTE, MERGE_PATCH, NOW, TASKS, Facade, facade, fields_of
from support.waiting import eventually

AUDIT = "/api/v1/audit"
ORIGIN = Origin("192.0.2.1", "curl/8", "r1")


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


def event(name: str = "nightly") -> AuditEvent:
    """Build an event."""
    change = (None, {"metadata": {"name": name, "namespace": "team-a"}, "spec": {}})
    return audit_event(Caller(CALLER, "token"), ORIGIN, NOW, "create", "scheduledtasks", change)


CHANGES: dict[str, tuple[Any, Any, tuple[Any, Any, str]]] = {
    "a creation": (None, {"metadata": {"name": "a", "namespace": "n"}, "spec": {"x": 1}}, (None, {"x": 1}, "n/a")),
    "a change": (
        {"metadata": {"name": "a", "namespace": "n"}, "spec": {"x": 1}},
        {"metadata": {"name": "a", "namespace": "n"}, "spec": {"x": 2}, "status": {"y": 1}},
        ({"x": 1}, {"x": 2}, "n/a"),
    ),
    "a deletion": ({"metadata": {"name": "a", "namespace": "n"}, "spec": {"x": 1}}, None, ({"x": 1}, None, "n/a")),
    "an object of an age without a schema": (None, {"metadata": {"name": "a"}, "spec": [1]}, (None, {}, "/a")),
    "nothing at all": (None, None, (None, None, "/")),
}


@pytest.mark.parametrize("case", CHANGES)
def test_an_event_has_spec_and_labels_of_both_sides(case: str) -> None:
    """It has nothing else of the objects; the name comes from either of them."""
    before, after, (want_before, want_after, want_name) = CHANGES[case]
    made = audit_event(Caller(Subject("bob"), "api-key:ci"), ORIGIN, NOW, "update", "scheduledtasks", (before, after))
    assert made.before == (None if want_before is None else {"labels": {}, "spec": want_before})
    assert made.after == (None if want_after is None else {"labels": {}, "spec": want_after})
    assert f"{made.namespace}/{made.name}" == want_name
    assert (made.subject, made.credential, made.source, made.request_id) == ("bob", "api-key:ci", "192.0.2.1", "r1")


def test_neither_side_of_an_event_holds_a_secret() -> None:
    """``test_masking`` tests what is masked."""
    raw = {"metadata": {}, "spec": {"task": {"http": {"url": "https://u:p@h/", "headers": {"Cookie": "c"}}}}}
    made = audit_event(Caller(CALLER, "token"), ORIGIN, NOW, "update", "scheduledtasks", (raw, raw))
    want = {"labels": {}, "spec": {"task": {"http": {"url": "https://***@h/", "headers": {"Cookie": "***"}}}}}
    assert (made.before, made.after) == (want, want)


async def test_create_replace_patch_and_delete_are_audited(rest: Facade) -> None:
    """The event has the caller, the origin, and the object before and after."""
    await rest.create(labels={"tier": "gold"})
    path, sent = f"{TASKS}/nightly", {"X-Request-ID": "req-7", "User-Agent": "tests/1"}
    await rest.client.put(path, json={"spec": {**EVERY_MINUTE, "timeoutSeconds": 5}}, headers=sent)
    await rest.client.patch(path, json={"spec": {"timeoutSeconds": 6}}, headers=MERGE_PATCH)
    await rest.client.delete(path)
    created, replaced, patched, deleted = await rest.audited()
    assert [e.action for e in (created, replaced, patched, deleted)] == ["create", "update", "update", "delete"]
    assert created.before is None
    assert created.after is not None
    assert created.after["labels"] == {"tier": "gold"}
    assert (replaced.before, replaced.after) == (created.after, patched.before)
    assert patched.after == deleted.before
    assert deleted.before is not None
    assert deleted.before["spec"]["timeoutSeconds"] == 6
    assert deleted.after is None
    assert (replaced.request_id, replaced.user_agent, replaced.subject) == ("req-7", "tests/1", "alice")


async def test_a_body_with_half_a_character_is_audited_and_answered(rest: Facade) -> None:
    """The escape stays one in what is masked, so that the event can be written and read."""
    http = {"url": "https://example.com", "method": "POST", "body": '{"token": "x", "a": "\\ud800"}'}
    await rest.client.post(TASKS, json={"name": "nightly", "spec": {**EVERY_MINUTE, "task": {"http": http}}})
    await rest.audited()
    answer = await rest.client.get(AUDIT)
    assert answer.status_code == 200
    (item,) = answer.json()["items"]
    assert item["after"]["spec"]["task"]["http"]["body"] == '{"token": "***", "a": "\\ud800"}'


@pytest.mark.parametrize("body", [{"name": "bad", "spec": {}}, {"name": "nightly", "spec": EVERY_MINUTE}])
async def test_what_was_refused_has_changed_nothing(rest: Facade, body: dict[str, Any]) -> None:
    """It is not in the audit."""
    await rest.create()
    assert (await rest.client.post(TASKS, json=body)).is_error
    assert len(await rest.audited()) == 1


async def test_who_may_delete_and_not_read_is_audited_without_the_spec(rest: Facade) -> None:
    """The audit must not reveal what the caller may not read."""
    await rest.create()
    headers = rest.let("cleaner", "t0ken-of-cleaner", Rule(["delete"], ["scheduledtasks"], "team-a"))
    assert (await rest.client.delete(f"{TASKS}/nightly", headers=headers)).status_code == 204
    *_, deleted = await rest.audited()
    assert (deleted.name, deleted.before) == ("nightly", {"labels": {}, "spec": {}})


async def test_a_database_that_is_away_fails_no_change_and_gets_the_event_later(
    rest: Facade, caplog: pytest.LogCaptureFixture
) -> None:
    """The event is logged at once, with all its fields."""
    caplog.set_level(logging.INFO)
    rest.audit_log.outage = "gone"
    await rest.create()
    (line,) = [r for r in caplog.records if r.name == "carillon_api.audit" and r.getMessage() == "change"]
    assert vars(line)["fields"]["subject"] == "alice"
    assert vars(line)["fields"]["after"]["spec"]["task"] == EVERY_MINUTE["task"]
    assert rest.audit_log.events == {}
    rest.audit_log.outage = None
    assert [e.name for e in await rest.audited()] == ["nightly"]


class StubbornLog(MemoryAuditLog):
    """An audit log that rejects some events permanently, or blocks."""

    def __init__(self, refused: str = "", gate: asyncio.Event | None = None) -> None:
        super().__init__()
        self.refused = refused
        self.gate = gate

    async def write(self, events: Sequence[AuditEvent]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if any(e.name == self.refused for e in events):
            raise ValueError(self.refused)
        await super().write(events)


def names(events: dict[UUID, AuditEvent]) -> list[str]:
    """Return the names of events, in order."""
    return sorted(e.name for e in events.values())


async def test_what_the_bound_pushes_out_is_counted_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The oldest event is dropped; the newest are written."""
    caplog.set_level(logging.INFO)
    log = MemoryAuditLog()
    trail = AuditTrail(log, most_waiting=3)
    for number in range(5):
        trail.record(event(f"e{number}"))
    assert (len(trail), trail.pushed_out) == (3, 2)
    async with trail:
        await trail.drained()
    assert names(log.events) == ["e2", "e3", "e4"]
    lines = [vars(r)["fields"]["name"] for r in caplog.records if r.getMessage() == "change"]
    assert lines == [f"e{number}" for number in range(5)]
    assert any("in this log only" in r.getMessage() for r in caplog.records)


async def test_an_event_that_is_refused_for_good_holds_up_no_other() -> None:
    """It is in the log only; the other events of its batch are written."""
    log = StubbornLog(refused="e1")
    async with AuditTrail(log) as trail:
        for number in range(4):
            trail.record(event(f"e{number}"))
        await trail.drained()
    assert names(log.events) == ["e0", "e2", "e3"]


async def test_the_end_writes_what_waits() -> None:
    """Closing waits for the database, with a timeout."""
    log = StubbornLog(gate=asyncio.Event())
    assert log.gate is not None
    trail = AuditTrail(log)
    await trail.__aenter__()
    trail.record(event("last"))
    ending = asyncio.create_task(trail.__aexit__(None, None, None))
    await asyncio.sleep(0)
    log.gate.set()
    await ending
    assert names(log.events) == ["last"]


async def test_the_end_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It logs how many events are in the log only, including those being written."""
    monkeypatch.setattr("carillon_api.auth.audit.FLUSH_SECONDS", 0)
    log = StubbornLog(gate=asyncio.Event())
    async with AuditTrail(log) as trail:
        trail.record(event("last"))
        await eventually(lambda: len(trail) == 1)
    (said,) = [r for r in caplog.records if "at shutdown" in r.getMessage()]
    assert vars(said)["fields"] == {"events": 1}


async def test_a_page_of_changes_is_listed_and_continued(rest: Facade) -> None:
    """Events are listed newest first, in pages."""
    for number in range(3):
        rest.clock.now += timedelta(seconds=1)
        await rest.create(f"t{number}")
    await rest.audited()
    first = (await rest.client.get(AUDIT, params={"limit": 2})).json()
    assert [i["name"] for i in first["items"]] == ["t2", "t1"]
    assert first["items"][0]["at"] == "2026-03-01T12:00:03Z"
    assert first["items"][0]["requestId"]
    second = (await rest.client.get(AUDIT, params={"limit": 2, "cursor": first["nextCursor"]})).json()
    assert ([i["name"] for i in second["items"]], second["nextCursor"]) == (["t0"], None)


QUERIES: dict[str, tuple[str, list[str]]] = {
    "a namespace": ("namespace=team-b", ["b"]),
    "a resource": ("resource=httptargets", []),
    "a name": ("name=a", ["a"]),
    "a subject": ("subject=alice", ["b", "a"]),
    "since": ("since=2026-03-01T12:00:02Z", ["b"]),
    "until, in another zone": ("until=2026-03-01T13:00:02%2B01:00", ["a"]),
}


@pytest.mark.parametrize("case", QUERIES)
async def test_changes_are_found(rest: Facade, case: str) -> None:
    """Each parameter narrows the list."""
    query, want = QUERIES[case]
    for name, namespace in (("a", "team-a"), ("b", "team-b")):
        rest.clock.now += timedelta(seconds=1)
        body = {"name": name, "spec": EVERY_MINUTE}
        await rest.client.post(f"/api/v1/namespaces/{namespace}/tasks", json=body)
    await rest.audited()
    assert [i["name"] for i in (await rest.client.get(f"{AUDIT}?{query}")).json()["items"]] == want


BAD: dict[str, str] = {
    "limit=0": "limit",
    "cursor=abc": "cursor",
    "since=yesterday": "since",
    "until=2026-03-01T00:00:00": "until",
    "since=0001-01-01T00:00:00%2B14:00": "since",
    "until=9999-12-31T23:59:59-14:00": "until",
    "namespace=A": "namespace",
    "subject=": "subject",
    "user=alice": "user",
}


@pytest.mark.parametrize("query", BAD)
async def test_a_query_that_makes_no_sense_is_refused(rest: Facade, query: str) -> None:
    """The response is 422 and names the parameter."""
    response = await rest.client.get(f"{AUDIT}?{query}")
    assert response.status_code == 422
    assert fields_of(response) == [BAD[query]]


READERS: dict[str, tuple[list[Rule], str, int]] = {
    "who may list it in the namespace": ([Rule(["list"], ["auditevents"], "team-a")], "?namespace=team-a", 200),
    "who may list it in another namespace": ([Rule(["list"], ["auditevents"], "team-b")], "?namespace=team-a", 403),
    "who may list it in one, of all": ([Rule(["list"], ["auditevents"], "team-a")], "", 403),
    "who may list it everywhere": ([Rule(["list"], ["auditevents"])], "", 200),
    "who may read tasks": ([Rule(["get", "list"], ["scheduledtasks", "executions"])], "?namespace=team-a", 403),
}


@pytest.mark.parametrize("case", READERS)
async def test_who_may_read_the_audit(rest: Facade, case: str) -> None:
    """It requires the verb list on auditevents."""
    rules, query, want = READERS[case]
    headers = rest.let("reader", "t0ken-of-reader", *rules)
    assert (await rest.client.get(f"{AUDIT}{query}", headers=headers)).status_code == want


async def test_nothing_in_an_object_keeps_its_change_out_of_the_audit(rest: Facade) -> None:
    """An object with a body or spec that cannot be searched is changed, and the change is audited."""
    await rest.create("deep", {**EVERY_MINUTE, "task": {"http": {"url": "http://h", "body": "[" * 900 + "]" * 900}}})
    value: Any = {}
    for _ in range(900):
        value = {"parameters": value}
    change = ({"metadata": {"name": "deeper", "namespace": "team-a"}, "spec": value}, None)
    rest.audit.record(audit_event(Caller(CALLER, "token"), ORIGIN, NOW, "delete", "runrequests", change))
    assert {(e.action, e.name) for e in await rest.audited()} == {("create", "deep"), ("delete", "deeper")}


async def test_what_waits_is_bounded_by_its_size_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated changes of a large object must not fill the memory while the database is unavailable."""
    monkeypatch.setattr("carillon_api.auth.audit.MOST_CHARACTERS", 1000)
    trail = AuditTrail(MemoryAuditLog())
    change = (None, {"metadata": {"name": "large"}, "spec": {"text": "x" * 400}})
    for _ in range(5):
        trail.record(audit_event(Caller(CALLER, "token"), ORIGIN, NOW, "create", "scheduledtasks", change))
    assert (len(trail), trail.pushed_out) == (2, 3)
