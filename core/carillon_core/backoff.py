"""The waits between retries, for every loop that retries."""

from dataclasses import dataclass


def retry_wait(first: float, factor: float, longest: float, number: int) -> float:
    """Return the seconds after the failed attempt of this number, without jitter: the rule of ``spec.retry``."""
    return min(first * float(factor) ** (number - 1), longest)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits in seconds that double from the first to the longest."""

    first: float
    longest: float

    def wait(self, failures: int) -> float:
        """Return the wait after this many failures in a row, at least one."""
        return float(min(self.first * 2 ** min(failures - 1, 32), self.longest))


@dataclass(slots=True)
class Tries:
    """Counts the consecutive failures of one operation that is retried."""

    backoff: Backoff
    failures: int = 0

    def failed(self) -> float:
        """Count a failure and return the wait before the next try."""
        self.failures += 1
        return self.backoff.wait(self.failures)

    def succeeded(self) -> bool:
        """Start again with the first wait; return whether there were failures before."""
        had_failed, self.failures = self.failures > 0, 0
        return had_failed
