"""The contract of ``RevisionRecorder`` and ``TaskPast``, for each adapter; Postgres is real."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from carillon_core.adapters.memory.history import MemoryHistory
from carillon_core.adapters.memory.revisions import MemoryRevisions
from carillon_core.adapters.postgres.history import PostgresHistory
from carillon_core.adapters.postgres.revisions import PostgresPast, PostgresRevisions
from carillon_core.contract import Cause, ExecutionStatus
from carillon_core.domain.why.revision import MOST_REVISIONS, TaskRevision
from carillon_core.errors import InvalidResourceError
from carillon_core.ports import MOST_NEAR, HistoryRecorder, RevisionQuery, RevisionRecorder, TaskPast
from support.history_adapters import T0, running, skipped
from support.past import revision

OTHER = "99999999-9999-4999-8999-999999999999"
NIGHTLY = RevisionQuery(namespace="team-a", task="nightly")


@dataclass(frozen=True)
class Store:
    """Both ports over one database, and its history."""

    recorder: RevisionRecorder
    past: TaskPast
    history: HistoryRecorder


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Give each adapter in turn, empty; the reader of Postgres with the API's login."""
    if request.param == "memory":
        history = MemoryHistory()
        both = MemoryRevisions(history)
        yield Store(both, both, history)
        return
    url, api_url = request.getfixturevalue("database_url"), request.getfixturevalue("api_database_url")
    async with (
        aclosing(PostgresRevisions.from_url(url)) as recorder,
        aclosing(PostgresPast.from_url(api_url)) as past,
        aclosing(PostgresHistory.from_url(url)) as rows,
    ):
        yield Store(recorder, past, rows)


def made(generation: int, **changes: Any) -> TaskRevision:
    """Return a revision that is in force since as many minutes after T0."""
    plain = revision(generation, schedule="30 2 * * *", timeZone="Europe/Berlin", suspend=True)
    return replace(plain, seen_at=T0 + timedelta(minutes=generation), **changes)


async def listed(store: Store, query: RevisionQuery = NIGHTLY) -> list[int]:
    """Return the generations of a page."""
    return [each.generation for each in (await store.past.revisions(query)).items]


async def test_a_revision_comes_back_as_it_was_recorded(store: Store) -> None:
    """Times come back in UTC; without its spec where that is not read."""
    invalid = replace(revision(9), seen_at=(T0 + timedelta(hours=1)).astimezone(timezone(timedelta(hours=5))))
    await store.recorder.record([made(1), invalid])
    assert (await store.past.revisions(NIGHTLY)).items == [invalid, made(1)]
    found = await store.past.rules("team-a", "nightly")
    assert found == [invalid, made(1, spec=None)]
    assert found[0].seen_at.tzinfo is not None
    assert found[0].seen_at.utcoffset() == timedelta(0)


async def test_a_revision_that_is_there_stays(store: Store) -> None:
    """Two operators may record the same one."""
    await store.recorder.record([made(1)])
    await store.recorder.record([made(1, manager="mallory"), made(2)])
    await store.recorder.record([])
    assert [each.manager for each in await store.past.rules("team-a", "nightly")] == ["kubectl-edit"] * 2


async def test_text_that_postgres_refuses_is_mended(store: Store) -> None:
    """NUL is removed, and half a surrogate pair becomes a question mark."""
    await store.recorder.record([made(1, manager="a\0b", spec={"x\0": "\ud800"}, problem="\0")])
    (found,) = (await store.past.revisions(NIGHTLY)).items
    assert (found.manager, found.spec, found.problem) == ("ab", {"x": "?"}, "")


async def test_a_uid_that_is_none_is_refused_and_nothing_is_recorded(store: Store) -> None:
    """The caller can then record the others."""
    with pytest.raises(ValueError, match="UUID"):
        await store.recorder.record([made(1), made(2, task_uid="x")])
    assert await listed(store) == []


