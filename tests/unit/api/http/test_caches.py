"""Responses of the API server are requested once, cached, and served while it is unavailable."""

import asyncio
from dataclasses import dataclass, field

import pytest

from carillon_api.http.caches import PATIENCE_SECONDS, RESPITE_SECONDS, Cache, Lifetime
from carillon_core.errors import ForbiddenError, UnavailableError
from support.waiting import eventually

FRESH, STALE, SHORT = 10.0, 600.0, 5.0


@dataclass
class Source:
    """Returns the number of its calls, or raises a given error."""

    now: float = 0.0
    asked: int = 0
    error: Exception | None = None
    gate: asyncio.Event | None = None
    answers: list[int | None] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def __call__(self) -> int | None:
        self.asked += 1
        mine = self.asked
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.answers.pop(0) if self.answers else mine


def cache_of(source: Source, most: int = 100) -> Cache[str, int | None]:
    """Return a cache that keeps None for a short time and never serves it stale."""
    return Cache(lambda v: Lifetime(SHORT) if v is None else Lifetime(FRESH, STALE), source.clock, most)


TIMES: dict[str, tuple[float, bool, int | None]] = {
    "fresh, it is not asked for": (FRESH - 0.1, True, 1),
    "no longer fresh, it is asked for": (FRESH, True, 2),
    "in an outage it serves": (STALE - 0.1, False, 1),
    "in an outage it serves for ten minutes and no longer": (STALE, False, None),
}


@pytest.mark.parametrize("case", TIMES)
async def test_how_long_an_answer_serves(case: str) -> None:
    """It depends on the age and on the availability of the source; None stands for an error."""
    later, there, want = TIMES[case]
    source = Source()
    cache = cache_of(source)
    assert await cache.get("k", source) == 1
    source.now = later
    source.error = None if there else UnavailableError("API server", "gone")
    if want is None:
        with pytest.raises(UnavailableError):
            await cache.get("k", source)
    else:
        assert await cache.get("k", source) == want


async def test_a_failure_is_kept_for_a_short_time_and_never_stale() -> None:
    """An invalid key is cached for a short time, and is not served during an outage."""
    source = Source(answers=[None, None])
    cache = cache_of(source)
    assert await cache.get("k", source) is None
    source.now = SHORT - 0.1
    assert await cache.get("k", source) is None
    assert source.asked == 1
    source.now = SHORT
    source.error = UnavailableError("API server", "gone")
    with pytest.raises(UnavailableError):
        await cache.get("k", source)


async def test_a_hundred_at_once_ask_once() -> None:
    """All callers get the same response; callers of another key share another call."""
    source = Source(gate=asyncio.Event())
    assert source.gate is not None
    cache = cache_of(source)
    waiting = [asyncio.create_task(cache.get(key, source)) for key in ("a", "b") for _ in range(100)]
    await eventually(lambda: source.asked == 2)
    source.gate.set()
    assert sorted(v for v in await asyncio.gather(*waiting) if v) == [1] * 100 + [2] * 100


async def test_one_who_goes_away_takes_the_answer_from_nobody() -> None:
    """The first caller is cancelled; the second still gets the response."""
    source = Source(gate=asyncio.Event())
    assert source.gate is not None
    cache = cache_of(source)
    first, second = (asyncio.create_task(cache.get("k", source)) for _ in range(2))
    await eventually(lambda: source.asked == 1)
    first.cancel()
    source.gate.set()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_in_an_outage_the_source_is_left_alone_for_a_while() -> None:
    """Only one request in several seconds waits for the timeout."""
    source = Source()
    cache = cache_of(source)
    await cache.get("k", source)
    source.now, source.error = FRESH, UnavailableError("API server", "gone")
    for _ in range(5):
        assert await cache.get("k", source) == 1
    assert source.asked == 2
    source.now += RESPITE_SECONDS
    assert await cache.get("k", source) == 1
    assert source.asked == 3


async def test_a_source_that_hangs_is_waited_for_with_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached response is served after a limited wait, and the call goes on."""
    assert PATIENCE_SECONDS < 10
    monkeypatch.setattr("carillon_api.http.caches.PATIENCE_SECONDS", 0)
    source = Source()
    cache = cache_of(source)
    await cache.get("k", source)
    source.now, source.gate = FRESH, asyncio.Event()
    assert await cache.get("k", source) == 1
    source.gate.set()


async def test_any_other_error_is_the_answer() -> None:
    """An error other than unavailability is raised and not cached; no cached response is served."""
    source = Source()
    cache = cache_of(source)
    await cache.get("k", source)
    source.now, source.error = FRESH, ForbiddenError("no")
    with pytest.raises(ForbiddenError):
        await cache.get("k", source)
    source.error = None
    assert await cache.get("k", source) == 3


async def test_only_so_many_are_kept() -> None:
    """The least recently used response is dropped first."""
    source = Source()
    cache = cache_of(source, most=2)
    for key in ("a", "b", "a", "c"):
        await cache.get(key, source)
    assert (len(cache), source.asked) == (2, 3)
    await cache.get("a", source)
    assert source.asked == 3
    await cache.get("b", source)
    assert source.asked == 4
