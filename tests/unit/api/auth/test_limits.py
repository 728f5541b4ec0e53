"""Rate limits of callers, and limits on guessing credentials."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from carillon_api.auth.access import CHECKS_AT_ONCE
from carillon_api.auth.rate_limits import Turns
from carillon_core.adapters.memory.caller import Rule
from carillon_core.domain.access.subjects import Subject
from support.api import AS_CALLER, TASKS, Facade, facade, fields_of
from support.callers import GUESSES, KEY, SECRET, USER, keep_key, later, status
from support.waiting import eventually


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade with one API key, whose user may list tasks in team-a."""
    async with facade(api_keys_secret=SECRET) as made:
        keep_key(made, "ci", KEY)
        made.server.rules[USER] = [Rule(["get", "list"], ["scheduledtasks", "executions"], "team-a")]
        yield made


async def test_a_caller_who_calls_too_often_is_told_when_to_come_back() -> None:
    """The limit counts per subject, across credentials and addresses; other callers and probes are not affected."""
    async with facade(api_keys_secret=SECRET, rate_limit=1, rate_burst=3) as made:
        keep_key(made, "ci", KEY)
        made.server.tokens["other-of-ci"] = Subject(USER)
        made.server.rules[USER] = [Rule("*", "*")]
        for left in (2, 1):
            response = await made.client.get(TASKS, headers={"Authorization": "Bearer other-of-ci"})
            assert response.headers["ratelimit"] == f'"default";r={left};t={3 - left}'
            assert response.headers["ratelimit-policy"] == '"default";q=3;w=3'
        assert await status(made, **{"X-API-Key": KEY}) == 200
        limited = await made.client.get(TASKS, headers={"X-API-Key": KEY})
        assert limited.status_code == 429
        assert fields_of(limited) == []
        assert limited.headers["retry-after"] == "1"
        assert limited.headers["ratelimit"] == '"default";r=0;t=3'
        assert await status(made, **AS_CALLER) == 200
        assert await status(made, "/healthz", **{"X-API-Key": KEY}) == 200
        later(made, 1)
        assert await status(made, **{"X-API-Key": KEY}) == 200


async def test_who_guesses_is_stopped_and_whoever_was_known_is_not(
    rest: Facade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some failures from an address, only known credentials are accepted from there."""
    assert await status(rest, **AS_CALLER) == 200
    reviewed: list[str] = []
    review_token = rest.server.review_token

    async def counting(token: str) -> Subject | None:
        reviewed.append(token)
        return await review_token(token)

    monkeypatch.setattr(rest.server, "review_token", counting)
    found = [await status(rest, Authorization=f"Bearer guess-{n}") for n in range(GUESSES + 10)]
    assert found == [401] * GUESSES + [429] * 10
    assert len(reviewed) == GUESSES
    assert await status(rest, **{"X-API-Key": KEY}) == 429
    assert await status(rest, **AS_CALLER) == 200
    later(rest, 2)
    assert await status(rest, **{"X-API-Key": KEY}) == 200


async def test_guesses_made_at_once_are_not_checked_at_once(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, a thousand guesses would be checked before the first one fails."""
    reviewed: list[str] = []

    async def slowly(token: str) -> Subject | None:
        reviewed.append(token)
        await asyncio.sleep(0)
        return None

    assert await status(rest, **AS_CALLER) == 200
    monkeypatch.setattr(rest.server, "review_token", slowly)
    guesses = [status(rest, Authorization=f"Bearer guess-{n}") for n in range(200)]
    found = await asyncio.gather(*guesses, status(rest, **AS_CALLER))
    assert set(found[:-1]) == {401, 429}
    assert found[-1] == 200
    assert GUESSES <= len(reviewed) < GUESSES + CHECKS_AT_ONCE


async def test_a_credential_does_not_wait_for_ever_to_be_checked(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """The response is 503 with Retry-After if the API server hangs on earlier checks."""
    hang, turns = asyncio.Event(), Turns(1, 0.01)

    async def hanging(_: str) -> Subject | None:
        await hang.wait()
        return None

    monkeypatch.setattr(rest.server, "review_token", hanging)
    monkeypatch.setattr(rest.app.state.backends.access, "_checks", turns)
    first = asyncio.create_task(status(rest, Authorization="Bearer first"))
    await eventually(lambda: len(turns) == 1)
    second = await rest.client.get(TASKS, headers={"Authorization": "Bearer second"})
    assert (second.status_code, second.headers["retry-after"]) == (503, "5")
    hang.set()
    assert await first == 401
    assert len(turns) == 0, "who is gone is forgotten"
