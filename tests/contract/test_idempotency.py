"""The contract of ``IdempotencyStore``, for each adapter; Postgres is real."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from carillon_core.adapters.memory.idempotency import MemoryIdempotency
from carillon_core.adapters.postgres.idempotency import PostgresIdempotency
from carillon_core.ports import (
    KEY_ABANDONED,
    KEY_KEPT,
    MOST_ANSWER_BYTES,
    MOST_ANSWERS,
    IdempotencyStore,
    Reservation,
    StoredAnswer,
)

T0 = datetime(2026, 3, 1, tzinfo=UTC)
SOON = T0 + timedelta(seconds=5)
ONE, OTHER = b"\x00one\xff", b"other"
ANSWER = StoredAnswer(201, {"location": "/api/v1/x", "etag": '"7"'}, '{"name":"ä"}'.encode() + b"\x00\xff")
MINE = Reservation(mine=True)


@pytest.fixture(params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[IdempotencyStore]:
    """Give each adapter in turn, empty; Postgres with the API's login."""
    if request.param == "memory":
        yield MemoryIdempotency()
        return
    postgres = PostgresIdempotency.from_url(request.getfixturevalue("api_database_url"), connect_seconds=30)
    yield postgres
    await postgres.aclose()


async def test_who_comes_first_has_the_key(store: IdempotencyStore) -> None:
    """A repeated request finds that the first is in progress."""
    assert await store.reserve("alice", "k", ONE, T0) == MINE
    assert await store.reserve("alice", "k", ONE, SOON) == Reservation(mine=False)


async def test_a_key_is_its_callers_own(store: IdempotencyStore) -> None:
    """Two callers may use the same key, and one caller may use many."""
    assert await store.reserve("alice", "k", ONE, T0) == MINE
    assert await store.reserve("bob", "k", OTHER, T0) == MINE
    assert await store.reserve("alice", "l", OTHER, T0) == MINE


async def test_an_answer_is_kept_to_the_byte(store: IdempotencyStore) -> None:
    """Status, headers and body are stored; a second answer changes nothing."""
    await store.reserve("alice", "k", ONE, T0)
    await store.finish("alice", "k", ANSWER)
    await store.finish("alice", "k", StoredAnswer(500, {}, b"late"))
    assert await store.reserve("alice", "k", ONE, SOON) == Reservation(mine=False, answer=ANSWER)


async def test_an_answer_can_be_read_without_reserving_its_key(store: IdempotencyStore) -> None:
    """Until it expires; a key that is unknown, or under way, has none."""
    assert await store.answer("alice", "k", T0) is None
    assert await store.reserve("alice", "k", ONE, T0) == MINE
    assert await store.answer("alice", "k", T0) is None
    await store.finish("alice", "k", ANSWER)
    assert await store.answer("alice", "k", SOON) == ANSWER
    assert await store.answer("bob", "k", SOON) is None
    assert await store.answer("alice", "k", T0 + KEY_KEPT) is None


async def test_an_empty_answer_is_an_answer(store: IdempotencyStore) -> None:
    """It has no body and no headers."""
    await store.reserve("alice", "k", ONE, T0)
    await store.finish("alice", "k", StoredAnswer(204, {}, b""))
    assert (await store.reserve("alice", "k", ONE, SOON)).answer == StoredAnswer(204, {}, b"")


@pytest.mark.parametrize("finished", [True, False], ids=["answered", "under way"])
async def test_another_request_is_told_so(store: IdempotencyStore, *, finished: bool) -> None:
    """It does not get the first request's answer, and cannot take over the key."""
    await store.reserve("alice", "k", ONE, T0)
    if finished:
        await store.finish("alice", "k", ANSWER)
    want = Reservation(mine=False, same_request=False)
    assert await store.reserve("alice", "k", OTHER, SOON) == want
    assert await store.reserve("alice", "k", OTHER, T0 + KEY_ABANDONED) == want


async def test_a_key_that_was_given_back_is_free(store: IdempotencyStore) -> None:
    """Any request may use it."""
    await store.reserve("alice", "k", ONE, T0)
    await store.release("alice", "k")
    assert await store.reserve("alice", "k", OTHER, SOON) == MINE


async def test_an_answer_is_not_given_back(store: IdempotencyStore) -> None:
    """A late release changes nothing, nor does the release of an unknown key."""
    await store.reserve("alice", "k", ONE, T0)
    await store.finish("alice", "k", ANSWER)
    await store.release("alice", "k")
    await store.release("alice", "unknown")
    await store.finish("alice", "unknown", ANSWER)
    assert (await store.reserve("alice", "k", ONE, SOON)).answer == ANSWER
    assert await store.reserve("alice", "unknown", ONE, SOON) == MINE


