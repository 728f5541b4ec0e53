"""Who may look on and for how long, how many may, and what becomes of slow ones."""

import asyncio
import tracemalloc
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from carillon_api.events.feed import Feed, SourceName
from carillon_api.events.hub import EventHub, Pace
from carillon_api.events.stream_events import Journal, Selection, of_task
from carillon_api.events.viewer import Asked
from carillon_core.adapters.memory.caller import Rule
from carillon_core.ports import TaskChange
from support.api import HASTY, facade
from support.history_adapters import skipped
from support.streams import EVENTS, events_of, stream
from support.waiting import eventually

LISTS = ("scheduledtasks", "executions")
CONFIRMING = replace(HASTY, confirm_ticks=1)
HOUR = timedelta(hours=1)


async def test_a_caller_sees_the_namespaces_that_it_may_list() -> None:
    """Those that it names, if it may list tasks and executions there; it must name them if it may not list all."""
    async with facade() as api:
        bob = api.let("bob", "of-bob", Rule(("list",), LISTS, "team-a"), Rule(("list",), ("executions",), "team-b"))
        refused = [await api.client.get(f"{EVENTS}{query}", headers=bob) for query in ("", "?namespace=team-b")]
        assert [answer.status_code for answer in refused] == [403, 403]
        assert "specify a namespace" in refused[0].json()["detail"]
        assert "scheduledtasks" in refused[1].json()["detail"]
        assert (await api.client.head(EVENTS, headers=bob)).status_code == 403
        async with stream(api, "namespace=team-a", bob) as client:
            await client.event("ready")
            await api.history.record([skipped(1, namespace="team-b"), skipped(2, namespace="team-a")])
            assert (await client.event()).data["namespace"] == "team-a"


async def test_without_a_namespace_all_that_the_caller_may_list() -> None:
    """Where the API serves some namespaces; others in the database are not shown to anybody."""
    async with facade(scope="team-a,team-b,team-c") as api:
        bob = api.let("bob", "of-bob", *(Rule(("list",), LISTS, name) for name in ("team-a", "team-c", "other")))
        assert (await api.client.get(f"{EVENTS}?namespace=other", headers=bob)).json()["type"].endswith("not-served")
        nobody = api.let("nobody", "of-nobody", Rule(("list",), LISTS, "other"))
        assert (await api.client.get(EVENTS, headers=nobody)).status_code == 403
        async with stream(api, "", bob) as client:
            await client.event("ready")
            rows = [skipped(n, namespace=name) for n, name in enumerate(("other", "team-b", "team-c", "team-a"))]
            await api.history.record(rows)
            assert {(await client.event()).data["namespace"] for _ in range(2)} == {"team-a", "team-c"}
        assert len(api.changed_tasks.watches) == 3


async def test_a_stream_ends_with_the_permission() -> None:
    """And says why; a caller who has got one more is told to connect again, too."""
    async with facade(CONFIRMING, scope="team-a,team-b") as api:
        rule = Rule(("list",), LISTS, "team-a")
        bob = api.let("bob", "of-bob", rule)
        for rules in ([], [rule, Rule(("list",), LISTS, "team-b")]):
            api.server.rules["bob"] = [rule]
            api.clock.now += HOUR  # what is cached of the API server expires
            async with stream(api, "", bob) as client:
                await client.event("ready")
                api.server.rules["bob"] = rules
                api.clock.now += HOUR
                (end,) = await client.complete()
                assert (end.type, end.data["reason"]) == ("end", "Forbidden")
        assert not len(api.events)


async def test_a_stream_ends_with_the_credential() -> None:
    """A token that has expired or was revoked; no event follows."""
    async with facade(CONFIRMING) as api:
        bob = api.let("bob", "of-bob", Rule("*", LISTS))
        api.server.rules["bob"] = [Rule(("list",), LISTS)]
        async with stream(api, "", bob) as client:
            await client.event("ready")
            del api.server.tokens["of-bob"]
            api.clock.now += HOUR
            (end,) = await client.complete()
            assert (end.type, end.data["reason"]) == ("end", "Unauthenticated")


async def test_a_stream_outlives_an_outage_of_the_api_server_for_as_long_as_its_answers_are_kept() -> None:
    """Then it ends: whether the caller may look on is unknown."""
    async with facade(CONFIRMING) as api, stream(api) as client:
        await client.event("ready")
        api.server.outage = "gone"
        api.clock.now += timedelta(minutes=5)
        await api.history.record([skipped(1)])
        await client.event("execution")
        api.clock.now += HOUR
        assert (await client.complete())[-1].data["reason"] == "Unavailable"


