"""The caller's permissions over REST: what is asked of the cluster, and how often."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from carillon_api.auth.access import ALLOWED_SECONDS
from carillon_api.auth.rate_limits import Turns
from carillon_api.auth.surveys import AT_ONCE
from carillon_api.services.reports.me import ALL, MOST_QUESTIONS
from carillon_core.adapters.memory.caller import MemoryCallerCluster, Rule
from carillon_core.domain.access.subjects import Access, Subject
from carillon_core.domain.scope import Scope
from support.api import CALLER, Facade, facade, fields_of
from support.callers import later

ME = "/api/v1/me"
LISTED = "/api/v1/namespaces/team-a/executions"
WRITE = ["get", "list", "create", "update", "patch", "delete"]
NOTHING: dict[str, list[str]] = {"tasks": [], "targets": [], "requests": [], "executions": []}
EVERYTHING = {
    "tasks": WRITE,
    "targets": WRITE,
    "requests": ["get", "list", "create", "delete"],
    "executions": ["get", "list"],
}
READ = Rule(["get", "list"], ["scheduledtasks", "executions"], "team-b")


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade that serves three namespaces."""
    async with facade(scope=Scope(("team-a", "team-b", "team-c"))) as made:
        yield made


def asked(rest: Facade) -> list[Access]:
    """Return the list to which every review will be added."""
    questions: list[Access] = []
    decide = rest.server.decide

    def deciding(subject: Subject | None, access: Access) -> Any:
        questions.append(access)
        return decide(subject, access)

    rest.server.decide = deciding  # type: ignore[method-assign]  # how often it is asked is the point
    return questions


async def test_who_may_do_anything_is_asked_about_once(rest: Facade) -> None:
    """What is allowed in the whole cluster is allowed in every namespace."""
    questions = asked(rest)
    body = (await rest.client.get(ME)).json()
    assert (body["userName"], body["groups"]) == (CALLER.name, list(CALLER.groups))
    assert body["everywhere"] == EVERYTHING
    assert body["namespaces"] == [{"name": f"team-{x}", **EVERYTHING} for x in "abc"]
    assert (body["servesAllNamespaces"], body["uncheckedNamespaces"]) == (False, 0)
    assert len(questions) == len(ALL)


async def test_only_namespaces_where_something_is_allowed_are_shown(rest: Facade) -> None:
    """With the verbs that RBAC allows there."""
    headers = rest.let("carol", "t0ken-of-carol", READ, Rule(["create"], ["runrequests"], "team-c"))
    body = (await rest.client.get(ME, headers=headers)).json()
    assert body["everywhere"] == NOTHING
    assert body["namespaces"] == [
        {"name": "team-b", **NOTHING, "tasks": ["get", "list"], "executions": ["get", "list"]},
        {"name": "team-c", **NOTHING, "requests": ["create"]},
    ]


async def test_reviews_are_cached_as_long_as_those_of_every_request(rest: Facade) -> None:
    """And made again in time."""
    questions = asked(rest)
    await rest.client.get(ME)
    await rest.client.get(ME)
    assert len(questions) == len(ALL)
    later(rest, ALLOWED_SECONDS + 1)
    await rest.client.get(ME)
    assert len(questions) == 2 * len(ALL)


async def test_the_number_of_reviews_is_bounded() -> None:
    """The response says how many namespaces are missing, and each can be asked for."""
    names = tuple(f"team-{n:03}" for n in range(50))
    async with facade(scope=Scope(names), default_namespace=names[0]) as rest:
        headers = rest.let("carol", "t0ken-of-carol", *(Rule(["list"], ["scheduledtasks"], name) for name in names))
        questions = asked(rest)
        body = (await rest.client.get(ME, headers=headers)).json()
        assert len(questions) <= MOST_QUESTIONS
        seen = [each["name"] for each in body["namespaces"]]
        assert seen == list(names[: len(seen)])
        assert 0 < len(seen) == len(names) - body["uncheckedNamespaces"] < len(names)
        one = (await rest.client.get(f"{ME}?namespace={names[-1]}", headers=headers)).json()
        assert [each["name"] for each in one["namespaces"]] == [names[-1]]
        assert one["uncheckedNamespaces"] == 0