async def test_confirming_prolongs_what_is_recorded_and_says_so(store: Store) -> None:
    """The time does not go back."""
    later = made(1).last_seen_at + timedelta(hours=1)
    await store.recorder.record([made(1), made(2)])
    uid = made(1).task_uid
    assert await store.recorder.confirm([], later) == []
    assert list(await store.recorder.confirm([(uid, 2), (uid, 3), (OTHER, 2)], later)) == [(uid, 2)]
    await store.recorder.confirm([(uid, 2)], later - timedelta(days=1))
    assert [each.last_seen_at for each in await store.past.rules("team-a", "nightly")] == [later, made(1).last_seen_at]


async def test_only_the_newest_revisions_of_a_name_are_kept(store: Store) -> None:
    """Those of a deleted task count, too; those of other names do not."""
    await store.recorder.record([made(1, task="weekly"), made(1, task_uid=OTHER), made(2)])
    await store.recorder.record([made(generation) for generation in range(3, MOST_REVISIONS + 2)])
    assert [each.generation for each in await store.past.rules("team-a", "nightly")] == list(
        range(MOST_REVISIONS + 1, 1, -1)
    )
    assert await listed(store, RevisionQuery(namespace="team-a", task="weekly")) == [1]
    assert await listed(store, RevisionQuery(namespace="team-b", task="nightly")) == []


@pytest.mark.parametrize("limit", [1, 3, 7, 10])
async def test_paging_gives_every_revision_once(store: Store, limit: int) -> None:
    """Also those of two tasks that are in force since the same instant, and while others are recorded."""
    for generation in range(1, 4):
        own = made(generation)
        await store.recorder.record([own, replace(own, task_uid=OTHER, seen_at=own.seen_at)])
    seen: list[tuple[int, str]] = []
    cursor = None
    while True:
        page = await store.past.revisions(replace(NIGHTLY, limit=limit, cursor=cursor))
        seen += [(each.generation, each.task_uid) for each in page.items]
        await store.recorder.record([made(20 + len(seen))])
        cursor = page.next_cursor
        if cursor is None:
            break
    own_uid = made(1).task_uid
    assert seen == [(generation, uid) for generation in (3, 2, 1) for uid in sorted([own_uid, OTHER], reverse=True)]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a limit of nothing": ({"limit": 0}, "limit"),
    "a limit beyond 50": ({"limit": 51}, "limit"),
    "a cursor of somebody else": ({"cursor": "abc.1"}, "cursor"),
    "a cursor without a generation": ({"cursor": "abc"}, "cursor"),
    "a generation that is none": ({"cursor": "abc.²"}, "cursor"),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_query_that_makes_no_sense_is_refused(store: Store, case: str) -> None:
    """The problem names the field."""
    query, want = BAD[case]
    with pytest.raises(InvalidResourceError) as refused:
        await store.past.revisions(replace(NIGHTLY, **query))
    assert [p.path for p in refused.value.problems] == [want]


async def test_the_row_of_a_slot(store: Store) -> None:
    """Its own, or that of a series which covers it; runs on request do not count."""
    uid = str(UUID(int=5))
    await store.history.record(
        [
            skipped(1),
            running(2, status=ExecutionStatus.SUCCEEDED, finished_at=T0 + timedelta(hours=1), result={"x": 1}),
            skipped(9, first_slot=T0 + timedelta(minutes=5)),
            skipped(4, uid, cause=Cause.MANUAL, origin=uid),
            skipped(4, str(UUID(int=6)), task="other"),
        ]
    )
    wanted = {0: None, 1: 1, 2: 2, 3: None, 4: None, 5: 9, 7: 9, 9: 9, 10: None}
    for minute, row in wanted.items():
        found = await store.past.row_of("default", "backup", T0 + timedelta(minutes=minute))
        assert (found and found.slot) == (None if row is None else T0 + timedelta(minutes=row)), minute
        assert found is None or (found.result, found.attempts) == (None, ())


async def test_a_row_far_beyond_a_slot_is_not_searched(store: Store) -> None:
    """A slot of a task with a million executions takes as long as any other."""
    many = [skipped(minute) for minute in range(1, MOST_NEAR + 1)]
    await store.history.record([*many, skipped(MOST_NEAR + 1, first_slot=T0)])
    assert await store.past.row_of("default", "backup", T0) is None
