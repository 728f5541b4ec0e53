"""The contract of ``AuditLog``, for each adapter; Postgres is real."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from carillon_core.adapters.memory.audit import MemoryAuditLog
from carillon_core.adapters.postgres.audit import PostgresAuditLog
from carillon_core.errors import InvalidResourceError
from carillon_core.ports import AuditAuthor, AuditEvent, AuditLog, AuditQuery

T0 = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(params=["memory", "postgres"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[AuditLog]:
    """Give each adapter in turn, empty; Postgres with the API's login."""
    if request.param == "memory":
        yield MemoryAuditLog()
        return
    postgres = PostgresAuditLog.from_url(request.getfixturevalue("api_database_url"))
    yield postgres
    await postgres.aclose()


def event(number: int, **changes: Any) -> AuditEvent:
    """Build an event, ``number`` minutes after T0."""
    made = AuditEvent(
        id=UUID(int=number),
        at=T0 + timedelta(minutes=number),
        subject="alice",
        credential="token",
        source="192.0.2.1",
        user_agent="curl/8",
        request_id=f"r{number}",
        action="update",
        resource="scheduledtasks",
        namespace="team-a",
        name="nightly",
        before={"labels": {}, "spec": {"suspend": False}},
        after={"labels": {}, "spec": {"suspend": True}},
    )
    return replace(made, **changes)


async def numbers(log: AuditLog, **query: Any) -> list[int]:
    """Return the numbers of the events that a query finds."""
    return [found.id.int for found in (await log.list(AuditQuery(**query))).items]


async def test_an_event_comes_back_as_it_was_written(log: AuditLog) -> None:
    """It may have a before, an after, or both."""
    events = [event(3), event(2, before=None), event(1, after=None)]
    await log.write(events)
    assert (await log.list(AuditQuery())).items == events


async def test_times_come_back_in_utc(log: AuditLog) -> None:
    """They are precise to the microsecond."""
    given = datetime(2026, 3, 1, 5, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5)))
    await log.write([event(1, at=given)])
    (found,) = (await log.list(AuditQuery())).items
    assert found.at.isoformat() == "2026-03-01T00:00:00.123456+00:00"


async def test_nothing_to_write_is_written(log: AuditLog) -> None:
    """An empty list of events is not an error."""
    await log.write([])
    assert await numbers(log) == []


async def test_an_event_that_is_there_is_left_as_it_is(log: AuditLog) -> None:
    """An event may be written again if it is unknown whether it was written."""
    await log.write([event(1)])
    await log.write([event(1, subject="mallory"), event(2)])
    assert [(e.id.int, e.subject) for e in (await log.list(AuditQuery())).items] == [(2, "alice"), (1, "alice")]


async def test_text_that_postgres_refuses_is_mended(log: AuditLog) -> None:
    """In texts and specs, NUL is removed, and half a surrogate pair becomes a question mark."""
    await log.write([event(1, user_agent="a\0b\ud800", after={"spec": {"x\0": "\udfff"}})])
    (found,) = (await log.list(AuditQuery())).items
    assert (found.user_agent, found.after) == ("ab?", {"spec": {"x": "?"}})


EVENTS = [
    event(1),
    event(2, namespace="team-b"),
    event(3, resource="httptargets"),
    event(4, name="weekly"),
    event(5, subject="bob"),
    event(6, namespace="", resource="", name=""),
]
FILTERS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "everything, newest first": ({}, [6, 5, 4, 3, 2, 1]),
    "a namespace": ({"namespace": "team-b"}, [2]),
    "some namespaces": ({"namespaces": ("team-b", "absent")}, [2]),
    "a resource": ({"resource": "httptargets"}, [3]),
    "a name": ({"name": "weekly"}, [4]),
    "a subject": ({"subject": "bob"}, [5]),
    "since, that instant included": ({"since": T0 + timedelta(minutes=5)}, [6, 5]),
    "until, that instant left out": ({"until": T0 + timedelta(minutes=2)}, [1]),
    "an object": ({"namespace": "team-a", "resource": "scheduledtasks", "name": "nightly"}, [5, 1]),
    "all at once": ({"namespace": "team-a", "subject": "bob", "since": T0, "until": T0 + timedelta(hours=1)}, [5]),
    "nobody": ({"subject": "x' OR 1=1 --"}, []),
    "a name that nothing can have": ({"name": "a\0"}, []),
    "at most so many": ({"limit": 2}, [6, 5]),
}


@pytest.mark.parametrize("case", FILTERS)
async def test_filters(log: AuditLog, case: str) -> None:
    """Each filter narrows the list."""
    query, want = FILTERS[case]
    await log.write(EVENTS)
    assert await numbers(log, **query) == want


@pytest.mark.parametrize("limit", [1, 3, 7, 10])
async def test_paging_gives_every_event_once_while_events_are_written(log: AuditLog, limit: int) -> None:
    """Events of the same instant are ordered by id; newer events do not shift the pages."""
    await log.write([event(n, at=T0 + timedelta(minutes=n // 3)) for n in range(1, 11)])
    seen: list[int] = []
    cursor = None
    while True:
        page = await log.list(AuditQuery(limit=limit, cursor=cursor))
        seen.extend(e.id.int for e in page.items)
        await log.write([event(100 + len(seen))])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == list(range(10, 0, -1))


def generation(number: int, before: int | None, after: int, **changes: Any) -> AuditEvent:
    """Build the event of a change from one generation to another."""
    was = None if before is None else {"uid": "u", "generation": before, "spec": {}}
    return event(number, before=was, after={"uid": "u", "generation": after, "spec": {}}, **changes)


async def test_the_authors_of_generations(log: AuditLog) -> None:
    """Events of labels, of deletions, of earlier releases and of other objects are left out."""
    await log.write(
        [
            generation(1, None, 1),
            generation(2, 1, 2, subject="bob"),
            generation(3, 2, 2, subject="mallory"),
            event(4),
            event(5, after=None),
            event(6, after={"uid": 7, "generation": "8"}),
            generation(7, 2, 3, name="weekly"),
        ]
    )
    query = AuditQuery(namespace="team-a", resource="scheduledtasks", name="nightly")
    assert list(await log.authors(query)) == [AuditAuthor("u", 2, "bob"), AuditAuthor("u", 1, "alice")]
    assert list(await log.authors(replace(query, limit=6, since=T0 + timedelta(minutes=2)))) == [
        AuditAuthor("u", 2, "bob")
    ]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a limit of nothing": ({"limit": 0}, "limit"),
    "a limit beyond 500": ({"limit": 501}, "limit"),
    "a cursor of somebody else": ({"cursor": "abc"}, "cursor"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_query_that_makes_no_sense_is_refused(log: AuditLog, case: str) -> None:
    """The problem names the field."""
    query, want = BAD[case]
    with pytest.raises(InvalidResourceError) as refused:
        await log.list(AuditQuery(**query))
    assert [p.path for p in refused.value.problems] == [want]
