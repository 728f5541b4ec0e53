"""Rate limits: the arithmetic of token buckets, and the number of buckets."""

import pytest

from carillon_api.auth.rate_limits import Bucket, Rate, RateLimiter, Verdict, take

RATE = Rate(per_second=2, burst=10)

BUCKETS: dict[str, tuple[Bucket | None, float, float, Verdict]] = {
    # bucket, now, tokens left, verdict
    "the first request finds it full": (None, 5.0, 9, Verdict(True, 9, 1, 0)),
    "it fills with time": (Bucket(0, 0.0), 1.0, 1, Verdict(True, 1, 5, 0)),
    "it holds no more than the burst": (Bucket(9, 0.0), 1000.0, 9, Verdict(True, 9, 1, 0)),
    "the last one leaves nothing, and a wait": (Bucket(1, 0.0), 0.0, 0, Verdict(True, 0, 5, 1)),
    "an empty one refuses": (Bucket(0, 0.0), 0.0, 0, Verdict(False, 0, 5, 1)),
    "a part of one is none": (Bucket(0, 0.0), 0.25, 0.5, Verdict(False, 0, 5, 1)),
    "what is refused costs nothing": (Bucket(0.5, 0.0), 0.25, 0, Verdict(True, 0, 5, 1)),
    "a clock that goes back fills nothing": (Bucket(0.5, 10.0), 0.0, 0.5, Verdict(False, 0, 5, 1)),
}


@pytest.mark.parametrize("case", BUCKETS)
def test_a_request_takes_a_token(case: str) -> None:
    """The verdict has the remaining requests and the time of the next one."""
    bucket, now, want_left, want = BUCKETS[case]
    left, verdict = take(bucket, RATE, now)
    assert left == Bucket(want_left, now)
    assert verdict == want


def test_a_slow_rate_says_a_long_wait() -> None:
    """Seconds are rounded up, so that a caller who waits that long is admitted."""
    slow = Rate(per_second=0.3, burst=1)
    left, _ = take(None, slow, 0.0)
    _, refused = take(left, slow, 0.0)
    assert refused.retry_after == 4
    assert take(left, slow, float(refused.retry_after))[1].allowed


class Clock:
    """A clock that the test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_over_a_minute_no_more_than_the_rate_and_the_burst_get_through() -> None:
    """Rejected requests take no tokens."""
    clock = Clock()
    limiter = RateLimiter(RATE, clock, most=10)
    let_in = 0
    for tenth in range(600):
        clock.now = tenth / 10
        let_in += sum(limiter.take("a").allowed for _ in range(7))
    assert let_in == 10 + int(2 * 59.9)


def test_what_a_request_causes_is_charged() -> None:
    """The next requests wait for it, at most until a bucket would be full."""
    clock = Clock()
    limiter = RateLimiter(RATE, clock, most=10)
    limiter.charge("a", 9)
    assert limiter.take("a") == Verdict(True, 0, 5, 1)
    limiter.charge("a", 3)
    assert limiter.take("a") == Verdict(False, 0, 7, 2)
    limiter.charge("a", 1_000)
    assert limiter.take("a") == Verdict(False, 0, 10, 6)
    assert limiter.take("b").allowed
    clock.now = 6.0
    assert limiter.take("a").allowed


def test_each_caller_has_a_bucket() -> None:
    """A caller that exceeds its limit does not affect others."""
    limiter = RateLimiter(RATE, Clock(), most=10)
    assert [limiter.take("a").allowed for _ in range(11)] == [True] * 10 + [False]
    assert limiter.take("b").allowed
    assert (limiter.is_empty("a"), limiter.is_empty("b"), limiter.is_empty("c")) == (True, False, False)


def test_buckets_are_bounded_and_idle_ones_go() -> None:
    """The number of buckets is limited, and full buckets are dropped."""
    clock = Clock()
    limiter = RateLimiter(RATE, clock, most=50)
    for number in range(1000):
        limiter.take(f"caller-{number}")
    assert len(limiter) == 50
    clock.now = 60.0
    for _ in range(60):
        limiter.take("one")
    assert len(limiter) == 1


def test_a_caller_is_told_its_limit_in_the_fields_of_the_draft() -> None:
    """The headers are structured fields; Retry-After is set only on rejection."""
    limiter = RateLimiter(RATE, Clock(), most=10)
    assert limiter.headers(limiter.take("a")) == {
        "RateLimit-Policy": '"default";q=10;w=5',
        "RateLimit": '"default";r=9;t=1',
    }
    while (verdict := limiter.take("a")).allowed:
        assert "Retry-After" not in limiter.headers(verdict)
    assert limiter.headers(verdict)["Retry-After"] == "1"
