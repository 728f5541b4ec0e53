"""What a client of the stream receives, and when it can resume."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from carillon_api.events.hub import Pace
from carillon_api.routes.events import EXAMPLE
from carillon_api.schemas.answers import Answer
from carillon_api.schemas.streams.events import ExecutionData, TaskData
from carillon_core.errors import ExpiredError, UnavailableError
from support.api import AS_CALLER, HASTY, Facade, facade
from support.history_adapters import running, skipped
from support.streams import EVENTS, Event, stream
from support.waiting import eventually


@pytest.fixture
async def api() -> AsyncIterator[Facade]:
    """Give an empty facade."""
    async with facade() as made:
        yield made


def named(event: Event) -> tuple[str, str]:
    """Return the namespace and the task of an event."""
    return event.data["namespace"], event.data.get("task") or event.data["name"]


async def test_changes_follow_the_first_event(api: Facade) -> None:
    """Of an execution and of a task, with enough to update a row; the response's headers keep proxies from waiting."""
    async with stream(api) as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert client.headers["cache-control"] == "no-store"
        assert client.headers["x-accel-buffering"] == "no"
        assert not {"content-length", "content-encoding"} & set(client.headers)
        ready = await client.event()
        assert (ready.type, ready.data) == ("ready", {"resumed": False})
        assert client.received.startswith(b"retry: ")
        row = running(1)
        await api.history.record([row])
        event = await client.event()
        assert event.type == "execution"
        assert event.data == {
            "id": str(row.id),
            "namespace": "default",
            "task": "backup",
            "slot": "2026-03-01T00:01:00Z",
            "cause": "schedule",
            "status": "Running",
            "reason": None,
            "startedAt": "2026-03-01T00:01:02Z",
            "finishedAt": None,
        }
        stored = (await api.create("nightly")).json()
        event = await client.event()
        assert event.type == "task"
        assert event.data == {
            "namespace": "team-a",
            "name": "nightly",
            "uid": stored["uid"],
            "generation": 1,
            "resourceVersion": stored["resourceVersion"],
            "deleted": False,
        }
        await api.client.delete("/api/v1/namespaces/team-a/tasks/nightly")
        assert (await client.event()).data["deleted"]


async def test_of_changes_in_a_moment_the_last_is_sent() -> None:
    """The operator patches a task's status several times when it launches."""
    async with facade(replace(HASTY, flush_seconds=0.05)) as api, stream(api) as client:
        await client.event("ready")
        await api.create("nightly")
        for active in range(5):
            last = api.tasks.set_status("team-a", "nightly", {"active": active})
        event = await client.event()
        assert event.data["resourceVersion"] == last["metadata"]["resourceVersion"]
        await api.create("other")
        assert named(await client.event()) == ("team-a", "other")


async def test_only_what_was_asked_for(api: Facade) -> None:
    """By namespaces and by a task's name; the ID moves on with what is not sent."""
    async with stream(api, "namespace=a&namespace=b&task=backup") as client:
        await client.event("ready")
        wanted = skipped(9, namespace="b")
        await api.history.record([skipped(1, namespace="c"), skipped(2, namespace="a", task="other"), wanted])
        event = await client.event()
        assert named(event) == ("b", "backup")
        assert event.id is not None
        assert event.id.endswith("-3")


async def test_a_client_that_connects_again_misses_nothing(api: Facade) -> None:
    """With the last ID, by header or by parameter, it gets what came since; the header is the newer one."""
    async with stream(api) as client:
        await client.event("ready")
        for minute in (1, 2, 3):
            await api.history.record([skipped(minute)])
            last = await client.event("execution")
            if minute == 1:
                first = last
    assert not len(api.events)
    for query, headers in (
        (f"after={first.id}", {}),
        ("", {"Last-Event-ID": str(first.id)}),
        (f"after={last.id}", {"Last-Event-ID": str(first.id)}),
    ):
        async with stream(api, query, {**AS_CALLER, **headers}) as client:
            ready = await client.event()
            assert (ready.type, ready.data, ready.id) == ("ready", {"resumed": True}, first.id)
            slots = [(await client.event("execution")).data["slot"] for _ in range(2)]
            assert slots == ["2026-03-01T00:02:00Z", "2026-03-01T00:03:00Z"]


@pytest.mark.parametrize("after", ["0badcafe-1", "nonsense", "{epoch}-99999", "{epoch}-x"])
async def test_an_unknown_id_is_answered_with_reset(api: Facade, after: str) -> None:
    """It is of another replica or another time, or nobody's: the client reads the lists again."""
    async with stream(api) as first:
        epoch = str((await first.event("ready")).id).partition("-")[0]
        async with stream(api, f"after={after.format(epoch=epoch)}") as client:
            assert [(await client.event()).type for _ in range(2)] == ["ready", "reset"]


