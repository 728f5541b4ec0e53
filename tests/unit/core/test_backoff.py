"""The waits between retries."""

from carillon_core.backoff import Backoff, Tries


def test_waits_double_up_to_the_longest() -> None:
    """This holds for any number of consecutive failures."""
    backoff = Backoff(first=0.5, longest=3.0)
    assert [backoff.wait(failures) for failures in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_a_success_starts_again_with_the_first_wait() -> None:
    """It returns whether there were failures before, so that the recovery is logged once."""
    tries = Tries(Backoff(first=1, longest=60))
    assert not tries.succeeded()
    assert [tries.failed(), tries.failed()] == [1, 2]
    assert tries.succeeded()
    assert not tries.succeeded()
    assert tries.failed() == 1
