"""Pausing and resuming a task over REST."""

from collections.abc import AsyncIterator

import pytest

from support.api import EVERY_MINUTE, TASKS, Facade, facade, fields_of

STATES = {"pause": True, "resume": False}


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("action", STATES)
async def test_a_task_is_paused_or_resumed_whatever_it_was(rest: Facade, action: str, *, before: bool) -> None:
    """The response is 200 with the task; without a change, nothing is written."""
    created = (await rest.create(spec={**EVERY_MINUTE, "suspend": before})).json()
    response = await rest.client.post(f"{TASKS}/nightly/{action}")
    assert response.status_code == 200, response.text
    view = response.json()
    assert view["spec"] == {**created["spec"], "suspend": STATES[action]}
    assert response.headers["etag"] == f'"{view["resourceVersion"]}"'
    assert (view["resourceVersion"] == created["resourceVersion"]) is (before is STATES[action])
    assert (await rest.client.get(f"{TASKS}/nightly")).json() == view
    recorded = {"pause": "suspend", "resume": "resume"}[action]
    want_actions = ["create"] if before is STATES[action] else ["create", recorded]
    assert [event.action for event in await rest.audited()] == want_actions


async def test_an_edit_that_comes_between_is_kept(rest: Facade) -> None:
    """Only the one field is written, so that concurrent changes are kept."""
    await rest.create()
    read = rest.tasks.get

    async def get(namespace: str, name: str) -> dict[str, object]:
        found = await read(namespace, name)
        await rest.tasks.patch(namespace, name, {"spec": {"timeoutSeconds": 7}})
        return found

    rest.tasks.get = get  # type: ignore[method-assign]  # the race happens between get and patch
    spec = (await rest.client.post(f"{TASKS}/nightly/pause")).json()["spec"]
    assert (spec["suspend"], spec["timeoutSeconds"]) == (True, 7)


async def test_with_if_match_an_edit_that_comes_between_is_the_callers_affair(rest: Facade) -> None:
    """The response is 412, before the write and at the write; nothing is suspended."""
    etag = (await rest.create()).headers["etag"]
    stale = await rest.client.post(f"{TASKS}/nightly/pause", headers={"If-Match": '"nonsense"'})
    assert (stale.status_code, fields_of(stale)) == (412, [])
    read = rest.tasks.get

    async def get(namespace: str, name: str) -> dict[str, object]:
        found = await read(namespace, name)
        await rest.tasks.patch(namespace, name, {"spec": {"timeoutSeconds": 7}})
        return found

    rest.tasks.get = get  # type: ignore[method-assign]  # the race happens between get and patch
    raced = await rest.client.post(f"{TASKS}/nightly/pause", headers={"If-Match": etag})
    assert (raced.status_code, fields_of(raced)) == (412, [])
    assert (await rest.tasks.list(None))[0]["spec"]["suspend"] is False


@pytest.mark.parametrize("action", STATES)
async def test_a_task_that_does_not_exist_is_not_found(rest: Facade, action: str) -> None:
    """404."""
    response = await rest.client.post(f"{TASKS}/absent/{action}")
    assert (response.status_code, fields_of(response)) == (404, [])
