"""What the Job of a container's attempt says of its execution: the retry policy and the earlier attempts. Pure.

The first launch binds the policy, so an edit of the spec does not change an
execution. Each later Job takes the policy over and adds the attempts before it:
the newest Job alone tells everything.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from carillon_core.backoff import retry_wait
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.domain.observed.pod_trouble import utc_second
from carillon_core.resources.base import rfc3339
from carillon_core.resources.tasks import RetryPolicy

MOST_EARLIER = 40
"""The pods that ended and are kept. Without drains, an execution has at most 20 before its last."""
MOST_OF_A_MESSAGE = 512
"""The characters kept of a message, a reason or a name."""
MOST_WRITTEN = 64 * 1024
"""The most characters that the operator writes: of more, the oldest ends are forgotten."""
MOST_CHARACTERS = 4 * MOST_WRITTEN
"""The most that it reads, as the API server takes no more."""
MOST_SECONDS = 7 * 24 * 3600
"""The longest ``timeoutSeconds``."""
MOST_PODS = 1_000_000
MOST_PLACED = 64
"""The node selectors and tolerations of a pod: 32 of its own, 32 of the operator's settings."""
FIRST_YEAR, LAST_YEAR = 1970, 9990
"""So that every sum of a time and a wait is a time."""
CUT_OFF = timedelta(seconds=1)
"""The times of pods are whole seconds, cut off: a pod may have ended this much later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How an execution is retried, and what came before this attempt."""

    policy: RetryPolicy
    timeout_seconds: int
    """Of the whole execution: all attempts and the waits between them."""
    limited: bool = False
    """Whether this attempt ends after ``attemptTimeoutSeconds``: it can be retried then."""
    begun_at: datetime | None = None
    """When the first attempt began; None in the first."""
    earlier: tuple[PodEnd, ...] = ()
    """The pods of the attempts before, first to last."""
    forgotten: int = 0
    """How many more there were before those."""
    placement: Mapping[str, Any] = field(default_factory=dict)
    """The fields of a queued pod that its queue may change, as they were before."""

    @classmethod
    def first(cls, policy: RetryPolicy, timeout_seconds: int, pod: Mapping[str, Any], *, queued: bool) -> Self:
        """Return what the Job of a first attempt says; ``pod`` is the spec of its pod."""
        _, limited = attempt_seconds(policy, timeout_seconds)
        placement = {name: pod[name] for name in PLACEMENT if name in pod} if queued else {}
        return cls(policy=policy, timeout_seconds=timeout_seconds, limited=limited, placement=placement)

    def followed(self, ends: Sequence[PodEnd], begun_at: datetime, left: int) -> Self:
        """Return what the Job of the next attempt says.

        Args:
            ends: All pods until now, first to last.
            begun_at: When the execution began.
            left: The seconds that the execution has left.

        """
        dropped = max(0, len(ends) - MOST_EARLIER)
        _, limited = attempt_seconds(self.policy, left)
        return replace(
            self,
            limited=limited,
            begun_at=begun_at,
            earlier=tuple(ends[dropped:]),
            forgotten=self.forgotten + dropped,
        )

    def next_at(self, number: int, execution_id: str, ended_at: datetime) -> datetime:
        """Return when the attempt after one that failed is due: every operator computes the same."""
        policy = self.policy
        wait = retry_wait(policy.initial_delay_seconds, policy.factor, policy.max_delay_seconds, number)
        wait *= 1 - policy.jitter * _share(execution_id, number)
        return after(ended_at, timedelta(seconds=wait) + (CUT_OFF if wait else timedelta()))

    def encoded(self) -> str:
        """Return it as the text of an annotation, without the oldest ends if that would be too large."""
        kept = self
        while len(text := kept._encoded()) > MOST_WRITTEN and kept.earlier:  # its own class
            kept = replace(kept, earlier=kept.earlier[1:], forgotten=kept.forgotten + 1)
        return text

    def _encoded(self) -> str:
        told = {
            "retry": self.policy.model_dump(mode="json", exclude_none=True),
            "timeoutSeconds": self.timeout_seconds,
            "limited": self.limited or None,
            "begunAt": None if self.begun_at is None else rfc3339(self.begun_at),
            "earlier": [_told(end) for end in self.earlier] or None,
            "forgotten": self.forgotten or None,
            "placement": dict(self.placement) or None,
        }
        return json.dumps(_given(told), ensure_ascii=False, separators=(",", ":"))