async def test_a_quiet_stream_has_heartbeats_with_its_id() -> None:
    """They are comments: an EventSource only remembers the ID."""
    async with facade(replace(HASTY, beat_ticks=1)) as api, stream(api, "namespace=a") as client:
        await client.event("ready")
        await api.history.record([skipped(1, namespace="b")])
        await eventually(lambda: b": heartbeat\nid: " in client.received and client.body.endswith(b"-1\n\n"))


async def test_all_viewers_share_what_is_read(api: Facade) -> None:
    """One watch and one look at a time, however many they are; without viewers, nothing is read after a while."""
    async with stream(api) as one, stream(api) as two, stream(api, "namespace=default") as three:
        clients = (one, two, three)
        for client in clients:
            await client.event("ready")
        assert [watch is not None for watch in api.changed_tasks.watches] == [True]
        before = api.changed.looks
        await api.history.record([skipped(1)])
        assert len({(await client.event("execution")).id for client in clients}) == 1
        assert api.changed.looks - before < 20


async def test_without_viewers_nothing_is_read() -> None:
    """After a while the sources stop; the next viewer starts them anew, and an old ID is unknown."""
    async with facade(Pace(tick_seconds=0.001, linger_ticks=2)) as api:
        async with stream(api) as client:
            old = (await client.event("ready")).id
        await eventually(lambda: api.events.is_idle)
        looks = api.changed.looks
        async with stream(api, f"after={old}") as client:
            assert [(await client.event()).type for _ in range(2)] == ["ready", "reset"]
        assert api.changed.looks > looks


async def test_an_outage_of_the_database_is_told_and_survived(api: Facade) -> None:
    """Changes of tasks are still sent, and those of executions follow when it is back."""
    async with stream(api) as client:
        await client.event("ready")
        api.history.outage = "postgresql://user:secret@db refused"
        event = await client.event()
        assert (event.type, event.data["source"]) == ("degraded", "executions")
        assert "secret" not in client.received.decode()
        async with stream(api) as late:
            assert [(await late.event()).type for _ in range(2)] == ["ready", "degraded"]
        await api.create("nightly")
        assert (await client.event()).type == "task"
        api.history.outage = None
        await api.history.record([skipped(1)])
        assert [(await client.event()).type for _ in range(2)] == ["recovered", "execution"]


async def test_a_source_that_works_later_than_the_stream_begins(api: Facade) -> None:
    """What happened in between is unknown, so the client is told to read the lists again."""
    api.history.outage = "gone"
    async with stream(api) as client:
        assert [(await client.event()).type for _ in range(2)] == ["ready", "degraded"]
        api.history.outage = None
        assert [(await client.event()).type for _ in range(2)] == ["reset", "recovered"]


async def test_a_watch_that_fails_or_is_too_far_behind(api: Facade) -> None:
    """It is continued without a gap, or begun again with one."""
    async with stream(api, "namespace=team-a") as client:
        await client.event("ready")
        api.changed_tasks.fail(UnavailableError("API server", "gone"))
        assert [(await client.event()).type for _ in range(2)] == ["degraded", "recovered"]
        api.changed_tasks.fail(ExpiredError("API server", "too old"))
        assert (await client.event()).data["reason"] == "SourceInterrupted"
        await api.create("nightly")
        assert named(await client.event("task")) == ("team-a", "nightly")


async def test_more_changes_than_are_sent(api: Facade) -> None:
    """The client is told to read the lists again; what follows is sent."""
    async with stream(api) as client:
        await client.event("ready")
        api.changed.most = 1
        await api.history.record([skipped(1), skipped(2)])
        assert (await client.event()).data["reason"] == "TooManyChanges"
        await api.history.record([skipped(3)])
        assert (await client.event()).type == "execution"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_other_methods_end_at_once(api: Facade, method: str) -> None:
    """HEAD has the headers of a stream and opens none."""
    answer = await api.client.request(method, EVENTS)
    assert answer.status_code == (200 if method == "HEAD" else 204)
    assert answer.content == b""
    assert answer.headers.get("content-type", "text/event-stream").startswith("text/event-stream")
    assert api.events.is_idle


async def test_parameters_are_checked(api: Facade) -> None:
    """Unknown ones, too many namespaces and impossible names are named."""
    for query in ("namespaces=a", "namespace=A_", "task=UPPER", "after=" + "x" * 65, "&".join(["namespace=a"] * 21)):
        answer = await api.client.get(f"{EVENTS}?{query}")
        assert answer.status_code == 422, query
    assert api.events.is_idle


def test_the_example_in_the_documentation_is_what_is_sent() -> None:
    """Each datum is spelt as the stream spells it."""
    models: dict[str, type[Answer]] = {"execution": ExecutionData, "task": TaskData}
    seen: set[type[Answer]] = set()
    for block in EXAMPLE.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if (model := models.get(lines.get("event", ""))) is not None:
            data = json.loads(lines["data"])
            seen.add(model)
            assert json.loads(model.model_validate(data).model_dump_json(by_alias=True)) == data
    assert seen == {*models.values()}
