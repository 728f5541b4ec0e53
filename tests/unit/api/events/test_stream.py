"""What a client of the stream receives."""

from collections.abc import AsyncIterator

import pytest

from support.api import Facade, facade
from support.history_adapters import running, skipped
from support.streams import stream


@pytest.fixture
async def api() -> AsyncIterator[Facade]:
    """Give an empty facade."""
    async with facade() as made:
        yield made


async def test_changes_follow_the_first_event(api: Facade) -> None:
    """Of an execution and of a task, with enough to update a row; the response's headers keep proxies from waiting."""
    async with stream(api) as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert client.headers["cache-control"] == "no-store"
        assert client.headers["x-accel-buffering"] == "no"
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
            "status": "running",
            "reason": None,
            "startedAt": "2026-03-01T00:01:02Z",
            "finishedAt": None,
        }
        stored = (await api.create("nightly")).json()
        event = await client.event()
        assert (event.type, event.data) == (
            "task",
            {
                "namespace": "team-a",
                "name": "nightly",
                "uid": stored["uid"],
                "generation": 1,
                "resourceVersion": stored["resourceVersion"],
                "deleted": False,
            },
        )
        await api.client.delete("/api/v1/namespaces/team-a/tasks/nightly")
        assert (await client.event()).data["deleted"]