async def test_with_all_namespaces_served_the_default_and_the_callers_own_are_checked() -> None:
    """The API may not list the cluster's namespaces."""
    async with facade() as rest:
        rules = [Rule(["list"], ["scheduledtasks"], name) for name in ("team-a", "team-b", "team-c")]
        headers = rest.let("system:serviceaccount:team-b:ci", "t0ken-of-ci", *rules)
        body = (await rest.client.get(ME, headers=headers)).json()
        assert body["servesAllNamespaces"] is True
        assert [each["name"] for each in body["namespaces"]] == ["team-a", "team-b"]


async def test_the_reviews_of_all_callers_share_a_bound(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at the same time."""
    under_way, most = 0, 0
    review = MemoryCallerCluster.review

    async def slow(self: MemoryCallerCluster, access: Access) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001)
        under_way -= 1
        return await review(self, access)

    monkeypatch.setattr(MemoryCallerCluster, "review", slow)
    callers = [rest.let(f"c{n}", f"t0ken-of-c{n}") for n in range(5)]
    responses = await asyncio.gather(*(rest.client.get(ME, headers=each) for each in callers))
    assert {response.status_code for response in responses} == {200}
    assert 1 < most <= AT_ONCE


async def test_a_caller_asks_once_at_a_time(rest: Facade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another request of the same caller waits, and not for ever."""
    monkeypatch.setattr(rest.app.state.backends.access.surveys, "_callers", Turns(1, 0.01))
    async with rest.app.state.backends.access.surveys.turn(CALLER):
        response = await rest.client.get(ME)
        other = await rest.client.get(ME, headers=rest.let("carol", "t0ken-of-carol"))
    assert (response.status_code, fields_of(response), other.status_code) == (503, [], 200)
    assert (await rest.client.get(ME)).status_code == 200


async def test_it_pushes_no_decision_of_other_requests_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own decisions are kept apart, and are limited in number."""
    monkeypatch.setattr("carillon_api.auth.access.MOST_DECISIONS", 20)
    async with facade() as rest:
        await rest.client.get(LISTED)
        questions = asked(rest)
        carol = rest.let("carol", "t0ken-of-carol")
        for number in range(5):
            assert (await rest.client.get(f"{ME}?namespace=n{number}", headers=carol)).status_code == 200
        assert len(questions) == (1 + 5) * len(ALL)
        questions.clear()
        await rest.client.get(LISTED)
        assert questions == []


async def test_the_reviews_count_in_the_rate_limit() -> None:
    """A caller that asks about ever new namespaces may do so less often than it may send other requests."""
    async with facade(rate_limit=50, rate_burst=100) as rest:
        carol = rest.let("carol", "t0ken-of-carol")
        paths = [f"{ME}?namespace=n{number}" for number in range(100)]
        statuses = [(await rest.client.get(path, headers=carol)).status_code for path in paths]
        assert statuses == [200] * statuses.count(200) + [429] * statuses.count(429)
        assert 10 < statuses.count(200) < 30


async def test_cached_reviews_are_not_charged() -> None:
    """A page that polls is not held up."""
    async with facade(rate_limit=50, rate_burst=100) as rest:
        statuses = [(await rest.client.get(ME)).status_code for _ in range(90)]
        assert set(statuses) == {200}


@pytest.mark.parametrize(
    ("query", "want_status", "want_fields"),
    {
        "a namespace that is not served": ("namespace=team-z", 403, []),
        "a name that no namespace has": ("namespace=Team_A", 422, ["namespace"]),
        "an unknown parameter": ("name=team-a", 422, ["name"]),
    }.values(),
)
async def test_bad_input(rest: Facade, query: str, want_status: int, want_fields: list[str]) -> None:
    """The problem names the parameter."""
    response = await rest.client.get(f"{ME}?{query}")
    assert (response.status_code, fields_of(response)) == (want_status, want_fields)


async def test_without_a_credential_nobody_is_told(rest: Facade) -> None:
    """401."""
    assert (await rest.client.get(ME, headers={"Authorization": ""})).status_code == 401
