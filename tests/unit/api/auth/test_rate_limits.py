"""The limit of a caller: the arithmetic of a token bucket, and how many buckets there are."""

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
    """What is left, whether it may be made, and when the next one may."""
    bucket, now, want_left, want = BUCKETS[case]
    left, verdict = take(bucket, RATE, now)
    assert left == Bucket(want_left, now)
    assert verdict == want


def test_a_slow_rate_says_a_long_wait() -> None:
    """Seconds are rounded up, so that whoever waits so long is let in."""
    slow = Rate(per_second=0.3, burst=1)
    left, _ = take(None, slow, 0.0)
    _, refused = take(left, slow, 0.0)
    assert refused.retry_after == 4
    assert take(left, slow, float(refused.retry_after))[1].allowed


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_over_a_minute_no_more_than_the_rate_and_the_burst_get_through() -> None:
    """However often one tries."""
    clock = Clock()
    limiter = RateLimiter(RATE, clock, most=10)
    let_in = 0
    for tenth in range(600):
        clock.now = tenth / 10
        let_in += sum(limiter.take("a").allowed for _ in range(7))
    assert let_in == 10 + int(2 * 59.9)


def test_each_caller_has_a_bucket() -> None:
    """One who calls too often costs nobody else."""
    limiter = RateLimiter(RATE, Clock(), most=10)
    assert [limiter.take("a").allowed for _ in range(11)] == [True] * 10 + [False]
    assert limiter.take("b").allowed
    assert (limiter.is_empty("a"), limiter.is_empty("b"), limiter.is_empty("c")) == (True, False, False)


def test_buckets_are_bounded_and_idle_ones_go() -> None:
    """At most so many; and one that is full again is none."""
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
    """Structured fields; Retry-After only with a refusal."""
    limiter = RateLimiter(RATE, Clock(), most=10)
    assert limiter.headers(limiter.take("a")) == {
        "RateLimit-Policy": '"default";q=10;w=5',
        "RateLimit": '"default";r=9;t=1',
    }
    while (verdict := limiter.take("a")).allowed:
        assert "Retry-After" not in limiter.headers(verdict)
    assert limiter.headers(verdict)["Retry-After"] == "1"