async def test_a_caller_has_so_many_streams_and_a_replica_too() -> None:
    """Another one is refused with a problem that says what to do, until one has ended."""
    async with facade(event_streams=3, event_streams_per_caller=2) as api:
        bob = api.let("bob", "of-bob", Rule(("list",), LISTS))
        async with stream(api, "", bob):
            async with stream(api), stream(api):
                for headers, status, detail in (
                    ({}, 429, "you already have 2"),
                    (bob, 503, "reached its limit"),
                ):
                    answer = await api.client.get(EVENTS, headers=headers)
                    assert (answer.status_code, answer.headers["retry-after"]) == (status, "5")
                    assert detail in answer.json()["detail"]
            async with stream(api) as client:
                assert client.status == 200
        assert not len(api.events)


async def test_a_server_that_stops_ends_the_streams() -> None:
    """At once, with a last event; further ones are refused."""
    async with facade() as api, stream(api) as client:
        await client.event("ready")
        api.events.close()
        (end,) = await client.complete()
        assert (end.type, end.data["reason"]) == ("end", "Shutdown")
        assert (await api.client.get(EVENTS)).status_code == 503


async def test_a_client_that_does_not_read_holds_no_memory() -> None:
    """It keeps a place in the journal; when that is dropped, it is told to read the lists again."""
    async with facade() as api, stream(api) as client:
        await client.event("ready")
        client.reads.clear()
        await api.history.record([skipped(1)])
        journal = api.events.journal
        assert journal is not None
        journal.most = 2
        for minute in range(2, 6):
            await api.history.record([skipped(minute)])
            await eventually(lambda minute=minute: journal.following > minute)  # type: ignore[misc]  # bound by default
        client.reads.set()
        assert (await client.event("reset")).data["reason"] == "SlowReader"
        await api.history.record([skipped(7)])
        assert (await client.event()).data["slot"] == "2026-03-01T00:07:00Z"


@dataclass
class Broken:
    """A source with a defect."""

    name: SourceName = ("executions", None)

    async def follow(self, feed: Feed) -> None:
        """Begin, and break."""
        feed.begun(self.name)
        await asyncio.sleep(0)
        raise ZeroDivisionError


async def test_a_defect_ends_the_streams_and_the_next_one_starts_anew(caplog: pytest.LogCaptureFixture) -> None:
    """It is in the log, and no client hangs."""
    async with EventHub([Broken()], 10, 10, Pace(tick_seconds=0.001)) as hub:
        for _ in range(2):
            viewer = hub.enter(asked())
            text = b"".join([chunk async for chunk in viewer.chunks()])
            assert [event.type for event in events_of(text.decode())][-1] == "end"
            hub.leave(viewer)
            await eventually(lambda: hub.is_idle)
    assert "events cannot be followed" in caplog.text


def asked(**selection: object) -> Asked:
    """Return what a client asks for."""

    async def confirm() -> None:
        return None

    return Asked("bob", Selection(**selection), None, confirm)  # type: ignore[arg-type]  # as the test gives it


def task(number: int, namespace: str = "team-a") -> TaskChange:
    """Return the change of a task with a number."""
    return TaskChange(
        namespace=namespace, name=f"t{number}", uid="u", generation=1, resource_version=str(number), deleted=False
    )


async def test_viewers_of_the_same_read_the_same_bytes() -> None:
    """What a hundred look at is joined once."""
    journal = Journal()
    for number in range(3):
        journal.add(of_task(task(number)))
    selections = (Selection(), Selection(), Selection(frozenset({"team-b"})))
    found = [journal.read(1, selection) for selection in selections]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0][0] is found[1][0]
    assert found[2] == (b"", 4)


async def test_a_large_backlog_is_sent_in_parts() -> None:
    """A viewer that is far behind does not make one message of megabytes."""
    journal = Journal()
    for number in range(2_000):
        journal.add(of_task(task(number)))
    first = journal.read(1, Selection())
    assert first is not None
    text, place = first
    assert 60_000 < len(text) < 70_000
    assert place < 1_000


def test_places_of_clients_cost_no_memory() -> None:
    """Each client chooses its own, and no event comes meanwhile."""
    journal = Journal()
    for number in range(500):
        journal.add(of_task(task(number)))
    tracemalloc.start()
    try:
        for place in range(1, 150):
            journal.read(place, Selection())
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5 * 2**20
