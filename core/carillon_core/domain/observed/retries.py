"""What the Job of a container's attempt says of its execution: the retry policy and the earlier attempts. Pure.

The first launch binds the policy, so an edit of the spec does not change an
execution. Each later Job takes the policy over and adds the attempts before it:
the newest Job alone tells everything.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from carillon_core.backoff import retry_wait
from carillon_core.domain.observed.pod_ends import PodEnd
from carillon_core.domain.observed.pod_trouble import utc_second
from carillon_core.resources.base import rfc3339
from carillon_core.resources.tasks import RetryPolicy

MOST_EARLIER = 40
"""The pods that ended and are kept. Without drains, an execution has at most 20 before its last."""
MOST_OF_A_MESSAGE = 512
"""The characters kept of a message: the API server takes 256 KiB of annotations."""
MOST_CHARACTERS = 256 * 1024
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
        """Return when the attempt after one that failed is due: the same whoever asks."""
        policy = self.policy
        wait = retry_wait(policy.initial_delay_seconds, policy.factor, policy.max_delay_seconds, number)
        wait *= 1 - policy.jitter * _share(execution_id, number)
        return ended_at + timedelta(seconds=wait) + (CUT_OFF if wait else timedelta())

    def encoded(self) -> str:
        """Return it as the text of an annotation."""
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


def attempt_seconds(policy: RetryPolicy, left: int) -> tuple[int, bool]:
    """Return how long an attempt may take, and whether the policy limits it rather than what the execution has left."""
    limit = policy.attempt_timeout_seconds
    return (left, False) if limit is None or limit >= left else (limit, True)


def parse_retries(text: str | None) -> Retries | None:
    """Return what an annotation says; None if it says nothing that makes sense: whoever may write Jobs can write it."""
    if not text or len(text) > MOST_CHARACTERS:
        return None
    try:
        told = json.loads(text)
        return Retries(
            policy=RetryPolicy.model_validate(told["retry"]),
            timeout_seconds=max(1, int(told["timeoutSeconds"])),
            limited=bool(told.get("limited")),
            begun_at=utc_second(told.get("begunAt")),
            earlier=tuple(_end(each) for each in told.get("earlier", ())),
            forgotten=max(0, int(told.get("forgotten", 0))),
            placement=dict(told.get("placement", {})),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def _share(execution_id: str, number: int) -> float:
    """Return the share of the jitter of a wait: it differs between executions, and is the same after a restart."""
    digest = hashlib.sha256(f"{execution_id}/{number}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def _told(end: PodEnd) -> dict[str, Any]:
    return _given(
        {
            "pod": end.pod_name or None,
            "startedAt": None if end.started_at is None else rfc3339(end.started_at),
            "finishedAt": None if end.finished_at is None else rfc3339(end.finished_at),
            "exitCode": end.exit_code,
            "reason": end.reason or None,
            "message": end.message[:MOST_OF_A_MESSAGE] or None,
            "disrupted": end.disrupted or None,
        }
    )


def _end(told: Mapping[str, Any]) -> PodEnd:
    code = told.get("exitCode")
    return PodEnd(
        succeeded=False,
        finished_at=utc_second(told.get("finishedAt")),
        exit_code=None if code is None else int(code),
        reason=str(told.get("reason", "")),
        message=str(told.get("message", "")),
        pod_name=str(told.get("pod", "")),
        started_at=utc_second(told.get("startedAt")),
        disrupted=bool(told.get("disrupted")),
    )


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
