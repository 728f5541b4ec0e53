"""Idempotency keys of two facades over one Postgres: simultaneous equal requests are executed once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import httpx
import pytest

from carillon_api.app import create_app
from carillon_core.adapters.postgres.idempotency import PostgresIdempotency
from carillon_core.ports import JSONObject
from support.api import AS_CALLER, EVERY_MINUTE, TASKS, Facade, facade

KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
NIGHTLY: dict[str, Any] = {"name": "nightly", "spec": EVERY_MINUTE}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """The cluster in memory, which both facades share."""
    async with facade() as made:
        yield made


@pytest.fixture
async def clients(rest: Facade, database_url: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Give a client of each facade; each facade has its own connections to the same database."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            store = await stack.enter_async_context(
                aclosing(PostgresIdempotency.from_url(database_url, connect_seconds=30))
            )
            app = create_app(replace(rest.app.state.backends, idempotency=store))
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://facade", headers={**AS_CALLER, **KEY}
            )
            made.append(await stack.enter_async_context(client))
        yield made


async def test_fifty_equal_posts_are_one(
    rest: Facade, clients: list[httpx.AsyncClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one call to the cluster; concurrent requests are told to wait, and later get the same response."""
    create, asked, others_told = rest.tasks.create, [], asyncio.Event()

    async def creating(namespace: str, body: JSONObject) -> JSONObject:
        asked.append(body["metadata"]["name"])
        await others_told.wait()
        return await create(namespace, body)

    async def post(number: int) -> httpx.Response:
        response = await clients[number % 2].post(TASKS, json=NIGHTLY)
        others_told.set()  # the first responses say that the request is in progress
        return response

    monkeypatch.setattr(rest.tasks, "create", creating)
    answers = await asyncio.gather(*(post(number) for number in range(50)))
    assert asked == ["nightly"]
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses.keys() == {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["type"] == "urn:carillon:problem:request-under-way"
    created = [answer for answer in answers if answer.status_code == 201]
    assert len([a for a in created if "idempotency-replayed" not in a.headers]) == 1
    late = [await client.post(TASKS, json=NIGHTLY) for client in clients]
    assert {(a.status_code, a.content, a.headers["location"], a.headers["etag"]) for a in (*created, *late)} == {
        (201, created[0].content, created[0].headers["location"], created[0].headers["etag"])
    }
    assert [a.headers["idempotency-replayed"] for a in late] == ["true", "true"]


async def test_another_body_is_refused_by_the_other_facade(clients: list[httpx.AsyncClient]) -> None:
    """Both facades know the key."""
    assert (await clients[0].post(TASKS, json=NIGHTLY)).status_code == 201
    other = await clients[1].post(TASKS, json={**NIGHTLY, "name": "other"})
    assert (other.status_code, other.json()["type"]) == (422, "urn:carillon:problem:idempotency-key-reused")
