"""Which failures are retried within an execution, and when: the rules of ``spec.retry``. Pure."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from carillon_core.backoff import retry_wait

NEVER_AGAIN = frozenset(
    {
        # the result would be the same
        "HTTP4xx",
        "TooManyRedirects",
        "BlockedRedirect",
        "BlockedAddress",
        "InvalidRequest",
        "TemplateFailed",
        "SecretMissing",
        "PluginNotFound",
        "PluginBroken",
        "UnknownTaskType",
        "Overflow",
        "CounterRefused",
        # the row is already closed
        "RowClosed",
    }
)
"""Classes of failure that are not retried, unless the failure itself says otherwise."""
STATUSES_AGAIN = frozenset({408, 425, 429})
"""4xx statuses that may change on retry (RFC 9110, 15.5.9; RFC 8470; RFC 6585)."""

_INTEGERS = {"limit"}
_FIELDS = {
    "limit": "limit",
    "initialDelaySeconds": "initial_delay_seconds",
    "factor": "factor",
    "maxDelaySeconds": "max_delay_seconds",
    "jitter": "jitter",
    "attemptTimeoutSeconds": "attempt_timeout_seconds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """``spec.retry`` as the runner uses it. Default: no retries.

    The waits after the first, second, … failed attempt, in seconds, without jitter:

    ==================================================  =============================
    initialDelaySeconds 10, factor 2, maxDelaySeconds 600  10 20 40 80 160 320 600 600
    initialDelaySeconds 1, factor 1, maxDelaySeconds 600    1 1 1 1
    initialDelaySeconds 5, factor 10, maxDelaySeconds 60    5 50 60 60
    initialDelaySeconds 0                                   0 0 0 0
    ==================================================  =============================
    """

    limit: int = 0
    initial_delay_seconds: float = 10
    factor: float = 2
    max_delay_seconds: float = 600
    jitter: float = 0.1
    attempt_timeout_seconds: float | None = None

    def leaves_attempt_after(self, number: int) -> bool:
        """Return whether another attempt may follow the attempt of this number."""
        return number < 1 + self.limit

    def wait_seconds(self, number: int, retry_after: float | None, share: float) -> float:
        """Return how long to wait between the failure of an attempt and the next one.

        Args:
            number: The number of the failed attempt.
            retry_after: Seconds requested by the server; used if longer.
            share: From 0 to 1, the share of the jitter for this wait.

        """
        grown = retry_wait(self.initial_delay_seconds, self.factor, self.max_delay_seconds, number)
        wait = grown * (1 - self.jitter * share)
        return max(wait, retry_after or 0)


def parse_policy(text: str) -> RetryPolicy:
    """Return the policy from the JSON of ``spec.retry``. Unknown fields come from a newer operator and are ignored.

    Raises:
        ValueError: It cannot be read.

    """
    given = json.loads(text)
    if not isinstance(given, dict):
        raise ValueError  # noqa: TRY004  # one kind of error for the reader of the environment
    policy = RetryPolicy(
        **{
            _FIELDS[name]: _number(name, value)
            for name, value in given.items()
            if name in _FIELDS and value is not None
        }
    )
    if policy.jitter > 1 or policy.attempt_timeout_seconds == 0:
        raise ValueError
    return policy


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError
    if name in _INTEGERS and not isinstance(value, int):
        raise ValueError
    return value


def is_tried_again(reason: str) -> bool:
    """Return whether a failure of this class is retried."""
    return reason not in NEVER_AGAIN


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how long the server asks to wait (RFC 9110, 10.2.3: seconds, or a date), or None if it does not."""
    text = (headers.get("Retry-After") or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:12])
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # http.client has already imported it

    try:
        when = parsedate_to_datetime(text)
        # a date without a zone is in UTC, like every date in HTTP
        return max((when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return None
