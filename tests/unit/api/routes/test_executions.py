"""Executions over REST: permissions, filters and pages."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.execution import Attempt
from support.api import NOW, Facade, facade, fields_of
from support.executions import (
    EXECUTIONS,
    FAILED,
    NAMESPACED,
    REASON,
    SUCCEEDED,
    row,
)


@pytest.fixture
async def rest() -> AsyncIterator[Facade]:
    """A facade over empty stores."""
    async with facade() as made:
        yield made


async def minutes(rest: Facade, path: str, **headers: str) -> list[int]:
    """Return the minutes of the slots in a list."""
    response = await rest.client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    return [datetime.fromisoformat(item["slot"]).minute for item in response.json()["items"]]


OLD = UUID(int=99)
ROWS: Mapping[int, Mapping[str, Any]] = {
    0: {"reason": REASON},
    1: {"status": SUCCEEDED, "cause": Cause.MANUAL},
    2: {"namespace": "team-b", "reason": REASON},
    3: {"status": ExecutionStatus.TIMED_OUT, "task": "hourly"},
    4: {"status": ExecutionStatus.SKIPPED, "reason": "StillActive"},
    5: {"status": SUCCEEDED, "retry_of": OLD, "cause": Cause.MANUAL},
}
FILTERS: dict[str, tuple[str, list[int]]] = {
    "all of them": (EXECUTIONS, [5, 4, 3, 2, 1, 0]),
    "of a namespace, by the query": (f"{EXECUTIONS}?namespace=team-b", [2]),
    "of a namespace, by the path": ("/api/v1/namespaces/team-b/executions", [2]),
    "of a namespace and a name": ("/api/v1/namespaces/team-a/executions?task=hourly", [3]),
    "of a task": ("/api/v1/namespaces/team-a/tasks/nightly/executions", [5, 4, 1, 0]),
    "of a cause": (f"{EXECUTIONS}?cause=manual", [5, 1]),
    "of a class of failure": (f"{EXECUTIONS}?reason=HTTP5xx", [2, 0]),
    "of a gate": (f"{EXECUTIONS}?reason=StillActive", [4]),
    "from a time on": (f"{EXECUTIONS}?since=2026-03-01T12:04:00Z", [5, 4]),
    "before a time": (f"{EXECUTIONS}?until=2026-03-01T12:02:00Z", [1, 0]),
    "of a window in another zone": (
        f"{EXECUTIONS}?since=2026-03-01T13:02:00%2B01:00&until=2026-03-01T13:04:00%2B01:00",
        [3, 2],
    ),
    "what repeats another": (f"{EXECUTIONS}?retryOf={OLD}", [5]),
    "dead letters": (f"{EXECUTIONS}?deadLetters=true", [3, 2, 0]),
    "dead letters of a namespace and a class": (f"{EXECUTIONS}?deadLetters=true&namespace=team-a&reason={REASON}", [0]),
}


@pytest.mark.parametrize("case", FILTERS)
async def test_executions_are_listed_by_filters(rest: Facade, case: str) -> None:
    """Newest slot first; filters may be combined."""
    path, want = FILTERS[case]
    await rest.history.record([row(minute, **fields) for minute, fields in ROWS.items()])
    assert await minutes(rest, path) == want


BAD: dict[str, tuple[str, str]] = {
    "a time without a zone": ("since=2026-03-01T12:00:00", "since"),
    "no time": ("until=tomorrow", "until"),
    "a year that is out of reach": ("since=0001-01-01T00:00:00Z", "since"),
    "a window without room": ("since=2026-03-01T12:00:00Z&until=2026-03-01T12:00:00Z", "query"),
    "no execution's id": ("retryOf=1", "retryOf"),
    "an unknown cause": ("cause=fate", "cause"),
    "no yes or no": ("deadLetters=maybe", "deadLetters"),
    "a page of none": ("limit=0", "limit"),
    "a page that is too long": ("limit=501", "limit"),
    "a parameter that does not exist": ("order=asc", "order"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_filter_is_named(rest: Facade, case: str) -> None:
    """The response is 422 with the parameter."""
    query, want = BAD[case]
    response = await rest.client.get(f"{EXECUTIONS}?{query}")
    assert response.status_code == 422
    assert fields_of(response) == [want]


async def test_pages_join_whatever_the_limit(rest: Facade) -> None:
    """A cursor continues with a different limit, too."""
    await rest.history.record([row(minute) for minute in range(5)])
    first = (await rest.client.get(f"{EXECUTIONS}?limit=2")).json()
    assert await minutes(rest, f"{EXECUTIONS}?limit=500&cursor={first['nextCursor']}") == [2, 1, 0]


OTHER_LISTS: dict[str, str] = {
    "another status": f"{EXECUTIONS}?status=Failed",
    "another namespace": f"{EXECUTIONS}?namespace=team-a",
    "the namespace in the path": "/api/v1/namespaces/team-a/executions",
    "a task": "/api/v1/namespaces/team-a/tasks/nightly/executions",
    "dead letters": f"{EXECUTIONS}?deadLetters=true",
}


@pytest.mark.parametrize("case", OTHER_LISTS)
async def test_a_cursor_of_another_list_is_refused(rest: Facade, case: str) -> None:
    """Otherwise, it would silently skip or repeat rows."""
    await rest.history.record([row(minute) for minute in range(5)])
    cursor = (await rest.client.get(f"{EXECUTIONS}?limit=2")).json()["nextCursor"]
    path = OTHER_LISTS[case]
    response = await rest.client.get(f"{path}{'&' if '?' in path else '?'}cursor={cursor}")
    assert response.status_code == 422
    assert fields_of(response) == ["cursor"]


async def test_who_may_read_one_namespace_lists_that_one_alone(rest: Facade) -> None:
    """Lists of all namespaces, or of another, are 403, and the response says what to do."""
    await rest.history.record([row(0), row(1, namespace="team-b")])
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED)
    assert await minutes(rest, "/api/v1/namespaces/team-a/executions", **bob) == [0]
    assert await minutes(rest, f"{EXECUTIONS}?namespace=team-a", **bob) == [0]
    for path in (EXECUTIONS, f"{EXECUTIONS}?namespace=team-b", "/api/v1/namespaces/team-b/executions"):
        response = await rest.client.get(path, headers=bob)
        assert response.status_code == 403
        assert fields_of(response) == []
    assert "specify a namespace" in (await rest.client.get(EXECUTIONS, headers=bob)).json()["detail"]


CALLS: dict[str, tuple[str, str]] = {
    "read": ("GET", ""),
    "logs": ("GET", "/logs"),
    "retry": ("POST", "/retry"),
    "cancel": ("POST", "/cancel"),
}


@pytest.mark.parametrize("case", CALLS)
async def test_what_one_may_not_read_is_as_what_is_not_there(rest: Facade, case: str) -> None:
    """The responses differ only in the id."""
    method, path = CALLS[case]
    secret = row(namespace="team-b")
    await rest.history.record([secret])
    bob = rest.let("bob", "t0ken-of-bob", *NAMESPACED)
    unknown = UUID(int=1)
    answers = [
        await rest.client.request(method, f"{EXECUTIONS}/{uid}{path}", headers=bob) for uid in (secret.id, unknown)
    ]
    told = []
    for answer, uid in zip(answers, (secret.id, unknown), strict=True):
        assert answer.status_code == 404
        assert fields_of(answer) == []
        problem = {k: v for k, v in answer.json().items() if k != "requestId"}
        told.append(str(problem).replace(str(uid), "ID"))
    assert told[0] == told[1]


async def test_an_execution_is_told_with_its_attempts_and_its_repetitions(rest: Facade) -> None:
    """The execution and its retries refer to each other."""
    attempt = Attempt(
        number=1,
        status=FAILED,
        reason="DNS",
        error="no such host",
        pod_name="nightly-0-x",
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2),
    )
    answered = replace(attempt, number=2, reason="HTTP5xx", error="no", status_code=503, response_time_ms=12.5)
    first = row(attempts=(attempt, answered))
    again = row(5, retry_of=first.id)
    await rest.history.record([first, again])
    told = (await rest.client.get(f"{EXECUTIONS}/{first.id}")).json()
    assert told["attempts"] == [
        {
            "number": 1,
            "status": "Failed",
            "reason": "DNS",
            "error": "no such host",
            "podName": "nightly-0-x",
            "startedAt": "2026-03-01T12:00:00Z",
            "finishedAt": "2026-03-01T12:00:02Z",
            "durationSeconds": 2.0,
            "statusCode": None,
            "responseTimeMs": None,
        },
        told["attempts"][0]
        | {"number": 2, "reason": "HTTP5xx", "error": "no", "statusCode": 503, "responseTimeMs": 12.5},
    ]
    assert (told["retryOf"], told["retriedBy"]) == (None, [str(again.id)])
    told = (await rest.client.get(f"{EXECUTIONS}/{again.id}")).json()
    assert (told["retryOf"], told["retriedBy"]) == (str(first.id), [])