async def test_what_a_dead_process_has_left_is_taken_over(store: IdempotencyStore) -> None:
    """After a minute, one repetition of the request may take it over; the minute then starts again."""
    await store.reserve("alice", "k", ONE, T0)
    assert await store.reserve("alice", "k", ONE, T0 + KEY_ABANDONED - timedelta(seconds=1)) == Reservation(mine=False)
    assert await store.reserve("alice", "k", ONE, T0 + KEY_ABANDONED) == MINE
    assert await store.reserve("alice", "k", ONE, T0 + KEY_ABANDONED) == Reservation(mine=False)


async def test_an_answer_is_never_taken_over_while_it_is_kept(store: IdempotencyStore) -> None:
    """Only a key without an answer can be taken over."""
    await store.reserve("alice", "k", ONE, T0)
    await store.finish("alice", "k", ANSWER)
    just_before = T0 + KEY_KEPT - timedelta(seconds=1)
    assert await store.reserve("alice", "k", ONE, just_before) == Reservation(mine=False, answer=ANSWER)


async def test_a_key_is_forgotten_after_a_day(store: IdempotencyStore) -> None:
    """This holds for answered and unanswered keys."""
    await store.reserve("alice", "k", ONE, T0)
    await store.finish("alice", "k", ANSWER)
    assert await store.reserve("alice", "k", OTHER, T0 + KEY_KEPT) == MINE
    assert await store.reserve("alice", "k", OTHER, T0 + KEY_KEPT) == Reservation(mine=False)


async def test_of_fifty_at_once_one_has_the_key(store: IdempotencyStore) -> None:
    """The others find that it is in progress."""
    found = await asyncio.gather(*(store.reserve("alice", "k", ONE, T0) for _ in range(50)))
    assert sorted(found, key=lambda r: r.mine) == [Reservation(mine=False)] * 49 + [MINE]


async def answered(store: IdempotencyStore, key: str, seconds: int, body: bytes = b"") -> None:
    """Keep an answer that was asked for that many seconds after the first."""
    await store.reserve("alice", key, ONE, T0 + timedelta(seconds=seconds))
    await store.finish("alice", key, StoredAnswer(201, {}, body))


async def test_a_caller_has_a_bounded_number_of_answers(store: IdempotencyStore) -> None:
    """The oldest is dropped, so that its key is free; others' answers, and what is under way, stay."""
    await store.reserve("alice", "under way", ONE, T0)
    await store.reserve("bob", "k", ONE, T0)
    await store.finish("bob", "k", ANSWER)
    for number in range(MOST_ANSWERS + 1):
        await answered(store, f"k{number}", number)
    now = T0 + timedelta(seconds=30)
    assert await store.reserve("alice", "under way", OTHER, now) == Reservation(mine=False, same_request=False)
    assert (await store.reserve("bob", "k", ONE, now)).answer == ANSWER
    assert (await store.reserve("alice", "k1", ONE, now)).answer is not None
    assert await store.reserve("alice", "k0", ONE, now) == MINE


async def test_a_callers_answers_have_a_bounded_size(store: IdempotencyStore) -> None:
    """The latest is kept, however large it is."""
    await answered(store, "small", 0, b"x")
    await answered(store, "half", 1, b"x" * (MOST_ANSWER_BYTES // 2))
    await answered(store, "other half", 2, b"x" * (MOST_ANSWER_BYTES // 2))
    now = T0 + timedelta(seconds=5)
    kept = {key for key in ("half", "other half") if (await store.reserve("alice", key, ONE, now)).answer}
    assert kept == {"half", "other half"}
    assert await store.reserve("alice", "small", ONE, now) == MINE
    await answered(store, "too large", 6, b"x" * (MOST_ANSWER_BYTES + 1))
    assert (await store.reserve("alice", "too large", ONE, now)).answer is not None
    assert await store.reserve("alice", "half", ONE, now) == MINE


async def test_what_drops_answers_at_once_waits_for_nobody(store: IdempotencyStore) -> None:
    """All are bounded, and no statement fails."""
    large = b"x" * (MOST_ANSWER_BYTES // 4)
    await asyncio.gather(*(answered(store, f"k{number}", number, large) for number in range(20)))
    await answered(store, "last", 30)
    now = T0 + timedelta(seconds=40)
    kept = [n for n in range(20) if (await store.reserve("alice", f"k{n}", ONE, now)).answer is not None]
    assert kept == [16, 17, 18, 19]