PLACEMENT = ("nodeSelector", "tolerations")


def after(when: datetime, by: timedelta) -> datetime:
    """Return a time plus a duration, at most the latest possible time: the times of pods can be forged."""
    try:
        return when + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def attempt_seconds(policy: RetryPolicy, left: int) -> tuple[int, bool]:
    """Return how long an attempt may take, and whether the policy limits it rather than what the execution has left."""
    limit = policy.attempt_timeout_seconds
    return (left, False) if limit is None or limit >= left else (limit, True)


def parse_retries(text: str | None) -> Retries | None:
    """Return what an annotation says; None if the operator cannot have written it.

    Everybody who may write Jobs can write it, so nothing is kept that is larger than what the operator writes.
    """
    if not text or len(text) > MOST_CHARACTERS:
        return None
    try:
        told = json.loads(text)
        return Retries(
            policy=RetryPolicy.model_validate(told["retry"]),
            timeout_seconds=_number(told["timeoutSeconds"], 1, MOST_SECONDS),
            limited=bool(told.get("limited")),
            begun_at=_time(told.get("begunAt")),
            earlier=tuple(_end(each) for each in _few(told.get("earlier") or [], MOST_EARLIER)),
            forgotten=_number(told.get("forgotten") or 0, 0, MOST_PODS),
            placement=_placement(told.get("placement") or {}),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _number(given: Any, least: int, most: int) -> int:
    if type(given) is not int or not least <= given <= most:
        msg = f"must be a number from {least} to {most}"
        raise ValueError(msg)
    return given


def _few(given: list[Any], most: int) -> list[Any]:
    if not isinstance(given, list) or len(given) > most:
        msg = f"must be a list of at most {most}"
        raise ValueError(msg)
    return given


def _time(given: str | None) -> datetime | None:
    when = utc_second(given)
    if when is not None and not FIRST_YEAR <= when.year <= LAST_YEAR:
        msg = f"must be a time from {FIRST_YEAR} to {LAST_YEAR}"
        raise ValueError(msg)
    return when


def _placement(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a pod that ``first`` keeps, and no others: a pod is made of them."""
    selector = dict(list(told.get("nodeSelector", {}).items())[:MOST_PLACED])
    tolerations = _few(told.get("tolerations", []), MOST_PLACED)
    if not all(isinstance(value, str | int) for part in (selector, *tolerations) for value in part.values()):
        msg = "must have texts and numbers only"
        raise ValueError(msg)
    return {name: part for name, part in zip(PLACEMENT, (selector, tolerations), strict=True) if name in told}


def _share(execution_id: str, number: int) -> float:
    """Return the share of the jitter of a wait: it differs between executions, and is the same after a restart."""
    digest = hashlib.sha256(f"{execution_id}/{number}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def _told(end: PodEnd) -> dict[str, Any]:
    return _given(
        {
            "pod": end.pod_name[:MOST_OF_A_MESSAGE] or None,
            "startedAt": None if end.started_at is None else rfc3339(end.started_at),
            "finishedAt": None if end.finished_at is None else rfc3339(end.finished_at),
            "exitCode": end.exit_code,
            "reason": end.reason[:MOST_OF_A_MESSAGE] or None,
            "message": end.message[:MOST_OF_A_MESSAGE] or None,
            "disrupted": end.disrupted or None,
        }
    )


def _end(told: Mapping[str, Any]) -> PodEnd:
    code = told.get("exitCode")
    return PodEnd(
        succeeded=False,
        finished_at=_time(told.get("finishedAt")),
        exit_code=None if code is None else _number(code, -(2**31), 2**31 - 1),
        reason=_text(told.get("reason")),
        message=_text(told.get("message")),
        pod_name=_text(told.get("pod")),
        started_at=_time(told.get("startedAt")),
        disrupted=bool(told.get("disrupted")),
    )


def _text(given: Any) -> str:
    return given[:MOST_OF_A_MESSAGE] if isinstance(given, str) else ""


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
