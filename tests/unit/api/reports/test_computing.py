"""Reports take turns: one caller neither takes all of them nor waits without a bound."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from carillon_api.services import computing
from carillon_core.domain.access.subjects import Subject
from support.api import CALLER, EVERY_MINUTE, Facade, facade, fields_of

OTHER = Subject("bob")
AT_ONE = "2026-03-01T13:00:00Z"
REPORTS = {
    "the timeline": ("GET", "/api/v1/namespaces/team-a/timeline", None),
    "the timeline in buckets": ("GET", "/api/v1/namespaces/team-a/timeline?to=2026-03-20T12:00:00Z", None),
    "the load": ("GET", "/api/v1/namespaces/team-a/load", None),
    "a better minute": ("POST", "/api/v1/namespaces/team-a/load/suggest", {"task": "nightly"}),
    "the next of each": ("GET", "/api/v1/upcoming?each=1", None),
}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade with a task."""
    async with facade() as made:
        await made.create(spec=EVERY_MINUTE)
        yield made


async def turn(turns: computing.Computing) -> None:
    """Wait for a turn of the caller."""
    async with turns.of(CALLER):
        pass


async def test_the_reports_of_a_page_are_computed_one_after_the_other(rest: Facade) -> None:
    """They may be asked for at once."""
    paths = [path for method, path, _ in REPORTS.values() if method == "GET"]
    answers = await asyncio.gather(*map(rest.client.get, paths))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("report", REPORTS)
async def test_a_caller_has_a_few_reports_at_a_time(rest: Facade, report: str) -> None:
    """Another one is refused, and told when to try again."""
    method, path, body = REPORTS[report]
    turns = rest.app.state.backends.computing
    async with turns.of(CALLER), asyncio.TaskGroup() as group:
        waiting = [group.create_task(turn(turns)) for _ in range(computing.OF_ONE_CALLER - 1)]
        await asyncio.sleep(0)
        response = await rest.client.request(method, path, json=body)
        for each in waiting:
            each.cancel()
        assert (response.status_code, response.headers["retry-after"]) == (429, "1"), response.text
        assert fields_of(response) == []
        assert response.json()["type"] == "urn:carillon:problem:rate-limited"
    assert (await rest.client.request(method, path, json=body)).status_code == 200


@pytest.mark.parametrize("report", REPORTS)
async def test_the_wait_for_others_is_bounded(rest: Facade, monkeypatch: pytest.MonkeyPatch, report: str) -> None:
    """503, and the caller may try again."""
    monkeypatch.setattr(computing, "WAIT_SECONDS", 0.01)
    method, path, body = REPORTS[report]
    async with rest.app.state.backends.computing.of(OTHER):
        response = await rest.client.request(method, path, json=body)
    assert (response.status_code, fields_of(response)) == (503, [])
    assert "retry-after" in response.headers
    assert (await rest.client.request(method, path, json=body)).status_code == 200


async def test_what_is_no_report_waits_for_nobody(rest: Facade) -> None:
    """A short list of times is computed at once."""
    async with rest.app.state.backends.computing.of(CALLER):
        assert (await rest.client.get("/api/v1/upcoming")).status_code == 200


async def test_a_caller_that_gives_up_leaves_its_place() -> None:
    """It neither keeps the turn nor may come no more."""
    turns = computing.Computing()
    async with AsyncExitStack() as held:
        await held.enter_async_context(turns.of(OTHER))
        waiting = asyncio.ensure_future(held.enter_async_context(turns.of(CALLER)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    async with turns.of(CALLER):
        pass
